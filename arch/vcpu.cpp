#include "arch/vcpu.h"

#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "arch/mmu.h"
#include "arch/pmu.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

VcpuConfig with_defaults(VcpuConfig config) {
    if (config.model == nullptr) {
        config.model = &cpu_models().front();
    }
    return config;
}

}  // namespace

Vcpu::Vcpu(const VcpuConfig& given)
    : config(with_defaults(given)),
      mmu_(std::make_unique<Mmu>(*this)),
      pmu_(std::make_unique<Pmu>(*this)),
      engine_(std::make_unique<Engine>(*this)) {
    add_pe_sysregs(*this);
    if (config.interconnect != nullptr) {
        config.interconnect->attach(this);
    }
    reset(0, 0);
}

Vcpu::~Vcpu() = default;

void Vcpu::reset(u64 entry, u64 x0) {
    s = CpuState{};
    sysregs.reset();
    debug.update(s);
    s.pc = entry;
    s.x[0] = x0;
    monitor = {};
    stepped = Stepped::nothing;
    event_register = false;
    (void)pins.take_event();
    pmu_->reset();
    mmu_->tlbi(TlbiOp::all, 0, 0);
    engine_->invalidate_all_code();
    context_changed();
}

void Vcpu::debug_registers_changed() {
    const bool had_breakpoints = debug.breaks_anything();
    const bool had_watchpoints = debug.watches_anything();
    debug.update(s);
    if (had_breakpoints || debug.breaks_anything()) {
        engine_->invalidate_links();
    }
    if (had_watchpoints || debug.watches_anything()) {
        tlb_.clear();
    }
}

}  // namespace vmm::arch
