// The Statistical Profiling Unit of one PE: registers, and the chain sampler -> event model -> filter -> encoder -> buffer.
//
// Everything happens on the vCPU's thread, synchronously with the operation: a record is in guest memory and the interrupt
// raised before the next operation executes. So no sample is ever in flight, PMBSR_EL1.COLL is never set unless collisions
// are modelled, and PSB CSYNC has nothing to wait for.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "arch/mmu.h"
#include "arch/op_trace.h"
#include "arch/sysreg.h"
#include "spe/event_model.h"
#include "spe/filter.h"
#include "spe/memory_system.h"
#include "spe/pin_cache.h"
#include "spe/profiling_buffer.h"
#include "spe/sampler.h"
#include "spe/store_times.h"

namespace vmm::spe {

class OwnerRegime;

struct ProfilingConfig {
    u8 pmsver = kSpeV1p2;       // ID_AA64DFR0_EL1.PMSVer, 1..5
    FeatureOptions features{};  // a combination that invalid_features() accepts
    u64 max_buffer_size = 0;    // bytes, as encode_max_buffer_size() accepts them; 0 = no limit
    u64 seed = 0;               // of jitter and modelled variation
    ModelKind model = ModelKind::basic;
    std::shared_ptr<MemorySystem> memory_system = nullptr;  // of the detailed model, one for all PEs; nullptr: its own
};

/// How the host keeps the unit still. The guest's registers read and write as ever.
enum class StopMode : u8 {
    none,
    trap,  // enabling the buffer has no effect: nothing is sampled, written, pinned or reported
    exit,  // as trap, and the vCPU shall not execute while wants_exit()
};

/// Plain numbers, counted since the unit was made.
struct ProfilingStats {
    u64 population = 0;      // operations executed while profiling was enabled
    u64 samples = 0;         // operations sampled
    u64 filtered = 0;        // ... dropped by a filter
    u64 discarded = 0;       // ... kept, in discard mode
    u64 collisions = 0;      // ... operations chosen, but lost to the modelled end of the sample before
    u64 dropped = 0;         // ... lost because the operation itself switched the buffer off
    u64 records = 0;         // records written
    u64 bytes = 0;
    u64 buffer_full = 0;     // management events
    u64 faults = 0;
    u64 too_large = 0;
    u64 ignored_aborts = 0;  // records for addresses without memory
    u64 shortages = 0;       // management events because the host could not pin the buffer
    u64 blackout = 0;        // operations executed with profiling enabled that none of the above knows of
    StoreTimeHistogram store_times{};  // of one record in StoreTimes::kTimedOneIn, host time
    PinCacheStats pins;
};

class ProfilingUnit final : public arch::OpObserver {
  public:
    /// `memory` pins the buffer; nullptr: nothing is pinned. Both outlive the unit.
    ProfilingUnit(arch::Vcpu& vcpu, const ProfilingConfig& config, mm::HostMemory* memory);
    ~ProfilingUnit() override;

    /// PMBIRQ: a level equal to PMBSR_EL1.S.
    void set_irq(arch::IrqLine* line) { buffer_.set_irq(line); }

    /// Adds the registers to the vCPU's bank and becomes its observer. Once, before the first run.
    void attach();

    /// Power-on state: profiling off, registers zero, model empty, pins given back. The counts go on.
    void reset();

    /// Any thread; numbers of one moment need not agree with each other.
    ProfilingStats stats() const;

    /// True while every operation is looked at, not only those to be sampled: what other PEs do in between then shows in the
    /// samples.
    bool follows_all() const;

    /// While the vCPU does not execute. May be called again and again: the last call counts, also after a reset().
    void set_stop(StopMode mode);
    /// Any thread.
    StopMode stop_mode() const { return stop_.load(std::memory_order_relaxed); }
    /// StopMode::exit, and the guest has switched profiling on: buffer enabled and an Exception level selected.
    bool wants_exit() const;
    /// `hook` is called on the vCPU's thread when a register write makes wants_exit() true. Before the first run.
    void set_exit_hook(std::function<void()> hook) { exit_hook_ = std::move(hook); }

    /// What the unit has, version and options considered.
    const Features& features() const { return features_; }

