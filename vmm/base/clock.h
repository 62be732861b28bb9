// Time is injected: everything guest-visible derives from one Clock.
#pragma once

#include <atomic>
#include <chrono>

#include "vmm/base/types.h"

namespace vmm {

/// A monotonic clock in nanoseconds since the machine was created, and the wall clock for the RTC. Thread-safe.
class Clock {
  public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    /// Nanoseconds since the machine was created.
    virtual u64 now_ns() const = 0;
    /// Seconds since the Unix epoch.
    virtual u64 wall_seconds() const = 0;
};

/// Follows the host.
class HostClock final : public Clock {
  public:
    u64 now_ns() const override {
        return static_cast<u64>((std::chrono::steady_clock::now() - start_).count());
    }

    u64 wall_seconds() const override {
        return static_cast<u64>(
            std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                .count());
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Moves only when told to: by tests, and by --clock=insn with executed operations. Starts at a fixed wall time so that
/// runs repeat to the byte.
class ManualClock final : public Clock {
  public:
    u64 now_ns() const override { return ns_.load(std::memory_order_relaxed); }
    u64 wall_seconds() const override { return kEpoch + now_ns() / 1'000'000'000; }
    void advance_ns(u64 ns) { ns_.fetch_add(ns, std::memory_order_relaxed); }
    void set_ns(u64 ns) { ns_.store(ns, std::memory_order_relaxed); }

  private:
    static constexpr u64 kEpoch = 1'700'000'000;
    std::atomic<u64> ns_{0};
};

}  // namespace vmm
