// Advanced SIMD three same, three same extra (SDOT, UDOT, SQRDMLAH, SQRDMLSH) and their scalar forms.
#include "arch/decode_section.h"
#include "arch/simd_ops.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd;

template <class Op>
Exec three_same(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_vector_element<Op::is_signed, Op::sizes>(v, size, q, [&](auto element) {
        return vector_operation<Op, decltype(element)>(v, q, rn, v.s.v[rm], rd);
    });
}

template <class Op>
Exec scalar_three_same(Vcpu& v, Size size, Rm rm, Rn rn, Rd rd) {
    return with_element<Op::is_signed, Op::scalar_sizes>(v, size, [&](auto element) {
        using T = decltype(element);
        return scalar_operation<Op, T>(v, rn, v.s.v[rm].template lane<T>(0), rd);
    });
}

/// Op applied to the pairs of adjacent elements of Vm:Vn.
template <class Op, unsigned Sizes = Op::sizes>
Exec pairwise(Vcpu& v, Q q, Size size, Rm rm, Rn rn, Rd rd) {
    return with_vector_element<Op::is_signed, Sizes>(v, size, q, [&](auto element) {
        using T = decltype(element);
        const Vreg even = unzip<T, 0>(v.s.v[rn], v.s.v[rm], q);
        const Vreg odd = unzip<T, 1>(v.s.v[rn], v.s.v[rm], q);
        Qc qc;
        return write_vector(v, rd, q, apply_lanes<Op, T>(even, even, odd, qc));
    });
}

// ── Logical ────────────────────────────────────────────────────────────────────────────────────────────────

struct And {
    static constexpr u64 apply(u64, u64 n, u64 m) { return n & m; }
};
struct Bic {
    static constexpr u64 apply(u64, u64 n, u64 m) { return n & ~m; }
};
struct Orr {
    static constexpr u64 apply(u64, u64 n, u64 m) { return n | m; }
};
struct Orn {
    static constexpr u64 apply(u64, u64 n, u64 m) { return n | ~m; }
};
struct Eor {
    static constexpr u64 apply(u64, u64 n, u64 m) { return n ^ m; }
};
struct Bsl {
    static constexpr u64 apply(u64 d, u64 n, u64 m) { return m ^ ((m ^ n) & d); }
};
struct Bit {
    static constexpr u64 apply(u64 d, u64 n, u64 m) { return d ^ ((d ^ n) & m); }
};
struct Bif {
    static constexpr u64 apply(u64 d, u64 n, u64 m) { return d ^ ((d ^ n) & ~m); }
};

template <class Op>
Exec logical(Vcpu& v, Q q, Rm rm, Rn rn, Rd rd) {
    const Vreg d = v.s.v[rd];
    const Vreg n = v.s.v[rn];
    const Vreg m = v.s.v[rm];
    return write_vector(v, rd, q, {Op::apply(d.lo, n.lo, m.lo), Op::apply(d.hi, n.hi, m.hi)});
}

// ── Dot product ────────────────────────────────────────────────────────────────────────────────────────────

template <class T>
Exec dot_product(Vcpu& v, u32 q, u32 rn, const Vreg& m, u32 rd) {
    const auto accumulator = lanes_of<u32>(v.s.v[rd]);
    const auto first = lanes_of<T>(v.s.v[rn]);
    const auto second = lanes_of<T>(m);
    Lanes<u32> result;
    for (unsigned i = 0; i < 4; ++i) {
        s32 sum = 0;
        for (unsigned j = 4 * i; j < 4 * i + 4; ++j) {
            sum += s32{first[j]} * s32{second[j]};
        }
        result[i] = accumulator[i] + static_cast<u32>(sum);
    }
    return write_vector(v, rd, q, vreg_of<u32>(result));
}

template <class T>
Exec dot(Vcpu& v, Q q, Rm rm, Rn rn, Rd rd) {
    return dot_product<T>(v, q, rn, v.s.v[rm], rd);
}

template <class T>
Exec dot_by_element(Vcpu& v, Q q, Operand<"l", 1> l, Operand<"m", 1> m, Operand<"rm", 4> rm,
                    Operand<"h", 1> h, Rn rn, Rd rd) {
    const u32 element = v.s.v[m << 4 | rm].lane<u32>(h << 1 | l);
    return dot_product<T>(v, q, rn, broadcast(element), rd);
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_three_same.inc"
};

}  // namespace

std::span<const DecodeRow> simd_three_same_rows() {
    return kRows;
}

}  // namespace vmm::arch
