// Advanced SIMD floating point, vector and scalar: two-register miscellaneous and the fixed-point conversions
// of the shift by immediate classes (Arm ARM chapter C4).
#include "arch/decode_section.h"
#include "arch/simd_fp_lanes.h"

namespace vmm::arch {

namespace {

using namespace operands;
using namespace simd_fp;
using fp::FpEnv;
using fp::Rounding;

// ── Two-register miscellaneous, lanes of one width ─────────────────────────────────────────────────────────

// One handler per line; `expression` is the lane's result in terms of the lane `a` and `env`, with T the lane
// type.
#define VMM_TWO_REG(handler, expression)                                                                \
    template <class A>                                                                                  \
    Exec handler(Vcpu& v, Rn rn, Rd rd) {                                                               \
        using T = LaneOf<A>;                                                                            \
        return map<A>(v, rd, v.s.v[rn],                                                                 \
                      [](T a, [[maybe_unused]] FpEnv env) -> T { return static_cast<T>(expression); }); \
    }
VMM_TWO_REG(fabs_vector, fp::abs(a))
VMM_TWO_REG(fneg_vector, fp::neg(a))
VMM_TWO_REG(fsqrt_vector, fp::sqrt(a, env))
VMM_TWO_REG(frintn_vector, fp::round_to_integral(a, Rounding::tie_even, false, env))
VMM_TWO_REG(frintm_vector, fp::round_to_integral(a, Rounding::minus_infinity, false, env))
VMM_TWO_REG(frintp_vector, fp::round_to_integral(a, Rounding::plus_infinity, false, env))
VMM_TWO_REG(frintz_vector, fp::round_to_integral(a, Rounding::toward_zero, false, env))
VMM_TWO_REG(frinta_vector, fp::round_to_integral(a, Rounding::tie_away, false, env))
VMM_TWO_REG(frintx_vector, fp::round_to_integral(a, env.rounding(), true, env))
VMM_TWO_REG(frinti_vector, fp::round_to_integral(a, env.rounding(), false, env))
VMM_TWO_REG(fcvtns_vector, fp::to_signed(a, A::kLaneBits, 0, Rounding::tie_even, env))
VMM_TWO_REG(fcvtms_vector, fp::to_signed(a, A::kLaneBits, 0, Rounding::minus_infinity, env))
VMM_TWO_REG(fcvtps_vector, fp::to_signed(a, A::kLaneBits, 0, Rounding::plus_infinity, env))
VMM_TWO_REG(fcvtzs_vector, fp::to_signed(a, A::kLaneBits, 0, Rounding::toward_zero, env))
VMM_TWO_REG(fcvtas_vector, fp::to_signed(a, A::kLaneBits, 0, Rounding::tie_away, env))
VMM_TWO_REG(fcvtnu_vector, fp::to_unsigned(a, A::kLaneBits, 0, Rounding::tie_even, env))
VMM_TWO_REG(fcvtmu_vector, fp::to_unsigned(a, A::kLaneBits, 0, Rounding::minus_infinity, env))
VMM_TWO_REG(fcvtpu_vector, fp::to_unsigned(a, A::kLaneBits, 0, Rounding::plus_infinity, env))
VMM_TWO_REG(fcvtzu_vector, fp::to_unsigned(a, A::kLaneBits, 0, Rounding::toward_zero, env))
VMM_TWO_REG(fcvtau_vector, fp::to_unsigned(a, A::kLaneBits, 0, Rounding::tie_away, env))
VMM_TWO_REG(scvtf_vector, fp::from_signed<T>(static_cast<u64>(sign_extend(a, A::kLaneBits)), 0, env))
VMM_TWO_REG(ucvtf_vector, fp::from_unsigned<T>(a, 0, env))
VMM_TWO_REG(fcmgt_zero, lane_mask<T>(fp::compare_gt(a, T{0}, env)))
VMM_TWO_REG(fcmge_zero, lane_mask<T>(fp::compare_ge(a, T{0}, env)))
VMM_TWO_REG(fcmeq_zero, lane_mask<T>(fp::compare_eq(a, T{0}, env)))
VMM_TWO_REG(fcmle_zero, lane_mask<T>(fp::compare_ge(T{0}, a, env)))
VMM_TWO_REG(fcmlt_zero, lane_mask<T>(fp::compare_gt(T{0}, a, env)))
VMM_TWO_REG(frecpe_vector, fp::recip_estimate(a, env))
VMM_TWO_REG(frsqrte_vector, fp::rsqrt_estimate(a, env))
VMM_TWO_REG(frecpx_vector, fp::recip_exponent(a, env))
VMM_TWO_REG(urecpe_vector, fp::unsigned_recip_estimate(a))
VMM_TWO_REG(ursqrte_vector, fp::unsigned_rsqrt_estimate(a))
#undef VMM_TWO_REG

// ── Between formats ────────────────────────────────────────────────────────────────────────────────────────

/// FCVTL, FCVTL2: widens the lower or (q = 1) upper half of Vn.
template <class To, class From>
Exec lengthen(Vcpu& v, u32 q, u32 rn, u32 rd) {
    constexpr unsigned kLanes = 16 / sizeof(To);
    const FpEnv env = fp_env(v);
    const Vreg n = v.s.v[rn];
    Vreg result;
    for (unsigned i = 0; i < kLanes; ++i) {
        result.set_lane<To>(i, fp::convert<To>(n.lane<From>(q * kLanes + i), env));
    }
    v.s.v[rd] = result;
    return Exec::next;
}

/// FCVTN, FCVTN2: narrows Vn into the lower half of Vd, clearing the upper, or (q = 1) into the upper half.
template <class To, class From, class Operation>
Exec narrow(Vcpu& v, u32 q, u32 rn, u32 rd, Operation operation) {
    const FpEnv env = fp_env(v);
    const Vreg n = v.s.v[rn];
    Vreg half;
    for (unsigned i = 0; i < 16 / sizeof(From); ++i) {
        half.set_lane<To>(i, operation(n.lane<From>(i), env));
    }
    if (q != 0) {
        v.s.v[rd].hi = half.lo;
    } else {
        v.s.v[rd] = half;
    }
    return Exec::next;
}

Exec fcvtl_h(Vcpu& v, Q q, Rn rn, Rd rd) {
    return lengthen<u32, u16>(v, q, rn, rd);
}
Exec fcvtl_s(Vcpu& v, Q q, Rn rn, Rd rd) {
    return lengthen<u64, u32>(v, q, rn, rd);
}
Exec fcvtn_s(Vcpu& v, Q q, Rn rn, Rd rd) {
    return narrow<u16, u32>(v, q, rn, rd, [](u32 a, FpEnv env) { return fp::convert<u16>(a, env); });
}
Exec fcvtn_d(Vcpu& v, Q q, Rn rn, Rd rd) {
    return narrow<u32, u64>(v, q, rn, rd, [](u64 a, FpEnv env) { return fp::convert<u32>(a, env); });
}
Exec fcvtxn(Vcpu& v, Q q, Rn rn, Rd rd) {
    return narrow<u32, u64>(v, q, rn, rd, fp::convert_to_odd);
}
Exec fcvtxn_scalar(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, fp::convert_to_odd(scalar<u64>(v, rn), fp_env(v)));
}

// ── Fixed point: immh:immb is twice the lane's width less the fraction bits ────────────────────────────────

/// The bits of immh:immb below its leading one, which tells the lane's width.
template <class A>
using Immhb = Operand<"immhb", std::bit_width(A::kLaneBits) - 1>;

// `expression` as for VMM_TWO_REG, with `fraction_bits`.
#define VMM_FIXED_POINT(handler, expression)                                                        \
    template <class A>                                                                              \
    Exec handler(Vcpu& v, Immhb<A> immhb, Rn rn, Rd rd) {                                           \
        using T = LaneOf<A>;                                                                        \
        const unsigned fraction_bits = A::kLaneBits - immhb;                                        \
        return map<A>(v, rd, v.s.v[rn],                                                             \
                      [fraction_bits](T a, FpEnv env) -> T { return static_cast<T>(expression); }); \
    }
VMM_FIXED_POINT(scvtf_fixed,
                fp::from_signed<T>(static_cast<u64>(sign_extend(a, A::kLaneBits)), fraction_bits, env))
VMM_FIXED_POINT(ucvtf_fixed, fp::from_unsigned<T>(a, fraction_bits, env))
VMM_FIXED_POINT(fcvtzs_fixed, fp::to_signed(a, A::kLaneBits, fraction_bits, Rounding::toward_zero, env))
VMM_FIXED_POINT(fcvtzu_fixed, fp::to_unsigned(a, A::kLaneBits, fraction_bits, Rounding::toward_zero, env))
#undef VMM_FIXED_POINT

constexpr DecodeRow kRows[] = {
#include "arch/a64_simd_fp_misc.inc"
};

}  // namespace

std::span<const DecodeRow> simd_fp_misc_rows() {
    return kRows;
}

}  // namespace vmm::arch
