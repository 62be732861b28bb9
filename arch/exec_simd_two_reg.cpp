// Advanced SIMD two-register miscellaneous, across lanes and scalar pairwise (integer).
#include "arch/decode_section.h"
#include "arch/simd_ops.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd;

// ── Operations on one source: apply(a), apply(a, qc) or apply(d, a, qc) ────────────────────────────────────

struct Abs : Traits<kSigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a) {
        const auto bits = static_cast<Wrapping<T>>(a);
        return static_cast<T>(a < 0 ? 0 - bits : bits);
    }
};
struct Neg : Traits<kUnsigned, kBHSD, kD> {
    template <class T>
    static constexpr T apply(T a) {
        return static_cast<T>(0 - Wrapping<T>{a});
    }
};
struct Sqneg : Traits<kSigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T a, Qc& qc) {
        return saturate<T>(-Exact<T>{a}, qc);
    }
};
struct Sqabs : Traits<kSigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T a, Qc& qc) {
        return saturate<T>(a < 0 ? -Exact<T>{a} : Exact<T>{a}, qc);
    }
};
/// Signed d plus unsigned a, saturated as signed.
struct Suqadd : Traits<kSigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T d, T a, Qc& qc) {
        return saturate<T>(Exact<T>{d} + Exact<T>{static_cast<Unsigned<T>>(a)}, qc);
    }
};
/// Unsigned d plus signed a, saturated as unsigned.
struct Usqadd : Traits<kUnsigned, kBHSD, kBHSD> {
    template <class T>
    static constexpr T apply(T d, T a, Qc& qc) {
        return saturate<T>(Exact<T>{d} + Exact<T>{static_cast<Signed<T>>(a)}, qc);
    }
};
struct Clz : Traits<kUnsigned, kBHS> {
    template <class T>
    static constexpr T apply(T a) {
        return static_cast<T>(std::countl_zero(a));
    }
};
struct Cls : Traits<kUnsigned, kBHS> {
    template <class T>
    static constexpr T apply(T a) {
        // Bits that differ from their left neighbour, with a stop below the last.
        return static_cast<T>(std::countl_zero(static_cast<T>((a ^ (a << 1)) | 1)));
    }
};
template <class Op, class T>
constexpr T apply_unary(T d, T a, Qc& qc) {
    if constexpr (requires { Op::apply(d, a, qc); }) {
        return Op::apply(d, a, qc);
    } else if constexpr (requires { Op::apply(a, qc); }) {
        return Op::apply(a, qc);
    } else {
        return Op::apply(a);
    }
}

template <class Op>
Exec two_reg(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    return with_vector_element<Op::is_signed, Op::sizes>(v, size, q, [&](auto element) {
        using T = decltype(element);
        constexpr bool saturates = !requires(T x) {
            Op::apply(x);
        };
        const auto accumulator = operand_lanes<T, saturates>(v.s.v[rd], q);
        const auto source = operand_lanes<T, saturates>(v.s.v[rn], q);
        Lanes<T> result;
        Qc qc;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = apply_unary<Op, T>(accumulator[i], source[i], qc);
        }
        write_qc(v, qc);
        return write_vector(v, rd, q, vreg_of<T>(result));
    });
}

template <class Op>
Exec scalar_two_reg(Vcpu& v, Size size, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        Qc qc;
        const T result = apply_unary<Op, T>(v.s.v[rd].template lane<T>(0), v.s.v[rn].template lane<T>(0), qc);
        write_qc(v, qc);
        return write_scalar(v, rd, result);
    });
}

template <class Op>
Exec compare_zero(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    return with_vector_element<Op::is_signed, Op::sizes>(v, size, q, [&](auto element) {
        return vector_operation<Op, decltype(element)>(v, q, rn, Vreg{}, rd);
    });
}

template <class Op>
Exec scalar_compare_zero(Vcpu& v, Size size, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        return scalar_operation<Op, decltype(element)>(v, rn, decltype(element){0}, rd);
    });
}

// ── Bits and order ─────────────────────────────────────────────────────────────────────────────────────────

Exec not_vector(Vcpu& v, Q q, Rn rn, Rd rd) {
    const Vreg n = v.s.v[rn];
    return write_vector(v, rd, q, {~n.lo, ~n.hi});
}

constexpr u64 reverse_bits_in_bytes(u64 value) {
    value = ((value >> 1) & replicate(0x55, 8)) | ((value & replicate(0x55, 8)) << 1);
    value = ((value >> 2) & replicate(0x33, 8)) | ((value & replicate(0x33, 8)) << 2);
    return ((value >> 4) & replicate(0x0F, 8)) | ((value & replicate(0x0F, 8)) << 4);
}

/// The number of ones in each byte.
constexpr u64 count_bits_in_bytes(u64 value) {
    value -= (value >> 1) & replicate(0x55, 8);
    value = (value & replicate(0x33, 8)) + ((value >> 2) & replicate(0x33, 8));
    return (value + (value >> 4)) & replicate(0x0F, 8);
}

Exec cnt_vector(Vcpu& v, Q q, Rn rn, Rd rd) {
    const Vreg n = v.s.v[rn];
    return write_vector(v, rd, q, {count_bits_in_bytes(n.lo), count_bits_in_bytes(n.hi)});
}

