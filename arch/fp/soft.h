// The reference implementation of A64 floating point in integer arithmetic: every operation, format and FPCR
// mode. Instantiated in soft_arith.cpp and soft_convert.cpp for u16, u32 and u64. fp.h documents the
// operations.
#pragma once

#include "arch/fp/env.h"

namespace vmm::arch::fp::soft {

template <class T>
T add(T a, T b, FpEnv env);
template <class T>
T sub(T a, T b, FpEnv env);
template <class T>
T mul(T a, T b, FpEnv env);
template <class T>
T mulx(T a, T b, FpEnv env);
template <class T>
T div(T a, T b, FpEnv env);
template <class T>
T sqrt(T a, FpEnv env);
template <class T>
T mul_add(T addend, T a, T b, FpEnv env);
template <class T>
T max(T a, T b, FpEnv env);
template <class T>
T min(T a, T b, FpEnv env);
template <class T>
T max_num(T a, T b, FpEnv env);
template <class T>
T min_num(T a, T b, FpEnv env);
template <class T>
T recip_step(T a, T b, FpEnv env);
template <class T>
T rsqrt_step(T a, T b, FpEnv env);
template <class T>
T recip_estimate(T a, FpEnv env);
template <class T>
T rsqrt_estimate(T a, FpEnv env);
template <class T>
T recip_exponent(T a, FpEnv env);
template <class T>
u32 compare(T a, T b, bool signal_all_nans, FpEnv env);

template <class T>
T round_to_integral(T a, Rounding rounding, bool exact, FpEnv env);
template <class T>
u64 to_fixed(T a, unsigned width, unsigned fraction_bits, Signedness signedness, Rounding rounding,
             FpEnv env);
template <class T>
T from_fixed(u64 value, unsigned fraction_bits, Signedness signedness, FpEnv env);
template <class To, class From>
To convert(From a, Rounding rounding, FpEnv env);

}  // namespace vmm::arch::fp::soft
