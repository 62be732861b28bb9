// Advanced SIMD shift by immediate (integer), vector and scalar.
#include "arch/decode_section.h"
#include "arch/simd_ops.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd;

using Immh = Operand<"immh", 4>;
using Immb = Operand<"immb", 3>;

/// log2 of the element's bytes: the highest set bit of immh. 4 (which no form allows) for the reserved immh =
/// 0.
constexpr u32 element_size(u32 immh) {
    return immh == 0 ? 4 : 31 - static_cast<u32>(std::countl_zero(immh));
}

// ── Operations: apply(d, a, n, qc), n in 1..esize for right shifts and 0..esize-1 for left shifts ──────────

template <bool IsSigned, bool Rounding, bool Accumulate>
struct RightShift : Traits<IsSigned, kBHSD, kD> {
    static constexpr bool saturates = false;
    static constexpr bool is_left = false;
    template <class T>
    static constexpr T apply(T d, T a, unsigned n, Qc&) {
        const T shifted = Rounding ? shift_right_rounded(a, n) : shift_right(a, n);
        return Accumulate ? static_cast<T>(static_cast<Wrapping<T>>(d) + static_cast<Wrapping<T>>(shifted))
                          : shifted;
    }
};
using Sshr = RightShift<kSigned, false, false>;
using Ushr = RightShift<kUnsigned, false, false>;
using Ssra = RightShift<kSigned, false, true>;
using Usra = RightShift<kUnsigned, false, true>;
using Srshr = RightShift<kSigned, true, false>;
using Urshr = RightShift<kUnsigned, true, false>;
using Srsra = RightShift<kSigned, true, true>;
using Ursra = RightShift<kUnsigned, true, true>;

struct Shl : Traits<kUnsigned, kBHSD, kD> {
    static constexpr bool saturates = false;
    static constexpr bool is_left = true;
    template <class T>
    static constexpr T apply(T, T a, unsigned n, Qc&) {
        return static_cast<T>(Wrapping<T>{a} << n);
    }
};
struct Sli : Traits<kUnsigned, kBHSD, kD> {
    static constexpr bool saturates = false;
    static constexpr bool is_left = true;
    template <class T>
    static constexpr T apply(T d, T a, unsigned n, Qc&) {
        return static_cast<T>((Wrapping<T>{a} << n) | (d & ((Wrapping<T>{1} << n) - 1)));
    }
};
struct Sri : Traits<kUnsigned, kBHSD, kD> {
    static constexpr bool saturates = false;
    static constexpr bool is_left = false;
    template <class T>
    static constexpr T apply(T d, T a, unsigned n, Qc&) {
        return static_cast<T>(shift_right(a, n) | (d & ~shift_right(static_cast<T>(~T{0}), n)));
    }
};

template <bool IsSigned>
struct SaturatingLeftShift : Traits<IsSigned, kBHSD, kBHSD> {
    static constexpr bool saturates = true;
    static constexpr bool is_left = true;
    template <class T>
    static constexpr T apply(T, T a, unsigned n, Qc& qc) {
        return shift_left_saturated(a, n, qc);
    }
};
using SqshlImm = SaturatingLeftShift<kSigned>;
using UqshlImm = SaturatingLeftShift<kUnsigned>;

/// Signed source, unsigned result.
struct Sqshlu : Traits<kSigned, kBHSD, kBHSD> {
    static constexpr bool saturates = true;
    static constexpr bool is_left = true;
    template <class T>
    static constexpr T apply(T, T a, unsigned n, Qc& qc) {
        if (a < 0) {
            qc.set = true;
            return 0;
        }
        return static_cast<T>(shift_left_saturated(static_cast<Unsigned<T>>(a), n, qc));
    }
};

template <class Op>
unsigned shift_amount(u32 size, u32 immh, u32 immb) {
    const unsigned esize = 8u << size;
    const unsigned encoded = immh << 3 | immb;
    return Op::is_left ? encoded - esize : 2 * esize - encoded;
}

