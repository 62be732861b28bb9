// The addressing modes of loads and stores, the same for general-purpose and SIMD&FP registers. Arm ARM C1.3.3.
//
// T is what is transferred: `T::kScale` is log2 of the bytes of one register, and `T::transfer(v, va, rt)`, for pairs
// `(v, va, rt, rt2)`, makes the access; false after having taken its exception.
#pragma once

#include "arch/decode_section.h"
#include "arch/vcpu.h"

namespace vmm::arch::addressing {

using namespace operands;
using Sxt = Operand<"sxt", 1>;      // option<2>: the index is signed
using Ext64 = Operand<"ext64", 1>;  // option<0>: the index is an X register

/// [Xn, #uimm12 scaled]
template <class T>
Exec unsigned_offset(Vcpu& v, Imm12 imm12, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) || !T::transfer(v, base + (u64{imm12} << T::kScale), rt)) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// [Xn, #simm9] (LDUR, STUR)
template <class T>
Exec unscaled(Vcpu& v, Imm9 imm9, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) || !T::transfer(v, base + static_cast<u64>(imm9.sext()), rt)) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// [Xn], #simm9
template <class T>
Exec post_index(Vcpu& v, Imm9 imm9, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) || !T::transfer(v, base, rt)) [[unlikely]] {
        return Exec::exception;
    }
    v.set_xsp(rn, base + static_cast<u64>(imm9.sext()));
    return Exec::next;
}

/// [Xn, #simm9]!
template <class T>
Exec pre_index(Vcpu& v, Imm9 imm9, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base)) [[unlikely]] {
        return Exec::exception;
    }
    const u64 va = base + static_cast<u64>(imm9.sext());
    if (!T::transfer(v, va, rt)) [[unlikely]] {
        return Exec::exception;
    }
    v.set_xsp(rn, va);
    return Exec::next;
}

/// [Xn, Xm|Wm, extend #0 or #scale]
template <class T>
Exec register_offset(Vcpu& v, Rm rm, Sxt sxt, Ext64 ext64, S s, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base)) [[unlikely]] {
        return Exec::exception;
    }
    u64 index = v.x(rm);
    if (!ext64) {
        index = sxt ? static_cast<u64>(static_cast<s64>(static_cast<s32>(index))) : static_cast<u32>(index);
    }
    if (!T::transfer(v, base + (index << (s ? T::kScale : 0)), rt)) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// PC-relative
template <class T>
Exec literal(Vcpu& v, Imm19 imm19, Rt rt) {
    const u64 va = v.s.pc + (static_cast<u64>(imm19.sext()) << 2);
    return T::transfer(v, va, rt) ? Exec::next : Exec::exception;
}

/// [Xn, #simm7 scaled] (also LDNP, STNP: the hint is ignored)
template <class T>
Exec pair_offset(Vcpu& v, Imm7 imm7, Rt2 rt2, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) ||
        !T::transfer(v, base + (static_cast<u64>(imm7.sext()) << T::kScale), rt, rt2)) [[unlikely]] {
        return Exec::exception;
    }
    return Exec::next;
}

/// [Xn], #simm7 scaled
template <class T>
Exec pair_post_index(Vcpu& v, Imm7 imm7, Rt2 rt2, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base) || !T::transfer(v, base, rt, rt2)) [[unlikely]] {
        return Exec::exception;
    }
    v.set_xsp(rn, base + (static_cast<u64>(imm7.sext()) << T::kScale));
    return Exec::next;
}

/// [Xn, #simm7 scaled]!
template <class T>
Exec pair_pre_index(Vcpu& v, Imm7 imm7, Rt2 rt2, Rn rn, Rt rt) {
    u64 base;
    if (!v.base_address(rn, base)) [[unlikely]] {
        return Exec::exception;
    }
    const u64 va = base + (static_cast<u64>(imm7.sext()) << T::kScale);
    if (!T::transfer(v, va, rt, rt2)) [[unlikely]] {
        return Exec::exception;
    }
    v.set_xsp(rn, va);
    return Exec::next;
}

}  // namespace vmm::arch::addressing
