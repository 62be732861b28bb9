// Host code of Advanced SIMD on integers: shifts by an immediate, narrowing and widening.

#include <bit>

#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

enum ShiftOperation : u8 { kShl, kSshr, kUshr, kSsra, kUsra };

// Widening operations: what happens to the widened lanes, and their signedness.
enum Widening : u8 { kWideMul, kWideMla, kWideMls, kWideAdd, kWideSub, kWideKind = 7, kWideSigned = 8 };

/// log2 of the lane's bytes, and the amount, of a shift by an immediate; immh is not 0.
unsigned shift_size(const Op& op) {
    return 31 - static_cast<unsigned>(std::countl_zero(op.insn >> 19 & 15));
}
unsigned shift_field(const Op& op) {
    return op.insn >> 16 & 127;
}

}  // namespace

// ── Shifts by an immediate ─────────────────────────────────────────────────────────────────────────────────

void Emitter::shift_lanes(unsigned operation, unsigned size, unsigned amount) {
    const u8 n = static_cast<u8>(amount);
    if (operation == kShl) {
        VMM_BY_SIZE(size, vpsllw(xmm0, xmm0, n), vpsllw(xmm0, xmm0, n), vpslld(xmm0, xmm0, n),
                    vpsllq(xmm0, xmm0, n))
        if (size == 0) {
            splat(xmm1, replicate(0xFFu << amount & 0xFF, 8));
            vpand(xmm0, xmm0, xmm1);
        }
    } else if (operation == kUshr || operation == kUsra || size == 0) {
        const bool is_signed = operation == kSshr || operation == kSsra;
        const u8 count = is_signed && amount == 8 ? 7 : n;
        VMM_BY_SIZE(size, vpsrlw(xmm0, xmm0, count), vpsrlw(xmm0, xmm0, n), vpsrld(xmm0, xmm0, n),
                    vpsrlq(xmm0, xmm0, n))
        if (size == 0) {
            splat(xmm1, replicate(0xFFu >> count, 8));
            vpand(xmm0, xmm0, xmm1);
        }
        if (is_signed) {
            splat(xmm1, replicate(0x80u >> count, 8));
            vpxor(xmm0, xmm0, xmm1);
            vpsubb(xmm0, xmm0, xmm1);
        }
    } else if (size == 3) {
        vpxor(xmm1, xmm1, xmm1);
        vpcmpgtq(xmm1, xmm1, xmm0);
        vpxor(xmm0, xmm0, xmm1);
        vpsrlq(xmm0, xmm0, n);
        vpxor(xmm0, xmm0, xmm1);
    } else {
        size == 1 ? vpsraw(xmm0, xmm0, n) : vpsrad(xmm0, xmm0, n);
    }
}

void Emitter::emit_simd_shift(const Op& op, const InlineRow& row) {
    const bool scalar = row.lanes == 1;
    if ((op.insn >> 19 & 15) == 0 || (scalar ? shift_size(op) != 3 : shift_size(op) == 3 && !q_of(op))) {
        emit_call(op);
        return;
    }
    const unsigned size = shift_size(op);
    const unsigned lane_bits = 8u << size;
    const unsigned amount =
        row.operation == kShl ? shift_field(op) - lane_bits : 2 * lane_bits - shift_field(op);
    vmovaps(xmm0, vreg(rn_of(op)));
    shift_lanes(row.operation, size, amount);
    if (row.operation == kSsra || row.operation == kUsra) {
        vmovaps(xmm1, vreg(rd_of(op)));
        lane_add(size, xmm0, xmm0, xmm1);
    }
    store_vector(rd_of(op), xmm0, scalar ? 8 : bytes_of(op));
}

/// XTN; `operation` 1: SHRN. The second forms write the upper half only.
void Emitter::emit_simd_narrow(const Op& op, const InlineRow& row) {
    const bool shifts = row.operation == 1;
    const unsigned size =
        shifts ? 31 - static_cast<unsigned>(std::countl_zero((op.insn >> 19 & 15) | 1)) : size_of(op);
    if ((shifts && (op.insn >> 19 & 15) == 0) || size == 3) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    if (shifts) {
        shift_lanes(kUshr, size + 1, (16u << size) - shift_field(op));
    }
    vpshufb(xmm0, xmm0, constant(&env_.constants->even_first[size]));
    if (q_of(op)) {
        vmovlps(vreg(rd_of(op), 8), xmm0);
    } else {
        store_vector(rd_of(op), xmm0, 8);
    }
}

// ── Widening ───────────────────────────────────────────────────────────────────────────────────────────────

/// The lower or (second forms) upper half of a register, each lane widened.
void Emitter::load_widened(const Xmm& to, unsigned reg, bool upper, unsigned size, bool is_signed) {
    const Address half = vreg(reg, upper ? 8 : 0);
    if (is_signed) {
        VMM_BY_SIZE(size, vpmovsxbw(to, half), vpmovsxwd(to, half), vpmovsxdq(to, half), break)
    } else {
        VMM_BY_SIZE(size, vpmovzxbw(to, half), vpmovzxwd(to, half), vpmovzxdq(to, half), break)
    }
}