    /// The rows attach() adds, for tests and documentation.
    std::vector<arch::SysregRow> sysreg_rows();

    // arch::OpObserver
    bool armed() const override { return enabled_at_[0] || enabled_at_[1]; }
    u64 ops_until_sample() override;
    void on_ops_executed(u64 count) override;
    void on_sample(const arch::OpTrace& trace) override;

  private:
    /// A count with one writer and any readers.
    class Counter {
      public:
        void add(u64 n) { value_.store(get() + n, std::memory_order_relaxed); }
        u64 get() const { return value_.load(std::memory_order_relaxed); }

      private:
        std::atomic<u64> value_{0};
    };
    struct Counters {
        Counter population, samples, filtered, discarded, collisions, dropped, records, bytes, buffer_full, faults, too_large,
            ignored_aborts, shortages, blackout;
        Counter enables, hits, pending_hits, table_hits, walks, advances, pages_walked, pin_failures, pinned_bytes,
            pin_slowest_ns, pin_slowest_cpu_ns;
    };

    /// The gate of set_stop(): everything but the registers themselves asks here, not the buffer.
    bool buffer_active() const { return stop_mode() == StopMode::none && buffer_.enabled(); }
    bool profiling_enabled(u8 el) const;
    bool profiling_enabled_somewhere() const;

    u64 ahead_of_sampler() const;
    void catch_up();

    /// Follows every write to a register that switches profiling or the buffer.
    void control_written(bool buffer_registers);
    BufferEvent examine_buffer();
    void pin_buffer();
    void follow_pins();
    void follow_state();
    void publish_pin_stats();
    void count_filter_events(const Sample& sample);
    void report(u64 operations);
    void complete(Sample& sample) const;
    void add_optional_facts(Sample& sample, const arch::OpTrace& trace) const;
    void take_sample(const arch::OpTrace& trace);
    void store_record(const Sample& sample);
    bool collides(u8 el);
    void follow_branch(const arch::OpTrace& trace);
    void count_event(BufferEvent event);

    static u64 read_pmsicr(void* self, arch::Vcpu&);
    static void write_pmsicr(void* self, arch::Vcpu&, u64 value);
    static void write_pmsirr(void* self, arch::Vcpu&, u64 value);
    static void write_pmscr(void* self, arch::Vcpu&, u64 value);
    static void write_pmblimitr(void* self, arch::Vcpu&, u64 value);
    static void write_pmbptr(void* self, arch::Vcpu&, u64 value);
    static void write_pmbsr(void* self, arch::Vcpu&, u64 value);

    arch::Vcpu& v_;
    const ProfilingConfig config_;
    const Features features_;
    const RegisterMasks masks_;
    const RecordFormat format_;
    const bool follows_ops_;              // the model wants all operations
    const bool optional_facts_;           // optional features change what samples hold

    Sampler sampler_;
    std::unique_ptr<EventModel> model_;
    ProfilingBuffer buffer_;
    std::unique_ptr<OwnerRegime> regime_;
    std::unique_ptr<PinCache> pins_;  // nullptr: nothing is pinned

    std::atomic<StopMode> stop_{StopMode::none};
    std::function<void()> exit_hook_;

    u64 pmscr_ = kPmscrFixed;
    FilterRegisters filters_;

    // What follows from the registers, by follow_state().
    bool active_ = false;                 // buffer_active()
    bool enabled_at_[2] = {};             // profiling_enabled(), by Exception level

    // Of the engine's current segment, which begins with ops_until_sample(). Places are values of Vcpu::ops_executed().
    bool segment_counts_ = false;         // profiling was enabled when it began
    u64 reported_ = 0;                    // up to here the engine has told what it executed
    u64 sampler_at_ = 0;                  // up to here the sampler has counted: not every report needs it
    u64 sample_at_ = 0;                   // here the sampled operation has executed

    // With previous branch targets: that of the branch taken last. Unknown after operations that were not looked at and
    // after any executed while profiling was disabled.
    std::optional<CodeAddress> last_target_;
    u64 busy_until_ = 0;                  // with collisions: Vcpu::ops_executed() when the last sample is complete

    Counters counters_;
    StoreTimes store_times_;
};

}  // namespace vmm::spe
