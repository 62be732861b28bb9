// Bit manipulation under the names of the Arm ARM's shared pseudocode. All functions are constexpr and total.
#pragma once

#include <bit>
#include <concepts>
#include <type_traits>

#include "vmm/base/types.h"

namespace vmm {

/// A value with the `n` lowest bits set; `n` may be 0..64.
constexpr u64 ones(unsigned n) { return n >= 64 ? ~u64{0} : (u64{1} << n) - 1; }

/// Bits [hi:lo] of `value`, moved down to bit 0. hi >= lo.
constexpr u64 bits(u64 value, unsigned hi, unsigned lo) { return (value >> lo) & ones(hi - lo + 1); }

/// Bit `n` of `value`.
constexpr bool bit(u64 value, unsigned n) { return ((value >> n) & 1) != 0; }

/// `value` with bits [hi:lo] replaced by the low bits of `field`.
constexpr u64 deposit(u64 value, unsigned hi, unsigned lo, u64 field) {
    const u64 mask = ones(hi - lo + 1) << lo;
    return (value & ~mask) | ((field << lo) & mask);
}

/// The low `width` bits of `value` taken as a two's complement number. 1 <= width <= 64.
constexpr s64 sign_extend(u64 value, unsigned width) {
    const unsigned shift = 64 - width;
    return static_cast<s64>(value << shift) >> shift;
}

constexpr u64 align_down(u64 value, u64 power_of_two) { return value & ~(power_of_two - 1); }
constexpr u64 align_up(u64 value, u64 power_of_two) { return align_down(value + power_of_two - 1, power_of_two); }
constexpr bool is_aligned(u64 value, u64 power_of_two) { return (value & (power_of_two - 1)) == 0; }

/// `value` rotated right by `n` within `width` bits; bits above `width` of the input are ignored.
constexpr u64 rotate_right(u64 value, unsigned n, unsigned width) {
    value &= ones(width);
    n %= width;
    return n == 0 ? value : ((value >> n) | (value << (width - n))) & ones(width);
}

/// The `width`-bit pattern of `value` repeated to fill 64 bits; width is a power of two.
constexpr u64 replicate(u64 value, unsigned width) {
    value &= ones(width);
    for (; width < 64; width *= 2) {
        value |= value << width;
    }
    return value;
}

}  // namespace vmm
