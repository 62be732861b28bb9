// Loads and stores of general-purpose registers in all addressing modes, and PRFM. Exclusive and ordered
// accesses are in exec_ldst_exclusive.cpp, LSE atomics in exec_ldst_atomics.cpp, SIMD&FP registers in
// exec_ldst_simd.cpp. Arm ARM C4.1 "Loads and Stores", C6.2.
//
// Every handler makes its accesses first and writes registers last, the transferred ones before the base.
//
// UNPREDICTABLE: write-back with Rt (or Rt2) equal to Rn: a store stores the old base; a load's result is
// overwritten by the written-back address. LDP with Rt equal to Rt2: the second value remains.
#include <type_traits>

#include "arch/addressing.h"
#include "arch/decode_section.h"
#include "arch/ldst_access.h"

namespace vmm::arch {

namespace {

using namespace addressing;

// What is transferred: one instruction family each. `kScale` is log2 of the bytes.

/// A load of the memory type M, extended to the register type R: both signed to sign-extend.
template <class M, class R>
struct Load {
    static constexpr unsigned kScale = std::countr_zero(sizeof(M));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, AccessKind kind = {}) {
        std::make_unsigned_t<M> value;
        if (!v.read(va, value, kind)) [[unlikely]] {
            return false;
        }
        v.set_x(rt, static_cast<std::make_unsigned_t<R>>(static_cast<R>(static_cast<M>(value))));
        return true;
    }
};

template <class M>
struct Store {
    static constexpr unsigned kScale = std::countr_zero(sizeof(M));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, AccessKind kind = {}) {
        return v.write(va, static_cast<M>(v.x(rt)), kind);
    }
};

using Ldrb = Load<u8, u32>;
using Ldrh = Load<u16, u32>;
using LdrW = Load<u32, u32>;
using LdrX = Load<u64, u64>;
using LdrsbW = Load<s8, s32>;
using LdrsbX = Load<s8, s64>;
using LdrshW = Load<s16, s32>;
using LdrshX = Load<s16, s64>;
using Ldrsw = Load<s32, s64>;
using Strb = Store<u8>;
using Strh = Store<u16>;
using StrW = Store<u32>;
using StrX = Store<u64>;

/// A load of two memory words M, extended to R.
template <class M, class R>
struct LoadPair {
    static constexpr unsigned kScale = std::countr_zero(sizeof(M));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        using Word = std::make_unsigned_t<M>;
        Word first;
        Word second;
        if (!read_two<Word>(v, va, first, second)) [[unlikely]] {
            return false;
        }
        v.set_x(rt, static_cast<std::make_unsigned_t<R>>(static_cast<R>(static_cast<M>(first))));
        v.set_x(rt2, static_cast<std::make_unsigned_t<R>>(static_cast<R>(static_cast<M>(second))));
        return true;
    }
};

template <class M>
struct StorePair {
    static constexpr unsigned kScale = std::countr_zero(sizeof(M));

    [[gnu::always_inline]] static bool transfer(Vcpu& v, u64 va, unsigned rt, unsigned rt2) {
        return write_two<M>(v, va, static_cast<M>(v.x(rt)), static_cast<M>(v.x(rt2)));
    }
};

using LdpW = LoadPair<u32, u32>;
using LdpX = LoadPair<u64, u64>;
using Ldpsw = LoadPair<s32, s64>;
using StpW = StorePair<u32>;
using StpX = StorePair<u64>;

/// [Xn, #simm9] as from EL0 (LDTR, STTR)
template <class T>
Exec unprivileged(Vcpu& v, Imm9 imm9, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) ||
        !T::transfer(v, base + static_cast<u64>(imm9.sext()), rt, {.unprivileged = true})) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// PRFM, PRFUM: a hint that never faults, not even on a misaligned SP.
Exec prefetch(Vcpu&) {
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_ldst.inc"
};

}  // namespace

std::span<const DecodeRow> ldst_rows() {
    return kRows;
}

}  // namespace vmm::arch
