// Host code of scalar floating point.
//
// The host's arithmetic is taken where arch/fp/host.h takes it, for the same reasons: FPCR has its default value, FPSR.IXC
// is set already, and the result is finite and above the smallest normal number, or tiny and exact. Everything else goes
// to the reference handler, which also sets IXC the first time.

#include <array>
#include <bit>

#include "arch/fp/fp.h"
#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

enum Signedness : u8 { kSigned, kUnsigned };
enum Comparison : u8 { kWithRegister, kWithZero };

// Rounding of the host's ROUNDSS, in the low bits of `operation`; above them the signedness of the integer.
enum Rounding : u8 { kNearest = 0, kDown = 1, kUp = 2, kTruncate = 3 };
constexpr unsigned kUnsignedInteger = 4;

}  // namespace

// ── Conditions of the fast path ────────────────────────────────────────────────────────────────────────────

/// Goes on only when rounding is the host's and nothing is left to find out about inexact results.
void Emitter::check_rounding(const Label& slow) {
    cmp(at32(&env_.vcpu->s.fpcr), 0);
    jne(slow, T_NEAR);
    test(at8(&env_.vcpu->s.fpsr), fp::kIxc);
    jz(slow, T_NEAR);
}

/// Goes on only when denormals are numbers like others; for what is exact anyway.
void Emitter::check_flushing(const Label& slow) {
    test(at8(reinterpret_cast<const u8*>(&env_.vcpu->s.fpcr) + 3), fp::kFpcrFz >> 24);
    jnz(slow, T_NEAR);
}

/// Goes on when the scalar in xmm0 is finite, and not as small as to have been tiny before rounding.
void Emitter::check_scalar(const InlineRow& row, bool exact_when_tiny, const Label& slow) {
    if (exact_when_tiny) {
        vptest(xmm0, constant(&env_.constants->infinity[row.wide()]));
        jc(slow, T_NEAR);
    } else {
        vptest(xmm0, constant(&env_.constants->exponent_top[row.wide()]));
        jbe(slow, T_NEAR);
    }
}

/// Lane `index` of a register; the rest of `to` becomes zero.
void Emitter::load_scalar(const Xmm& to, unsigned reg, const InlineRow& row, unsigned index) {
    if (row.lane_bytes == 8) {
        vmovsd(to, vreg(reg, index * 8));
    } else {
        vmovss(to, vreg(reg, index * 4));
    }
}

// ── Moves and signs: bits only ─────────────────────────────────────────────────────────────────────────────

void Emitter::emit_fp_move(const Op& op, const InlineRow& row) {
    load_scalar(xmm0, rn_of(op), row);
    vmovaps(vreg(rd_of(op)), xmm0);
}

