// Events, latencies and the data source of a sampled operation: what a model of them must do, and the basic model.
//
// SIMPLIFIED: an interpreter has no caches and no pipeline. What the operation itself shows is exact (exception, condition
// failed, table walk, misalignment). Cache levels, cycles and branch prediction are modelled: here from sampled operations
// alone, in detailed_model.h from all of them; README.md says how, and what the numbers can and cannot be used for.
#pragma once

#include <array>
#include <vector>

#include "arch/op_trace.h"
#include "spe/sample.h"
#include "spe/spe_words.h"
#include "vmm/base/rng.h"
#include "vmm/base/types.h"

namespace vmm::spe {

enum class ModelKind : u8 {
    basic,     // looks at sampled operations only: costs the others nothing
    detailed,  // follows every operation through caches, TLBs, branch predictor and coherence: slow
};

/// Architected events that no operation shows, whatever the version: a guest cannot filter by them. One socket has no
/// remote memory; whom a line comes from is not known to the basic model.
constexpr u64 never_produced(ModelKind kind) {
    constexpr u64 sharing = event::kHitModified | event::kRecentlyFetched | event::kSnooped;
    return event::kRemote | (kind == ModelKind::basic ? sharing : 0);
}

/// One PE's model. All calls come from the vCPU's own thread.
class EventModel {
  public:
    EventModel() = default;
    EventModel(const EventModel&) = delete;
    EventModel& operator=(const EventModel&) = delete;
    virtual ~EventModel() = default;

    /// Forgets everything learned.
    virtual void reset() = 0;

    /// An operation that is not sampled has executed while profiling was enabled. Called only if wants_all().
    virtual void observe(const arch::OpTrace&) {}
    virtual bool wants_all() const { return false; }

    /// The sampled operation: fills type, PC, target, VA, PA, events, latencies and data source. Context and timestamp are
    /// left out; PA is given whenever it is known.
    virtual Sample evaluate(const arch::OpTrace& trace) = 0;
};

/// Where a data access was satisfied.
enum class MemoryLevel : u8 { l1, l2, llc, dram, device };

/// Tags of the most recent keys: set associative, first in first out.
class RecencyTable {
  public:
    /// `sets` is a power of two.
    RecencyTable(unsigned sets, unsigned ways)
        : ways_(ways), set_mask_(sets - 1), tags_(std::size_t{sets} * ways), next_(sets) {}

    /// True when `key` is present; inserts it otherwise.
    bool touch(u64 key) {
        const u64 set = (key ^ key >> 11) & set_mask_;
        u64* const way = &tags_[set * ways_];
        for (unsigned i = 0; i < ways_; ++i) {
            if (way[i] == key + 1) {
                return true;
            }
        }
        way[next_[set]] = key + 1;
        next_[set] = static_cast<u8>((next_[set] + 1u) % ways_);
        return false;
    }
    void clear();

  private:
    u64 ways_;
    u64 set_mask_;
    std::vector<u64> tags_;  // key + 1; 0 = empty
    std::vector<u8> next_;   // way to replace, per set
};

/// Two-bit counters for conditional branches and last targets for indirect ones.
class BranchPredictor {
  public:
    /// True when the branch was mispredicted; learns from it.
    bool mispredicted(const arch::OpTrace& trace);
    void clear();

  private:
    static constexpr unsigned kCounters = 1024;
    static constexpr unsigned kTargets = 256;

    bool conditional(const arch::OpTrace& trace);
    bool indirect(const arch::OpTrace& trace);

    struct Target {
        u64 pc = 0;
        u64 target = 0;
    };
    std::array<u8, kCounters> counters_{};  // 0 = not seen; else 1..4, from strongly not taken to strongly taken
    std::array<Target, kTargets> targets_{};
};

/// State of one PE's basic model.
class BasicModel final : public EventModel {
  public:
    /// `pmsver` decides which events exist; `seed` makes the variation repeatable.
    BasicModel(u8 pmsver, u64 seed);

    void reset() override;
    Sample evaluate(const arch::OpTrace& trace) override;

  private:
    MemoryLevel locate(const arch::OpTrace& trace);
    MemoryLevel memory_events(const arch::OpTrace& trace, Sample& sample);
    void latencies(const arch::OpTrace& trace, MemoryLevel level, Sample& sample);
    u32 vary(u32 base, u32 spread) { return base + static_cast<u32>(rng_.below(u64{spread} + 1)); }

    const u8 pmsver_;
    Rng rng_;
    RecencyTable l1_lines_;
    RecencyTable l2_pages_;
    RecencyTable llc_pages_;
    BranchPredictor predictor_;
};

}  // namespace vmm::spe
