// Lanes of 128-bit registers: what the Advanced SIMD handlers share. Whole registers are computed as
// fixed-size arrays, which the compiler turns into host vector instructions; 64-bit forms compute all 128
// bits and clear the upper half.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <type_traits>
#include <utility>

#include "arch/vcpu.h"

namespace vmm::arch::simd {

/// Sets of element sizes, as bits indexed by the instruction's size field.
inline constexpr unsigned kB = 1;
inline constexpr unsigned kH = 2;
inline constexpr unsigned kS = 4;
inline constexpr unsigned kD = 8;
inline constexpr unsigned kHS = kH | kS;
inline constexpr unsigned kBHS = kB | kH | kS;
inline constexpr unsigned kBHSD = kBHS | kD;

inline constexpr bool kSigned = true;
inline constexpr bool kUnsigned = false;

template <class T>
inline constexpr unsigned kBitsOf = 8 * sizeof(T);

/// FPSR.QC to be: set by saturating operations, written to the register once per instruction.
struct Qc {
    bool set = false;
};

[[gnu::always_inline]] inline void write_qc(Vcpu& v, Qc qc) {
    v.s.fpsr |= u32{qc.set} << 27;
}

// ── Element types ──────────────────────────────────────────────────────────────────────────────────────────

template <class T>
struct WiderOf;
template <>
struct WiderOf<u8> {
    using Type = u16;
};
template <>
struct WiderOf<u16> {
    using Type = u32;
};
template <>
struct WiderOf<u32> {
    using Type = u64;
};
template <>
struct WiderOf<s8> {
    using Type = s16;
};
template <>
struct WiderOf<s16> {
    using Type = s32;
};
template <>
struct WiderOf<s32> {
    using Type = s64;
};

/// The element of twice the width and the same signedness.
template <class T>
using Wider = typename WiderOf<T>::Type;

template <class T>
using Signed = std::make_signed_t<T>;
template <class T>
using Unsigned = std::make_unsigned_t<T>;

/// Unsigned type in which products and sums of T wrap without promotion to int.
template <class T>
using Wrapping = std::common_type_t<Unsigned<T>, u32>;

template <class T>
struct ExactOf {
    using Type = s32;
};
template <>
struct ExactOf<u32> {
    using Type = s64;
};
template <>
struct ExactOf<s32> {
    using Type = s64;
};
template <>
struct ExactOf<u64> {
    using Type = s128;
};
template <>
struct ExactOf<s64> {
    using Type = s128;
};

/// Signed type that holds every sum and difference of two Ts.
template <class T>
using Exact = typename ExactOf<T>::Type;

/// The element of 8 << Size bits.
template <bool IsSigned, unsigned Size>
using Element = std::conditional_t<IsSigned, std::tuple_element_t<Size, std::tuple<s8, s16, s32, s64>>,
                                   std::tuple_element_t<Size, std::tuple<u8, u16, u32, u64>>>;

/// Calls f(T{}) with the element type of `size`; UNDEFINED if the size is not in `Sizes`.
template <bool IsSigned, unsigned Sizes, class F>
Exec with_element(Vcpu& v, u32 size, F f) {
    switch (size) {
        case 0:
            if constexpr ((Sizes & kB) != 0)
                return f(Element<IsSigned, 0>{});
            break;
        case 1:
            if constexpr ((Sizes & kH) != 0)
                return f(Element<IsSigned, 1>{});
            break;
        case 2:
            if constexpr ((Sizes & kS) != 0)
                return f(Element<IsSigned, 2>{});
            break;
        case 3:
            if constexpr ((Sizes & kD) != 0)
                return f(Element<IsSigned, 3>{});
            break;
        default: break;
    }
    return v.undefined();
}

/// As with_element, for vectors: 64-bit elements exist only in 128-bit vectors.
template <bool IsSigned, unsigned Sizes, class F>
Exec with_vector_element(Vcpu& v, u32 size, u32 q, F f) {
    if ((Sizes & kD) != 0 && size == 3 && q == 0) {
        return v.undefined();
    }
    return with_element<IsSigned, Sizes>(v, size, f);
}

// ── Registers as arrays ────────────────────────────────────────────────────────────────────────────────────

// Forced inline: otherwise registers travel between these helpers in pairs of general-purpose host registers.

template <class T>
struct HostVector {
    using Type [[gnu::vector_size(16)]] = T;
};

template <class T>
using Lanes = std::array<T, 16 / sizeof(T)>;
template <class T>
using HalfLanes = std::array<T, 8 / sizeof(T)>;

template <class T>
[[gnu::always_inline]] inline Lanes<T> lanes_of(const Vreg& reg) {
    return std::bit_cast<Lanes<T>>(reg);
}

template <class T>
[[gnu::always_inline]] inline HalfLanes<T> half_lanes_of(u64 half) {
    return std::bit_cast<HalfLanes<T>>(half);
}

template <class T>
[[gnu::always_inline]] inline Vreg vreg_of(const Lanes<T>& lanes) {
    return std::bit_cast<Vreg>(lanes);
}

template <class T>
[[gnu::always_inline]] inline Vreg broadcast(T value) {
    Lanes<T> lanes;
    lanes.fill(value);
    return vreg_of<T>(lanes);
}

/// The half of a source that long and wide forms ("2" when q) read.
[[gnu::always_inline]] inline u64 source_half(const Vreg& reg, u32 q) {
    return q != 0 ? reg.hi : reg.lo;
}

/// The bits of a register that a 64-bit (q = 0) and a 128-bit vector has.
inline constexpr Vreg kVectorBits[2] = {{~u64{0}, 0}, {~u64{0}, ~u64{0}}};

/// A 64-bit vector operand with its upper half cleared; a 128-bit one unchanged.
[[gnu::always_inline]] inline Vreg masked(const Vreg& reg, u32 q) {
    using V = HostVector<u64>::Type;
    return std::bit_cast<Vreg>(std::bit_cast<V>(reg) & std::bit_cast<V>(kVectorBits[q]));
}

/// The lanes of an operand. Saturating operations leave out those a 64-bit vector lacks: zeros never set QC.
template <class T, bool Saturates>
[[gnu::always_inline]] inline Lanes<T> operand_lanes(const Vreg& reg, u32 q) {
    if constexpr (Saturates) {
        return lanes_of<T>(masked(reg, q));
    } else {
        return lanes_of<T>(reg);
    }
}

/// Writes a 64- or 128-bit vector.
[[gnu::always_inline]] inline Exec write_vector(Vcpu& v, u32 rd, u32 q, const Vreg& value) {
    v.s.v[rd] = masked(value, q);
    return Exec::next;
}

/// Writes a narrowed result: the low half and zeros, or with q ("2" forms) the high half only.
[[gnu::always_inline]] inline Exec write_narrow(Vcpu& v, u32 rd, u32 q, u64 half) {
    if (q != 0) {
        v.s.v[rd].hi = half;
    } else {
        v.s.v[rd] = Vreg{half, 0};
    }
    return Exec::next;
}

/// Writes lane 0 and clears the rest.
template <class T>
[[gnu::always_inline]] inline Exec write_scalar(Vcpu& v, u32 rd, T value) {
    v.s.v[rd] = Vreg{static_cast<Unsigned<T>>(value), 0};
    return Exec::next;
}

// ── Shuffles ───────────────────────────────────────────────────────────────────────────────────────────────

/// At(i, N) is the source lane of lane i of N: 0..N-1 from `a`, N..2N-1 from `b`.
template <class T, unsigned (*At)(unsigned, unsigned)>
[[gnu::always_inline]] inline Vreg shuffle(const Vreg& a, const Vreg& b) {
    using V = typename HostVector<T>::Type;
    constexpr unsigned n = 16 / sizeof(T);
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return std::bit_cast<Vreg>(
            __builtin_shufflevector(std::bit_cast<V>(a), std::bit_cast<V>(b), static_cast<int>(At(I, n))...));
    }
    (std::make_index_sequence<n>{});
}

