// Single and double precision by the host's arithmetic, where result and flags are provably those of the soft
// implementation. Each function returns false, having changed nothing, when it cannot promise that: the
// caller then takes soft.h. Written for speed; nothing here ever produces a NaN.
//
// What makes it exact:
// - The host computes IEEE 754 with round to nearest even and no flushing; so only FPCR.RMode == 0 and, where
//   denormals could play a part, FZ == 0 are taken. (MXCSR stays at its default in all our threads.)
// - NaN and infinite results go to the soft path, and with them every IOC, DZC and OFC. So do results at or
//   below the smallest normal number, unless known to be exact: every UFC (tininess is detected before
//   rounding on A64).
// - IXC: when FPSR.IXC is set already, nothing is left to find out. Otherwise an operation is taken only if an
//   error-free transformation shows that it is exact.
#pragma once

#include <bit>
#include <limits>

#include "arch/fp/env.h"
#include "arch/fp/format.h"

namespace vmm::arch::fp::host {

template <class T>
inline constexpr bool kSupported = false;
template <>
inline constexpr bool kSupported<u32> = true;
template <>
inline constexpr bool kSupported<u64> = true;

namespace detail {

template <class T>
struct HostType;
template <>
struct HostType<u32> {
    using Type = f32;
};
template <>
struct HostType<u64> {
    using Type = f64;
};
template <class T>
using Float = typename HostType<T>::Type;

template <class T>
inline Float<T> to_host(T a) {
    return std::bit_cast<Float<T>>(a);
}

inline f32 fused(f32 a, f32 b, f32 c) {
    return __builtin_fmaf(a, b, c);
}
inline f64 fused(f64 a, f64 b, f64 c) {
    return __builtin_fma(a, b, c);
}
inline f32 square_root(f32 a) {
    return __builtin_sqrtf(a);
}
inline f64 square_root(f64 a) {
    return __builtin_sqrt(a);
}

/// The biased exponent is large enough that the rounding error of a product, quotient or root of numbers of
/// this magnitude is itself representable.
template <class T>
constexpr bool error_representable(T a) {
    constexpr T kLimit = static_cast<T>(static_cast<T>(Format<T>::kFracBits + 4) << Format<T>::kFracBits);
    return magnitude(a) >= kLimit;
}

/// a + b == sum exactly (TwoSum); `sum` is finite.
template <class F>
inline bool sum_is_exact(F a, F b, F sum) {
    const F b_part = sum - a;
    const F error = (a - (sum - b_part)) + (b - b_part);
    return error == F{0};
}

template <class T>
constexpr bool is_finite(T a) {
    return magnitude(a) < Format<T>::kInfinity;
}

/// Finite and above the smallest normal number.
template <class T>
constexpr bool is_ordinary(T a) {
    return static_cast<T>(magnitude(a) - Format<T>::kMinNormal - 1) <
           static_cast<T>(Format<T>::kInfinity - Format<T>::kMinNormal - 1);
}

inline bool inexact_known(FpEnv env) {
    return (env.fpsr & kIxc) != 0;
}

}  // namespace detail

/// Default rounding, denormals kept.
inline bool usable(FpEnv env) {
    return (env.fpcr & (kFpcrRMode | kFpcrFz)) == 0;
}

template <class T>
inline bool add(T a, T b, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    const auto sum = x + y;
    result = std::bit_cast<T>(sum);
    // A tiny sum is always exact.
    return usable(env) && detail::is_finite(result) &&
           (detail::inexact_known(env) || detail::sum_is_exact(x, y, sum));
}

template <class T>
inline bool sub(T a, T b, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    const auto difference = x - y;
    result = std::bit_cast<T>(difference);
    return usable(env) && detail::is_finite(result) &&
           (detail::inexact_known(env) || detail::sum_is_exact(x, -y, difference));
}

/// Also FMULX: infinity times zero is left to the caller.
template <class T>
inline bool mul(T a, T b, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    const auto product = x * y;
    result = std::bit_cast<T>(product);
    if (!usable(env)) {
        return false;
    }
    if (!detail::is_ordinary(result)) [[unlikely]] {
        return (is_zero(a) || is_zero(b)) && detail::is_finite(result);
    }
    return detail::inexact_known(env) ||
           (detail::error_representable(result) && detail::fused(x, y, -product) == 0);
}

template <class T>
inline bool div(T a, T b, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    const auto quotient = x / y;
    result = std::bit_cast<T>(quotient);
    if (!usable(env)) {
        return false;
    }
    if (!detail::is_ordinary(result)) [[unlikely]] {
        return is_zero(a) && detail::is_finite(result);
    }
    return detail::inexact_known(env) ||
           (detail::error_representable(a) && detail::fused(quotient, y, -x) == 0);
}

template <class T>
inline bool sqrt(T a, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto root = detail::square_root(x);
    result = std::bit_cast<T>(root);
    // A root is never tiny.
    return usable(env) && detail::is_finite(result) &&
           (detail::inexact_known(env) || is_zero(a) ||
            (detail::error_representable(a) && detail::fused(root, root, -x) == 0));
}

template <class T>
inline bool mul_add(T addend, T a, T b, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    const auto z = detail::to_host(addend);
    result = std::bit_cast<T>(detail::fused(x, y, z));
    if (!usable(env)) {
        return false;
    }
    if (!detail::is_ordinary(result)) [[unlikely]] {
        return (is_zero(a) || is_zero(b)) && detail::is_finite(result);
    }
    if (detail::inexact_known(env)) [[likely]] {
        return true;
    }
    const auto product = x * y;
    const T product_bits = std::bit_cast<T>(product);
    if (is_zero(product_bits)) {
        return is_zero(a) || is_zero(b);
    }
    return detail::error_representable(product_bits) && detail::is_finite(product_bits) &&
           detail::fused(x, y, -product) == 0 && detail::sum_is_exact(product, z, detail::to_host(result));
}

/// No NaN, and no denormal that FPCR.FZ would flush: comparing raises nothing.
template <class T>
inline bool comparable(T a, T b, FpEnv env) {
    return (env.fpcr & kFpcrFz) == 0 && !__builtin_isunordered(detail::to_host(a), detail::to_host(b));
}

/// Of comparable numbers; +0 is above -0.
template <class T>
inline T max(T a, T b) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    return x > y ? a : x < y ? b : static_cast<T>(a & b);
}

