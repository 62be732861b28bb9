// Shared functions of the Arm ARM's pseudocode for integer instructions, under their names in snake case. All total:
// any argument a guest can produce is valid.
#pragma once

#include <bit>

#include "arch/cpu_state.h"
#include "vmm/base/bits.h"

namespace vmm::arch {

template <class T>
inline constexpr unsigned kWidth = sizeof(T) * 8;

/// N and Z of a result; C and V clear (logical instructions).
template <class T>
constexpr Nzcv logical_flags(T result) {
    return Nzcv{static_cast<u8>(result >> (kWidth<T> - 1)), result == 0, 0, 0};
}

/// AddWithCarry(x, y, carry_in): the sum and its flags. Subtraction is add_with_carry(x, ~y, 1).
template <class T>
constexpr T add_with_carry(T x, T y, bool carry_in, Nzcv& flags) {
    T partial = 0;
    T sum = 0;
    const bool carry_a = __builtin_add_overflow(x, y, &partial);
    const bool carry_b = __builtin_add_overflow(partial, T{carry_in}, &sum);
    flags.n = static_cast<u8>(sum >> (kWidth<T> - 1));
    flags.z = sum == 0;
    flags.c = carry_a || carry_b;
    flags.v = static_cast<u8>(((x ^ sum) & (y ^ sum)) >> (kWidth<T> - 1));
    return sum;
}

/// The shift types of shifted-register operands.
enum class ShiftType : u8 { lsl, lsr, asr, ror };

/// Shifts by amount mod the width of T, as the variable shifts and shifted-register operands do.
template <class T>
constexpr T shift_value(T value, ShiftType type, unsigned amount) {
    amount &= kWidth<T> - 1;
    switch (type) {
        case ShiftType::lsl: return value << amount;
        case ShiftType::lsr: return value >> amount;
        case ShiftType::asr: return static_cast<T>(static_cast<std::make_signed_t<T>>(value) >> amount);
        default: return std::rotr(value, static_cast<int>(amount));
    }
}

/// ExtendReg's value: `option` is UXTB, UXTH, UXTW, UXTX, SXTB, SXTH, SXTW, SXTX; shift is 0..4.
constexpr u64 extend_value(u64 value, unsigned option, unsigned shift) {
    switch (option & 7) {
        case 0: value = static_cast<u8>(value); break;
        case 1: value = static_cast<u16>(value); break;
        case 2: value = static_cast<u32>(value); break;
        case 4: value = static_cast<u64>(s64{static_cast<s8>(value)}); break;
        case 5: value = static_cast<u64>(s64{static_cast<s16>(value)}); break;
        case 6: value = static_cast<u64>(s64{static_cast<s32>(value)}); break;
        default: break;
    }
    return value << shift;
}

/// Result of DecodeBitMasks.
struct BitMasks {
    u64 wmask = 0;
    u64 tmask = 0;
};

/// DecodeBitMasks(N, imms, immr, immediate). False: reserved. The masks are those of 64-bit registers; a 32-bit
/// instruction takes their low halves (and N must be 0, which the caller has checked).
constexpr bool decode_bit_masks(unsigned n, unsigned imms, unsigned immr, bool immediate, BitMasks& masks) {
    const unsigned length_bits = n << 6 | (~imms & 0x3F);
    if (length_bits < 2) {
        return false;
    }
    const unsigned length = static_cast<unsigned>(std::bit_width(length_bits)) - 1;
    const unsigned levels = static_cast<unsigned>(ones(length));
    if (immediate && (imms & levels) == levels) {
        return false;
    }
    const unsigned esize = 1u << length;
    const unsigned s = imms & levels;
    const unsigned r = immr & levels;
    const unsigned d = (s - r) & levels;
    masks.wmask = replicate(rotate_right(ones(s + 1), r, esize), esize);
    masks.tmask = replicate(ones(d + 1), esize);
    return true;
}

}  // namespace vmm::arch
