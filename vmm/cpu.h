// One virtual CPU with the parts that belong to it alone: timer, profiling unit, power state.
#pragma once

#include <atomic>
#include <memory>

#include "arch/observer_pair.h"
#include "arch/vcpu.h"
#include "devices/generic_timer/generic_timer.h"
#include "devices/gicv3/gicv3.h"
#include "spe/host_profiler.h"
#include "spe/profiling_unit.h"
#include "vmm/power_state.h"

namespace vmm {

class Cpu {
  public:
    /// Connects timer and PMU interrupts and the system registers of timer and GIC. `v`, `counter` and `gic`
    /// outlive it.
    Cpu(arch::Vcpu& v, const arch::CounterPort& counter, devices::GicV3& gic);

    /// Adds a profiling unit that interrupts by the private interrupt `intid`. `memory` outlives the Cpu.
    void add_spe(const spe::ProfilingConfig& config, unsigned intid, mm::HostMemory* memory);

    /// Adds the host's profiler, after the guest's unit if there is one. `buffer` outlives the Cpu.
    void add_host_profiler(const spe::HostProfilerConfig& config, spe::TraceBuffer& buffer);

    unsigned index() const { return vcpu.index(); }

    /// Power-on state, ready to execute from `entry`. On the vCPU's thread, or while no thread runs it.
    void begin(PowerState::Entry entry);

    /// To be called on the vCPU's thread after every run: what operations() says from now on.
    void publish_operations() { operations_.store(vcpu.ops_executed(), std::memory_order_relaxed); }
    /// Operations executed; any thread.
    u64 operations() const { return operations_.load(std::memory_order_relaxed); }

    /// After RunResult::wait: true when the instruction was WFE, not WFI. The events that end a WFE are not
    /// all seen, so such a wait must be short.
    bool waits_for_event() const;

    arch::Vcpu& vcpu;
    devices::GenericTimer timer;
    std::unique_ptr<spe::ProfilingUnit> spe;  // nullptr: none
    std::unique_ptr<spe::HostProfiler> host_profiler;  // nullptr: none
    PowerState power;
    bool held = false;  // by a debugger: does not execute. Changed while no vCPU does.

  private:
    devices::GicV3& gic_;
    std::unique_ptr<arch::ObserverPair> observers_;  // where there are both
    std::atomic<u64> operations_{0};
};

}  // namespace vmm