Exec rbit_vector(Vcpu& v, Q q, Rn rn, Rd rd) {
    const Vreg n = v.s.v[rn];
    return write_vector(v, rd, q, {reverse_bits_in_bytes(n.lo), reverse_bits_in_bytes(n.hi)});
}

/// Lane order that reverses the elements within containers of `Count` elements.
template <unsigned Count>
constexpr unsigned reversed_order(unsigned i, unsigned) {
    return i ^ (Count - 1);
}

/// REV16, REV32, REV64: the elements of each container in reverse order; they must be smaller than it.
template <class Container>
Exec reverse(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    constexpr unsigned sizes = (1u << std::countr_zero(sizeof(Container))) - 1;
    return with_element<kUnsigned, sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        const Vreg n = v.s.v[rn];
        return write_vector(v, rd, q, shuffle<T, reversed_order<sizeof(Container) / sizeof(T)>>(n, n));
    });
}

// ── Changing the element size ──────────────────────────────────────────────────────────────────────────────

template <bool IsSigned, bool Accumulate>
struct PairwiseLong : Traits<IsSigned, kBHS> {
    template <class T>
    static constexpr Wider<T> apply(Wider<T> d, T a, T b) {
        using W = Unsigned<Wider<T>>;
        const W sum = static_cast<W>(Wider<T>{a} + Wider<T>{b});
        return static_cast<Wider<T>>(Accumulate ? static_cast<W>(static_cast<W>(d) + sum) : sum);
    }
};
using PairAddSigned = PairwiseLong<kSigned, false>;
using PairAddUnsigned = PairwiseLong<kUnsigned, false>;
using PairAccumulateSigned = PairwiseLong<kSigned, true>;
using PairAccumulateUnsigned = PairwiseLong<kUnsigned, true>;

template <class Op>
Exec pairwise_long(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        const auto accumulator = lanes_of<Wider<T>>(v.s.v[rd]);
        const auto source = lanes_of<T>(v.s.v[rn]);
        Lanes<Wider<T>> result;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::apply(accumulator[i], source[2 * i], source[2 * i + 1]);
        }
        return write_vector(v, rd, q, vreg_of<Wider<T>>(result));
    });
}

template <class Op>
Exec narrow(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    return with_element<Op::result_signed, Op::sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        using W = std::conditional_t<Op::is_signed, Signed<Wider<T>>, Unsigned<Wider<T>>>;
        const auto source = lanes_of<W>(v.s.v[rn]);
        HalfLanes<T> result;
        Qc qc;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = Op::template apply<T>(source[i], qc);
        }
        write_qc(v, qc);
        return write_narrow(v, rd, q, std::bit_cast<u64>(result));
    });
}

template <class Op>
Exec scalar_narrow(Vcpu& v, Size size, Rn rn, Rd rd) {
    return with_element<Op::result_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        using W = std::conditional_t<Op::is_signed, Signed<Wider<T>>, Unsigned<Wider<T>>>;
        Qc qc;
        const T result = Op::template apply<T>(v.s.v[rn].template lane<W>(0), qc);
        write_qc(v, qc);
        return write_scalar(v, rd, result);
    });
}

/// SHLL: each element shifted left by its own width, into one of twice the width.
Exec shll(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    return with_element<kUnsigned, kBHS>(v, size, [&](auto element) {
        using T = decltype(element);
        const auto source = half_lanes_of<T>(source_half(v.s.v[rn], q));
        Lanes<Wider<T>> result;
        for (std::size_t i = 0; i < result.size(); ++i) {
            result[i] = static_cast<Wider<T>>(Wrapping<Wider<T>>{source[i]} << kBitsOf<T>);
        }
        v.s.v[rd] = vreg_of<Wider<T>>(result);
        return Exec::next;
    });
}

// ── Across lanes ───────────────────────────────────────────────────────────────────────────────────────────

struct AddAcross : Add {
    static constexpr unsigned sizes = kBHS;
};

/// Op folded over all elements. There is no form with two 32-bit elements.
template <class Op>
Exec across(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    if (size == 2 && q == 0) {
        return v.undefined();
    }
    return with_element<Op::is_signed, Op::sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        const auto source = lanes_of<T>(v.s.v[rn]);
        const std::size_t count = q != 0 ? source.size() : source.size() / 2;
        T result = source[0];
        for (std::size_t i = 1; i < count; ++i) {
            result = Op::apply(result, source[i]);
        }
        return write_scalar(v, rd, result);
    });
}

template <bool IsSigned>
Exec add_long_across(Vcpu& v, Q q, Size size, Rn rn, Rd rd) {
    if (size == 2 && q == 0) {
        return v.undefined();
    }
    return with_element<IsSigned, kBHS>(v, size, [&](auto element) {
        using T = decltype(element);
        Wider<T> sum = 0;
        for (const T lane : lanes_of<T>(masked(v.s.v[rn], q))) {
            sum = static_cast<Wider<T>>(sum + lane);
        }
        return write_scalar(v, rd, sum);
    });
}

Exec scalar_addp(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar<u64>(v, rd, v.s.v[rn].lo + v.s.v[rn].hi);
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_two_reg.inc"
};

}  // namespace

std::span<const DecodeRow> simd_two_reg_rows() {
    return kRows;
}

}  // namespace vmm::arch
