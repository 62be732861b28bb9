// Scalar floating point (Arm ARM chapter C4, "Data Processing -- Scalar Floating-Point and Advanced SIMD",
// the scalar floating-point classes). Handlers are templates over the format's bit pattern: u16 half, u32
// single, u64 double.
#include "arch/decode_section.h"
#include "arch/exec_fp_common.h"

namespace vmm::arch {

namespace {

using namespace operands;
using fp::FpEnv;
using fp::Rounding;

using Scale = Operand<"scale", 6>;

// ── Data processing, one source ────────────────────────────────────────────────────────────────────────────

template <class T>
Exec fmov_register(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, scalar<T>(v, rn));
}

template <class T>
Exec fabs_scalar(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, fp::abs(scalar<T>(v, rn)));
}

template <class T>
Exec fneg_scalar(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, fp::neg(scalar<T>(v, rn)));
}

template <class T>
Exec fsqrt_scalar(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, fp::sqrt(scalar<T>(v, rn), fp_env(v)));
}

template <class To, class From>
Exec convert_format(Vcpu& v, u32 rn, u32 rd) {
    return write_scalar(v, rd, fp::convert<To>(scalar<From>(v, rn), fp_env(v)));
}

Exec fcvt_s_to_d(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u64, u32>(v, rn, rd);
}
Exec fcvt_s_to_h(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u16, u32>(v, rn, rd);
}
Exec fcvt_d_to_s(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u32, u64>(v, rn, rd);
}
Exec fcvt_d_to_h(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u16, u64>(v, rn, rd);
}
Exec fcvt_h_to_s(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u32, u16>(v, rn, rd);
}
Exec fcvt_h_to_d(Vcpu& v, Rn rn, Rd rd) {
    return convert_format<u64, u16>(v, rn, rd);
}

template <class T>
Exec round_integral(Vcpu& v, u32 rn, u32 rd, Rounding rounding, bool exact = false) {
    return write_scalar(v, rd, fp::round_to_integral(scalar<T>(v, rn), rounding, exact, fp_env(v)));
}

template <class T>
Exec frintn_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, Rounding::tie_even);
}
template <class T>
Exec frintp_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, Rounding::plus_infinity);
}
template <class T>
Exec frintm_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, Rounding::minus_infinity);
}
template <class T>
Exec frintz_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, Rounding::toward_zero);
}
template <class T>
Exec frinta_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, Rounding::tie_away);
}
template <class T>
Exec frintx_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, fp_env(v).rounding(), true);
}
template <class T>
Exec frinti_scalar(Vcpu& v, Rn rn, Rd rd) {
    return round_integral<T>(v, rn, rd, fp_env(v).rounding());
}

// ── Data processing, two and three sources ─────────────────────────────────────────────────────────────────

// One handler per line: its name and the operation on two values.
#define VMM_FP_TWO_SOURCE(handler, operation)                                                 \
    template <class T>                                                                        \
    Exec handler(Vcpu& v, Rm rm, Rn rn, Rd rd) {                                              \
        return write_scalar(v, rd, operation(scalar<T>(v, rn), scalar<T>(v, rm), fp_env(v))); \
    }
VMM_FP_TWO_SOURCE(fmul_scalar, fp::mul)
VMM_FP_TWO_SOURCE(fdiv_scalar, fp::div)
VMM_FP_TWO_SOURCE(fadd_scalar, fp::add)
VMM_FP_TWO_SOURCE(fsub_scalar, fp::sub)
VMM_FP_TWO_SOURCE(fmax_scalar, fp::max)
VMM_FP_TWO_SOURCE(fmin_scalar, fp::min)
VMM_FP_TWO_SOURCE(fmaxnm_scalar, fp::max_num)
VMM_FP_TWO_SOURCE(fminnm_scalar, fp::min_num)
VMM_FP_TWO_SOURCE(fnmul_scalar, fp::nmul)
#undef VMM_FP_TWO_SOURCE

