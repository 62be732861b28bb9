// Who gives vCPUs host threads. Two ways: a thread for each (vcpu_thread.cpp), or one thread for all in a
// fixed order (insn_scheduler.cpp).
#pragma once

#include <chrono>
#include <memory>
#include <span>

#include "devices/generic_timer/system_counter.h"
#include "vmm/cpu.h"
#include "vmm/insn_clock.h"
#include "vmm/run_control.h"
#include "vmm/sandbox.h"

namespace vmm {

class Executor {
  public:
    Executor() = default;
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;
    virtual ~Executor() = default;

    /// Runs the vCPUs on, from wherever they are, until control.stopping().
    virtual void start() = 0;

    /// Makes threads look at control.stopping(); any thread.
    virtual void kick() = 0;

    /// After control.stop() and kick(): waits until no vCPU executes and ends the threads. False where one
    /// does not come back in time. Does nothing where no thread runs.
    virtual bool join(std::chrono::milliseconds timeout) = 0;
};

/// Sees every slice of a guest whose vCPUs take turns (make_insn_executor()). On the vCPUs' thread.
class SliceObserver {
  public:
    SliceObserver() = default;
    SliceObserver(const SliceObserver&) = delete;
    SliceObserver& operator=(const SliceObserver&) = delete;
    virtual ~SliceObserver() = default;

    /// How many operations the coming slice may have, at most `operations`; 0: none now, because the guest is to stop.
    virtual u64 before_slice(arch::Vcpu& vcpu, u64 operations, const RunControl& control) = 0;
    virtual void after_slice(arch::Vcpu& vcpu, arch::RunResult result, const RunControl& control) = 0;
};

/// What both executors work with; all outlive the executor.
struct ExecutorContext {
    std::span<const std::unique_ptr<Cpu>> cpus;
    RunControl* control = nullptr;
    const devices::SystemCounter* counter = nullptr;
    ThreadRole role = ThreadRole::vcpu;  // of the threads that execute guest code
    SliceObserver* slices = nullptr;  // nullptr: nobody looks. Only where vCPUs take turns
};

/// One host thread per vCPU, guest time following the host.
std::unique_ptr<Executor> make_threaded_executor(const ExecutorContext& context);

/// One host thread, vCPUs in turn, guest time following the operations executed. `clock` is what the counter
/// counts.
std::unique_ptr<Executor> make_insn_executor(const ExecutorContext& context, InsnClock& clock);

}  // namespace vmm