template <class T>
inline T min(T a, T b) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    return x < y ? a : x > y ? b : static_cast<T>(a | b);
}

template <class T>
inline u32 compare(T a, T b) {
    const auto x = detail::to_host(a);
    const auto y = detail::to_host(b);
    return x > y ? kGreater : x < y ? kLess : kEqual;
}

namespace detail {

inline f32 floor(f32 a) {
    return __builtin_floorf(a);
}
inline f64 floor(f64 a) {
    return __builtin_floor(a);
}
inline f32 ceil(f32 a) {
    return __builtin_ceilf(a);
}
inline f64 ceil(f64 a) {
    return __builtin_ceil(a);
}
inline f32 trunc(f32 a) {
    return __builtin_truncf(a);
}
inline f64 trunc(f64 a) {
    return __builtin_trunc(a);
}
inline f32 nearest(f32 a) {
    return __builtin_nearbyintf(a);
}
inline f64 nearest(f64 a) {
    return __builtin_nearbyint(a);
}

/// False for the roundings the host has no instruction for.
template <class F>
inline bool integral(F a, Rounding rounding, F& result) {
    switch (rounding) {
        case Rounding::tie_even: result = nearest(a); return true;
        case Rounding::plus_infinity: result = ceil(a); return true;
        case Rounding::minus_infinity: result = floor(a); return true;
        case Rounding::toward_zero: result = trunc(a); return true;
        case Rounding::tie_away: {
            // |a| - trunc is exact; adding a signed one to the truncated value is too where there is a
            // fraction at all.
            const F whole = trunc(a);
            const F fraction = a - whole;
            result = fraction >= F{0.5} ? whole + F{1} : fraction <= F{-0.5} ? whole - F{1} : whole;
            return true;
        }
        case Rounding::to_odd: break;
    }
    return false;
}

}  // namespace detail

