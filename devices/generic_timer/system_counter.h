// The system counter: the machine's clock in counter ticks.
#pragma once

#include "arch/ports.h"
#include "vmm/base/clock.h"

namespace vmm::devices {

/// Counts at `frequency` Hz from the creation of the machine. Thread-safe.
class SystemCounter final : public arch::CounterPort {
  public:
    static constexpr u64 kDefaultFrequency = 1'000'000'000;

    /// `clock` outlives the counter. 1 Hz <= frequency <= 4 GHz.
    explicit SystemCounter(const Clock& clock, u64 frequency = kDefaultFrequency);

    u64 count() const override { return to_count(clock_.now_ns()); }
    u64 frequency() const override { return frequency_; }

    /// Ticks in `ns` nanoseconds, rounded down.
    u64 to_count(u64 ns) const {
        if (frequency_ == kNsPerSecond) [[likely]] {
            return ns;
        }
        return ns / kNsPerSecond * frequency_ + ns % kNsPerSecond * frequency_ / kNsPerSecond;
    }

    /// Nanoseconds from now until the counter reaches `count`, rounded up; 0 where it has, ~0 for a time so far away that
    /// it cannot be told.
    u64 ns_until(u64 count) const;

  private:
    static constexpr u64 kNsPerSecond = 1'000'000'000;

    const Clock& clock_;
    const u64 frequency_;
};

}  // namespace vmm::devices
