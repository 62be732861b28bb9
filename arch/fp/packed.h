// Whole 128-bit vectors of single or double precision by the host's packed arithmetic: host.h's conditions,
// checked for all lanes at once. Each function returns false, the result meaningless, when some lane or
// FPCR/FPSR asks for more care; the caller then goes lane by lane. Only for FPSR.IXC set already: no
// error-free transformations here.
#pragma once

#include <bit>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

#include "arch/fp/host.h"

namespace vmm::arch::fp::packed {

namespace detail {

template <class T>
struct Types;
template <>
struct Types<u32> {
    typedef u32 Bits __attribute__((vector_size(16)));
    typedef f32 Float __attribute__((vector_size(16)));
};
template <>
struct Types<u64> {
    typedef u64 Bits __attribute__((vector_size(16)));
    typedef f64 Float __attribute__((vector_size(16)));
};

}  // namespace detail

/// Four u32 or two u64 lanes.
template <class T>
using Bits = typename detail::Types<T>::Bits;

namespace detail {

template <class T>
using Float = typename Types<T>::Float;

/// `mask` has all bits of all lanes set.
template <class Mask>
inline bool all(Mask mask) {
#if defined(__SSE4_1__)
    return _mm_test_all_ones(std::bit_cast<__m128i>(mask)) != 0;
#else
    const auto halves = std::bit_cast<Types<u64>::Bits>(mask);
    return (halves[0] & halves[1]) == ~u64{0};
#endif
}

template <class T>
inline Float<T> to_host(Bits<T> a) {
    return std::bit_cast<Float<T>>(a);
}

template <class T>
inline Bits<T> magnitude(Bits<T> a) {
    return a & ~Format<T>::kSign;
}

// Signed comparison of magnitudes: what the host has instructions for.
template <class T>
inline auto is_finite(Bits<T> a) {
    typedef std::make_signed_t<T> Signed __attribute__((vector_size(16)));
    return std::bit_cast<Signed>(magnitude<T>(a)) < static_cast<std::make_signed_t<T>>(Format<T>::kInfinity);
}

template <class T>
inline auto is_above_smallest_normal(Bits<T> a) {
    typedef std::make_signed_t<T> Signed __attribute__((vector_size(16)));
    return std::bit_cast<Signed>(magnitude<T>(a)) > static_cast<std::make_signed_t<T>>(Format<T>::kMinNormal);
}

inline bool usable(FpEnv env) {
    return host::usable(env) && host::detail::inexact_known(env);
}

template <class T>
inline auto is_zero(Float<T> a) {
    return a == Float<T>{};
}

/// A product (sum with a product) of x and y that needs no care; a zero factor makes it exact.
template <class T>
inline bool good_product(Bits<T> result, Float<T> x, Float<T> y) {
    const auto finite = is_finite<T>(result);
    const auto above = is_above_smallest_normal<T>(result);
    return all(finite & above) || all(finite & (above | is_zero<T>(x) | is_zero<T>(y)));
}

inline Float<u32> fused(Float<u32> a, Float<u32> b, Float<u32> c) {
#if defined(__FMA__)
    return std::bit_cast<Float<u32>>(
        _mm_fmadd_ps(std::bit_cast<__m128>(a), std::bit_cast<__m128>(b), std::bit_cast<__m128>(c)));
#else
    for (int i = 0; i < 4; ++i) {
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    }
    return c;
#endif
}

inline Float<u64> fused(Float<u64> a, Float<u64> b, Float<u64> c) {
#if defined(__FMA__)
    return std::bit_cast<Float<u64>>(
        _mm_fmadd_pd(std::bit_cast<__m128d>(a), std::bit_cast<__m128d>(b), std::bit_cast<__m128d>(c)));
#else
    for (int i = 0; i < 2; ++i) {
        c[i] = __builtin_fma(a[i], b[i], c[i]);
    }
    return c;
#endif
}

}  // namespace detail

template <class T>
inline bool add(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    result = std::bit_cast<Bits<T>>(detail::to_host<T>(a) + detail::to_host<T>(b));
    return detail::usable(env) && detail::all(detail::is_finite<T>(result));
}

template <class T>
inline bool sub(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    result = std::bit_cast<Bits<T>>(detail::to_host<T>(a) - detail::to_host<T>(b));
    return detail::usable(env) && detail::all(detail::is_finite<T>(result));
}

template <class T>
inline bool abs_diff(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const bool good = sub<T>(a, b, env, result);
    result = detail::magnitude<T>(result);
    return good;
}

template <class T>
inline bool mul(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = std::bit_cast<Bits<T>>(x * y);
    return detail::usable(env) && detail::good_product<T>(result, x, y);
}

template <class T>
inline bool div(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    result = std::bit_cast<Bits<T>>(x / detail::to_host<T>(b));
    return detail::usable(env) && detail::good_product<T>(result, x, x);
}

/// FPMulAdd, the addend first.
template <class T>
inline bool mul_add(Bits<T> addend, Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = std::bit_cast<Bits<T>>(detail::fused(x, y, detail::to_host<T>(addend)));
    return detail::usable(env) && detail::good_product<T>(result, x, y);
}

template <class T>
inline bool mul_sub(Bits<T> addend, Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    return mul_add<T>(addend, a ^ Format<T>::kSign, b, env, result);
}

namespace detail {

/// No NaN, no flushing: comparison raises nothing.
template <class T>
inline bool comparable(Float<T> x, Float<T> y, FpEnv env) {
    return (env.fpcr & kFpcrFz) == 0 && all((x == x) & (y == y));
}

}  // namespace detail

template <class T>
inline bool max(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = x > y ? a : x < y ? b : a & b;
    return detail::comparable<T>(x, y, env);
}

template <class T>
inline bool min(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = x < y ? a : x > y ? b : a | b;
    return detail::comparable<T>(x, y, env);
}

// Comparisons give lanes of all ones or zeros.

template <class T>
inline bool equal(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = std::bit_cast<Bits<T>>(x == y);
    return detail::comparable<T>(x, y, env);
}

template <class T>
inline bool greater_equal(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = std::bit_cast<Bits<T>>(x >= y);
    return detail::comparable<T>(x, y, env);
}

template <class T>
inline bool greater(Bits<T> a, Bits<T> b, FpEnv env, Bits<T>& result) {
    const auto x = detail::to_host<T>(a);
    const auto y = detail::to_host<T>(b);
    result = std::bit_cast<Bits<T>>(x > y);
    return detail::comparable<T>(x, y, env);
}

}  // namespace vmm::arch::fp::packed
