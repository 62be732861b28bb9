// The detailed event model: follows every operation executed while profiling is enabled.
//
// Data caches and coherence are those of a MemorySystem that the PEs share; TLBs and branch predictor are the PE's own. The
// structures and latencies resemble a Neoverse N1. SIMPLIFIED: there is no pipeline; time advances by one cycle an operation,
// and only to tell whether a line is still on its way. README.md says what else is left out.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "spe/event_model.h"
#include "spe/latency_table.h"
#include "spe/memory_system.h"

namespace vmm::spe {

struct TlbGeometry {
    unsigned sets;  // a power of two
    unsigned ways;
};

/// Sizes and cycles of one PE. Tables are powers of two.
struct DetailedParameters {
    TlbGeometry l1_dtlb{4, 12};
    TlbGeometry l2_dtlb{256, 5};

    unsigned bimodal_counters = 8192;
    unsigned gshare_counters = 16384;
    unsigned history_bits = 12;
    unsigned indirect_targets = 512;
    unsigned return_stack = 16;

    // Load-to-use.
    Cycles l1{4, 0};
    Cycles l2{11, 2};
    Cycles llc{40, 12};
    Cycles peer_core{62, 12};
    Cycles peer_cluster{90, 24};
    Cycles dram{180, 60};
    Cycles device{120, 80};
};

/// Tournament of bimodal and gshare for conditions, a return stack, targets by path and by address for indirect branches.
class BranchUnit {
  public:
    explicit BranchUnit(const DetailedParameters& parameters);

    /// True when the branch was mispredicted; learns from it.
    bool mispredicted(const arch::OpTrace& trace);
    void clear();

  private:
    struct Target {
        u64 pc = 0;
        u64 target = 0;
    };

    bool conditional(const arch::OpTrace& trace);
    bool indirect(const arch::OpTrace& trace);
    void call(u64 return_address);
    bool returns_elsewhere(u64 target);

    // Two-bit counters: 0 and 1 say no, 2 and 3 yes.
    std::vector<u8> bimodal_;
    std::vector<u8> gshare_;
    std::vector<u8> prefer_gshare_;
    std::vector<Target> by_path_;
    std::vector<Target> by_pc_;
    std::vector<u64> returns_;
    std::size_t top_ = 0;    // of returns_, which wraps
    std::size_t depth_ = 0;  // valid entries
    const u64 history_mask_;
    u64 history_ = 0;
    u64 path_ = 0;
};

class DetailedModel final : public EventModel {
  public:
    /// `core` is this PE's number in `memory`, which outlives the model.
    DetailedModel(u8 pmsver, u64 seed, MemorySystem& memory, unsigned core, const DetailedParameters& parameters = {});

    void reset() override;
    bool wants_all() const override { return true; }
    void observe(const arch::OpTrace& trace) override { follow(trace); }
    Sample evaluate(const arch::OpTrace& trace) override;

  private:
    /// What one operation met.
    struct Facts {
        bool mispredicted = false;
        bool tlb_refill = false;  // missed the first-level TLB
        bool tlb_walk = false;
        bool cached = false;      // an access went to the caches: `data` is valid
        bool fetching = false;    // it hit a line that was still on its way, for wait_cycles
        u32 wait_cycles = 0;
        AccessOutcome data;
    };

    /// A line on its way into the L1.
    struct Fill {
        u64 line = 0;
        u64 ready = 0;  // cycle
    };

    Facts follow(const arch::OpTrace& trace);
    void translate(const arch::OpTrace& trace, Facts& facts);
    void access(const arch::OpTrace& trace, Facts& facts);
    void access_line(u64 line, bool exclusive, Facts& facts);
    Cycles memory_cycles(const arch::OpTrace& trace, const Facts& facts) const;
    void memory_events(const arch::OpTrace& trace, const Facts& facts, Sample& sample) const;
    void latencies(const arch::OpTrace& trace, const Facts& facts, Sample& sample);
    const Cycles& origin_cycles(DataOrigin origin) const;

    const u8 pmsver_;
    const DetailedParameters parameters_;
    Rng rng_;
    MemorySystem& memory_;
    const unsigned core_;
    RecencyTable l1_dtlb_;
    RecencyTable l2_dtlb_;
    BranchUnit branches_;
    std::array<Fill, 16> fills_{};
    std::size_t next_fill_ = 0;
    u64 last_ready_ = 0;  // the latest of fills_
    u64 now_ = 0;         // cycles
};

}  // namespace vmm::spe
