// What a PE needs from the layers above it: narrow interfaces that they implement and the machine connects.
#pragma once

#include "arch/exec.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// Guest-physical accesses that are not RAM.
class MmioPort {
  public:
    MmioPort() = default;
    MmioPort(const MmioPort&) = delete;
    MmioPort& operator=(const MmioPort&) = delete;
    virtual ~MmioPort() = default;

    /// `size` is 1, 2, 4 or 8 bytes. False: nothing answers there (the PE takes a synchronous external abort).
    virtual bool read(u64 pa, unsigned size, u64& value, unsigned cpu) = 0;
    virtual bool write(u64 pa, unsigned size, u64 value, unsigned cpu) = 0;
};

/// HVC and SMC calls (PSCI).
class FirmwarePort {
  public:
    FirmwarePort() = default;
    FirmwarePort(const FirmwarePort&) = delete;
    FirmwarePort& operator=(const FirmwarePort&) = delete;
    virtual ~FirmwarePort() = default;

    /// SMCCC call: arguments in X0..X7 of `v`, results written to X0..X3. Returns Exec::next, or Exec::stop where the
    /// run loop must return to its caller.
    virtual Exec call(Vcpu& v) = 0;
};

/// The system counter, as the generic timer and SPE see it.
class CounterPort {
  public:
    CounterPort() = default;
    CounterPort(const CounterPort&) = delete;
    CounterPort& operator=(const CounterPort&) = delete;
    virtual ~CounterPort() = default;

    /// Value of CNTPCT_EL0 now.
    virtual u64 count() const = 0;
    /// CNTFRQ_EL0, Hz.
    virtual u64 frequency() const = 0;
};

}  // namespace vmm::arch
