// Host code of Advanced SIMD floating point: emit_fp.cpp's conditions, checked for all lanes at once.
//
// A vector of 64 bits is worked on twice, in both halves of a host register, so that no lane needs other care.

#include "arch/fp/env.h"
#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

// Of _mm_cmp_ps: ordered, no exceptions looked at.
enum Predicate : u8 {
    kEqual = 0,
    kGreaterEqual = 13,
    kGreater = 14,
    kLess = 1,
    kLessEqual = 2,
    kUnordered = 3
};

bool is_exact_when_tiny(unsigned operation) {
    return operation == kAdd || operation == kSub;
}

}  // namespace

/// Goes on when every lane of xmm0 is finite, and not as small as to have been tiny before rounding. Uses xmm3.
void Emitter::check_lanes(const InlineRow& row, bool exact_when_tiny, const Label& slow) {
    if (exact_when_tiny) {
        // A finite number less itself is zero.
        row.wide() != 0 ? vsubpd(xmm3, xmm0, xmm0) : vsubps(xmm3, xmm0, xmm0);
    } else if (row.wide() != 0) {
        vpaddq(xmm3, xmm0, xmm0);
        vpaddq(xmm3, xmm3, constant(&env_.constants->ordinary_bias[1]));
        vpcmpgtq(xmm3, xmm3, constant(&env_.constants->ordinary_limit[1]));
    } else {
        vpaddd(xmm3, xmm0, xmm0);
        vpaddd(xmm3, xmm3, constant(&env_.constants->ordinary_bias[0]));
        vpcmpgtd(xmm3, xmm3, constant(&env_.constants->ordinary_limit[0]));
    }
    vptest(xmm3, xmm3);
    jnz(slow, T_NEAR);
}

/// Goes on when no lane of `a` or `b` is a NaN. Uses xmm3.
void Emitter::check_ordered(const InlineRow& row, const Xmm& a, const Xmm& b, const Label& slow) {
    row.wide() != 0 ? vcmppd(xmm3, a, b, kUnordered) : vcmpps(xmm3, a, b, kUnordered);
    vptest(xmm3, xmm3);
    jnz(slow, T_NEAR);
}

void Emitter::load_vector(const Xmm& to, unsigned reg, const InlineRow& row) {
    if (row.bytes() == 16) {
        vmovaps(to, vreg(reg));
    } else {
        vmovddup(to, vreg(reg));
    }
}

void Emitter::load_element(const Xmm& to, unsigned reg, unsigned index, const InlineRow& row) {
    if (row.lane_bytes == 8) {
        vmovddup(to, vreg(reg, index * 8));
    } else {
        vbroadcastss(to, vreg(reg, index * 4));
    }
}

void Emitter::store_vector(unsigned reg, const Xmm& from, unsigned bytes) {
    if (bytes == 8) {
        vmovq(from, from);
    }
    vmovaps(vreg(reg), from);
}

// ── Arithmetic ─────────────────────────────────────────────────────────────────────────────────────────────

