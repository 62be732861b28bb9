// Advanced SIMD three different (long, wide and narrowing) and vector x indexed element, with their scalar
// forms.
#include "arch/decode_section.h"
#include "arch/simd_ops.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd;

using L = Operand<"l", 1>;
using M = Operand<"m", 1>;
using H = Operand<"h", 1>;
using Rm4 = Operand<"rm", 4>;

// ── Three different ────────────────────────────────────────────────────────────────────────────────────────

template <class Op>
Exec long_vector(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::sizes>(v, size, [&](auto element) {
        return long_operation<Op, decltype(element)>(v, q, rn, source_half(v.s.v[rm], q), rd);
    });
}

template <class Op>
Exec scalar_long(Vcpu& v, Size size, Rm rm, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        return scalar_long_operation<Op, T>(v, rn, v.s.v[rm].template lane<T>(0), rd);
    });
}

Exec pmull(Vcpu& v, Q q, Rm rm, Rn rn, Rd rd) {
    return long_operation<Pmull, u8>(v, q, rn, source_half(v.s.v[rm], q), rd);
}

template <bool IsSigned, class Base>
struct Wide : Base {
    static constexpr bool is_signed = IsSigned;
};
using SignedAdd = Wide<kSigned, Add>;
using UnsignedAdd = Wide<kUnsigned, Add>;
using SignedSub = Wide<kSigned, Sub>;
using UnsignedSub = Wide<kUnsigned, Sub>;

template <class Op>
Exec wide_vector(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_element<Op::is_signed, kBHS>(v, size, [&](auto element) {
        using T = decltype(element);
        using W = Unsigned<Wider<T>>;
        const auto first = lanes_of<W>(v.s.v[rn]);
        const auto second = half_lanes_of<T>(source_half(v.s.v[rm], q));
        Lanes<W> result;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::apply(first[i], static_cast<W>(Wider<T>{second[i]}));
        }
        v.s.v[rd] = vreg_of<W>(result);
        return Exec::next;
    });
}

template <class Base, bool Round>
struct NarrowHigh : Traits<kUnsigned, kBHS> {
    template <class T, class W>
    static constexpr T apply(W a, W b) {
        constexpr W rounding = Round ? W{1} << (kBitsOf<T> - 1) : W{0};
        return static_cast<T>(static_cast<W>(Base::apply(a, b) + rounding) >> kBitsOf<T>);
    }
};
using Addhn = NarrowHigh<Add, false>;
using Raddhn = NarrowHigh<Add, true>;
using Subhn = NarrowHigh<Sub, false>;
using Rsubhn = NarrowHigh<Sub, true>;

template <class Op>
Exec narrow_high(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_element<kUnsigned, kBHS>(v, size, [&](auto element) {
        using T = decltype(element);
        const auto first = lanes_of<Wider<T>>(v.s.v[rn]);
        const auto second = lanes_of<Wider<T>>(v.s.v[rm]);
        HalfLanes<T> result;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::template apply<T>(first[i], second[i]);
        }
        return write_narrow(v, rd, q, std::bit_cast<u64>(result));
    });
}

// ── Vector x indexed element ───────────────────────────────────────────────────────────────────────────────

/// The indexed element of Vm: 16-bit ones have three index bits and V0-V15, 32-bit ones two and V0-V31.
template <class T>
T indexed_element(const Vcpu& v, u32 h, u32 l, u32 m, u32 rm) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4);
    if constexpr (sizeof(T) == 2) {
        return v.s.v[rm].lane<T>(h << 2 | l << 1 | m);
    } else {
        return v.s.v[m << 4 | rm].lane<T>(h << 1 | l);
    }
}

template <class Op>
Exec by_element(Vcpu& v, Q q, Size size, L l, M m, Rm4 rm, H h, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::sizes & kHS>(v, size, [&](auto element) {
        using T = decltype(element);
        return vector_operation<Op, T>(v, q, rn, broadcast(indexed_element<T>(v, h, l, m, rm)), rd);
    });
}

template <class Op>
Exec long_by_element(Vcpu& v, Q q, Size size, L l, M m, Rm4 rm, H h, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::sizes & kHS>(v, size, [&](auto element) {
        using T = decltype(element);
        return long_operation<Op, T>(v, q, rn, broadcast(indexed_element<T>(v, h, l, m, rm)).lo, rd);
    });
}

template <class Op>
Exec scalar_by_element(Vcpu& v, Size size, L l, M m, Rm4 rm, H h, Rn rn, Rd rd) {
    return with_element<Op::is_signed, kHS>(v, size, [&](auto element) {
        using T = decltype(element);
        return scalar_operation<Op, T>(v, rn, indexed_element<T>(v, h, l, m, rm), rd);
    });
}

template <class Op>
Exec scalar_long_by_element(Vcpu& v, Size size, L l, M m, Rm4 rm, H h, Rn rn, Rd rd) {
    return with_element<Op::is_signed, kHS>(v, size, [&](auto element) {
        using T = decltype(element);
        return scalar_long_operation<Op, T>(v, rn, indexed_element<T>(v, h, l, m, rm), rd);
    });
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_three_different.inc"
};

}  // namespace

std::span<const DecodeRow> simd_three_different_rows() {
    return kRows;
}

}  // namespace vmm::arch
