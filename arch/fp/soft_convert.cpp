// Conversions and reciprocal estimates of the soft implementation (Arm ARM, shared/functions/float:
// FPConvert, FPToFixed, FixedToFP, FPRoundInt, FPRecipEstimate, FPRSqrtEstimate, FPRecpX;
// UnsignedRecipEstimate and its sibling).
#include <array>

#include "arch/fp/fp.h"
#include "arch/fp/unpacked.h"
#include "vmm/base/bits.h"

namespace vmm::arch::fp {

namespace {

/// 256 * 256 / a to 9 bits, for a of 256..511 standing for 0.5..1.
constexpr u32 reciprocal(u32 a) {
    const u32 doubled = a * 2 + 1;
    return ((1u << 19) / doubled + 1) / 2;
}

/// The reciprocal root to 9 bits, for a of 128..511 standing for 0.25..1.
constexpr u32 reciprocal_root(u32 a) {
    const u32 scaled = a < 256 ? a * 2 + 1 : ((a >> 1 << 1) + 1) * 2;
    u32 root = 512;
    while (scaled * (root + 1) * (root + 1) < 1u << 28) {
        ++root;
    }
    return (root + 1) / 2;
}

constexpr auto kReciprocals = [] {
    std::array<u16, 512> table{};
    for (u32 a = 256; a < 512; ++a) {
        table[a] = static_cast<u16>(reciprocal(a));
    }
    return table;
}();

constexpr auto kReciprocalRoots = [] {
    std::array<u16, 512> table{};
    for (u32 a = 128; a < 512; ++a) {
        table[a] = static_cast<u16>(reciprocal_root(a));
    }
    return table;
}();

}  // namespace

u32 unsigned_recip_estimate(u32 a) {
    return bit(a, 31) ? u32{kReciprocals[a >> 23]} << 23 : ~u32{0};
}

u32 unsigned_rsqrt_estimate(u32 a) {
    return a >> 30 != 0 ? u32{kReciprocalRoots[a >> 23]} << 23 : ~u32{0};
}

namespace soft {

namespace {

/// The integer part of the magnitude significand / 2^63 * 2^exponent, exponent < 64; `rest` is the fraction
/// in 2^-64, its lowest bit sticky.
u64 split_integer(u64 significand, s32 exponent, u64& rest) {
    if (exponent >= 0) {
        rest = exponent == 63 ? 0 : significand << (exponent + 1);
        return significand >> (63 - exponent);
    }
    rest = shift_right_sticky(significand, static_cast<unsigned>(-1 - exponent));
    return 0;
}

template <class T>
T overflow_of_estimate(bool sign, FpEnv env) {
    env.raise(kOfc | kIxc);
    const T result =
        overflows_to_infinity(env.rounding(), sign) ? Format<T>::kInfinity : Format<T>::kMaxNormal;
    return static_cast<T>(signed_zero<T>(sign) | result);
}

/// The 8 bits below the leading one of an estimate as a fraction field.
template <class T>
T estimate_fraction(u32 estimate) {
    return static_cast<T>(T(estimate & 0xFF) << (Format<T>::kFracBits - 8));
}

}  // namespace

template <class T>
T round_to_integral(T a, Rounding rounding, bool exact, FpEnv env) {
    const Unpacked x = unpack(a, env);
    switch (x.kind) {
        case Kind::qnan:
        case Kind::snan: return process_nan(a, env);
        case Kind::infinity: return infinity<T>(x.sign);
        case Kind::zero: return signed_zero<T>(x.sign);
        case Kind::finite: break;
    }
    if (x.exponent >= static_cast<s32>(Format<T>::kFracBits)) {
        return a;
    }
    u64 rest = 0;
    u64 whole = split_integer(x.significand, x.exponent, rest);
    whole += rounds_up(rounding, x.sign, (whole & 1) != 0, rest) ? 1 : 0;
    if (rest != 0 && exact) {
        env.raise(kIxc);
    }
    if (whole == 0) {
        return signed_zero<T>(x.sign);
    }
    const int zeros = std::countl_zero(whole);
    return round_pack<T>(x.sign, 63 - zeros, whole << zeros, Rounding::toward_zero, env);
}

template <class T>
u64 to_fixed(T a, unsigned width, unsigned fraction_bits, Signedness signedness, Rounding rounding,
             FpEnv env) {
    const Unpacked x = unpack(a, env);
    if (x.is_nan()) {
        env.raise(kIoc);
        return 0;
    }
    if (x.kind == Kind::zero) {
        return 0;
    }
    const bool is_signed = signedness == Signedness::signed_integer;
    const u64 largest = is_signed ? ones(width - 1) + (x.sign ? 1 : 0) : x.sign ? 0 : ones(width);
    const s32 exponent = x.exponent + static_cast<s32>(fraction_bits);
    u64 rest = 0;
    u64 whole = 0;
    bool overflow = x.kind == Kind::infinity || exponent >= 64;
    if (!overflow) {
        whole = split_integer(x.significand, exponent, rest);
        const bool up = rounds_up(rounding, x.sign, (whole & 1) != 0, rest);
        overflow = whole > largest || (up && whole == largest);
        whole += up ? 1 : 0;
    }
    if (overflow) {
        env.raise(kIoc);
        whole = largest;
    } else if (rest != 0) {
        env.raise(kIxc);
    }
    return x.sign ? u64{0} - whole : whole;
}

template <class T>
T from_fixed(u64 value, unsigned fraction_bits, Signedness signedness, FpEnv env) {
    if (value == 0) {
        return 0;
    }
    const bool sign = signedness == Signedness::signed_integer && bit(value, 63);
    const u64 whole = sign ? u64{0} - value : value;
    const int zeros = std::countl_zero(whole);
    return round_pack<T>(sign, 63 - zeros - static_cast<s32>(fraction_bits), whole << zeros, env.rounding(),
                         env);
}

template <class To, class From>
To convert(From a, Rounding rounding, FpEnv env) {
    using F = Format<To>;
    const Unpacked x = unpack(a, env, Use::format_conversion);
    const bool alternative = sizeof(To) == 2 && (env.fpcr & kFpcrAhp) != 0;
    const To sign = signed_zero<To>(x.sign);
    switch (x.kind) {
        case Kind::qnan:
        case Kind::snan: {
            if (alternative || x.kind == Kind::snan) {
                env.raise(kIoc);
            }
            if (alternative) {
                return sign;
            }
            if (env.default_nan()) {
                return F::kDefaultNan;
            }
            const u64 payload = u64{a} << (64 - Format<From>::kFracBits) >> (64 - F::kFracBits);
            return static_cast<To>(sign | F::kDefaultNan | static_cast<To>(payload));
        }
        case Kind::infinity:
            if (alternative) {
                env.raise(kIoc);
                return static_cast<To>(sign | (F::kSign - 1));
            }
            return infinity<To>(x.sign);
        case Kind::zero: return sign;
        case Kind::finite: break;
    }
    return round_pack<To>(x.sign, x.exponent, x.significand, rounding, env, Use::format_conversion);
}

template <class T>
T recip_estimate(T a, FpEnv env) {
    using F = Format<T>;
    const Unpacked x = unpack(a, env);
    switch (x.kind) {
        case Kind::qnan:
        case Kind::snan: return process_nan(a, env);
        case Kind::infinity: return signed_zero<T>(x.sign);
        case Kind::zero: env.raise(kDzc); return infinity<T>(x.sign);
        case Kind::finite: break;
    }
    if (x.exponent < F::kMinExp - 2) {
        return overflow_of_estimate<T>(x.sign, env);
    }
    if (x.exponent >= -F::kMinExp && flushes_inputs<T>(env, Use::arithmetic)) {
        env.raise(kUfc);
        return signed_zero<T>(x.sign);
    }
    const u32 estimate = kReciprocals[x.significand >> 55];
    // The estimate stands for estimate / 2^8 * 2^(-1 - exponent); its fraction has 8 bits.
    const s32 field = F::kBias - 1 - x.exponent;
    const T fraction = estimate_fraction<T>(estimate);
    T result = 0;
    if (field > 0) {
        result = static_cast<T>(static_cast<T>(field) << F::kFracBits | fraction);
    } else {
        result = static_cast<T>((F::kMinNormal | fraction) >> (1 - field));  // field is 0 or -1: denormal
    }
    return static_cast<T>(signed_zero<T>(x.sign) | result);
}

template <class T>
T rsqrt_estimate(T a, FpEnv env) {
    using F = Format<T>;
    const Unpacked x = unpack(a, env);
    if (x.is_nan()) {
        return process_nan(a, env);
    }
    if (x.kind == Kind::zero) {
        env.raise(kDzc);
        return infinity<T>(x.sign);
    }
    if (x.sign) {
        return invalid_operation<T>(env);
    }
    if (x.kind == Kind::infinity) {
        return 0;
    }
    // Scaled to [0.25, 1) by an even power of two.
    const bool odd = (x.exponent & 1) != 0;
    const u32 estimate = kReciprocalRoots[x.significand >> (odd ? 55 : 56)];
    const s32 field = F::kBias - 1 - (x.exponent >> 1);
    return static_cast<T>(static_cast<T>(field) << F::kFracBits | estimate_fraction<T>(estimate));
}

template <class T>
T recip_exponent(T a, FpEnv env) {
    using F = Format<T>;
    const Unpacked x = unpack(a, env);
    if (x.is_nan()) {
        return process_nan(a, env);
    }
    const T field = static_cast<T>(a & F::kInfinity);
    const T largest = static_cast<T>(static_cast<T>(F::kMaxExpField - 1) << F::kFracBits);
    return static_cast<T>(signed_zero<T>(x.sign) |
                          (field == 0 ? largest : static_cast<T>(field ^ F::kInfinity)));
}

#define VMM_INSTANTIATE(T)                                                     \
    template T round_to_integral(T, Rounding, bool, FpEnv);                    \
    template u64 to_fixed(T, unsigned, unsigned, Signedness, Rounding, FpEnv); \
    template T from_fixed(u64, unsigned, Signedness, FpEnv);                   \
    template T recip_estimate(T, FpEnv);                                       \
    template T rsqrt_estimate(T, FpEnv);                                       \
    template T recip_exponent(T, FpEnv);
VMM_INSTANTIATE(u16)
VMM_INSTANTIATE(u32)
VMM_INSTANTIATE(u64)
#undef VMM_INSTANTIATE

template u32 convert<u32, u16>(u16, Rounding, FpEnv);
template u64 convert<u64, u16>(u16, Rounding, FpEnv);
template u16 convert<u16, u32>(u32, Rounding, FpEnv);
template u64 convert<u64, u32>(u32, Rounding, FpEnv);
template u16 convert<u16, u64>(u64, Rounding, FpEnv);
template u32 convert<u32, u64>(u64, Rounding, FpEnv);

}  // namespace soft

}  // namespace vmm::arch::fp
