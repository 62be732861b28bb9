// LSE atomics: read-modify-write, swap, compare and swap (general-purpose registers).
// Arm ARM C4.1 "Atomic memory operations", "Compare and swap"; FEAT_LSE.
//
// All are sequentially consistent host atomics, whatever their acquire and release bits ask for; those bits
// only show in the access kind. All need write permission, even where they turn out to store nothing.
#include <functional>
#include <type_traits>

#include "arch/decode_section.h"
#include "arch/ldst_access.h"

namespace vmm::arch {

namespace {

using namespace operands;
using A = Operand<"a", 1>;        // acquire
using R = Operand<"r", 1>;        // release
using RsPair = Operand<"rs", 4>;  // CASP: <Rs>/2, the register is even
using RtPair = Operand<"rt", 4>;

/// `returns_value`: the old value goes to a register, as SPE sees it: swaps and compare-and-swaps always do.
constexpr AccessKind atomic_kind(bool ordered, bool returns_value) {
    return {.ordered = ordered, .atomic = true, .returns_value = returns_value};
}

// Operations on a location of type T: apply(location, operand) performs one atomically and returns the old
// value.

template <class T>
struct Ldadd {
    using Type = T;
    static T apply(T* p, T operand) { return __atomic_fetch_add(p, operand, __ATOMIC_SEQ_CST); }
};
template <class T>
struct Ldclr {
    using Type = T;
    static T apply(T* p, T operand) {
        return __atomic_fetch_and(p, static_cast<T>(~operand), __ATOMIC_SEQ_CST);
    }
};
template <class T>
struct Ldeor {
    using Type = T;
    static T apply(T* p, T operand) { return __atomic_fetch_xor(p, operand, __ATOMIC_SEQ_CST); }
};
template <class T>
struct Ldset {
    using Type = T;
    static T apply(T* p, T operand) { return __atomic_fetch_or(p, operand, __ATOMIC_SEQ_CST); }
};
template <class T>
struct Swap {
    using Type = T;
    static T apply(T* p, T operand) { return __atomic_exchange_n(p, operand, __ATOMIC_SEQ_CST); }
};

/// Stores `operand` if prefer(operand, old), compared as type Compared.
template <class Compared, class T, class Prefer>
[[gnu::always_inline]] inline T fetch_choose(T* p, T operand, Prefer prefer) {
    T old = mm::load_relaxed<T>(p);
    while (!mm::compare_exchange(
        p, old, prefer(static_cast<Compared>(operand), static_cast<Compared>(old)) ? operand : old)) {
    }
    return old;
}

template <class T>
struct Ldsmax {
    using Type = T;
    static T apply(T* p, T operand) {
        return fetch_choose<std::make_signed_t<T>>(p, operand, std::greater{});
    }
};
template <class T>
struct Ldsmin {
    using Type = T;
    static T apply(T* p, T operand) { return fetch_choose<std::make_signed_t<T>>(p, operand, std::less{}); }
};
template <class T>
struct Ldumax {
    using Type = T;
    static T apply(T* p, T operand) { return fetch_choose<T>(p, operand, std::greater{}); }
};
template <class T>
struct Ldumin {
    using Type = T;
    static T apply(T* p, T operand) { return fetch_choose<T>(p, operand, std::less{}); }
};

template <class Op>
[[gnu::always_inline]] inline Exec atomic_op(Vcpu& v, AccessKind kind, unsigned rs, unsigned rn,
                                             unsigned rt) {
    using T = typename Op::Type;
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, sizeof(T), AccessType::write, kind);
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    v.set_x(rt, Op::apply(reinterpret_cast<T*>(host), static_cast<T>(v.x(rs))));
    return Exec::next;
}

/// LD<op>, and as ST<op> with Rt = 31: then nothing is loaded and the acquire bit has no effect.
template <class Op>
Exec load_op(Vcpu& v, A a, R r, Rs rs, Rn rn, Rt rt) {
    const bool returns_value = rt != 31;
    return atomic_op<Op>(v, atomic_kind(r || (a && returns_value), returns_value), rs, rn, rt);
}

/// SWP
template <class T>
Exec swp(Vcpu& v, A a, R r, Rs rs, Rn rn, Rt rt) {
    return atomic_op<Swap<T>>(v, atomic_kind(r || (a && rt != 31), true), rs, rn, rt);
}

/// CAS: Rs is what is expected and receives the old value, Rt is what to store.
template <class T>
Exec cas(Vcpu& v, A a, Rs rs, R r, Rn rn, Rt rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, sizeof(T), AccessType::write, atomic_kind(a || r, true));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    T expected = static_cast<T>(v.x(rs));
    mm::compare_exchange(host, expected, static_cast<T>(v.x(rt)));
    v.set_x(rs, expected);
    return Exec::next;
}

/// CASP of W registers: one 8-byte location. Odd register numbers are unallocated; the pattern fixes bit 0.
Exec casp_w(Vcpu& v, A a, RsPair rs, R r, Rn rn, RtPair rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, 8, AccessType::write, atomic_kind(a || r, true));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const unsigned s = 2 * rs;
    const unsigned t = 2 * rt;
    u64 expected = u64{v.w(s + 1)} << 32 | v.w(s);
    mm::compare_exchange(host, expected, u64{v.w(t + 1)} << 32 | v.w(t));
    v.set_w(s, static_cast<u32>(expected));
    v.set_w(s + 1, static_cast<u32>(expected >> 32));
    return Exec::next;
}

/// CASP of X registers: one 16-byte location
Exec casp_x(Vcpu& v, A a, RsPair rs, R r, Rn rn, RtPair rt) {
    u64 va;
    if (!v.base_address(rn, va)) [[unlikely]] {
        return Exec::exception;
    }
    u8* host = atomic_host(v, va, 16, AccessType::write, atomic_kind(a || r, true));
    if (host == nullptr) [[unlikely]] {
        return Exec::exception;
    }
    const unsigned s = 2 * rs;
    const unsigned t = 2 * rt;
    u128 expected = u128{v.x(s + 1)} << 64 | v.x(s);
    mm::compare_exchange(host, expected, u128{v.x(t + 1)} << 64 | v.x(t));
    v.set_x(s, static_cast<u64>(expected));
    v.set_x(s + 1, static_cast<u64>(expected >> 64));
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_ldst_atomics.inc"
};

}  // namespace

std::span<const DecodeRow> ldst_atomics_rows() {
    return kRows;
}

}  // namespace vmm::arch
