// Advanced SIMD floating point, vector and scalar: three same, by element, pairwise and across lanes (Arm ARM
// chapter C4, "Data Processing -- Scalar Floating-Point and Advanced SIMD"). Two-register operations are in
// exec_simd_fp_misc.cpp.
#include "arch/decode_section.h"
#include "arch/simd_fp_lanes.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd_fp;
using fp::FpEnv;

using L = Operand<"l", 1>;
using M = Operand<"m", 1>;
using H = Operand<"h", 1>;
using Rm4 = Operand<"rm", 4>;

// Operations on lanes, beyond those that fp.h has under one name.
template <class T>
T compare_equal(T a, T b, FpEnv env) {
    return lane_mask<T>(fp::compare_eq(a, b, env));
}
template <class T>
T compare_greater_equal(T a, T b, FpEnv env) {
    return lane_mask<T>(fp::compare_ge(a, b, env));
}
template <class T>
T compare_greater(T a, T b, FpEnv env) {
    return lane_mask<T>(fp::compare_gt(a, b, env));
}
template <class T>
T absolute_greater_equal(T a, T b, FpEnv env) {
    return lane_mask<T>(fp::compare_ge(fp::abs(a), fp::abs(b), env));
}
template <class T>
T absolute_greater(T a, T b, FpEnv env) {
    return lane_mask<T>(fp::compare_gt(fp::abs(a), fp::abs(b), env));
}
template <class T>
T mul_sub(T addend, T a, T b, FpEnv env) {
    return fp::mul_add(addend, fp::neg(a), b, env);
}

// Wrappers that let templates take overloaded operations: VMM_LANES2(fp::add) for two values,
// VMM_PACKED2(add) for two vectors, and so on.
#define VMM_LANES2(operation) [](auto a, auto b, FpEnv env) { return operation(a, b, env); }
#define VMM_LANES3(operation) [](auto d, auto a, auto b, FpEnv env) { return operation(d, a, b, env); }
#define VMM_PACKED2(operation) \
    [](auto a, auto b, FpEnv env, auto& r) { return fp::packed::operation<LaneOf<A>>(a, b, env, r); }
#define VMM_PACKED3(operation)                                    \
    [](auto d, auto a, auto b, FpEnv env, auto& r) {              \
        return fp::packed::operation<LaneOf<A>>(d, a, b, env, r); \
    }

// ── Three same ─────────────────────────────────────────────────────────────────────────────────────────────

#define VMM_THREE_SAME(handler, lane_operation, packed)                                                  \
    template <class A>                                                                                   \
    Exec handler(Vcpu& v, Rm rm, Rn rn, Rd rd) {                                                         \
        return map2<A>(v, rd, operand<A>(v, rn), operand<A>(v, rm), VMM_LANES2(lane_operation), packed); \
    }
VMM_THREE_SAME(fadd_vector, fp::add, VMM_PACKED2(add))
VMM_THREE_SAME(fsub_vector, fp::sub, VMM_PACKED2(sub))
VMM_THREE_SAME(fmul_vector, fp::mul, VMM_PACKED2(mul))
VMM_THREE_SAME(fmulx_vector, fp::mulx, VMM_PACKED2(mul))
VMM_THREE_SAME(fabd_vector, fp::abs_diff, VMM_PACKED2(abs_diff))
VMM_THREE_SAME(fmax_vector, fp::max, VMM_PACKED2(max))
VMM_THREE_SAME(fmin_vector, fp::min, VMM_PACKED2(min))
VMM_THREE_SAME(fmaxnm_vector, fp::max_num, VMM_PACKED2(max))
VMM_THREE_SAME(fminnm_vector, fp::min_num, VMM_PACKED2(min))
VMM_THREE_SAME(fcmeq_vector, compare_equal, VMM_PACKED2(equal))
VMM_THREE_SAME(fcmge_vector, compare_greater_equal, VMM_PACKED2(greater_equal))
VMM_THREE_SAME(fcmgt_vector, compare_greater, VMM_PACKED2(greater))
VMM_THREE_SAME(facge_vector, absolute_greater_equal, kNoPacked)
VMM_THREE_SAME(facgt_vector, absolute_greater, kNoPacked)
VMM_THREE_SAME(frecps_vector, fp::recip_step, kNoPacked)
VMM_THREE_SAME(frsqrts_vector, fp::rsqrt_step, kNoPacked)
#undef VMM_THREE_SAME

template <class A>
Exec fdiv_vector(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    Vreg divisor = operand<A>(v, rm);
    if constexpr (!A::kFull) {
        divisor.hi = splat(fp::Format<LaneOf<A>>::kOne).hi;  // unused lanes divide 0 by 1
    }
    return map2<A>(v, rd, operand<A>(v, rn), divisor, VMM_LANES2(fp::div), VMM_PACKED2(div));
}

template <class A>
Exec fmla_vector(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    return map3<A>(v, rd, operand<A>(v, rn), operand<A>(v, rm), VMM_LANES3(fp::mul_add),
                   VMM_PACKED3(mul_add));
}

template <class A>
Exec fmls_vector(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    return map3<A>(v, rd, operand<A>(v, rn), operand<A>(v, rm), VMM_LANES3(mul_sub), VMM_PACKED3(mul_sub));
}

// ── Pairwise ───────────────────────────────────────────────────────────────────────────────────────────────

/// The lanes of `n` then `m` whose index is odd (Part 1) or even (Part 0).
template <class A, unsigned Part>
Vreg unzip(const Vreg& n, const Vreg& m) {
    using T = LaneOf<A>;
    constexpr unsigned kHalf = A::kLanes / 2;
    Vreg result;
    for (unsigned i = 0; i < kHalf; ++i) {
        result.set_lane<T>(i, n.lane<T>(2 * i + Part));
        result.set_lane<T>(kHalf + i, m.lane<T>(2 * i + Part));
    }
    return result;
}

