// Arithmetic and comparison of the soft implementation (Arm ARM, shared/functions/float: FPAdd ..
// FPRSqrtStepFused).
#include <utility>

#include "arch/fp/soft.h"
#include "arch/fp/unpacked.h"

namespace vmm::arch::fp::soft {

namespace {

/// A finite value for addition: significand / 2^124 * 2^exponent. Zero, or the top bit set is bit 124 or 125:
/// there is room for a carry, and what a product leaves unused at the bottom (20 bits) keeps differences
/// exact enough to round.
struct Term {
    bool sign = false;
    s32 exponent = 0;
    u128 significand = 0;
};

Term term_of(const Unpacked& a) {
    return {a.sign, a.exponent, u128{a.significand} << 61};
}

Term product_of(const Unpacked& a, const Unpacked& b) {
    return {a.sign != b.sign, a.exponent + b.exponent, (u128{a.significand} * b.significand) >> 2};
}

int count_leading_zeros(u128 value) {
    const u64 high = static_cast<u64>(value >> 64);
    return high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(value));
}

/// Rounds a non-zero significand / 2^point * 2^exponent.
template <class T>
T round_wide(bool sign, s32 exponent, u128 significand, int point, FpEnv env) {
    const int zeros = count_leading_zeros(significand);
    significand <<= zeros;
    const u64 top = static_cast<u64>(significand >> 64) | (static_cast<u64>(significand) != 0 ? 1 : 0);
    return round_pack<T>(sign, exponent + (127 - zeros) - point, top, env.rounding(), env);
}

/// Rounds (a + b) * 2^scale. An exact zero takes the sign of its terms if they agree, else that of the
/// rounding mode.
template <class T>
T round_sum(Term a, Term b, s32 scale, FpEnv env) {
    const bool a_is_zero = a.significand == 0;
    const bool b_is_zero = b.significand == 0;
    if (a_is_zero && b_is_zero) {
        return signed_zero<T>(a.sign == b.sign ? a.sign : env.rounding() == Rounding::minus_infinity);
    }
    if (a_is_zero || (!b_is_zero && a.exponent < b.exponent)) {
        std::swap(a, b);
    }
    if (b.significand != 0) {
        b.significand = shift_right_sticky(b.significand, static_cast<unsigned>(a.exponent - b.exponent));
    }
    if (a.sign == b.sign) {
        a.significand += b.significand;
    } else if (a.significand >= b.significand) {
        a.significand -= b.significand;
    } else {
        a.significand = b.significand - a.significand;
        a.sign = b.sign;
    }
    if (a.significand == 0) {
        return signed_zero<T>(env.rounding() == Rounding::minus_infinity);
    }
    return round_wide<T>(a.sign, a.exponent + scale, a.significand, 124, env);
}

template <class T>
T add_unpacked(T a, T b, const Unpacked& x, const Unpacked& y, FpEnv env) {
    if (x.is_nan() || y.is_nan()) {
        return process_nans(a, b, env);
    }
    const bool x_infinite = x.kind == Kind::infinity;
    const bool y_infinite = y.kind == Kind::infinity;
    if (x_infinite && y_infinite && x.sign != y.sign) {
        return invalid_operation<T>(env);
    }
    if (x_infinite || y_infinite) {
        return infinity<T>(x_infinite ? x.sign : y.sign);
    }
    return round_sum<T>(term_of(x), term_of(y), 0, env);
}

enum class InfinityTimesZero : u8 { invalid, two };

template <class T>
T multiply(T a, T b, InfinityTimesZero special, FpEnv env) {
    const Unpacked x = unpack(a, env);
    const Unpacked y = unpack(b, env);
    if (x.is_nan() || y.is_nan()) {
        return process_nans(a, b, env);
    }
    const bool sign = x.sign != y.sign;
    const bool has_infinity = x.kind == Kind::infinity || y.kind == Kind::infinity;
    const bool has_zero = x.kind == Kind::zero || y.kind == Kind::zero;
    if (has_infinity && has_zero) {
        return special == InfinityTimesZero::invalid ? invalid_operation<T>(env)
                                                     : static_cast<T>(signed_zero<T>(sign) | Format<T>::kTwo);
    }
    if (has_infinity) {
        return infinity<T>(sign);
    }
    if (has_zero) {
        return signed_zero<T>(sign);
    }
    return round_wide<T>(sign, x.exponent + y.exponent, u128{x.significand} * y.significand, 126, env);
}

/// The root of a number whose top bit is bit 126 or 127, rounded down; `exact` tells whether nothing was
/// lost.
u64 integer_root(u128 value, bool& exact) {
    // The host's root is good to 2^-52 of itself; a Newton step leaves an error of at most a unit or two,
    // corrected last.
    const f64 estimate = __builtin_sqrt(static_cast<f64>(value));
    const u64 first = estimate >= 0x1p64 ? ~u64{0} : static_cast<u64>(estimate);
    const u128 refined = (value / first + first) >> 1;
    u64 root = refined > ~u64{0} ? ~u64{0} : static_cast<u64>(refined);
    while (u128{root} * root > value) {
        --root;
    }
    while (root != ~u64{0} && u128{root + 1} * (root + 1) <= value) {
        ++root;
    }
    exact = u128{root} * root == value;
    return root;
}

/// Both step operations: (constant - a * b) * 2^scale, and `special` for infinity times zero.
template <class T>
T fused_step(T a, T b, u64 constant_significand, s32 scale, T special, FpEnv env) {
    a = static_cast<T>(a ^ Format<T>::kSign);
    const Unpacked x = unpack(a, env);
    const Unpacked y = unpack(b, env);
    if (x.is_nan() || y.is_nan()) {
        return process_nans(a, b, env);
    }
    const bool has_infinity = x.kind == Kind::infinity || y.kind == Kind::infinity;
    const bool has_zero = x.kind == Kind::zero || y.kind == Kind::zero;
    if (has_infinity) {
        return has_zero ? special : infinity<T>(x.sign != y.sign);
    }
    const Term constant{false, 1, u128{constant_significand} << 61};
    if (has_zero) {
        return round_sum<T>(constant, Term{}, scale, env);
    }
    return round_sum<T>(constant, product_of(x, y), scale, env);
}

/// Numbers (not NaNs) in an order in which integers compare: -0 and +0 are equal.
template <class T>
s64 ordinal(T a) {
    const s64 value = static_cast<s64>(u64{magnitude(a)});
    return sign_of(a) ? -value : value;
}

/// `a` with FPCR's flushing of denormal inputs applied.
template <class T>
T flushed(T a, FpEnv env) {
    if (is_denormal(a) && flushes_inputs<T>(env, Use::arithmetic)) {
        env.raise(sizeof(T) == 2 ? 0 : kIdc);
        return signed_zero<T>(sign_of(a));
    }
    return a;
}

}  // namespace

