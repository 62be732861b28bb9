// The VMM's own profiler of one vCPU: samples it as a profiling unit would, at EL0 and EL1 and all the time,
// and gives the records to the host. The guest sees nothing of it: it has no registers, and no record touches
// guest memory.
#pragma once

#include <memory>

#include "arch/op_trace.h"
#include "arch/vcpu.h"
#include "spe/make_model.h"
#include "spe/record_encoder.h"
#include "spe/sampler.h"
#include "spe/trace_buffer.h"

namespace vmm::spe {

struct HostProfilerConfig {
    u64 period =
        4096;  // mean distance of samples in operations: a multiple of 256, kMinHostPeriod..kMaxHostPeriod
    u64 seed = 0;  // of jitter and modelled variation
    ModelKind model = ModelKind::basic;
    std::shared_ptr<MemorySystem> memory_system = nullptr;  // of the detailed model, one for all PEs
};

inline constexpr u64 kMinHostPeriod = 256;
inline constexpr u64 kMaxHostPeriod = u64{0xFFFFFF} << 8;  // PMSIRR_EL1.INTERVAL
inline constexpr u8 kHostPmsver = kSpeV1p2;                // whose events and packets the records have

class HostProfiler final : public arch::OpObserver {
  public:
    /// `buffer` takes the records. Both outlive the profiler. The caller makes it the vCPU's observer.
    HostProfiler(arch::Vcpu& vcpu, const HostProfilerConfig& config, TraceBuffer& buffer);

    /// The vCPU starts anew: the model forgets. Sampling goes on.
    void reset() { model_->reset(); }

    u64 samples() const { return samples_; }

    // arch::OpObserver
    /// It counts alike at every Exception level, so the engine need not look at changes.
    bool armed() const override { return false; }
    u64 ops_until_sample() override;
    void on_ops_executed(u64 count) override { sampler_.advance(count); }
    void on_sample(const arch::OpTrace& trace) override;

  private:
    void take_sample(const arch::OpTrace& trace);
    std::optional<CodePlace> place_of(const arch::OpTrace& trace) const;

    arch::Vcpu& v_;
    const std::shared_ptr<MemorySystem> memory_system_;
    Sampler sampler_;
    std::unique_ptr<EventModel> model_;
    TraceBuffer& buffer_;
    u64 samples_ = 0;
};

}  // namespace vmm::spe