void Emitter::emit_fp_sign(const Op& op, const InlineRow& row) {
    load_scalar(xmm0, rn_of(op), row);
    if (row.operation == kAbs) {
        vandps(xmm0, xmm0, constant(&env_.constants->magnitude[row.wide()]));
    } else {
        vxorps(xmm0, xmm0, constant(&env_.constants->sign[row.wide()]));
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

void Emitter::emit_fp_constant(const Op& op, const InlineRow& row) {
    const u32 imm8 = op.insn >> 13 & 0xFF;
    if (row.lane_bytes == 8) {
        mov(rax, fp::expand_immediate<u64>(imm8));
        vmovq(xmm0, rax);
    } else {
        mov(eax, fp::expand_immediate<u32>(imm8));
        vmovd(xmm0, eax);
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

/// FMOV of a lane to W or X; `operation` is the lane.
void Emitter::emit_fp_to_general(const Op& op, const InlineRow& row) {
    if (rd_of(op) == 31) {
        return;
    }
    if (row.lane_bytes == 8) {
        mov(rax, qword[rbp + displacement(&env_.vcpu->s.v[rn_of(op)]) + row.operation * 8]);
    } else {
        mov(eax, dword[rbp + displacement(&env_.vcpu->s.v[rn_of(op)])]);
    }
    store(rd_of(op), rax);
}

void Emitter::emit_fp_from_general(const Op& op, const InlineRow& row) {
    if (row.operation == 1) {
        load(rax, rn_of(op));
        mov(at64(&env_.vcpu->s.v[rd_of(op)].hi), rax);
        return;
    }
    if (row.lane_bytes == 8) {
        vmovq(xmm0, x64(rn_of(op)));
    } else {
        vmovd(xmm0, x32(rn_of(op)));
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

void Emitter::emit_fp_select(const Op& op, const InlineRow& row) {
    const unsigned cond = cond_of(op);
    if (cond >= 14) {
        load_scalar(xmm0, rn_of(op), row);
    } else {
        const Vreg& n = env_.vcpu->s.v[rn_of(op)];
        const Vreg& m = env_.vcpu->s.v[rm_of(op)];
        const Holds holds = test_condition(cond);
        if (row.lane_bytes == 8) {
            mov(rcx, at64(&m));
            move_if(holds, rcx, at64(&n));
            vmovq(xmm0, rcx);
        } else {
            mov(ecx, at32(&m));
            move_if(holds, ecx, at32(&n));
            vmovd(xmm0, ecx);
        }
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

// ── Arithmetic ─────────────────────────────────────────────────────────────────────────────────────────────

void Emitter::arithmetic(const InlineRow& row, unsigned operation, const Xmm& to, const Xmm& a,
                         const Xbyak::Operand& b) {
    const unsigned shape = (row.lanes > 1 ? 2 : 0) + row.wide();
#define SHAPES(name)                           \
    switch (shape) {                           \
        case 0: v##name##ss(to, a, b); break;  \
        case 1: v##name##sd(to, a, b); break;  \
        case 2: v##name##ps(to, a, b); break;  \
        default: v##name##pd(to, a, b); break; \
    }
    switch (operation) {
        case kAdd: SHAPES(add) break;
        case kSub: SHAPES(sub) break;
        case kDiv: SHAPES(div) break;
        case kMax: SHAPES(max) break;
        case kMin: SHAPES(min) break;
        default: SHAPES(mul) break;
    }
}

/// `to` becomes a * `to` + b with the signs of `operation`.
void Emitter::multiply_add(const InlineRow& row, unsigned operation, const Xmm& to, const Xmm& a,
                           const Xbyak::Operand& b) {
    const unsigned shape = (row.lanes > 1 ? 2 : 0) + row.wide();
    switch (operation) {
        case kMadd: SHAPES(fmadd213) break;
        case kMsub: SHAPES(fnmadd213) break;
        case kNmadd: SHAPES(fnmsub213) break;
        default: SHAPES(fmsub213) break;
    }
#undef SHAPES
}

void Emitter::emit_fp_two_source(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    arithmetic(row, row.operation, xmm0, xmm0, vreg(rm_of(op)));
    check_scalar(row, row.operation == kAdd || row.operation == kSub, slow);
    if (row.operation == kNegatedMul) {
        vxorps(xmm0, xmm0, constant(&env_.constants->sign[row.wide()]));
    }
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

/// FMUL, FMLA and FMLS of scalars by an element.
void Emitter::emit_fp_element(const Op& op, const InlineRow& row) {
    const unsigned index = element_of(op, row.lane_bytes);
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    if (row.operation == kMul) {
        arithmetic(row, kMul, xmm0, xmm0, vreg(rm_of(op), index * row.lane_bytes));
    } else {
        load_scalar(xmm1, rm_of(op), row, index);
        multiply_add(row, row.operation == kAdd ? kMadd : kMsub, xmm0, xmm1, vreg(rd_of(op)));
    }
    check_scalar(row, false, slow);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

/// FADDP of the two lowest lanes.
void Emitter::emit_fp_pair_sum(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    arithmetic(row, kAdd, xmm0, xmm0, vreg(rn_of(op), row.lane_bytes));
    check_scalar(row, true, slow);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

/// FMAX, FMIN and their NM forms of two numbers. The host gives the second one when they are equal: zeros of both signs
/// are combined.
void Emitter::emit_fp_extreme(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_flushing(slow);
    load_scalar(xmm0, rn_of(op), row);
    load_scalar(xmm1, rm_of(op), row);
    row.wide() != 0 ? vucomisd(xmm0, xmm1) : vucomiss(xmm0, xmm1);
    jp(slow, T_NEAR);
    arithmetic(row, row.operation, xmm2, xmm0, xmm1);
    arithmetic(row, row.operation, xmm0, xmm1, xmm0);
    row.operation == kMax ? vandps(xmm0, xmm0, xmm2) : vorps(xmm0, xmm0, xmm2);
    // The lanes above the lowest: those of xmm0 and xmm1, zeros.
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

void Emitter::emit_fp_square_root(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    row.wide() != 0 ? vsqrtsd(xmm0, xmm0, xmm0) : vsqrtss(xmm0, xmm0, xmm0);
    check_scalar(row, true, slow);  // never tiny
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

void Emitter::emit_fp_multiply_add(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    load_scalar(xmm1, rm_of(op), row);
    multiply_add(row, row.operation, xmm0, xmm1, vreg(ra_of(op)));
    check_scalar(row, false, slow);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

// ── Comparison ─────────────────────────────────────────────────────────────────────────────────────────────

/// NZCV from comparing two numbers; NaNs go to `slow`.
void Emitter::compare_scalars(unsigned rn, const Xbyak::Operand& with, const InlineRow& row,
                              const Label& slow) {
    check_flushing(slow);
    load_scalar(xmm0, rn, row);
    row.wide() != 0 ? vucomisd(xmm0, with) : vucomiss(xmm0, with);
    jp(slow, T_NEAR);
    const Nzcv& f = env_.vcpu->s.nzcv;
    setb(at8(&f.n));
    setz(at8(&f.z));
    setae(at8(&f.c));
    mov(at8(&f.v), 0);
}

void Emitter::emit_fp_compare(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    if (row.operation == kWithZero) {
        vxorps(xmm1, xmm1, xmm1);
        compare_scalars(rn_of(op), xmm1, row, slow);
    } else {
        compare_scalars(rn_of(op), vreg(rm_of(op)), row, slow);
    }
    finish();
}

void Emitter::emit_fp_conditional_compare(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    const unsigned cond = cond_of(op);
    Label compare;
    if (cond < 14) {
        jump_if(test_condition(cond), compare);
        Nzcv otherwise;
        otherwise.unpack(u64{op.insn & 15} << 28);
        mov(at32(&env_.vcpu->s.nzcv), std::bit_cast<u32>(otherwise));
        jmp(slow_.back()->back, T_NEAR);
    }
    L(compare);
    compare_scalars(rn_of(op), vreg(rm_of(op)), row, slow);
    finish();
}

// ── Conversion ─────────────────────────────────────────────────────────────────────────────────────────────

/// FCVT between single and double; the row's lane is the source.
void Emitter::emit_fp_convert_format(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    if (row.lane_bytes == 4) {
        check_flushing(slow);
        load_scalar(xmm0, rn_of(op), row);
        check_scalar(row, true, slow);
        vcvtss2sd(xmm0, xmm0, xmm0);
    } else {
        check_rounding(slow);
        load_scalar(xmm0, rn_of(op), row);
        vxorps(xmm1, xmm1, xmm1);
        vcvtsd2ss(xmm0, xmm1, xmm0);
        InlineRow result = row;
        result.lane_bytes = 4;
        check_scalar(result, false, slow);
    }
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

/// SCVTF and UCVTF from a general register.
void Emitter::emit_fp_from_integer(const Op& op, const InlineRow& row) {
    const bool exact = !sf_of(op) && row.lane_bytes == 8;
    const Label& slow = slow_path(op);
    if (!exact) {
        check_rounding(slow);
    }
    if (sf_of(op)) {
        load(rax, rn_of(op));
        if (row.operation == kUnsigned) {
            test(rax, rax);
            js(slow, T_NEAR);
        }
    } else if (row.operation == kUnsigned) {
        load32(eax, rn_of(op));
    } else {
        movsxd(rax, x32(rn_of(op)));
    }
    vxorps(xmm0, xmm0, xmm0);
    row.lane_bytes == 8 ? vcvtsi2sd(xmm0, xmm0, rax) : vcvtsi2ss(xmm0, xmm0, rax);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

void Emitter::round_scalar(const InlineRow& row, unsigned mode) {
    constexpr u8 kQuiet = 8;
    const u8 control = static_cast<u8>(mode | kQuiet);
    row.wide() != 0 ? vroundsd(xmm0, xmm0, xmm0, control) : vroundss(xmm0, xmm0, xmm0, control);
}

/// FCVTxS and FCVTxU to a general register.
void Emitter::emit_fp_to_integer(const Op& op, const InlineRow& row) {
    const unsigned rounding = row.operation & 3u;
    const bool is_unsigned = (row.operation & kUnsignedInteger) != 0;
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    if (rounding != kTruncate) {
        round_scalar(row, rounding);
    }
    if (sf_of(op) || is_unsigned) {
        row.wide() != 0 ? vcvttsd2si(rax, xmm0) : vcvttss2si(rax, xmm0);
    } else {
        row.wide() != 0 ? vcvttsd2si(eax, xmm0) : vcvttss2si(eax, xmm0);
    }
    // Out of range the host gives the most negative number.
    if (is_unsigned && sf_of(op)) {
        test(rax, rax);
        js(slow, T_NEAR);
    } else if (is_unsigned) {
        mov(ecx, eax);
        cmp(rcx, rax);
        jne(slow, T_NEAR);
    } else {
        sf_of(op) ? cmp(rax, 1) : cmp(eax, 1);
        jo(slow, T_NEAR);
    }
    if (rd_of(op) != 31) {
        store(rd_of(op), rax);
    }
    finish();
}

void Emitter::emit_fp_round(const Op& op, const InlineRow& row) {
    const Label& slow = slow_path(op);
    check_rounding(slow);
    load_scalar(xmm0, rn_of(op), row);
    round_scalar(row, row.operation & 3u);
    check_scalar(row, true, slow);
    vmovaps(vreg(rd_of(op)), xmm0);
    finish();
}

// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::fp_rows() {
    using E = Emitter;
// Single and double precision of one instruction.
#define BOTH(handler, emit, ...)                    \
    {#handler "<u32>", &E::emit, __VA_ARGS__, 4}, { \
#handler "<u64>", &E::emit, __VA_ARGS__, 8  \
    }
#define ELEMENTS(handler, emit, ...)                  \
    {#handler "_s<V1S>", &E::emit, __VA_ARGS__, 4}, { \
#handler "_d<V1D>", &E::emit, __VA_ARGS__, 8  \
    }
    static constexpr InlineRow kRows[] = {
        BOTH(fmov_register, emit_fp_move, 0),
        BOTH(fabs_scalar, emit_fp_sign, kAbs),
        BOTH(fneg_scalar, emit_fp_sign, kNeg),
        BOTH(fmov_immediate, emit_fp_constant, 0),
        BOTH(fmov_to_general, emit_fp_to_general, 0),
        BOTH(fmov_from_general, emit_fp_from_general, 0),
        {"fmov_top_to_general", &E::emit_fp_to_general, 1, 8},
        {"fmov_top_from_general", &E::emit_fp_from_general, 1, 8},
        BOTH(fadd_scalar, emit_fp_two_source, kAdd),
        BOTH(fsub_scalar, emit_fp_two_source, kSub),
        BOTH(fmul_scalar, emit_fp_two_source, kMul),
        BOTH(fdiv_scalar, emit_fp_two_source, kDiv),
        BOTH(fnmul_scalar, emit_fp_two_source, kNegatedMul),
        ELEMENTS(fmul_element, emit_fp_element, kMul),
        ELEMENTS(fmla_element, emit_fp_element, kAdd),
        ELEMENTS(fmls_element, emit_fp_element, kSub),
        BOTH(faddp_scalar, emit_fp_pair_sum, 0),
        BOTH(fmax_scalar, emit_fp_extreme, kMax),
        BOTH(fmin_scalar, emit_fp_extreme, kMin),
        BOTH(fmaxnm_scalar, emit_fp_extreme, kMax),
        BOTH(fminnm_scalar, emit_fp_extreme, kMin),
        BOTH(fsqrt_scalar, emit_fp_square_root, 0),
        BOTH(fmadd, emit_fp_multiply_add, kMadd),
        BOTH(fmsub, emit_fp_multiply_add, kMsub),
        BOTH(fnmadd, emit_fp_multiply_add, kNmadd),
        BOTH(fnmsub, emit_fp_multiply_add, kNmsub),
        BOTH(fcmp, emit_fp_compare, kWithRegister),
        BOTH(fcmpe, emit_fp_compare, kWithRegister),
        BOTH(fcmp_zero, emit_fp_compare, kWithZero),
        BOTH(fcmpe_zero, emit_fp_compare, kWithZero),
        BOTH(fccmp, emit_fp_conditional_compare, 0),
        BOTH(fccmpe, emit_fp_conditional_compare, 0),
        BOTH(fcsel, emit_fp_select, 0),
        {"fcvt_s_to_d", &E::emit_fp_convert_format, 0, 4},
        {"fcvt_d_to_s", &E::emit_fp_convert_format, 0, 8},
        BOTH(scvtf_general, emit_fp_from_integer, kSigned),
        BOTH(ucvtf_general, emit_fp_from_integer, kUnsigned),
        BOTH(fcvtzs_general, emit_fp_to_integer, kTruncate),
        BOTH(fcvtzu_general, emit_fp_to_integer, kTruncate | kUnsignedInteger),
        BOTH(fcvtns_general, emit_fp_to_integer, kNearest),
        BOTH(fcvtnu_general, emit_fp_to_integer, kNearest | kUnsignedInteger),
        BOTH(fcvtms_general, emit_fp_to_integer, kDown),
        BOTH(fcvtmu_general, emit_fp_to_integer, kDown | kUnsignedInteger),
        BOTH(fcvtps_general, emit_fp_to_integer, kUp),
        BOTH(fcvtpu_general, emit_fp_to_integer, kUp | kUnsignedInteger),
        BOTH(frintn_scalar, emit_fp_round, kNearest),
        BOTH(frintm_scalar, emit_fp_round, kDown),
        BOTH(frintp_scalar, emit_fp_round, kUp),
        BOTH(frintz_scalar, emit_fp_round, kTruncate),
        BOTH(frintx_scalar, emit_fp_round, kNearest),
        BOTH(frinti_scalar, emit_fp_round, kNearest),
    };
#undef BOTH
#undef ELEMENTS
    return kRows;
}

}  // namespace vmm::arch::x64
