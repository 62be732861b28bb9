// PMUv3 of one PE. Cycles are defined as executed operations, so both fixed events are exact. Arm ARM D13.
#pragma once

#include <array>
#include <span>

#include "arch/pins.h"
#include "arch/sysreg.h"
#include "vmm/base/types.h"

namespace vmm::arch {

class Pmu {
  public:
    static constexpr unsigned kCounters = 6;

    explicit Pmu(Vcpu& vcpu);

    /// The overflow interrupt (level); nullptr: not connected.
    void set_irq(IrqLine* line) { irq_ = line; }

    void reset();

    /// `n` occurrences of `event` (PMEVTYPER numbering) at the current Exception level. Not for cycles and instructions.
    void count(u16 event, u64 n) {
        if (active_) [[unlikely]] {
            count_slow(event, n);
        }
    }

    /// Brings the counters up to date with the operations executed so far, at the current Exception level, and drives
    /// the overflow interrupt. The engine calls it at the end of a slice.
    void sync();

    /// As sync(), before PSTATE.EL changes.
    void before_el_change() {
        if (active_) [[unlikely]] {
            sync();
        }
    }

    /// Operations from now until a counter overflows with its interrupt enabled, at the current Exception level; ~0: none
    /// can. The engine limits its budget to this and calls sync() then.
    u64 ops_until_overflow() const;

  private:
    void count_slow(u16 event, u64 n);

    [[maybe_unused]] Vcpu& v_;
    [[maybe_unused]] IrqLine* irq_ = nullptr;
    bool active_ = false;  // some counter is enabled
};

}  // namespace vmm::arch