void Emitter::emit_vfp_two_source(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    load_vector(xmm1, rm_of(op), row);
    arithmetic(row, row.operation, xmm0, xmm0, xmm1);
    check_lanes(row, is_exact_when_tiny(row.operation), slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FABD.
void Emitter::emit_vfp_difference(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    load_vector(xmm1, rm_of(op), row);
    arithmetic(row, kSub, xmm0, xmm0, xmm1);
    check_lanes(row, true, slow);
    vandps(xmm0, xmm0, constant(&env_.constants->magnitudes[row.wide()]));
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FMLA and FMLS.
void Emitter::emit_vfp_multiply_add(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    load_vector(xmm1, rm_of(op), row);
    load_vector(xmm2, rd_of(op), row);
    multiply_add(row, row.operation, xmm0, xmm1, xmm2);
    check_lanes(row, false, slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FMUL, FMLA and FMLS by an element.
void Emitter::emit_vfp_element(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    load_element(xmm1, rm_of(op), element_of(op, row.lane_bytes), row);
    if (row.operation == kMul) {
        arithmetic(row, kMul, xmm0, xmm0, xmm1);
    } else {
        load_vector(xmm2, rd_of(op), row);
        multiply_add(row, row.operation == kAdd ? kMadd : kMsub, xmm0, xmm1, xmm2);
    }
    check_lanes(row, false, slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FADDP.
void Emitter::emit_vfp_pair_sum(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    vmovaps(xmm0, vreg(rn_of(op)));
    if (row.bytes() == 8) {
        vmovhps(xmm0, xmm0, vreg(rm_of(op)));
        vmovaps(xmm1, xmm0);
    } else {
        vmovaps(xmm1, vreg(rm_of(op)));
    }
    if (row.lane_bytes == 8) {
        vunpcklpd(xmm2, xmm0, xmm1);
        vunpckhpd(xmm1, xmm0, xmm1);
    } else {
        vshufps(xmm2, xmm0, xmm1, 0x88);
        vshufps(xmm1, xmm0, xmm1, 0xDD);
    }
    arithmetic(row, kAdd, xmm0, xmm2, xmm1);
    check_lanes(row, true, slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FMAX, FMIN and their NM forms, as for scalars.
void Emitter::emit_vfp_extreme(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_flushing(slow);
    load_vector(xmm0, rn_of(op), row);
    load_vector(xmm1, rm_of(op), row);
    check_ordered(row, xmm0, xmm1, slow);
    arithmetic(row, row.operation, xmm2, xmm0, xmm1);
    arithmetic(row, row.operation, xmm0, xmm1, xmm0);
    row.operation == kMax ? vandps(xmm0, xmm0, xmm2) : vorps(xmm0, xmm0, xmm2);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

void Emitter::emit_vfp_square_root(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    row.wide() != 0 ? vsqrtpd(xmm0, xmm0) : vsqrtps(xmm0, xmm0);
    check_lanes(row, true, slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FABS and FNEG: bits only.
void Emitter::emit_vfp_sign(const Op& op, const InlineRow& row) {
    load_vector(xmm0, rn_of(op), row);
    if (row.operation == kAbs) {
        vandps(xmm0, xmm0, constant(&env_.constants->magnitudes[row.wide()]));
    } else {
        vxorps(xmm0, xmm0, constant(&env_.constants->signs[row.wide()]));
    }
    store_vector(rd_of(op), xmm0, row.bytes());
}

// ── Comparison ─────────────────────────────────────────────────────────────────────────────────────────────

void Emitter::compare_lanes(const Op& op, const InlineRow& row, const Label& slow) {
    check_ordered(row, xmm0, xmm1, slow);
    row.wide() != 0 ? vcmppd(xmm0, xmm0, xmm1, row.operation) : vcmpps(xmm0, xmm0, xmm1, row.operation);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

void Emitter::emit_vfp_compare(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_flushing(slow);
    load_vector(xmm0, rn_of(op), row);
    load_vector(xmm1, rm_of(op), row);
    compare_lanes(op, row, slow);
}

void Emitter::emit_vfp_compare_zero(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_flushing(slow);
    load_vector(xmm0, rn_of(op), row);
    vxorps(xmm1, xmm1, xmm1);
    compare_lanes(op, row, slow);
}

// ── Conversion ─────────────────────────────────────────────────────────────────────────────────────────────

/// SCVTF of words.
void Emitter::emit_vfp_from_integer(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    vcvtdq2ps(xmm0, xmm0);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FCVTZS to words: the host gives the most negative number for what does not fit, which goes to the handler.
void Emitter::emit_vfp_to_integer(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    vcvttps2dq(xmm0, xmm0);
    vpcmpeqd(xmm3, xmm0, constant(&env_.constants->signs[0]));
    vptest(xmm3, xmm3);
    jnz(slow, T_NEAR);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FRINTx; `operation` is the host's rounding mode.
void Emitter::emit_vfp_round(const Op& op, const InlineRow& row) {
    constexpr u8 kQuiet = 8;
    const u8 control = static_cast<u8>(row.operation | kQuiet);
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_vector(xmm0, rn_of(op), row);
    row.wide() != 0 ? vroundpd(xmm0, xmm0, control) : vroundps(xmm0, xmm0, control);
    check_lanes(row, true, slow);
    store_vector(rd_of(op), xmm0, row.bytes());
    finish();
}

/// FCVTL, FCVTL2 from single precision: exact but for NaNs.
void Emitter::emit_vfp_lengthen(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_flushing(slow);
    vcvtps2pd(xmm0, vreg(rn_of(op), q_of(op) ? 8 : 0));
    check_ordered(row, xmm0, xmm0, slow);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

/// FCVTN, FCVTN2 from double precision.
void Emitter::emit_vfp_narrow(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    vcvtpd2ps(xmm0, xword[rbp + displacement(&env_.vcpu->s.v[rn_of(op)])]);
    vmovddup(xmm0, xmm0);
    check_lanes(row, false, slow);
    if (q_of(op)) {
        vmovlps(vreg(rd_of(op), 8), xmm0);
    } else {
        store_vector(rd_of(op), xmm0, 8);
    }
    finish();
}

// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::vector_fp_rows() {
    using E = Emitter;
#define WORDS(handler, emit, ...)                      \
    {#handler "<V2S>", &E::emit, __VA_ARGS__, 4, 2}, { \
#handler "<V4S>", &E::emit, __VA_ARGS__, 4, 4  \
    }
#define VECTORS(handler, emit, ...)                   \
    WORDS(handler, emit, __VA_ARGS__), {              \
#handler "<V2D>", &E::emit, __VA_ARGS__, 8, 2 \
    }
#define ELEMENTS(handler, emit, ...)                                                                        \
    {#handler "_s<V2S>", &E::emit, __VA_ARGS__, 4, 2}, {#handler "_s<V4S>", &E::emit, __VA_ARGS__, 4, 4}, { \
#handler "_d<V2D>", &E::emit, __VA_ARGS__, 8, 2                                                     \
    }
    static constexpr InlineRow kRows[] = {
        VECTORS(fadd_vector, emit_vfp_two_source, kAdd),
        VECTORS(fsub_vector, emit_vfp_two_source, kSub),
        VECTORS(fmul_vector, emit_vfp_two_source, kMul),
        VECTORS(fmulx_vector, emit_vfp_two_source, kMul),
        VECTORS(fdiv_vector, emit_vfp_two_source, kDiv),
        VECTORS(fabd_vector, emit_vfp_difference, 0),
        VECTORS(fmla_vector, emit_vfp_multiply_add, kMadd),
        VECTORS(fmls_vector, emit_vfp_multiply_add, kMsub),
        ELEMENTS(fmul_element, emit_vfp_element, kMul),
        ELEMENTS(fmla_element, emit_vfp_element, kAdd),
        ELEMENTS(fmls_element, emit_vfp_element, kSub),
        VECTORS(faddp, emit_vfp_pair_sum, 0),
        VECTORS(fmax_vector, emit_vfp_extreme, kMax),
        VECTORS(fmin_vector, emit_vfp_extreme, kMin),
        VECTORS(fmaxnm_vector, emit_vfp_extreme, kMax),
        VECTORS(fminnm_vector, emit_vfp_extreme, kMin),
        VECTORS(fsqrt_vector, emit_vfp_square_root, 0),
        VECTORS(fabs_vector, emit_vfp_sign, kAbs),
        VECTORS(fneg_vector, emit_vfp_sign, kNeg),
        VECTORS(fcmeq_vector, emit_vfp_compare, kEqual),
        VECTORS(fcmge_vector, emit_vfp_compare, kGreaterEqual),
        VECTORS(fcmgt_vector, emit_vfp_compare, kGreater),
        VECTORS(fcmeq_zero, emit_vfp_compare_zero, kEqual),
        VECTORS(fcmge_zero, emit_vfp_compare_zero, kGreaterEqual),
        VECTORS(fcmgt_zero, emit_vfp_compare_zero, kGreater),
        VECTORS(fcmle_zero, emit_vfp_compare_zero, kLessEqual),
        VECTORS(fcmlt_zero, emit_vfp_compare_zero, kLess),
        WORDS(scvtf_vector, emit_vfp_from_integer, 0),
        WORDS(fcvtzs_vector, emit_vfp_to_integer, 0),
        VECTORS(frintn_vector, emit_vfp_round, 0),
        VECTORS(frintm_vector, emit_vfp_round, 1),
        VECTORS(frintp_vector, emit_vfp_round, 2),
        VECTORS(frintz_vector, emit_vfp_round, 3),
        VECTORS(frintx_vector, emit_vfp_round, 0),
        VECTORS(frinti_vector, emit_vfp_round, 0),
        {"fcvtl_s", &E::emit_vfp_lengthen, 0, 8, 2},
        {"fcvtn_d", &E::emit_vfp_narrow, 0, 4, 2},
    };
#undef WORDS
#undef VECTORS
#undef ELEMENTS
    return kRows;
}

}  // namespace vmm::arch::x64
