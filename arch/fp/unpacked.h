// Taking formats apart and rounding back into them: what the soft operations share. Private to arch/fp.
#pragma once

#include <bit>

#include "arch/fp/env.h"
#include "arch/fp/format.h"

namespace vmm::arch::fp::soft {

enum class Kind : u8 { zero, finite, infinity, qnan, snan };

/// A finite non-zero value is significand / 2^63 * 2^exponent, bit 63 of the significand set.
struct Unpacked {
    Kind kind = Kind::zero;
    bool sign = false;
    s32 exponent = 0;
    u64 significand = 0;

    bool is_nan() const { return kind >= Kind::qnan; }
};

/// `value` / 2^count with the bits shifted out or-ed into bit 0.
constexpr u64 shift_right_sticky(u64 value, unsigned count) {
    if (count == 0) {
        return value;
    }
    if (count >= 64) {
        return value != 0 ? 1 : 0;
    }
    return value >> count | ((value << (64 - count)) != 0 ? 1 : 0);
}

constexpr u128 shift_right_sticky(u128 value, unsigned count) {
    if (count == 0) {
        return value;
    }
    if (count >= 128) {
        return value != 0 ? 1 : 0;
    }
    return value >> count | ((value << (128 - count)) != 0 ? 1 : 0);
}

/// The two ways of reading and writing half precision: arithmetic obeys FPCR.FZ16, conversion between formats
/// obeys FPCR.AHP (FPUnpack and FPRound against FPUnpackCV and FPRoundCV).
enum class Use : u8 { arithmetic, format_conversion };

template <class T>
constexpr bool flushes_inputs(FpEnv env, Use use) {
    if constexpr (sizeof(T) == 2) {
        return use == Use::arithmetic && (env.fpcr & kFpcrFz16) != 0;
    } else {
        return (env.fpcr & kFpcrFz) != 0;
    }
}

/// FPUnpack: flushes a denormal input if so configured (raising IDC but for half precision).
template <class T>
inline Unpacked unpack(T a, FpEnv env, Use use = Use::arithmetic) {
    using F = Format<T>;
    Unpacked u;
    u.sign = sign_of(a);
    const int field = static_cast<int>(magnitude(a) >> F::kFracBits);
    const u64 fraction = u64{static_cast<T>(a & F::kFracMask)} << (63 - F::kFracBits);
    const bool alternative = sizeof(T) == 2 && use == Use::format_conversion && (env.fpcr & kFpcrAhp) != 0;
    if (field == F::kMaxExpField && !alternative) {
        u.kind = fraction == 0 ? Kind::infinity : (a & F::kQuiet) != 0 ? Kind::qnan : Kind::snan;
    } else if (field != 0) {
        u.kind = Kind::finite;
        u.exponent = field - F::kBias;
        u.significand = u64{1} << 63 | fraction;
    } else if (fraction != 0) {
        if (flushes_inputs<T>(env, use)) {
            env.raise(sizeof(T) == 2 ? 0 : kIdc);
        } else {
            const int shift = std::countl_zero(fraction);
            u.kind = Kind::finite;
            u.exponent = F::kMinExp - shift;
            u.significand = fraction << shift;
        }
    }
    return u;
}

/// Whether a magnitude must grow by one unit in the last place. `rest` is the fraction of that unit in 2^-64,
/// its lowest bit sticky.
constexpr bool rounds_up(Rounding rounding, bool sign, bool odd, u64 rest) {
    constexpr u64 kHalf = u64{1} << 63;
    switch (rounding) {
        case Rounding::tie_even: return rest > kHalf || (rest == kHalf && odd);
        case Rounding::tie_away: return rest >= kHalf;
        case Rounding::plus_infinity: return rest != 0 && !sign;
        case Rounding::minus_infinity: return rest != 0 && sign;
        case Rounding::to_odd: return rest != 0 && !odd;
        case Rounding::toward_zero: break;
    }
    return false;
}

/// What overflow gives: infinity, or the largest finite number.
constexpr bool overflows_to_infinity(Rounding rounding, bool sign) {
    switch (rounding) {
        case Rounding::tie_even:
        case Rounding::tie_away: return true;
        case Rounding::plus_infinity: return !sign;
        case Rounding::minus_infinity: return sign;
        case Rounding::toward_zero:
        case Rounding::to_odd: break;
    }
    return false;
}

/// FPRound of the value significand / 2^63 * 2^exponent: bit 63 set, bit 0 sticky. Tininess is detected
/// before rounding.
template <class T>
inline T round_pack(bool sign, s32 exponent, u64 significand, Rounding rounding, FpEnv env,
                    Use use = Use::arithmetic) {
    using F = Format<T>;
    constexpr unsigned kDropped = 63 - F::kFracBits;
    const bool alternative = sizeof(T) == 2 && use == Use::format_conversion && (env.fpcr & kFpcrAhp) != 0;
    const bool tiny = exponent < F::kMinExp;
    if (tiny && flushes_inputs<T>(env, use)) {
        env.raise(kUfc);
        return signed_zero<T>(sign);
    }
    if (tiny) {
        significand = shift_right_sticky(significand, static_cast<unsigned>(F::kMinExp - exponent));
    }
    u64 mantissa = significand >> kDropped;
    const u64 rest = significand << (64 - kDropped);
    if (tiny && rest != 0) {
        env.raise(kUfc);
    }
    mantissa += rounds_up(rounding, sign, (mantissa & 1) != 0, rest) ? 1 : 0;

    // The hidden bit, if there is one, adds one to the exponent field; so does a carry out of the mantissa.
    const s64 field_below = tiny ? 0 : exponent - F::kMinExp;
    const s64 field = field_below + static_cast<s64>(mantissa >> F::kFracBits);
    if (alternative) {
        if (field > F::kMaxExpField) {
            env.raise(kIoc);
            return static_cast<T>(signed_zero<T>(sign) | (F::kSign - 1));
        }
    } else if (field >= F::kMaxExpField) {
        env.raise(kOfc | kIxc);
        const T result = overflows_to_infinity(rounding, sign) ? F::kInfinity : F::kMaxNormal;
        return static_cast<T>(signed_zero<T>(sign) | result);
    }
    if (rest != 0) {
        env.raise(kIxc);
    }
    return static_cast<T>(u64{signed_zero<T>(sign)} + (static_cast<u64>(field_below) << F::kFracBits) +
                          mantissa);
}

template <class T>
inline T invalid_operation(FpEnv env) {
    env.raise(kIoc);
    return Format<T>::kDefaultNan;
}

/// FPProcessNaN.
template <class T>
inline T process_nan(T a, FpEnv env) {
    if (is_snan(a)) {
        env.raise(kIoc);
    }
    return env.default_nan() ? Format<T>::kDefaultNan : static_cast<T>(a | Format<T>::kQuiet);
}

/// FPProcessNaNs: at least one of the operands is a NaN. Signalling before quiet, then in operand order.
template <class T>
inline T process_nans(T a, T b, FpEnv env) {
    const bool first = is_snan(a) || (!is_snan(b) && is_nan(a));
    return process_nan(first ? a : b, env);
}

/// FPProcessNaNs3.
template <class T>
inline T process_nans(T a, T b, T c, FpEnv env) {
    if (is_snan(a) || is_snan(b) || is_snan(c)) {
        return process_nan(is_snan(a) ? a : is_snan(b) ? b : c, env);
    }
    return process_nan(is_nan(a) ? a : is_nan(b) ? b : c, env);
}

}  // namespace vmm::arch::fp::soft