#define VMM_PAIRWISE(handler, lane_operation, packed)                                                      \
    template <class A>                                                                                     \
    Exec handler(Vcpu& v, Rm rm, Rn rn, Rd rd) {                                                           \
        const Vreg n = operand<A>(v, rn);                                                                  \
        const Vreg m = operand<A>(v, rm);                                                                  \
        return map2<A>(v, rd, unzip<A, 0>(n, m), unzip<A, 1>(n, m), VMM_LANES2(lane_operation), packed);   \
    }                                                                                                      \
    template <class T>                                                                                     \
    Exec handler##_scalar(Vcpu& v, Rn rn, Rd rd) {                                                         \
        return write_scalar(v, rd, lane_operation(v.s.v[rn].lane<T>(0), v.s.v[rn].lane<T>(1), fp_env(v))); \
    }
VMM_PAIRWISE(faddp, fp::add, VMM_PACKED2(add))
VMM_PAIRWISE(fmaxp, fp::max, VMM_PACKED2(max))
VMM_PAIRWISE(fminp, fp::min, VMM_PACKED2(min))
VMM_PAIRWISE(fmaxnmp, fp::max_num, VMM_PACKED2(max))
VMM_PAIRWISE(fminnmp, fp::min_num, VMM_PACKED2(min))
#undef VMM_PAIRWISE

// ── Across lanes ───────────────────────────────────────────────────────────────────────────────────────────

/// Reduce(): the lower half of the lanes with the upper half, each reduced the same way.
template <class T, class Operation>
T reduce(const Vreg& a, unsigned first, unsigned count, FpEnv env, Operation operation) {
    if (count == 1) {
        return a.lane<T>(first);
    }
    const T low = reduce<T>(a, first, count / 2, env, operation);
    const T high = reduce<T>(a, first + count / 2, count / 2, env, operation);
    return operation(low, high, env);
}

#define VMM_ACROSS_LANES(handler, lane_operation)                                                       \
    template <class A>                                                                                  \
    Exec handler(Vcpu& v, Rn rn, Rd rd) {                                                               \
        const Vreg n = v.s.v[rn];                                                                       \
        return write_scalar(v, rd,                                                                      \
                            reduce<LaneOf<A>>(n, 0, A::kLanes, fp_env(v), VMM_LANES2(lane_operation))); \
    }
VMM_ACROSS_LANES(fmaxv, fp::max)
VMM_ACROSS_LANES(fminv, fp::min)
VMM_ACROSS_LANES(fmaxnmv, fp::max_num)
VMM_ACROSS_LANES(fminnmv, fp::min_num)
#undef VMM_ACROSS_LANES

// ── By element ─────────────────────────────────────────────────────────────────────────────────────────────

template <class A>
Exec fmul_by(Vcpu& v, u32 rn, u32 rd, LaneOf<A> element) {
    return map2<A>(v, rd, operand<A>(v, rn), splat(element), VMM_LANES2(fp::mul), VMM_PACKED2(mul));
}
template <class A>
Exec fmulx_by(Vcpu& v, u32 rn, u32 rd, LaneOf<A> element) {
    return map2<A>(v, rd, operand<A>(v, rn), splat(element), VMM_LANES2(fp::mulx), VMM_PACKED2(mul));
}
template <class A>
Exec fmla_by(Vcpu& v, u32 rn, u32 rd, LaneOf<A> element) {
    return map3<A>(v, rd, operand<A>(v, rn), splat(element), VMM_LANES3(fp::mul_add), VMM_PACKED3(mul_add));
}
template <class A>
Exec fmls_by(Vcpu& v, u32 rn, u32 rd, LaneOf<A> element) {
    return map3<A>(v, rd, operand<A>(v, rn), splat(element), VMM_LANES3(mul_sub), VMM_PACKED3(mul_sub));
}

// The element's index is H:L:M for half precision (and Vm one of V0-V15), H:L for single, H for double.
#define VMM_BY_ELEMENT(handler, operation)                                        \
    template <class A>                                                            \
    Exec handler##_h(Vcpu& v, L l, M m, Rm4 rm, H h, Rn rn, Rd rd) {              \
        return operation<A>(v, rn, rd, v.s.v[rm].lane<u16>(h << 2 | l << 1 | m)); \
    }                                                                             \
    template <class A>                                                            \
    Exec handler##_s(Vcpu& v, L l, Rm rm, H h, Rn rn, Rd rd) {                    \
        return operation<A>(v, rn, rd, v.s.v[rm].lane<u32>(h << 1 | l));          \
    }                                                                             \
    template <class A>                                                            \
    Exec handler##_d(Vcpu& v, Rm rm, H h, Rn rn, Rd rd) {                         \
        return operation<A>(v, rn, rd, v.s.v[rm].lane<u64>(h));                   \
    }
VMM_BY_ELEMENT(fmul_element, fmul_by)
VMM_BY_ELEMENT(fmulx_element, fmulx_by)
VMM_BY_ELEMENT(fmla_element, fmla_by)
VMM_BY_ELEMENT(fmls_element, fmls_by)
#undef VMM_BY_ELEMENT

#undef VMM_LANES2
#undef VMM_LANES3
#undef VMM_PACKED2
#undef VMM_PACKED3

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_fp.inc"
};

}  // namespace

std::span<const DecodeRow> simd_fp_rows() {
    return kRows;
}

}  // namespace vmm::arch
