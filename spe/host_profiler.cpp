#include "spe/host_profiler.h"

#include "arch/mmu.h"
#include "spe/op_type.h"
#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::spe {

namespace {

constexpr RecordFormat kFormat{.counter_bits = 12, .event_bytes = 2, .data_source_bytes = 1};

}  // namespace

/// Randomised so that loops do not fall into step with it, by an extra phase that leaves the mean alone.
HostProfiler::HostProfiler(arch::Vcpu& vcpu, const HostProfilerConfig& config, TraceBuffer& buffer)
    : v_(vcpu),
      memory_system_(config.memory_system),
      sampler_(config.seed * 2 + 1, true),
      model_(make_model(config.model, kHostPmsver, config.seed * 2 + 2, memory_system_.get(), vcpu.index())),
      buffer_(buffer) {
    VMM_CHECK(config.period >= kMinHostPeriod && config.period <= kMaxHostPeriod && config.period % 256 == 0);
    sampler_.set_reload(config.period | pmsirr::Rnd::kMask);
}

u64 HostProfiler::ops_until_sample() {
    return model_->wants_all() ? 1 : sampler_.ops_until_sample();
}

void HostProfiler::on_sample(const arch::OpTrace& trace) {
    const bool sampled = sampler_.ops_until_sample() == 1;
    sampler_.advance(1);
    if (sampled) {
        take_sample(trace);
    } else {
        model_->observe(trace);
    }
}

/// Where code of the upper half is, as long as the operation has not left it: tells where a kernel was linked
/// to.
std::optional<CodePlace> HostProfiler::place_of(const arch::OpTrace& trace) const {
    if (trace.el != 1 || v_.s.el != 1 || trace.exception || bit(trace.pc, 55) == 0) {
        return std::nullopt;
    }
    const arch::Translation t = v_.mmu().translate(trace.pc, arch::AccessType::fetch, true);
    return t.ok ? std::optional(CodePlace{trace.pc, t.pa}) : std::nullopt;
}

void HostProfiler::take_sample(const arch::OpTrace& trace) {
    ++samples_;
    Sample sample = model_->evaluate(trace);
    sample.context_el1 = static_cast<u32>(v_.s.contextidr_el1);
    sample.timestamp = v_.config.counter->count();
    buffer_.append(encode(sample, kFormat), {*sample.timestamp, *sample.context_el1, place_of(trace)});
}

}  // namespace vmm::spe
