#include "arch/self_hosted_debug.h"

#include <algorithm>

#include "arch/tlb.h"

namespace vmm::arch {

namespace {

// MDSCR_EL1.
constexpr unsigned kMdscrKde = 13;
constexpr unsigned kMdscrMde = 15;

/// DBGBCR<n>_EL1.BT, of the types there are without EL2.
enum class Type : u8 {
    address = 0b0000,
    address_linked = 0b0001,
    context = 0b0010,
    context_linked = 0b0011,
};

Type type_of(const SelfHostedDebug::Unit& breakpoint) {
    return static_cast<Type>(bits(breakpoint.control, 23, 20));
}

/// Bits [55:0]: those above repeat bit 55 or are tags. An address that is neither has faulted before it is compared.
u64 distance(u64 from, u64 to) {
    return bits(to - from, 55, 0);
}

/// The bytes a watchpoint looks at; of them, those of its byte mask.
struct Watched {
    u64 va;
    u64 size;
    u64 byte_mask;  // for sizes up to 8
};

Watched watched_by(const SelfHostedDebug::Unit& watchpoint) {
    const u64 mask = bits(watchpoint.control, 28, 24);
    if (mask >= 3) {  // 1 and 2 are reserved, and behave as 0
        return {align_down(watchpoint.value, u64{1} << mask), u64{1} << mask, 0xFF};
    }
    const u64 bas = bits(watchpoint.control, 12, 5);
    return bit(watchpoint.value, 2) ? Watched{align_down(watchpoint.value, 4), 4, bas & 0xF}
                                    : Watched{align_down(watchpoint.value, 8), 8, bas};
}

bool overlap(u64 va, u64 size, u64 other_va, u64 other_size) {
    return distance(other_va, va) < other_size || distance(va, other_va) < size;
}

/// Where in an access of `size` bytes at `va` its first watched byte is; nullopt: it touches none.
std::optional<u64> first_touched(u64 va, u64 size, const Watched& watched) {
    if (watched.size > 8) {
        const u64 offset = distance(watched.va, va) < watched.size ? 0 : distance(va, watched.va);
        return offset < size ? std::optional(offset) : std::nullopt;
    }
    for (u64 i = 0; i < watched.size; ++i) {
        const u64 offset = distance(va, watched.va + i);
        if (bit(watched.byte_mask, static_cast<unsigned>(i)) && offset < size) {
            return offset;
        }
    }
    return std::nullopt;
}

/// DBGBCR<n>_EL1.{HMC, SSC, PMC} and DBGWCR<n>_EL1.{HMC, SSC, PAC}: without EL2 and EL3, HMC and SSC other than zero are
/// reserved, and such a unit is disabled.
bool level_matches(u64 control, bool as_el0) {
    return bits(control, 15, 13) == 0 && bit(control, as_el0 ? 2 : 1);
}

/// The OS Double Lock is locked: OSDLR_EL1.DLK is set and DBGPRCR_EL1.CORENPDRQ is not.
bool double_lock_status(const CpuState& s) {
    return bit(s.osdlr_el1, 0) && !bit(s.dbgprcr_el1, 0);
}

}  // namespace

bool debug_exceptions_enabled(const CpuState& s, unsigned el, bool masked) {
    return s.oslar_oslk == 0 && !double_lock_status(s) && (el == 0 || (bit(s.mdscr_el1, kMdscrKde) && !masked));
}

void SelfHostedDebug::update(const CpuState& s) {
    const bool on = bit(s.mdscr_el1, kMdscrMde);
    any_break_ = on && std::ranges::any_of(breakpoints, enabled);
    any_watch_ = on && std::ranges::any_of(watchpoints, enabled);
}

bool SelfHostedDebug::page_may_break(u64 pc) const {
    return std::ranges::any_of(breakpoints, [pc](const Unit& unit) {
        const bool in_page = distance(unit.value & kPageMask, pc) < kPageSize;
        return enabled(unit) && (in_page || type_of(unit) == Type::context);
    });
}

bool SelfHostedDebug::page_may_be_watched(u64 va) const {
    return std::ranges::any_of(watchpoints, [page = va & kPageMask](const Unit& unit) {
        const Watched watched = watched_by(unit);
        return enabled(unit) && overlap(page, kPageSize, watched.va, watched.size);
    });
}

/// The breakpoint that `control` of another unit links to compares CONTEXTIDR_EL1, and finds it equal.
bool SelfHostedDebug::linked_context_matches(const CpuState& s, u64 control) const {
    const u64 n = bits(control, 19, 16);
    if (n < kFirstContextAware || n >= kBreakpoints) {
        return false;
    }
    const Unit& linked = breakpoints[n];
    return enabled(linked) && type_of(linked) == Type::context_linked &&
           bits(s.contextidr_el1, 31, 0) == bits(linked.value, 31, 0);
}

bool SelfHostedDebug::breakpoint_matches(const CpuState& s, unsigned n, u64 pc) const {
    const Unit& unit = breakpoints[n];
    if (!enabled(unit) || !level_matches(unit.control, s.el == 0)) {
        return false;
    }
    const bool here = distance(align_down(unit.value, 4), pc) == 0;
    switch (type_of(unit)) {
        case Type::address: return here;
        case Type::address_linked: return here && linked_context_matches(s, unit.control);
        case Type::context:
            return n >= kFirstContextAware && bits(s.contextidr_el1, 31, 0) == bits(unit.value, 31, 0);
        case Type::context_linked: break;
    }
    return false;
}

bool SelfHostedDebug::breaks_at(const CpuState& s, u64 pc) const {
    if (!any_break_ || !debug_exceptions_enabled(s, s.el, (s.daif & kDaifD) != 0)) {
        return false;
    }
    for (unsigned n = 0; n < kBreakpoints; ++n) {
        if (breakpoint_matches(s, n, pc)) {
            return true;
        }
    }
    return false;
}

std::optional<SelfHostedDebug::Hit> SelfHostedDebug::hit_by(const CpuState& s, const Access& access, bool is_write) const {
    constexpr u64 kBlock = 64;  // bytes: those of DC ZVA are the most
    for (const Unit& unit : watchpoints) {
        const bool linked = bit(unit.control, 20);
        if (!enabled(unit) || !bit(unit.control, is_write ? 4 : 3) || !level_matches(unit.control, access.unprivileged) ||
            (linked && !linked_context_matches(s, unit.control))) {
            continue;
        }
        if (const std::optional<u64> offset = first_touched(access.va, access.size, watched_by(unit))) {
            const u64 in_block = (access.va + *offset) % kBlock;
            return Hit{is_write, access.va + *offset - std::min(*offset, in_block)};
        }
    }
    return std::nullopt;
}

std::optional<SelfHostedDebug::Hit> SelfHostedDebug::watches(const CpuState& s, const Access& access) const {
    if (!any_watch_ || !debug_exceptions_enabled(s, s.el, (s.daif & kDaifD) != 0)) {
        return std::nullopt;
    }
    std::optional<Hit> hit;
    if (access.reads) {
        hit = hit_by(s, access, false);
    }
    if (!hit && access.writes) {
        hit = hit_by(s, access, true);
    }
    return hit;
}

}  // namespace vmm::arch
