// Per-lane operations of the Advanced SIMD integer instructions, named after them, and their application to
// registers.
//
// An operation is a type with `is_signed`, the element sizes its vector and scalar forms allow, and `apply`,
// whose parameters are any of: d (the old destination lane), the source lanes, and a Qc for those that
// saturate.
#pragma once

#include "arch/simd_lanes.h"

namespace vmm::arch::simd {

template <bool IsSigned, unsigned Sizes, unsigned ScalarSizes = 0>
struct Traits {
    static constexpr bool is_signed = IsSigned;
    static constexpr unsigned sizes = Sizes;
    static constexpr unsigned scalar_sizes = ScalarSizes;
};

// ── Addition, subtraction, difference ──────────────────────────────────────────────────────────────────────

struct Add : Traits<kUnsigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a + b);
    }
};
struct Sub : Traits<kUnsigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a - b);
    }
};

template <bool IsSigned>
struct HalvingAdd : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>((Exact<T>{a} + Exact<T>{b}) >> 1);
    }
};
using Shadd = HalvingAdd<kSigned>;
using Uhadd = HalvingAdd<kUnsigned>;

template <bool IsSigned>
struct RoundingHalvingAdd : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>((Exact<T>{a} + Exact<T>{b} + 1) >> 1);
    }
};
using Srhadd = RoundingHalvingAdd<kSigned>;
using Urhadd = RoundingHalvingAdd<kUnsigned>;

template <bool IsSigned>
struct HalvingSub : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>((Exact<T>{a} - Exact<T>{b}) >> 1);
    }
};
using Shsub = HalvingSub<kSigned>;
using Uhsub = HalvingSub<kUnsigned>;

template <bool IsSigned>
struct SaturatingAdd : Traits<IsSigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T a, T b, Qc& qc) {
        return saturate<T>(Exact<T>{a} + Exact<T>{b}, qc);
    }
};
using Sqadd = SaturatingAdd<kSigned>;
using Uqadd = SaturatingAdd<kUnsigned>;

template <bool IsSigned>
struct SaturatingSub : Traits<IsSigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T a, T b, Qc& qc) {
        return saturate<T>(Exact<T>{a} - Exact<T>{b}, qc);
    }
};
using Sqsub = SaturatingSub<kSigned>;
using Uqsub = SaturatingSub<kUnsigned>;

/// |a - b| modulo the element size.
template <bool IsSigned>
struct AbsoluteDifference : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        const Wrapping<T> difference = static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b);
        return static_cast<T>(a > b ? difference : 0 - difference);
    }
};
using Sabd = AbsoluteDifference<kSigned>;
using Uabd = AbsoluteDifference<kUnsigned>;

template <bool IsSigned>
struct AbsoluteDifferenceAccumulate : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T d, T a, T b) {
        return static_cast<T>(static_cast<Wrapping<T>>(d) +
                              static_cast<Wrapping<T>>(AbsoluteDifference<IsSigned>::apply(a, b)));
    }
};
using Saba = AbsoluteDifferenceAccumulate<kSigned>;
using Uaba = AbsoluteDifferenceAccumulate<kUnsigned>;

// ── Minimum, maximum, comparison ───────────────────────────────────────────────────────────────────────────

template <bool IsSigned>
struct Maximum : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return a > b ? a : b;
    }
};
using Smax = Maximum<kSigned>;
using Umax = Maximum<kUnsigned>;

template <bool IsSigned>
struct Minimum : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return a < b ? a : b;
    }
};
using Smin = Minimum<kSigned>;
using Umin = Minimum<kUnsigned>;

template <bool IsSigned>
struct GreaterThan : Traits<IsSigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a > b ? -1 : 0);
    }
};
using Cmgt = GreaterThan<kSigned>;
using Cmhi = GreaterThan<kUnsigned>;

template <bool IsSigned>
struct GreaterOrEqual : Traits<IsSigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a >= b ? -1 : 0);
    }
};
using Cmge = GreaterOrEqual<kSigned>;
using Cmhs = GreaterOrEqual<kUnsigned>;

