// Breakpoints and watchpoints that a guest sets in its own debug registers. Arm ARM D2.8 to D2.10.
#pragma once

#include <array>
#include <optional>

#include "arch/cpu_state.h"
#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// MDSCR_EL1.SS: software step.
inline constexpr unsigned kMdscrSs = 0;

/// Debug exceptions other than that of BRK are enabled at Exception level `el` with PSTATE.D = `masked` (D2.4).
bool debug_exceptions_enabled(const CpuState& s, unsigned el, bool masked);

/// The units of one PE. Code and data they watch never run on the fast paths: the page of a breakpoint is executed
/// instruction by instruction, the page of a watchpoint stays out of the first-level TLB. All other pages know nothing of
/// it.
class SelfHostedDebug {
  public:
    static constexpr unsigned kBreakpoints = 6;
    static constexpr unsigned kFirstContextAware = 4;  // breakpoints from here on can match CONTEXTIDR_EL1
    static constexpr unsigned kWatchpoints = 4;

    /// DBGBVR<n>_EL1 and DBGBCR<n>_EL1, or DBGWVR<n>_EL1 and DBGWCR<n>_EL1.
    struct Unit {
        u64 value = 0;
        u64 control = 0;
    };
    std::array<Unit, kBreakpoints> breakpoints;
    std::array<Unit, kWatchpoints> watchpoints;

    /// To be called after a change of the units or of MDSCR_EL1: what follows depends on it.
    void update(const CpuState& s);

    // ── Whether to look closer ─────────────────────────────────────────────────────────────────────────────

    /// An instruction in the page of `pc` may be a breakpoint.
    bool may_break(u64 pc) const { return any_break_ && page_may_break(pc); }
    /// An access to the page of `va` may be watched.
    bool may_watch(u64 va) const { return any_watch_ && page_may_be_watched(va); }
    bool breaks_anything() const { return any_break_; }
    bool watches_anything() const { return any_watch_; }

    // ── The manual's BreakpointMatch and WatchpointMatch, debug exceptions being enabled ───────────────────

    /// The instruction at `pc` is not to be executed: a Breakpoint exception comes in its place.
    bool breaks_at(const CpuState& s, u64 pc) const;

    /// What an access does, as watchpoints see it.
    struct Access {
        u64 va;
        u64 size;  // bytes
        bool reads = false;
        bool writes = false;
        bool unprivileged = false;  // at EL0, or by an instruction that accesses as EL0 does
    };
    struct Hit {
        bool by_write;
        u64 far;  // FAR_EL1: the first byte of the access in the aligned 64 bytes around one that is watched (D2.9.8.2)
    };
    /// An access that both reads and writes is hit by its read if it can be.
    std::optional<Hit> watches(const CpuState& s, const Access& access) const;

  private:
    static bool enabled(const Unit& unit) { return bit(unit.control, 0); }
    bool page_may_break(u64 pc) const;
    bool page_may_be_watched(u64 va) const;
    bool breakpoint_matches(const CpuState& s, unsigned n, u64 pc) const;
    bool linked_context_matches(const CpuState& s, u64 control) const;
    std::optional<Hit> hit_by(const CpuState& s, const Access& access, bool is_write) const;

    bool any_break_ = false;  // of the enabled units, while MDSCR_EL1.MDE is set
    bool any_watch_ = false;
};

}  // namespace vmm::arch