template <class T>
inline bool round_to_integral(T a, Rounding rounding, bool exact, FpEnv env, T& result) {
    const auto x = detail::to_host(a);
    detail::Float<T> whole = 0;
    if ((env.fpcr & kFpcrFz) != 0 || !detail::is_finite(a) || !detail::integral(x, rounding, whole)) {
        return false;
    }
    result = static_cast<T>(std::bit_cast<T>(whole) | (a & Format<T>::kSign));
    return !exact || detail::inexact_known(env) || whole == x;
}

template <class T>
inline bool to_signed(T a, unsigned width, Rounding rounding, FpEnv env, u64& result) {
    using F = detail::Float<T>;
    const F x = detail::to_host(a);
    F whole = 0;
    if ((env.fpcr & kFpcrFz) != 0 || !detail::integral(x, rounding, whole)) {
        return false;
    }
    const F limit = static_cast<F>(u64{1} << (width - 1));
    if (!(whole >= -limit && whole < limit)) [[unlikely]] {  // also NaN
        return false;
    }
    result = static_cast<u64>(static_cast<s64>(whole));
    return detail::inexact_known(env) || whole == x;
}

template <class T>
inline bool to_unsigned(T a, unsigned width, Rounding rounding, FpEnv env, u64& result) {
    using F = detail::Float<T>;
    const F x = detail::to_host(a);
    F whole = 0;
    if ((env.fpcr & kFpcrFz) != 0 || !detail::integral(x, rounding, whole)) {
        return false;
    }
    const F limit = static_cast<F>(u64{1} << (width - 1)) * F{2};
    if (!(whole >= F{0} && whole < limit)) [[unlikely]] {
        return false;
    }
    result = static_cast<u64>(whole);
    return detail::inexact_known(env) || whole == x;
}

template <class T>
inline bool from_signed(s64 value, FpEnv env, T& result) {
    using F = detail::Float<T>;
    const F x = static_cast<F>(value);
    result = std::bit_cast<T>(x);
    constexpr s64 kExact = s64{1} << (Format<T>::kFracBits + 1);
    const bool exact = value >= -kExact && value <= kExact;
    return exact || ((env.fpcr & kFpcrRMode) == 0 && detail::inexact_known(env));
}

template <class T>
inline bool from_unsigned(u64 value, FpEnv env, T& result) {
    using F = detail::Float<T>;
    const F x = static_cast<F>(value);
    result = std::bit_cast<T>(x);
    constexpr u64 kExact = u64{1} << (Format<T>::kFracBits + 1);
    return value <= kExact || ((env.fpcr & kFpcrRMode) == 0 && detail::inexact_known(env));
}

/// Single to double: exact.
inline bool convert(u32 a, FpEnv env, u64& result) {
    if ((env.fpcr & kFpcrFz) != 0 || !detail::is_finite(a)) {
        return false;
    }
    result = std::bit_cast<u64>(static_cast<f64>(detail::to_host(a)));
    return true;
}

/// Double to single.
inline bool convert(u64 a, FpEnv env, u32& result) {
    const f64 x = detail::to_host(a);
    const f32 rounded = static_cast<f32>(x);
    result = std::bit_cast<u32>(rounded);
    if (!usable(env)) {
        return false;
    }
    if (!detail::is_ordinary(result)) [[unlikely]] {
        return is_zero(a);
    }
    return detail::inexact_known(env) || static_cast<f64>(rounded) == x;
}

}  // namespace vmm::arch::fp::host
