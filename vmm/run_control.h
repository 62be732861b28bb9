// How vCPU threads and the main thread tell each other to stop: one flag, one reason, one descriptor to wait
// on.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>

#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// Why the guest stopped executing.
enum class StopReason : u8 {
    none,
    system_off,    // PSCI SYSTEM_OFF
    system_reset,  // PSCI SYSTEM_RESET
    all_cpus_off,  // the last vCPU switched itself off
    console_quit,  // Ctrl-A x
    spe_exit,      // the guest profiles although the host wants to be told (spe::StopMode::exit)
    pin_shortage,  // a profiling buffer cannot be pinned, and the guest is to wait until it can
    host,          // the main thread wants the vCPUs to pause
};

/// Thread-safe. The first reason since take() wins, except that whatever the guest or its user wants goes before a pause.
class RunControl {
  public:
    RunControl() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    /// Vcpu threads leave their loops as soon as they see it (kick them).
    void stop(StopReason reason) {
        StopReason none = StopReason::none;
        if (!reason_.compare_exchange_strong(none, reason) && reason != StopReason::host) {
            StopReason pause = StopReason::host;
            reason_.compare_exchange_strong(pause, reason);
        }
        signal();
    }

    bool stopping() const { return reason_.load(std::memory_order_acquire) != StopReason::none; }

    /// Makes event_fd() readable without stopping anything.
    void notify() { signal(); }

    /// Readable once stop() or notify() was called, until acknowledge().
    int event_fd() const { return event_.get(); }
    /// Before looking at what may have been announced.
    void acknowledge() {
        u64 count = 0;
        [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof(count));
    }

    /// The reason, which is dealt with from now on. Before vCPU threads run again.
    StopReason take() { return reason_.exchange(StopReason::none, std::memory_order_acq_rel); }

  private:
    void signal() {
        const u64 one = 1;
        [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
    }

    UniqueFd event_;
    std::atomic<StopReason> reason_{StopReason::none};
};

}  // namespace vmm