template <class T>
Exec fmadd(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    return write_scalar(v, rd, fp::mul_add(scalar<T>(v, ra), scalar<T>(v, rn), scalar<T>(v, rm), fp_env(v)));
}
template <class T>
Exec fmsub(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    return write_scalar(
        v, rd, fp::mul_add(scalar<T>(v, ra), fp::neg(scalar<T>(v, rn)), scalar<T>(v, rm), fp_env(v)));
}
template <class T>
Exec fnmadd(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    return write_scalar(
        v, rd,
        fp::mul_add(fp::neg(scalar<T>(v, ra)), fp::neg(scalar<T>(v, rn)), scalar<T>(v, rm), fp_env(v)));
}
template <class T>
Exec fnmsub(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    return write_scalar(
        v, rd, fp::mul_add(fp::neg(scalar<T>(v, ra)), scalar<T>(v, rn), scalar<T>(v, rm), fp_env(v)));
}

// ── Immediate, compare, select ─────────────────────────────────────────────────────────────────────────────

template <class T>
Exec fmov_immediate(Vcpu& v, Imm8 imm8, Rd rd) {
    return write_scalar(v, rd, fp::expand_immediate<T>(imm8));
}

template <class T>
Exec compare(Vcpu& v, u32 rn, T b, bool signal_all_nans) {
    v.s.nzcv.unpack(u64{fp::compare(scalar<T>(v, rn), b, signal_all_nans, fp_env(v))} << 28);
    return Exec::next;
}

template <class T>
Exec fcmp(Vcpu& v, Rm rm, Rn rn) {
    return compare<T>(v, rn, scalar<T>(v, rm), false);
}
template <class T>
Exec fcmp_zero(Vcpu& v, Rn rn) {
    return compare<T>(v, rn, 0, false);
}
template <class T>
Exec fcmpe(Vcpu& v, Rm rm, Rn rn) {
    return compare<T>(v, rn, scalar<T>(v, rm), true);
}
template <class T>
Exec fcmpe_zero(Vcpu& v, Rn rn) {
    return compare<T>(v, rn, 0, true);
}

template <class T>
Exec conditional_compare(Vcpu& v, u32 rm, u32 cond, u32 rn, u32 nzcv, bool signal_all_nans) {
    if (v.conditional(v.condition_holds(cond))) {
        return compare<T>(v, rn, scalar<T>(v, rm), signal_all_nans);
    }
    v.s.nzcv.unpack(u64{nzcv} << 28);
    return Exec::next;
}

template <class T>
Exec fccmp(Vcpu& v, Rm rm, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare<T>(v, rm, cond, rn, nzcv, false);
}
template <class T>
Exec fccmpe(Vcpu& v, Rm rm, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare<T>(v, rm, cond, rn, nzcv, true);
}

template <class T>
Exec fcsel(Vcpu& v, Rm rm, Cond cond, Rn rn, Rd rd) {
    return write_scalar(v, rd, scalar<T>(v, v.conditional(v.condition_holds(cond)) ? rn : rm));
}

// ── Conversion to and from general-purpose registers ───────────────────────────────────────────────────────

// The general-purpose register is W or X by `sf`: 32 or 64 bits.
constexpr unsigned width_of(u32 sf) {
    return sf != 0 ? 64 : 32;
}

template <class T>
Exec to_signed(Vcpu& v, u32 sf, u32 fraction_bits, u32 rn, u32 rd, Rounding rounding) {
    v.set_reg(rd, sf != 0, fp::to_signed(scalar<T>(v, rn), width_of(sf), fraction_bits, rounding, fp_env(v)));
    return Exec::next;
}

template <class T>
Exec to_unsigned(Vcpu& v, u32 sf, u32 fraction_bits, u32 rn, u32 rd, Rounding rounding) {
    v.set_reg(rd, sf != 0,
              fp::to_unsigned(scalar<T>(v, rn), width_of(sf), fraction_bits, rounding, fp_env(v)));
    return Exec::next;
}

#define VMM_FP_TO_INTEGER(handler, conversion, rounding)  \
    template <class T>                                    \
    Exec handler(Vcpu& v, Sf sf, Rn rn, Rd rd) {          \
        return conversion<T>(v, sf, 0, rn, rd, rounding); \
    }
