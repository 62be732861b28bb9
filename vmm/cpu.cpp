#include "vmm/cpu.h"

#include "arch/mmu.h"
#include "arch/pmu.h"
#include "mm/guest_access.h"
#include "vmm/memory_map.h"

namespace vmm {

Cpu::Cpu(arch::Vcpu& v, const arch::CounterPort& counter, devices::GicV3& gic)
    : vcpu(v),
      timer(counter, gic.ppi(v.index(), kPhysicalTimerIntid), gic.ppi(v.index(), kVirtualTimerIntid)),
      gic_(gic) {
    vcpu.sysregs.add(devices::GenericTimer::rows(), &timer);
    vcpu.sysregs.add(devices::GicCpuInterface::rows(), &gic.cpu_interface(vcpu.index()));
    vcpu.pmu().set_irq(&gic.ppi(vcpu.index(), kPmuIntid));
}

void Cpu::add_spe(const spe::ProfilingConfig& config, unsigned intid, mm::HostMemory* memory) {
    spe = std::make_unique<spe::ProfilingUnit>(vcpu, config, memory);
    spe->set_irq(&gic_.ppi(vcpu.index(), intid));
    spe->attach();
}

void Cpu::add_host_profiler(const spe::HostProfilerConfig& config, spe::TraceBuffer& buffer) {
    host_profiler = std::make_unique<spe::HostProfiler>(vcpu, config, buffer);
    if (spe == nullptr) {
        vcpu.set_observer(host_profiler.get());
        return;
    }
    observers_ = std::make_unique<arch::ObserverPair>(*host_profiler, *spe);
    vcpu.set_observer(observers_.get());
}

void Cpu::begin(PowerState::Entry entry) {
    if (spe != nullptr) {
        spe->reset();
    }
    if (host_profiler != nullptr) {
        host_profiler->reset();
    }
    timer.reset();
    vcpu.reset(entry.pc, entry.x0);
    gic_.reset_cpu_interface(index());
}

bool Cpu::waits_for_event() const {
    constexpr u32 kWfe = 0xD503205F;
    const arch::CpuState& s = vcpu.s;
    const arch::Translation t = vcpu.mmu().translate(s.pc - 4, arch::AccessType::fetch, s.el == 1);
    const u8* host = t.ok ? vcpu.ram().host(t.pa, 4) : nullptr;
    return host != nullptr && mm::load_relaxed<u32>(host) == kWfe;
}

}  // namespace vmm
