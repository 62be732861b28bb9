// A64 floating-point operations on raw bit patterns (u16 half, u32 single, u64 double precision), bit-exact
// in results and in the cumulative exception bits of FPSR (Arm ARM, shared/functions/float). Trapped
// exceptions are not implemented (FPCR.{IOE..IDE} are RAZ), nor are FEAT_AFP and FEAT_RPRES.
//
// Every function is total: any bit pattern, any FPCR. What is inline here takes the host's arithmetic where
// it provably gives the same result and flags (host.h), else the integer implementation in soft.h, which is
// the reference.
#pragma once

#include "arch/fp/format.h"
#include "arch/fp/host.h"
#include "arch/fp/soft.h"

namespace vmm::arch::fp {

// ── Sign manipulation: no NaN processing, no flags ─────────────────────────────────────────────────────────

/// FABS.
template <class T>
constexpr T abs(T a) {
    return magnitude(a);
}
/// FNEG.
template <class T>
constexpr T neg(T a) {
    return static_cast<T>(a ^ Format<T>::kSign);
}

// ── Arithmetic ─────────────────────────────────────────────────────────────────────────────────────────────

/// FADD.
template <class T>
inline T add(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::add(a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::add(a, b, env);
}

/// FSUB.
template <class T>
inline T sub(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::sub(a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::sub(a, b, env);
}

/// FMUL.
template <class T>
inline T mul(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::mul(a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::mul(a, b, env);
}

/// FNMUL: the product negated, NaN or not.
template <class T>
inline T nmul(T a, T b, FpEnv env) {
    return neg(mul(a, b, env));
}

/// FMULX: infinity times zero is +-2.
template <class T>
inline T mulx(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::mul(a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::mulx(a, b, env);
}

/// FDIV.
template <class T>
inline T div(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::div(a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::div(a, b, env);
}

/// FSQRT.
template <class T>
inline T sqrt(T a, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::sqrt(a, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::sqrt(a, env);
}

/// FPMulAdd: addend + a * b, rounded once. The FMSUB family negates `a` or `addend` beforehand.
template <class T>
inline T mul_add(T addend, T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::mul_add(addend, a, b, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::mul_add(addend, a, b, env);
}

/// FABD.
template <class T>
inline T abs_diff(T a, T b, FpEnv env) {
    return abs(sub(a, b, env));
}

/// FMAX.
template <class T>
inline T max(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        if (host::comparable(a, b, env)) [[likely]] {
            return host::max(a, b);
        }
    }
    return soft::max(a, b, env);
}

/// FMIN.
template <class T>
inline T min(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        if (host::comparable(a, b, env)) [[likely]] {
            return host::min(a, b);
        }
    }
    return soft::min(a, b, env);
}

/// FMAXNM: a single quiet NaN counts as -infinity.
template <class T>
inline T max_num(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        if (host::comparable(a, b, env)) [[likely]] {
            return host::max(a, b);
        }
    }
    return soft::max_num(a, b, env);
}

/// FMINNM: a single quiet NaN counts as +infinity.
template <class T>
inline T min_num(T a, T b, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        if (host::comparable(a, b, env)) [[likely]] {
            return host::min(a, b);
        }
    }
    return soft::min_num(a, b, env);
}

/// FRECPS: 2 - a * b, rounded once.
template <class T>
inline T recip_step(T a, T b, FpEnv env) {
    return soft::recip_step(a, b, env);
}
/// FRSQRTS: (3 - a * b) / 2, rounded once.
template <class T>
inline T rsqrt_step(T a, T b, FpEnv env) {
    return soft::rsqrt_step(a, b, env);
}
/// FRECPE.
template <class T>
inline T recip_estimate(T a, FpEnv env) {
    return soft::recip_estimate(a, env);
}
/// FRSQRTE.
template <class T>
inline T rsqrt_estimate(T a, FpEnv env) {
    return soft::rsqrt_estimate(a, env);
}
/// FRECPX.
template <class T>
inline T recip_exponent(T a, FpEnv env) {
    return soft::recip_exponent(a, env);
}

/// URECPE and URSQRTE: integers that stand for fractions in [0, 1).
u32 unsigned_recip_estimate(u32 a);
u32 unsigned_rsqrt_estimate(u32 a);

// ── Comparison ─────────────────────────────────────────────────────────────────────────────────────────────

/// FCMP (signal_all_nans false) and FCMPE (true): NZCV as a nibble, N in bit 3; unordered is 0b0011.
template <class T>
inline u32 compare(T a, T b, bool signal_all_nans, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        if (host::comparable(a, b, env)) [[likely]] {
            return host::compare(a, b);
        }
    }
    return soft::compare(a, b, signal_all_nans, env);
}

/// FCMEQ: only a signalling NaN is an invalid operation.
template <class T>
inline bool compare_eq(T a, T b, FpEnv env) {
    return compare(a, b, false, env) == kEqual;
}
/// FCMGE.
template <class T>
inline bool compare_ge(T a, T b, FpEnv env) {
    const u32 nzcv = compare(a, b, true, env);
    return nzcv == kGreater || nzcv == kEqual;
}
/// FCMGT.
template <class T>
inline bool compare_gt(T a, T b, FpEnv env) {
    return compare(a, b, true, env) == kGreater;
}

// ── Conversion ─────────────────────────────────────────────────────────────────────────────────────────────

/// FRINT*: to an integral value in the same format. `exact` (FRINTX): raise IXC when the value changes.
template <class T>
inline T round_to_integral(T a, Rounding rounding, bool exact, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (host::round_to_integral(a, rounding, exact, env, result)) {
            return result;
        }
    }
    return soft::round_to_integral(a, rounding, exact, env);
}

/// FCVT*S: a * 2^fraction_bits as a signed integer of `width` (16, 32 or 64) bits, saturated; sign-extended
/// to 64 bits.
template <class T>
inline u64 to_signed(T a, unsigned width, unsigned fraction_bits, Rounding rounding, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        u64 result;
        if (fraction_bits == 0 && host::to_signed(a, width, rounding, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::to_fixed(a, width, fraction_bits, Signedness::signed_integer, rounding, env);
}

/// FCVT*U: as to_signed(), unsigned.
template <class T>
inline u64 to_unsigned(T a, unsigned width, unsigned fraction_bits, Rounding rounding, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        u64 result;
        if (fraction_bits == 0 && host::to_unsigned(a, width, rounding, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::to_fixed(a, width, fraction_bits, Signedness::unsigned_integer, rounding, env);
}

/// SCVTF: value / 2^fraction_bits, rounded as FPCR says. `value` is sign-extended to 64 bits.
template <class T>
inline T from_signed(u64 value, unsigned fraction_bits, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (fraction_bits == 0 && host::from_signed(static_cast<s64>(value), env, result)) [[likely]] {
            return result;
        }
    }
    return soft::from_fixed<T>(value, fraction_bits, Signedness::signed_integer, env);
}

/// UCVTF: as from_signed(); `value` is zero-extended.
template <class T>
inline T from_unsigned(u64 value, unsigned fraction_bits, FpEnv env) {
    if constexpr (host::kSupported<T>) {
        T result;
        if (fraction_bits == 0 && host::from_unsigned(value, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::from_fixed<T>(value, fraction_bits, Signedness::unsigned_integer, env);
}

/// FCVT between formats, FCVTL, FCVTN. Half precision obeys FPCR.AHP.
template <class To, class From>
inline To convert(From a, FpEnv env) {
    if constexpr (host::kSupported<To> && host::kSupported<From>) {
        To result;
        if (host::convert(a, env, result)) [[likely]] {
            return result;
        }
    }
    return soft::convert<To>(a, env.rounding(), env);
}

/// FCVTXN: double to single, rounded to odd.
inline u32 convert_to_odd(u64 a, FpEnv env) {
    return soft::convert<u32>(a, Rounding::to_odd, env);
}

/// VFPExpandImm: the value of FMOV (immediate).
template <class T>
constexpr T expand_immediate(u32 imm8) {
    using F = Format<T>;
    const T exponent_top = (imm8 & 0x40) != 0 ? T((1u << (F::kExpBits - 3)) - 1) : T(1u << (F::kExpBits - 3));
    const T exponent = static_cast<T>(exponent_top << 2 | ((imm8 >> 4) & 3));
    return static_cast<T>(signed_zero<T>((imm8 & 0x80) != 0) | exponent << F::kFracBits |
                          u64{imm8 & 0xF} << (F::kFracBits - 4));
}

}  // namespace vmm::arch::fp
