// Interrupt inputs of a PE, and the wires that devices hold.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "vmm/base/types.h"

namespace vmm::arch {

/// Inputs of one PE, set from any thread. `attention` is the word the run loop polls at every block: its sign
/// bit is set whenever the loop has something to look at; the loop clears it before looking.
class Pins {
  public:
    /// Level of the IRQ input (from the GIC).
    void set_irq(bool level) {
        if (irq_.exchange(level, std::memory_order_acq_rel) != level && level) {
            kick();
        }
    }
    bool irq() const { return irq_.load(std::memory_order_acquire); }

    /// Makes the run loop look up soon and ends a WFI.
    void kick() {
        attention_.store(kAttention, std::memory_order_seq_cst);
        if (parked_.load(std::memory_order_seq_cst)) {
            const std::lock_guard lock(mutex_);
            wake_.notify_all();
        }
    }

    /// SEV of another PE: sets the Event Register, as far as it is set from outside.
    void send_event() {
        event_.store(true, std::memory_order_release);
        kick();
    }
    /// True when send_event() was called since the last take_event().
    bool take_event() { return event_.load(std::memory_order_relaxed) && event_.exchange(false, std::memory_order_acq_rel); }

    /// True when kick() was called since the last take_attention().
    bool attention() const { return attention_.load(std::memory_order_seq_cst) != 0; }
    bool take_attention() { return attention() && attention_.exchange(0, std::memory_order_seq_cst) != 0; }

    /// Blocks until kick() or for `ns` nanoseconds (host time); returns at once when attention is already
    /// set.
    void park(u64 ns) {
        std::unique_lock lock(mutex_);
        // Pairs with kick(): either it sees parked_, or the predicate sees attention_.
        parked_.store(true, std::memory_order_seq_cst);
        wake_.wait_for(lock, std::chrono::nanoseconds(ns), [this] { return attention(); });
        parked_.store(false, std::memory_order_seq_cst);
    }

    /// For the run loop's poll.
    const std::atomic<s64>& attention_word() const { return attention_; }
    const std::atomic<bool>& irq_level() const { return irq_; }

  private:
    static constexpr s64 kAttention = INT64_MIN;

    std::atomic<s64> attention_{0};
    std::atomic<bool> irq_{false};
    std::atomic<bool> event_{false};
    std::atomic<bool> parked_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
};

/// A level-sensitive wire into an interrupt controller. Devices, timers and the profiling unit hold the near
/// end.
class IrqLine {
  public:
    IrqLine() = default;
    IrqLine(const IrqLine&) = delete;
    IrqLine& operator=(const IrqLine&) = delete;
    virtual ~IrqLine() = default;

    /// Drives the wire. Idempotent; any thread.
    virtual void set(bool level) = 0;
};

}  // namespace vmm::arch