template <class Op>
Exec shift_imm(Vcpu& v, Q q, Immh immh, Immb immb, Rn rn, Rd rd) {
    const u32 size = element_size(immh);
    return with_vector_element<Op::is_signed, Op::sizes>(v, size, q, [&](auto element) {
        using T = decltype(element);
        const unsigned n = shift_amount<Op>(size, immh, immb);
        const auto accumulator = lanes_of<T>(v.s.v[rd]);
        const auto source = operand_lanes<T, Op::saturates>(v.s.v[rn], q);
        Lanes<T> result;
        Qc qc;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::apply(accumulator[i], source[i], n, qc);
        }
        write_qc(v, qc);
        return write_vector(v, rd, q, vreg_of<T>(result));
    });
}

template <class Op>
Exec scalar_shift_imm(Vcpu& v, Immh immh, Immb immb, Rn rn, Rd rd) {
    const u32 size = element_size(immh);
    return with_element<Op::is_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        Qc qc;
        const T result = Op::apply(v.s.v[rd].template lane<T>(0), v.s.v[rn].template lane<T>(0),
                                   shift_amount<Op>(size, immh, immb), qc);
        write_qc(v, qc);
        return write_scalar(v, rd, result);
    });
}

// ── Narrowing right shifts ─────────────────────────────────────────────────────────────────────────────────

template <class Narrow, bool Round>
struct NarrowingShift : Narrow {
    static constexpr bool is_left = false;
    template <class T, class W>
    static constexpr T apply(W wide, unsigned n, Qc& qc) {
        return Narrow::template apply<T>(Round ? shift_right_rounded(wide, n) : shift_right(wide, n), qc);
    }
};
using Shrn = NarrowingShift<Xtn, false>;
using Rshrn = NarrowingShift<Xtn, true>;
using Sqshrn = NarrowingShift<Sqxtn, false>;
using Sqrshrn = NarrowingShift<Sqxtn, true>;
using Uqshrn = NarrowingShift<Uqxtn, false>;
using Uqrshrn = NarrowingShift<Uqxtn, true>;
using Sqshrun = NarrowingShift<Sqxtun, false>;
using Sqrshrun = NarrowingShift<Sqxtun, true>;

template <class Op>
Exec shift_narrow(Vcpu& v, Q q, Immh immh, Immb immb, Rn rn, Rd rd) {
    const u32 size = element_size(immh);
    return with_element<Op::result_signed, Op::sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        using W = std::conditional_t<Op::is_signed, Signed<Wider<T>>, Unsigned<Wider<T>>>;
        const unsigned n = shift_amount<Op>(size, immh, immb);
        const auto source = lanes_of<W>(v.s.v[rn]);
        HalfLanes<T> result;
        Qc qc;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::template apply<T>(source[i], n, qc);
        }
        write_qc(v, qc);
        return write_narrow(v, rd, q, std::bit_cast<u64>(result));
    });
}

template <class Op>
Exec scalar_shift_narrow(Vcpu& v, Immh immh, Immb immb, Rn rn, Rd rd) {
    const u32 size = element_size(immh);
    return with_element<Op::result_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        using W = std::conditional_t<Op::is_signed, Signed<Wider<T>>, Unsigned<Wider<T>>>;
        Qc qc;
        const T result =
            Op::template apply<T>(v.s.v[rn].template lane<W>(0), shift_amount<Op>(size, immh, immb), qc);
        write_qc(v, qc);
        return write_scalar(v, rd, result);
    });
}

// ── Widening left shifts ───────────────────────────────────────────────────────────────────────────────────

template <bool IsSigned>
Exec shift_long(Vcpu& v, Q q, Immh immh, Immb immb, Rn rn, Rd rd) {
    const u32 size = element_size(immh);
    return with_element<IsSigned, kBHS>(v, size, [&](auto element) {
        using T = decltype(element);
        const unsigned n = shift_amount<Shl>(size, immh, immb);
        const auto source = half_lanes_of<T>(source_half(v.s.v[rn], q));
        Lanes<Wider<T>> result;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = shift_left(Wider<T>{source[i]}, n);
        }
        v.s.v[rd] = vreg_of<Wider<T>>(result);
        return Exec::next;
    });
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_shift_imm.inc"
};

}  // namespace

std::span<const DecodeRow> simd_shift_imm_rows() {
    return kRows;
}

}  // namespace vmm::arch