struct Cmeq : Traits<kUnsigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a == b ? -1 : 0);
    }
};
struct Cmtst : Traits<kUnsigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>((a & b) != 0 ? -1 : 0);
    }
};
struct Cmle : Traits<kSigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a <= b ? -1 : 0);
    }
};
struct Cmlt : Traits<kSigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(a < b ? -1 : 0);
    }
};

// ── Shifts by a signed register amount ─────────────────────────────────────────────────────────────────────

template <bool IsSigned, bool Saturating, bool Rounding, unsigned ScalarSizes>
struct RegisterShift : Traits<IsSigned, kBHSD, ScalarSizes> {
    template <class T>
    static constexpr T apply(T a, T b, Qc& qc) {
        const int amount = static_cast<s8>(b);
        if (amount < 0) {
            const unsigned right = static_cast<unsigned>(-amount);
            return Rounding ? shift_right_rounded(a, right) : shift_right(a, right);
        }
        const unsigned left = static_cast<unsigned>(amount);
        return Saturating ? shift_left_saturated(a, left, qc) : shift_left(a, left);
    }
};
using Sshl = RegisterShift<kSigned, false, false, kD>;
using Ushl = RegisterShift<kUnsigned, false, false, kD>;
using Srshl = RegisterShift<kSigned, false, true, kD>;
using Urshl = RegisterShift<kUnsigned, false, true, kD>;
using Sqshl = RegisterShift<kSigned, true, false, kBHSD>;
using Uqshl = RegisterShift<kUnsigned, true, false, kBHSD>;
using Sqrshl = RegisterShift<kSigned, true, true, kBHSD>;
using Uqrshl = RegisterShift<kUnsigned, true, true, kBHSD>;

// ── Multiplication ─────────────────────────────────────────────────────────────────────────────────────────

struct Mul : Traits<kUnsigned, kBHS> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(Wrapping<T>{a} * Wrapping<T>{b});
    }
};
struct Mla : Traits<kUnsigned, kBHS> {
    template <class T>
    static constexpr T apply(T d, T a, T b) {
        return static_cast<T>(d + Mul::apply(a, b));
    }
};
struct Mls : Traits<kUnsigned, kBHS> {
    template <class T>
    static constexpr T apply(T d, T a, T b) {
        return static_cast<T>(d - Mul::apply(a, b));
    }
};
struct Pmul : Traits<kUnsigned, kB> {
    template <class T>
    static constexpr T apply(T a, T b) {
        return static_cast<T>(polynomial_multiply(a, b));
    }
};

/// The high half of d * 2^esize ± 2ab, optionally rounded. Computed at half scale, where 32-bit lanes fit 64
/// bits.
template <class T>
constexpr T doubling_multiply_high(s64 d, s64 product, bool round, Qc& qc) {
    constexpr unsigned shift = kBitsOf<T> - 1;
    const s64 sum = (d << shift) + product + (round ? s64{1} << (shift - 1) : 0);
    return saturate<T>(sum >> shift, qc);
}

struct Sqdmulh : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr T apply(T a, T b, Qc& qc) {
        return doubling_multiply_high<T>(0, s64{a} * b, false, qc);
    }
};
struct Sqrdmulh : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr T apply(T a, T b, Qc& qc) {
        return doubling_multiply_high<T>(0, s64{a} * b, true, qc);
    }
};
struct Sqrdmlah : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr T apply(T d, T a, T b, Qc& qc) {
        return doubling_multiply_high<T>(d, s64{a} * b, true, qc);
    }
};
struct Sqrdmlsh : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr T apply(T d, T a, T b, Qc& qc) {
        return doubling_multiply_high<T>(d, -(s64{a} * b), true, qc);
    }
};

// ── Long operations: apply(d, a, b, qc) with d and the result of twice the width ───────────────────────────