void Emitter::emit_simd_shift_long(const Op& op, const InlineRow& row) {
    const u32 immh = op.insn >> 19 & 15;
    if (immh == 0 || immh >= 8) {
        emit_call(op);
        return;
    }
    const unsigned size = shift_size(op);
    load_widened(xmm0, rn_of(op), q_of(op), size, row.operation == kWideSigned);
    const unsigned amount = shift_field(op) - (8u << size);
    if (amount != 0) {
        shift_lanes(kShl, size + 1, amount);
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

/// SMULL, UMLAL, SADDL and the like.
void Emitter::emit_simd_long(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size == 3) {
        emit_call(op);
        return;
    }
    const bool is_signed = (row.operation & kWideSigned) != 0;
    const unsigned kind = row.operation & kWideKind;
    load_widened(xmm0, rn_of(op), q_of(op), size, is_signed);
    load_widened(xmm1, rm_of(op), q_of(op), size, is_signed);
    if (kind == kWideAdd || kind == kWideSub) {
        kind == kWideAdd ? lane_add(size + 1, xmm0, xmm0, xmm1) : lane_sub(size + 1, xmm0, xmm0, xmm1);
    } else {
        switch (size) {
            case 0: vpmullw(xmm0, xmm0, xmm1); break;
            case 1: vpmulld(xmm0, xmm0, xmm1); break;
            default: is_signed ? vpmuldq(xmm0, xmm0, xmm1) : vpmuludq(xmm0, xmm0, xmm1); break;
        }
        if (kind != kWideMul) {
            vmovaps(xmm1, vreg(rd_of(op)));
            kind == kWideMla ? lane_add(size + 1, xmm0, xmm1, xmm0) : lane_sub(size + 1, xmm0, xmm1, xmm0);
        }
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

/// SADDW and the like.
void Emitter::emit_simd_wide(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size == 3) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    load_widened(xmm1, rm_of(op), q_of(op), size, (row.operation & kWideSigned) != 0);
    (row.operation & kWideKind) == kWideAdd ? lane_add(size + 1, xmm0, xmm0, xmm1)
                                            : lane_sub(size + 1, xmm0, xmm0, xmm1);
    vmovaps(vreg(rd_of(op)), xmm0);
}
// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::simd_width_rows() {
    using E = Emitter;
    static constexpr InlineRow kRows[] = {
        {"shift_imm<Shl>", &E::emit_simd_shift, kShl, 0, 2},
        {"shift_imm<Sshr>", &E::emit_simd_shift, kSshr, 0, 2},
        {"shift_imm<Ushr>", &E::emit_simd_shift, kUshr, 0, 2},
        {"shift_imm<Ssra>", &E::emit_simd_shift, kSsra, 0, 2},
        {"shift_imm<Usra>", &E::emit_simd_shift, kUsra, 0, 2},
        {"scalar_shift_imm<Shl>", &E::emit_simd_shift, kShl},
        {"scalar_shift_imm<Sshr>", &E::emit_simd_shift, kSshr},
        {"scalar_shift_imm<Ushr>", &E::emit_simd_shift, kUshr},
        {"narrow<Xtn>", &E::emit_simd_narrow, 0},
        {"shift_narrow<Shrn>", &E::emit_simd_narrow, 1},
        {"shift_long<kSigned>", &E::emit_simd_shift_long, kWideSigned},
        {"shift_long<kUnsigned>", &E::emit_simd_shift_long, 0},
        {"long_vector<Smull>", &E::emit_simd_long, kWideMul | kWideSigned},
        {"long_vector<Umull>", &E::emit_simd_long, kWideMul},
        {"long_vector<Smlal>", &E::emit_simd_long, kWideMla | kWideSigned},
        {"long_vector<Umlal>", &E::emit_simd_long, kWideMla},
        {"long_vector<Smlsl>", &E::emit_simd_long, kWideMls | kWideSigned},
        {"long_vector<Umlsl>", &E::emit_simd_long, kWideMls},
        {"long_vector<Saddl>", &E::emit_simd_long, kWideAdd | kWideSigned},
        {"long_vector<Uaddl>", &E::emit_simd_long, kWideAdd},
        {"long_vector<Ssubl>", &E::emit_simd_long, kWideSub | kWideSigned},
        {"long_vector<Usubl>", &E::emit_simd_long, kWideSub},
        {"wide_vector<SignedAdd>", &E::emit_simd_wide, kWideAdd | kWideSigned},
        {"wide_vector<UnsignedAdd>", &E::emit_simd_wide, kWideAdd},
        {"wide_vector<SignedSub>", &E::emit_simd_wide, kWideSub | kWideSigned},
        {"wide_vector<UnsignedSub>", &E::emit_simd_wide, kWideSub},
    };
    return kRows;
}

}  // namespace vmm::arch::x64
