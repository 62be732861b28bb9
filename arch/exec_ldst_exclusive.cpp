// Load-exclusive, store-exclusive, load-acquire, store-release (general-purpose registers).
// Arm ARM C4.1 "Load/store exclusive", "Load/store ordered"; B2.9 "Synchronization and semaphores".
//
// How exclusives work on host atomics. A load-exclusive remembers the address, the size and the value it saw; the
// store-exclusive succeeds if address and size are the same and a host compare-and-swap finds that value still
// there. So stores of other PEs need not look at anybody's monitor, and the plain store path stays a plain store.
//
// SIMPLIFIED: a location that changed and changed back between the two (ABA) passes, where hardware would fail the
// store. Software that relies on detecting it would need the monitor for more than compare-and-swap or
// read-modify-write of the loaded value; no such use is known in Linux or its libraries.
//
// Losing exclusivity generates no event; WFE watches the location of an armed monitor instead.
//
// The monitor is cleared by store-exclusives, CLREX and exception return. A store-exclusive checks its address
// (alignment, translation, write permission) whether or not the monitor is armed; the Arm ARM leaves the order open.
//
// UNPREDICTABLE: a store-exclusive of another size or address than the load fails. Rs equal to Rt, Rt2 or Rn: the
// old values are stored and the status is written last. LDXP with Rt equal to Rt2: the second value remains.
//
// Ordering on the host is explained in mm/guest_access.h.
#include "arch/decode_section.h"
#include "arch/ldst_access.h"

namespace vmm::arch {

namespace {

using namespace operands;
using O0 = Operand<"o0", 1>;  // acquire or release

constexpr AccessKind exclusive_kind(bool ordered) {
    return {.ordered = ordered, .exclusive = true};
}

u64 guest_physical(const Vcpu& v, const u8* host) {
    return v.ram().base() + static_cast<u64>(host - v.ram().host_base());
}

void arm_monitor(Vcpu& v, const u8* host, u8 size, u64 lo, u64 hi) {
    v.monitor = {.armed = true, .size = size, .pa = guest_physical(v, host), .value_lo = lo, .value_hi = hi};
}

bool monitor_covers(const Vcpu& v, const u8* host, u8 size) {
    return v.monitor.armed && v.monitor.size == size && v.monitor.pa == guest_physical(v, host);
}

/// The status for Ws of a store-exclusive, which ends the monitor's watch.
u32 exclusive_status(Vcpu& v, bool stored) {
    v.monitor.armed = false;
    if (v.trace() != nullptr) [[unlikely]] {
        v.trace()->not_stored = !stored;
    }
    return stored ? 0 : 1;
}

/// Stores `value` if the location still holds what the load-exclusive saw; returns the status for Ws.
template <class T>
u32 store_if_exclusive(Vcpu& v, u8* host, T seen, T value) {
    const bool stored = monitor_covers(v, host, sizeof(T)) && mm::compare_exchange(host, seen, value);
    return exclusive_status(v, stored);
}

/// LDXR, LDAXR
template <class T>
Exec load_exclusive(Vcpu& v, O0 o0, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    const u8* host = atomic_host(v, va, sizeof(T), AccessType::read, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const T value = mm::load_acquire<T>(host);
    arm_monitor(v, host, sizeof(T), value, 0);
    v.set_x(rt, value);
    return Exec::next;
}

/// STXR, STLXR
template <class T>
Exec store_exclusive(Vcpu& v, Rs rs, O0 o0, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, sizeof(T), AccessType::write, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    v.set_w(rs, store_if_exclusive<T>(v, host, static_cast<T>(v.monitor.value_lo), static_cast<T>(v.x(rt))));
    return Exec::next;
}

/// LDXP, LDAXP of W registers: one 8-byte location
Exec load_exclusive_pair_w(Vcpu& v, O0 o0, Rt2 rt2, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    const u8* host = atomic_host(v, va, 8, AccessType::read, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const u64 value = mm::load_acquire<u64>(host);
    arm_monitor(v, host, 8, value, 0);
    v.set_w(rt, static_cast<u32>(value));
    v.set_w(rt2, static_cast<u32>(value >> 32));
    return Exec::next;
}

/// LDXP, LDAXP of X registers. Each half is single-copy atomic, both together only if the STXP succeeds.
Exec load_exclusive_pair_x(Vcpu& v, O0 o0, Rt2 rt2, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    const u8* host = atomic_host(v, va, 16, AccessType::read, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const u64 lo = mm::load_acquire<u64>(host);
    const u64 hi = mm::load_acquire<u64>(host + 8);
    arm_monitor(v, host, 16, lo, hi);
    v.set_x(rt, lo);
    v.set_x(rt2, hi);
    return Exec::next;
}

/// STXP, STLXP of W registers
Exec store_exclusive_pair_w(Vcpu& v, Rs rs, O0 o0, Rt2 rt2, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, 8, AccessType::write, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    v.set_w(rs, store_if_exclusive<u64>(v, host, v.monitor.value_lo, u64{v.w(rt2)} << 32 | v.w(rt)));
    return Exec::next;
}

/// STXP, STLXP of X registers
Exec store_exclusive_pair_x(Vcpu& v, Rs rs, O0 o0, Rt2 rt2, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, 16, AccessType::write, exclusive_kind(o0));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const u128 seen = u128{v.monitor.value_hi} << 64 | v.monitor.value_lo;
    const u128 value = u128{v.x(rt2)} << 64 | v.x(rt);
    v.set_w(rs, store_if_exclusive<u128>(v, host, seen, value));
    return Exec::next;
}

/// Alignment of acquire and release accesses, which Vcpu's fast path does not look at. False after having taken the
/// fault.
template <class T>
[[nodiscard]] [[gnu::always_inline]] inline bool check_ordered_alignment(Vcpu& v, u64 va, AccessType type) {
    return is_aligned(va, sizeof(T)) || v.host_for_atomic(va, sizeof(T), type, {.ordered = true}) != nullptr;
}

/// LDAR, LDLAR, LDAPR
template <class T>
Exec load_ordered(Vcpu& v, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va) || !check_ordered_alignment<T>(v, va, AccessType::read)) [[unlikely]] {
        return Exec::exception;
    }
    T value;
    if (const u8* host = cached_host(v, va, sizeof(T), AccessType::read); host != nullptr) [[likely]] {
        value = mm::load_acquire<T>(host);
    } else {
        // Also Device memory, which has no host address.
        if (!v.read(va, value, {.ordered = true})) {
            return Exec::exception;
        }
        std::atomic_thread_fence(std::memory_order_acquire);
    }
    v.set_x(rt, value);
    return Exec::next;
}

/// STLR, STLLR
template <class T>
Exec store_ordered(Vcpu& v, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va) || !check_ordered_alignment<T>(v, va, AccessType::write)) [[unlikely]] {
        return Exec::exception;
    }
    const T value = static_cast<T>(v.x(rt));
    if (u8* host = cached_host(v, va, sizeof(T), AccessType::write); host != nullptr) [[likely]] {
        mm::store_release<T>(host, value);
        return Exec::next;
    }
    std::atomic_thread_fence(std::memory_order_release);
    if (!v.write(va, value, {.ordered = true})) {
        return Exec::exception;
    }
    mm::full_fence();
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_ldst_exclusive.inc"
};

}  // namespace

std::span<const DecodeRow> ldst_exclusive_rows() {
    return kRows;
}

}  // namespace vmm::arch