template <bool IsSigned>
struct AddLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T>, T a, T b, Qc&) {
        return static_cast<Wider<T>>(Wider<T>{a} + b);
    }
};
using Saddl = AddLong<kSigned>;
using Uaddl = AddLong<kUnsigned>;

template <bool IsSigned>
struct SubLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T>, T a, T b, Qc&) {
        return static_cast<Wider<T>>(Wider<T>{a} - b);
    }
};
using Ssubl = SubLong<kSigned>;
using Usubl = SubLong<kUnsigned>;

template <bool IsSigned>
struct AbsoluteDifferenceLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T>, T a, T b, Qc&) {
        return static_cast<Wider<T>>(a > b ? Wider<T>{a} - b : Wider<T>{b} - a);
    }
};
using Sabdl = AbsoluteDifferenceLong<kSigned>;
using Uabdl = AbsoluteDifferenceLong<kUnsigned>;

template <bool IsSigned>
struct AbsoluteDifferenceAccumulateLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T> d, T a, T b, Qc& qc) {
        using W = Wrapping<Wider<T>>;
        return static_cast<Wider<T>>(static_cast<W>(d) +
                                     static_cast<W>(AbsoluteDifferenceLong<IsSigned>::apply(d, a, b, qc)));
    }
};
using Sabal = AbsoluteDifferenceAccumulateLong<kSigned>;
using Uabal = AbsoluteDifferenceAccumulateLong<kUnsigned>;

/// a * b, or d plus or minus it.
template <bool IsSigned, int Sign, bool Accumulate>
struct MultiplyLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T> d, T a, T b, Qc&) {
        using W = Wrapping<Wider<T>>;
        const W product = static_cast<W>(Wider<T>{a} * Wider<T>{b});  // fits Wider<T>
        const W base = Accumulate ? static_cast<W>(d) : W{0};
        return static_cast<Wider<T>>(Sign > 0 ? base + product : base - product);
    }
};
using Smull = MultiplyLong<kSigned, 1, false>;
using Umull = MultiplyLong<kUnsigned, 1, false>;
using Smlal = MultiplyLong<kSigned, 1, true>;
using Umlal = MultiplyLong<kUnsigned, 1, true>;
using Smlsl = MultiplyLong<kSigned, -1, true>;
using Umlsl = MultiplyLong<kUnsigned, -1, true>;

struct Sqdmull : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T>, T a, T b, Qc& qc) {
        const Wider<T> product = static_cast<Wider<T>>(Wider<T>{a} * b);
        return Sqadd::apply(product, product, qc);
    }
};
struct Sqdmlal : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T> d, T a, T b, Qc& qc) {
        return Sqadd::apply(d, Sqdmull::apply(d, a, b, qc), qc);
    }
};
struct Sqdmlsl : Traits<kSigned, kHS, kHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T> d, T a, T b, Qc& qc) {
        return Sqsub::apply(d, Sqdmull::apply(d, a, b, qc), qc);
    }
};
struct Pmull : Traits<kUnsigned, kB> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T>, T a, T b, Qc&) {
        return polynomial_multiply(a, b);
    }
};

// ── Narrowing of one element: apply<T>(wide, qc) ───────────────────────────────────────────────────────────

template <bool IsSigned, bool ResultSigned>
struct SaturatingNarrow : Traits<IsSigned, kBHS, kBHS> {
    static constexpr bool result_signed = ResultSigned;
    template <class T>
    static constexpr T apply(Element<IsSigned, std::countr_zero(sizeof(T)) + 1> wide, Qc& qc) {
        return saturate<T>(wide, qc);
    }
};
using Sqxtn = SaturatingNarrow<kSigned, kSigned>;
using Uqxtn = SaturatingNarrow<kUnsigned, kUnsigned>;
using Sqxtun = SaturatingNarrow<kSigned, kUnsigned>;

struct Xtn : Traits<kUnsigned, kBHS> {
    static constexpr bool result_signed = kUnsigned;
    template <class T>
    static constexpr T apply(Wider<T> wide, Qc&) {
        return static_cast<T>(wide);
    }
};

