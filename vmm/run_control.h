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
    host,          // the main thread wants the vCPUs to pause
};

/// Thread-safe. The first reason since clear() wins.
class RunControl {
  public:
    RunControl() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    /// Vcpu threads leave their loops as soon as they see it (kick them).
    void stop(StopReason reason) {
        StopReason none = StopReason::none;
        reason_.compare_exchange_strong(none, reason);
        const u64 one = 1;
        [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
    }

    bool stopping() const { return reason_.load(std::memory_order_acquire) != StopReason::none; }
    StopReason reason() const { return reason_.load(std::memory_order_acquire); }

    /// Readable once stop() was called.
    int event_fd() const { return event_.get(); }

    /// Before vCPU threads run again.
    void clear() {
        u64 count = 0;
        [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof(count));
        reason_.store(StopReason::none, std::memory_order_release);
    }

  private:
    UniqueFd event_;
    std::atomic<StopReason> reason_{StopReason::none};
};

}  // namespace vmm