template <class T>
T add(T a, T b, FpEnv env) {
    return add_unpacked(a, b, unpack(a, env), unpack(b, env), env);
}

template <class T>
T sub(T a, T b, FpEnv env) {
    const Unpacked x = unpack(a, env);
    Unpacked y = unpack(b, env);
    y.sign = !y.sign;  // of the value; a NaN operand propagates as it is
    return add_unpacked(a, b, x, y, env);
}

template <class T>
T mul(T a, T b, FpEnv env) {
    return multiply(a, b, InfinityTimesZero::invalid, env);
}

template <class T>
T mulx(T a, T b, FpEnv env) {
    return multiply(a, b, InfinityTimesZero::two, env);
}

template <class T>
T div(T a, T b, FpEnv env) {
    const Unpacked x = unpack(a, env);
    const Unpacked y = unpack(b, env);
    if (x.is_nan() || y.is_nan()) {
        return process_nans(a, b, env);
    }
    const bool sign = x.sign != y.sign;
    if (x.kind == y.kind && x.kind != Kind::finite) {
        return invalid_operation<T>(env);  // 0/0, infinity/infinity
    }
    if (x.kind == Kind::infinity || y.kind == Kind::zero) {
        env.raise(x.kind == Kind::infinity ? 0 : kDzc);
        return infinity<T>(sign);
    }
    if (x.kind == Kind::zero || y.kind == Kind::infinity) {
        return signed_zero<T>(sign);
    }
    const u128 dividend = u128{x.significand} << 63;
    u128 quotient = dividend / y.significand;
    const bool exact = quotient * y.significand == dividend;
    quotient = quotient << 1 | (exact ? 0 : 1);
    return round_wide<T>(sign, x.exponent - y.exponent, quotient, 64, env);
}

template <class T>
T sqrt(T a, FpEnv env) {
    const Unpacked x = unpack(a, env);
    if (x.is_nan()) {
        return process_nan(a, env);
    }
    if (x.kind == Kind::zero) {
        return signed_zero<T>(x.sign);
    }
    if (x.sign) {
        return invalid_operation<T>(env);
    }
    if (x.kind == Kind::infinity) {
        return infinity<T>(false);
    }
    const bool odd = (x.exponent & 1) != 0;
    bool exact = false;
    const u64 root = integer_root(u128{x.significand} << (odd ? 64 : 63), exact);
    return round_wide<T>(false, x.exponent >> 1, u128{root} << 1 | (exact ? 0 : 1), 64, env);
}