/// Lane orders of ZIP, UZP and TRN; Part is 0 for the "1" instructions and 1 for the "2" ones.
template <unsigned Part>
constexpr unsigned zip_order(unsigned i, unsigned n) {
    return Part * (n / 2) + i / 2 + (i % 2) * n;
}
template <unsigned Part>
constexpr unsigned uzp_order(unsigned i, unsigned) {
    return 2 * i + Part;
}
template <unsigned Part>
constexpr unsigned trn_order(unsigned i, unsigned n) {
    return (i & ~1u) + Part + (i % 2) * n;
}

/// The even (Part 0) or odd (Part 1) elements of m:n; for 64-bit vectors, of their low halves.
template <class T, unsigned Part>
[[gnu::always_inline]] inline Vreg unzip(const Vreg& n, const Vreg& m, u32 q) {
    if (q == 0) {
        const Vreg both{n.lo, m.lo};
        return shuffle<T, uzp_order<Part>>(both, both);
    }
    return shuffle<T, uzp_order<Part>>(n, m);
}

// ── Scalar arithmetic ──────────────────────────────────────────────────────────────────────────────────────

/// SatQ: `value` clamped to T's range. W holds both ranges.
template <class T, class W>
constexpr T saturate(W value, Qc& qc) {
    constexpr W low = std::numeric_limits<T>::min();
    constexpr W high = std::numeric_limits<T>::max();
    const W clamped = std::clamp(value, low, high);
    qc.set |= clamped != value;
    return static_cast<T>(clamped);
}

/// floor(value / 2^n) for any n >= 0.
template <class T>
constexpr T shift_right(T value, unsigned n) {
    if constexpr (std::is_signed_v<T>) {
        return static_cast<T>(value >> std::min(n, kBitsOf<T> - 1));
    } else {
        return n >= kBitsOf<T> ? T{0} : static_cast<T>(value >> n);
    }
}

/// floor(value / 2^n + 1/2) for any n >= 1; always fits.
template <class T>
constexpr T shift_right_rounded(T value, unsigned n) {
    if (n > kBitsOf<T> || (std::is_signed_v<T> && n == kBitsOf<T>)) {
        return 0;
    }
    return static_cast<T>(shift_right(value, n) + static_cast<T>((value >> (n - 1)) & 1));
}

/// value * 2^n modulo 2^width for any n >= 0.
template <class T>
constexpr T shift_left(T value, unsigned n) {
    return n >= kBitsOf<T> ? T{0} : static_cast<T>(static_cast<Wrapping<T>>(value) << n);
}

/// value * 2^n saturated, for any n >= 0.
template <class T>
constexpr T shift_left_saturated(T value, unsigned n, Qc& qc) {
    const T shifted = shift_left(value, n);
    if (shift_right(shifted, n) == value) {
        return shifted;
    }
    qc.set = true;
    return value < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
}

/// The product of two 8-bit polynomials over {0, 1}.
constexpr u16 polynomial_multiply(u8 a, u8 b) {
    u32 product = 0;
    for (unsigned i = 0; i < 8; ++i) {
        product ^= (u32{a} << i) & (0u - ((b >> i) & 1u));
    }
    return static_cast<u16>(product);
}

}  // namespace vmm::arch::simd