// ── Application to registers ───────────────────────────────────────────────────────────────────────────────

template <class Op, class T>
inline constexpr bool kSaturates = requires(T x, Qc qc) {
    Op::apply(x, x, qc);
}
|| requires(T x, Qc qc) {
    Op::apply(x, x, x, qc);
};

/// One lane of an operation on two sources of the destination's size.
template <class Op, class T>
[[gnu::always_inline]] constexpr T apply_lane(T d, T a, T b, Qc& qc) {
    if constexpr (requires { Op::apply(d, a, b, qc); }) {
        return Op::apply(d, a, b, qc);
    } else if constexpr (requires { Op::apply(a, b, qc); }) {
        return Op::apply(a, b, qc);
    } else if constexpr (requires { Op::apply(d, a, b); }) {
        return Op::apply(d, a, b);
    } else {
        return Op::apply(a, b);
    }
}

template <class Op, class T>
[[gnu::always_inline]] inline Vreg apply_lanes(const Vreg& d, const Vreg& a, const Vreg& b, Qc& qc) {
    const auto accumulator = lanes_of<T>(d);
    const auto first = lanes_of<T>(a);
    const auto second = lanes_of<T>(b);
    Lanes<T> result;
    for (std::size_t i = 0; i < result.size(); ++i) {
        result[i] = apply_lane<Op, T>(accumulator[i], first[i], second[i], qc);
    }
    return vreg_of<T>(result);
}

/// A whole instruction Vd = Op(Vd, Vn, m).
template <class Op, class T>
[[gnu::always_inline]] inline Exec vector_operation(Vcpu& v, u32 q, u32 rn, const Vreg& m, u32 rd) {
    Qc qc;
    if constexpr (kSaturates<Op, T>) {
        // Lanes of zeros do not saturate, so a 64-bit vector's absent lanes leave QC alone.
        const Vreg result = apply_lanes<Op, T>(masked(v.s.v[rd], q), masked(v.s.v[rn], q), masked(m, q), qc);
        write_qc(v, qc);
        return write_vector(v, rd, q, result);
    } else {
        return write_vector(v, rd, q, apply_lanes<Op, T>(v.s.v[rd], v.s.v[rn], m, qc));
    }
}

/// Lane 0 alone; the rest of Vd becomes zero.
template <class Op, class T>
[[gnu::always_inline]] inline Exec scalar_operation(Vcpu& v, u32 rn, T m, u32 rd) {
    Qc qc;
    const T result = apply_lane<Op, T>(v.s.v[rd].template lane<T>(0), v.s.v[rn].template lane<T>(0), m, qc);
    write_qc(v, qc);
    return write_scalar(v, rd, result);
}

/// Vd = Op(Vd, half of Vn, `m_half`) with results of twice the width.
template <class Op, class T>
[[gnu::always_inline]] inline Exec long_operation(Vcpu& v, u32 q, u32 rn, u64 m_half, u32 rd) {
    const auto accumulator = lanes_of<Wider<T>>(v.s.v[rd]);
    const auto first = half_lanes_of<T>(source_half(v.s.v[rn], q));
    const auto second = half_lanes_of<T>(m_half);
    Lanes<Wider<T>> result;
    Qc qc;
    for (std::size_t i = 0; i < result.size(); ++i) {
        result[i] = Op::apply(accumulator[i], first[i], second[i], qc);
    }
    write_qc(v, qc);
    v.s.v[rd] = vreg_of<Wider<T>>(result);
    return Exec::next;
}

template <class Op, class T>
[[gnu::always_inline]] inline Exec scalar_long_operation(Vcpu& v, u32 rn, T m, u32 rd) {
    Qc qc;
    const Wider<T> result =
        Op::apply(v.s.v[rd].template lane<Wider<T>>(0), v.s.v[rn].template lane<T>(0), m, qc);
    write_qc(v, qc);
    return write_scalar(v, rd, result);
}

}  // namespace vmm::arch::simd