VMM_FP_TO_INTEGER(fcvtns_general, to_signed, Rounding::tie_even)
VMM_FP_TO_INTEGER(fcvtnu_general, to_unsigned, Rounding::tie_even)
VMM_FP_TO_INTEGER(fcvtas_general, to_signed, Rounding::tie_away)
VMM_FP_TO_INTEGER(fcvtau_general, to_unsigned, Rounding::tie_away)
VMM_FP_TO_INTEGER(fcvtps_general, to_signed, Rounding::plus_infinity)
VMM_FP_TO_INTEGER(fcvtpu_general, to_unsigned, Rounding::plus_infinity)
VMM_FP_TO_INTEGER(fcvtms_general, to_signed, Rounding::minus_infinity)
VMM_FP_TO_INTEGER(fcvtmu_general, to_unsigned, Rounding::minus_infinity)
VMM_FP_TO_INTEGER(fcvtzs_general, to_signed, Rounding::toward_zero)
VMM_FP_TO_INTEGER(fcvtzu_general, to_unsigned, Rounding::toward_zero)
#undef VMM_FP_TO_INTEGER

template <class T>
Exec from_signed(Vcpu& v, u32 sf, u32 fraction_bits, u32 rn, u32 rd) {
    const u64 value = sf != 0 ? v.x(rn) : static_cast<u64>(sign_extend(v.w(rn), 32));
    return write_scalar(v, rd, fp::from_signed<T>(value, fraction_bits, fp_env(v)));
}

template <class T>
Exec from_unsigned(Vcpu& v, u32 sf, u32 fraction_bits, u32 rn, u32 rd) {
    return write_scalar(v, rd, fp::from_unsigned<T>(v.reg(rn, sf != 0), fraction_bits, fp_env(v)));
}

template <class T>
Exec scvtf_general(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    return from_signed<T>(v, sf, 0, rn, rd);
}
template <class T>
Exec ucvtf_general(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    return from_unsigned<T>(v, sf, 0, rn, rd);
}

// Fixed point: `scale` is 64 - fraction bits; a W register has at most 32 of them, so that its rows fix
// scale<5> to 1 and bind the rest of the field.
template <class T>
Exec scvtf_fixed_w(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    return from_signed<T>(v, 0, 32 - imm5, rn, rd);
}
template <class T>
Exec ucvtf_fixed_w(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    return from_unsigned<T>(v, 0, 32 - imm5, rn, rd);
}
template <class T>
Exec fcvtzs_fixed_w(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    return to_signed<T>(v, 0, 32 - imm5, rn, rd, Rounding::toward_zero);
}
template <class T>
Exec fcvtzu_fixed_w(Vcpu& v, Imm5 imm5, Rn rn, Rd rd) {
    return to_unsigned<T>(v, 0, 32 - imm5, rn, rd, Rounding::toward_zero);
}
template <class T>
Exec scvtf_fixed_x(Vcpu& v, Scale scale, Rn rn, Rd rd) {
    return from_signed<T>(v, 1, 64 - scale, rn, rd);
}
template <class T>
Exec ucvtf_fixed_x(Vcpu& v, Scale scale, Rn rn, Rd rd) {
    return from_unsigned<T>(v, 1, 64 - scale, rn, rd);
}
template <class T>
Exec fcvtzs_fixed_x(Vcpu& v, Scale scale, Rn rn, Rd rd) {
    return to_signed<T>(v, 1, 64 - scale, rn, rd, Rounding::toward_zero);
}
template <class T>
Exec fcvtzu_fixed_x(Vcpu& v, Scale scale, Rn rn, Rd rd) {
    return to_unsigned<T>(v, 1, 64 - scale, rn, rd, Rounding::toward_zero);
}

// FMOV (general): bits unchanged.
template <class T>
Exec fmov_to_general(Vcpu& v, Rn rn, Rd rd) {
    v.set_x(rd, scalar<T>(v, rn));
    return Exec::next;
}
template <class T>
Exec fmov_from_general(Vcpu& v, Rn rn, Rd rd) {
    return write_scalar(v, rd, static_cast<T>(v.x(rn)));
}
Exec fmov_top_to_general(Vcpu& v, Rn rn, Rd rd) {
    v.set_x(rd, v.s.v[rn].hi);
    return Exec::next;
}
Exec fmov_top_from_general(Vcpu& v, Rn rn, Rd rd) {
    v.s.v[rd].hi = v.x(rn);
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_fp.inc"
};

}  // namespace

std::span<const DecodeRow> fp_rows() {
    return kRows;
}

}  // namespace vmm::arch