template <class T>
T mul_add(T addend, T a, T b, FpEnv env) {
    const Unpacked z = unpack(addend, env);
    const Unpacked x = unpack(a, env);
    const Unpacked y = unpack(b, env);
    const bool product_sign = x.sign != y.sign;
    const bool product_infinite = x.kind == Kind::infinity || y.kind == Kind::infinity;
    const bool product_zero = x.kind == Kind::zero || y.kind == Kind::zero;
    if (z.is_nan() || x.is_nan() || y.is_nan()) {
        if (z.kind == Kind::qnan && product_infinite && product_zero) {
            return invalid_operation<T>(env);
        }
        return process_nans(addend, a, b, env);
    }
    const bool z_infinite = z.kind == Kind::infinity;
    if ((product_infinite && product_zero) || (z_infinite && product_infinite && z.sign != product_sign)) {
        return invalid_operation<T>(env);
    }
    if (z_infinite || product_infinite) {
        return infinity<T>(z_infinite ? z.sign : product_sign);
    }
    const Term product = product_zero ? Term{product_sign, 0, 0} : product_of(x, y);
    return round_sum<T>(product, term_of(z), 0, env);
}

template <class T>
T max(T a, T b, FpEnv env) {
    const T x = flushed(a, env);
    const T y = flushed(b, env);
    if (is_nan(x) || is_nan(y)) {
        return process_nans(x, y, env);
    }
    if (is_zero(x) && is_zero(y)) {
        return static_cast<T>(x & y);
    }
    return ordinal(x) > ordinal(y) ? x : y;
}

template <class T>
T min(T a, T b, FpEnv env) {
    const T x = flushed(a, env);
    const T y = flushed(b, env);
    if (is_nan(x) || is_nan(y)) {
        return process_nans(x, y, env);
    }
    if (is_zero(x) && is_zero(y)) {
        return static_cast<T>(x | y);
    }
    return ordinal(x) < ordinal(y) ? x : y;
}

template <class T>
T max_num(T a, T b, FpEnv env) {
    const bool quiet_a = is_qnan(a);
    const bool quiet_b = is_qnan(b);
    return max(quiet_a && !quiet_b ? infinity<T>(true) : a, quiet_b && !quiet_a ? infinity<T>(true) : b, env);
}

template <class T>
T min_num(T a, T b, FpEnv env) {
    const bool quiet_a = is_qnan(a);
    const bool quiet_b = is_qnan(b);
    return min(quiet_a && !quiet_b ? infinity<T>(false) : a, quiet_b && !quiet_a ? infinity<T>(false) : b,
               env);
}

template <class T>
T recip_step(T a, T b, FpEnv env) {
    return fused_step(a, b, u64{1} << 63, 0, Format<T>::kTwo, env);
}

template <class T>
T rsqrt_step(T a, T b, FpEnv env) {
    return fused_step(a, b, u64{3} << 62, -1, Format<T>::kOnePointFive, env);
}

template <class T>
u32 compare(T a, T b, bool signal_all_nans, FpEnv env) {
    const T x = flushed(a, env);
    const T y = flushed(b, env);
    if (is_nan(x) || is_nan(y)) {
        if (signal_all_nans || is_snan(x) || is_snan(y)) {
            env.raise(kIoc);
        }
        return kUnordered;
    }
    const s64 i = ordinal(x);
    const s64 j = ordinal(y);
    return i < j ? kLess : i > j ? kGreater : kEqual;
}

#define VMM_INSTANTIATE(T)              \
    template T add(T, T, FpEnv);        \
    template T sub(T, T, FpEnv);        \
    template T mul(T, T, FpEnv);        \
    template T mulx(T, T, FpEnv);       \
    template T div(T, T, FpEnv);        \
    template T sqrt(T, FpEnv);          \
    template T mul_add(T, T, T, FpEnv); \
    template T max(T, T, FpEnv);        \
    template T min(T, T, FpEnv);        \
    template T max_num(T, T, FpEnv);    \
    template T min_num(T, T, FpEnv);    \
    template T recip_step(T, T, FpEnv); \
    template T rsqrt_step(T, T, FpEnv); \
    template u32 compare(T, T, bool, FpEnv);
VMM_INSTANTIATE(u16)
VMM_INSTANTIATE(u32)
VMM_INSTANTIATE(u64)
#undef VMM_INSTANTIATE

}  // namespace vmm::arch::fp::soft
