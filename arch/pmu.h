// PMUv3 of one PE, version p1 or p7 as the CPU model says: p7 has 64-bit event counters (PMCR_EL0.LP) and freezes them on
// overflow (FZO) and, together with SPE, on a profiling event (FZS). A cycle is defined as one executed operation, so all implemented events are exact. Arm ARM D13.
#pragma once

#include <array>

#include "arch/pins.h"
#include "arch/sysreg.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// Event numbers. Arm ARM D13.12.
namespace pmu_event {
inline constexpr u16 kSwIncr = 0x00;
inline constexpr u16 kInstRetired = 0x08;
inline constexpr u16 kExcTaken = 0x09;
inline constexpr u16 kExcReturn = 0x0A;
inline constexpr u16 kCidWriteRetired = 0x0B;
inline constexpr u16 kCpuCycles = 0x11;
inline constexpr u16 kInstSpec = 0x1B;
inline constexpr u16 kTtbrWriteRetired = 0x1C;
inline constexpr u16 kChain = 0x1E;
inline constexpr u16 kStallFrontend = 0x23;  // never happens
inline constexpr u16 kStallBackend = 0x24;   // never happens
inline constexpr u16 kSamplePop = 0x4000;
inline constexpr u16 kSampleFeed = 0x4001;
inline constexpr u16 kSampleFiltrate = 0x4002;
inline constexpr u16 kSampleCollision = 0x4003;
}  // namespace pmu_event

class Pmu {
  public:
    static constexpr unsigned kCounters = 6;          // PMCR_EL0.N
    static constexpr unsigned kCycleCounter = 31;     // its bit in PMCNTENSET_EL0 and the like

    explicit Pmu(Vcpu& vcpu) : v_(vcpu) {}
    Pmu(const Pmu&) = delete;
    Pmu& operator=(const Pmu&) = delete;

    /// Adds the PMU's registers.
    void add_sysregs(SysregBank& bank);

    /// The overflow interrupt (level); nullptr: not connected.
    void set_irq(IrqLine* line) { irq_ = line; }

    /// Resets the registers and forgets operations not yet counted.
    void reset();

    /// Some counter is counting: Exception level changes and overflow matter.
    bool active() const { return active_; }

    /// `n` occurrences of `event` at the current Exception level. Not for events that count operations.
    void count(u16 event, u64 n) {
        if (active_) [[unlikely]] {
            count_here(event, n);
        }
    }
    /// As count(), of an operation that was executed at Exception level `el`, which it may have left.
    void count_at(u8 el, u16 event, u64 n) {
        if (active_) [[unlikely]] {
            count_event(el, event, n);
        }
    }

    /// Brings the counters up to date with the operations executed so far, all since the last call having been executed
    /// at the current Exception level, and drives the overflow interrupt. The engine calls it at the end of a slice.
    void sync();

    /// PMBLIMITR_EL1.{E, PMFZ} and PMBSR_EL1.S are set: with PMCR_EL0.FZS the event counters stand still, and with
    /// PMCR_EL0.DP the cycle counter (has_dpfzs()).
    void set_spe_stopped(bool stopped);
    /// Operations at EL0, at EL1 are SPE's sample population from now on, which SAMPLE_POP counts.
    void set_profiled(bool el0, bool el1);
    /// PMCR_EL0.FZS exists: PMUv3p7 with SPE version 1.2 or later.
    bool has_freeze_on_spe() const;
    /// ID_AA64DFR1_EL1.DPFZS: PMCR_EL0.DP stops the cycle counter, too, when FZS freezes the others.
    bool has_dpfzs() const;

    /// As sync(), to be called before PSTATE.EL changes.
    void before_el_change() {
        if (active_) [[unlikely]] {
            sync();
        }
    }

    /// Operations from now until a counter overflows at the current Exception level with its interrupt (or the counter
    /// chained to it) enabled; ~0: none can. The engine limits its budget to this and calls sync() then.
    u64 ops_until_overflow() const;

    /// ops_until_overflow() differs between Exception levels: the engine must look again when the level changes.
    bool overflow_depends_on_el() const;

    // ── Registers, for the rows in pmu_sysregs.cpp ─────────────────────────────────────────────────────────

    u64 pmcr() const;
    void set_pmcr(u64 value);
    u64 enabled() const { return enabled_; }
    void set_enabled(u64 mask);
    u64 overflowed() const { return overflowed_; }
    void set_overflowed(u64 mask);
    u64 interrupts() const { return interrupts_; }
    void set_interrupts(u64 mask);
    u64 event_type(unsigned n) const { return types_[n]; }
    void set_event_type(unsigned n, u64 value);
    u64 counter(unsigned n) const { return counters_[n]; }
    void set_counter(unsigned n, u64 value);
    u64 cycle_filter() const { return cycle_filter_; }
    void set_cycle_filter(u64 value);
    u64 cycles() const { return cycles_; }
    void set_cycles(u64 value);
    u64 selected() const { return selected_; }
    void set_selected(u64 value) { selected_ = value & 0x1F; }
    u64 user_enable() const { return user_enable_; }
    void set_user_enable(u64 value) { user_enable_ = value & 0xF; }
    /// PMCEID0_EL0 (events 0x00.. and 0x4000..) and PMCEID1_EL0.
    u64 implemented_events(unsigned word) const;
    void software_increment(u64 mask);

  private:
    bool counts(unsigned n) const;          // enabled and not frozen
    bool frozen_by_spe() const;             // FZS holds the event counters
    bool frozen_by_overflow() const;        // FZO does
    bool wide() const;                      // event counters have 64 bits
    bool overflows_at_64() const;           // ... and overflow there
    u64 writable_controls() const;          // of PMCR_EL0
    bool counts_operations(unsigned n) const;  // at the current Exception level, each of them
    bool filtered(u64 filter, u8 el) const; // not counted at that Exception level
    bool chains(unsigned n) const;          // counter n + 1 counts the overflows of counter n
    void add(unsigned n, u64 amount);
    void count_event(u8 el, u16 event, u64 n);
    void count_here(u16 event, u64 n);
    void update();                          // after any register write: active_, the interrupt, the engine's budget
    void drive_irq();

    Vcpu& v_;
    IrqLine* irq_ = nullptr;
    bool active_ = false;
    bool irq_level_ = false;
    bool global_enable_ = false;            // PMCR_EL0.E
    bool spe_stopped_ = false;
    std::array<bool, 2> profiled_{};        // by Exception level
    u64 control_ = 0;                       // PMCR_EL0.{FZS, FZO, LP, DP, X}
    u64 enabled_ = 0;
    u64 overflowed_ = 0;
    u64 interrupts_ = 0;
    u64 selected_ = 0;
    u64 user_enable_ = 0;
    u64 cycle_filter_ = 0;
    u64 cycles_ = 0;
    std::array<u64, kCounters> types_{};
    std::array<u64, kCounters> counters_{};
    u64 accounted_ = 0;                     // v_.ops_executed() at the last sync
};

}  // namespace vmm::arch
