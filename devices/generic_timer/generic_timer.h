// The generic timer of one PE: EL1 virtual and physical timers (Arm ARM D11). CNTVOFF is zero: both count alike.
//
// Belongs to the vCPU's thread. The run loop asks next_deadline_count() how far it may run, and calls update() then.
#pragma once

#include <array>
#include <span>

#include "arch/pins.h"
#include "arch/ports.h"
#include "arch/sysreg.h"

namespace vmm::devices {

class GenericTimer {
  public:
    /// INTIDs of the timers' private peripheral interrupts (BSA: PPI 14 and PPI 11).
    static constexpr unsigned kPhysicalIntid = 30;
    static constexpr unsigned kVirtualIntid = 27;
    /// PPIs as the device tree lists them for a timer node: secure physical, non-secure physical, virtual, hypervisor.
    static constexpr std::array<unsigned, 4> kFdtPpis{13, 14, 11, 10};
    static constexpr const char* kCompatible = "arm,armv8-timer";

    enum class Which : u8 { physical, virtual_ };

    /// `physical` and `virtual_line` are driven with the timers' output levels; all references outlive the timer.
    GenericTimer(const arch::CounterPort& counter, arch::IrqLine& physical, arch::IrqLine& virtual_line);

    /// Registers of one vCPU; serve them with the address of its GenericTimer. CNTKCTL_EL1 is the PE's own.
    static std::span<const arch::SysregRow> rows();

    /// Count at which a line will rise next; ~0: never, as things stand.
    u64 next_deadline_count() const { return deadline_; }

    /// Drives the lines by the counter's value now. Cheap when nothing is due.
    void update() {
        if (deadline_ != kNever && counter_.count() >= deadline_) {
            evaluate();
        }
    }

    /// Timers disabled, lines low.
    void reset();

    // ── What the registers do ──────────────────────────────────────────────────────────────────────────────
    u64 read_ctl(Which which) const;
    void write_ctl(Which which, u64 value);
    u64 read_cval(Which which) const { return timer(which).cval; }
    void write_cval(Which which, u64 value);
    u64 read_tval(Which which) const;
    void write_tval(Which which, u64 value);
    u64 count() const { return counter_.count(); }
    u64 frequency() const { return cntfrq_; }
    void set_frequency(u64 value) { cntfrq_ = static_cast<u32>(value); }

    /// Registers by what CNTKCTL_EL1 guards.
    enum class Guard : u8 { physical_counter, virtual_counter, frequency, physical_timer, virtual_timer };
    /// True where an access at EL0 is trapped, given CNTKCTL_EL1.
    static bool el0_trapped(Guard guard, u64 cntkctl);

  private:
    static constexpr u64 kNever = ~u64{0};

    struct Timer {
        bool enable = false;
        bool imask = false;
        u64 cval = 0;
        arch::IrqLine* line = nullptr;
    };

    Timer& timer(Which which) { return timers_[static_cast<unsigned>(which)]; }
    const Timer& timer(Which which) const { return timers_[static_cast<unsigned>(which)]; }
    void evaluate();

    const arch::CounterPort& counter_;
    std::array<Timer, 2> timers_;
    u64 cntfrq_;
    u64 deadline_ = kNever;
};

}  // namespace vmm::devices
