// FPCR and FPSR as the floating-point operations see them.
#pragma once

#include "vmm/base/types.h"

namespace vmm::arch::fp {

// FPCR fields.
inline constexpr u32 kFpcrFz16 = 1u << 19;
inline constexpr unsigned kFpcrRModeShift = 22;
inline constexpr u32 kFpcrRMode = 3u << kFpcrRModeShift;
inline constexpr u32 kFpcrFz = 1u << 24;
inline constexpr u32 kFpcrDn = 1u << 25;
inline constexpr u32 kFpcrAhp = 1u << 26;

// FPSR cumulative exception bits.
inline constexpr u32 kIoc = 1u << 0;  // invalid operation
inline constexpr u32 kDzc = 1u << 1;  // division by zero
inline constexpr u32 kOfc = 1u << 2;  // overflow
inline constexpr u32 kUfc = 1u << 3;  // underflow
inline constexpr u32 kIxc = 1u << 4;  // inexact
inline constexpr u32 kIdc = 1u << 7;  // input denormal

/// The first four are numbered as FPCR.RMode.
enum class Rounding : u8 { tie_even, plus_infinity, minus_infinity, toward_zero, tie_away, to_odd };

enum class Signedness : u8 { signed_integer, unsigned_integer };

// Results of a comparison as NZCV nibbles.
inline constexpr u32 kLess = 0b1000;
inline constexpr u32 kEqual = 0b0110;
inline constexpr u32 kGreater = 0b0010;
inline constexpr u32 kUnordered = 0b0011;

/// FPCR by value and the FPSR that collects exceptions. Made for each instruction and passed by value: two
/// registers.
struct FpEnv {
    u32 fpcr;
    u32& fpsr;

    void raise(u32 flags) const { fpsr |= flags; }
    Rounding rounding() const { return static_cast<Rounding>((fpcr >> kFpcrRModeShift) & 3); }
    bool default_nan() const { return (fpcr & kFpcrDn) != 0; }
};

}  // namespace vmm::arch::fp
