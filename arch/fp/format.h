// The three IEEE 754 binary formats A64 computes in, named by the unsigned integer that holds them: u16 is
// half, u32 single and u64 double precision. Bit patterns never become host floating-point values here.
#pragma once

#include "vmm/base/types.h"

namespace vmm::arch::fp {

namespace detail {
template <class T>
struct Layout;
template <>
struct Layout<u16> {
    static constexpr unsigned exp_bits = 5;
};
template <>
struct Layout<u32> {
    static constexpr unsigned exp_bits = 8;
};
template <>
struct Layout<u64> {
    static constexpr unsigned exp_bits = 11;
};
}  // namespace detail

template <class T>
struct Format {
    static constexpr unsigned kBits = sizeof(T) * 8;
    static constexpr unsigned kExpBits = detail::Layout<T>::exp_bits;
    static constexpr unsigned kFracBits = kBits - 1 - kExpBits;
    static constexpr int kMaxExpField = (1 << kExpBits) - 1;
    static constexpr int kBias = kMaxExpField >> 1;
    static constexpr int kMinExp = 1 - kBias;  // of a normal number

    static constexpr T kSign = static_cast<T>(T{1} << (kBits - 1));
    static constexpr T kFracMask = static_cast<T>((T{1} << kFracBits) - 1);
    static constexpr T kInfinity = static_cast<T>(static_cast<T>(kMaxExpField) << kFracBits);
    static constexpr T kQuiet = static_cast<T>(T{1} << (kFracBits - 1));
    static constexpr T kDefaultNan = static_cast<T>(kInfinity | kQuiet);
    static constexpr T kMaxNormal = static_cast<T>(kInfinity - 1);
    static constexpr T kMinNormal = static_cast<T>(T{1} << kFracBits);
    static constexpr T kOne = static_cast<T>(static_cast<T>(kBias) << kFracBits);
    static constexpr T kTwo = static_cast<T>(static_cast<T>(kBias + 1) << kFracBits);
    static constexpr T kOnePointFive = static_cast<T>(kOne | kQuiet);
};

template <class T>
constexpr bool sign_of(T a) {
    return (a & Format<T>::kSign) != 0;
}
template <class T>
constexpr T magnitude(T a) {
    return static_cast<T>(a & ~Format<T>::kSign);
}
template <class T>
constexpr T signed_zero(bool sign) {
    return sign ? Format<T>::kSign : T{0};
}
template <class T>
constexpr T infinity(bool sign) {
    return static_cast<T>(signed_zero<T>(sign) | Format<T>::kInfinity);
}
template <class T>
constexpr bool is_nan(T a) {
    return magnitude(a) > Format<T>::kInfinity;
}
template <class T>
constexpr bool is_snan(T a) {
    return is_nan(a) && (a & Format<T>::kQuiet) == 0;
}
template <class T>
constexpr bool is_qnan(T a) {
    return magnitude(a) >= Format<T>::kDefaultNan;
}
template <class T>
constexpr bool is_infinity(T a) {
    return magnitude(a) == Format<T>::kInfinity;
}
template <class T>
constexpr bool is_zero(T a) {
    return magnitude(a) == 0;
}
template <class T>
constexpr bool is_denormal(T a) {
    return static_cast<T>(magnitude(a) - 1) < Format<T>::kFracMask;
}

}  // namespace vmm::arch::fp
