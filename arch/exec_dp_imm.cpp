// Data Processing -- Immediate (Arm ARM C4.1, C6.2).
#include "arch/decode_section.h"
#include "arch/pseudo.h"

namespace vmm::arch {

namespace {

using namespace operands;
using ImmLo = Operand<"immlo", 2>;
using ImmHi = Operand<"immhi", 19>;

// ── PC-relative addressing ─────────────────────────────────────────────────────────────────────────────────

u64 pc_relative(ImmHi immhi, ImmLo immlo) {
    return static_cast<u64>(sign_extend(u64{immhi.value} << 2 | immlo.value, 21));
}

Exec adr(Vcpu& v, ImmLo immlo, ImmHi immhi, Rd rd) {
    v.set_x(rd, v.s.pc + pc_relative(immhi, immlo));
    return Exec::next;
}

Exec adrp(Vcpu& v, ImmLo immlo, ImmHi immhi, Rd rd) {
    v.set_x(rd, align_down(v.s.pc, 4096) + (pc_relative(immhi, immlo) << 12));
    return Exec::next;
}

// ── Add/subtract ───────────────────────────────────────────────────────────────────────────────────────────

u64 shifted_imm12(Sh sh, Imm12 imm12) {
    return u64{imm12.value} << (sh ? 12 : 0);
}

Exec add_imm(Vcpu& v, Sf sf, Sh sh, Imm12 imm12, Rn rn, Rd rd) {
    const u64 result = v.xsp(rn) + shifted_imm12(sh, imm12);
    v.set_xsp(rd, sf ? result : static_cast<u32>(result));
    return Exec::next;
}

Exec sub_imm(Vcpu& v, Sf sf, Sh sh, Imm12 imm12, Rn rn, Rd rd) {
    const u64 result = v.xsp(rn) - shifted_imm12(sh, imm12);
    v.set_xsp(rd, sf ? result : static_cast<u32>(result));
    return Exec::next;
}

/// Rd = operand1 + operand2 + carry_in in the width of sf, with flags.
Exec add_setting_flags(Vcpu& v, bool sf, u32 rd, u64 operand1, u64 operand2, bool carry_in) {
    if (sf) {
        v.set_x(rd, add_with_carry<u64>(operand1, operand2, carry_in, v.s.nzcv));
    } else {
        v.set_x(rd, add_with_carry<u32>(static_cast<u32>(operand1), static_cast<u32>(operand2), carry_in, v.s.nzcv));
    }
    return Exec::next;
}

Exec adds_imm(Vcpu& v, Sf sf, Sh sh, Imm12 imm12, Rn rn, Rd rd) {
    return add_setting_flags(v, sf, rd, v.xsp(rn), shifted_imm12(sh, imm12), false);
}

Exec subs_imm(Vcpu& v, Sf sf, Sh sh, Imm12 imm12, Rn rn, Rd rd) {
    return add_setting_flags(v, sf, rd, v.xsp(rn), ~shifted_imm12(sh, imm12), true);
}

// ── Logical ────────────────────────────────────────────────────────────────────────────────────────────────

/// The immediate of a logical instruction; false: reserved encoding.
bool logical_immediate(Sf sf, N n, Imms imms, Immr immr, u64& imm) {
    BitMasks masks;
    if ((!sf && n) || !decode_bit_masks(n, imms, immr, true, masks)) {
        return false;
    }
    imm = sf ? masks.wmask : static_cast<u32>(masks.wmask);
    return true;
}

Exec and_imm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    u64 imm = 0;
    if (!logical_immediate(sf, n, imms, immr, imm)) {
        return v.undefined();
    }
    v.set_xsp(rd, v.x(rn) & imm);
    return Exec::next;
}

Exec orr_imm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    u64 imm = 0;
    if (!logical_immediate(sf, n, imms, immr, imm)) {
        return v.undefined();
    }
    v.set_xsp(rd, v.reg(rn, sf) | imm);
    return Exec::next;
}

Exec eor_imm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    u64 imm = 0;
    if (!logical_immediate(sf, n, imms, immr, imm)) {
        return v.undefined();
    }
    v.set_xsp(rd, v.reg(rn, sf) ^ imm);
    return Exec::next;
}

Exec ands_imm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    u64 imm = 0;
    if (!logical_immediate(sf, n, imms, immr, imm)) {
        return v.undefined();
    }
    const u64 result = v.x(rn) & imm;
    v.s.nzcv = sf ? logical_flags(result) : logical_flags(static_cast<u32>(result));
    v.set_x(rd, result);
    return Exec::next;
}

// ── Move wide ──────────────────────────────────────────────────────────────────────────────────────────────

Exec movn(Vcpu& v, Sf sf, Hw hw, Imm16 imm16, Rd rd) {
    if (!sf && hw >= 2) {
        return v.undefined();
    }
    v.set_reg(rd, sf, ~(u64{imm16.value} << (16 * hw)));
    return Exec::next;
}

Exec movz(Vcpu& v, Sf sf, Hw hw, Imm16 imm16, Rd rd) {
    if (!sf && hw >= 2) {
        return v.undefined();
    }
    v.set_x(rd, u64{imm16.value} << (16 * hw));
    return Exec::next;
}

Exec movk(Vcpu& v, Sf sf, Hw hw, Imm16 imm16, Rd rd) {
    if (!sf && hw >= 2) {
        return v.undefined();
    }
    const unsigned lsb = 16 * hw;
    v.set_reg(rd, sf, deposit(v.x(rd), lsb + 15, lsb, imm16));
    return Exec::next;
}

// ── Bitfield ───────────────────────────────────────────────────────────────────────────────────────────────

bool is_reserved_bitfield(Sf sf, N n, Immr immr, Imms imms) {
    return sf != n || (!sf && (immr >= 32 || imms >= 32));
}

/// The common part of the three: the rotated source bits that land in the destination, the mask of those from the
/// source's bottom (wmask) and of those from the bitfield (tmask), cut to the register width.
struct Bitfield {
    u64 rotated;
    BitMasks masks;
};

Bitfield select_bitfield(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn) {
    Bitfield field{};
    decode_bit_masks(n, imms, immr, false, field.masks);  // not reserved: sf == N and the numbers are in range
    field.rotated = rotate_right(v.x(rn), immr, sf ? 64 : 32) & field.masks.wmask;
    return field;
}

Exec sbfm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    if (is_reserved_bitfield(sf, n, immr, imms)) {
        return v.undefined();
    }
    const Bitfield field = select_bitfield(v, sf, n, immr, imms, rn);
    const u64 top = bit(v.x(rn), imms) ? ~u64{0} : 0;
    v.set_reg(rd, sf, (top & ~field.masks.tmask) | (field.rotated & field.masks.tmask));
    return Exec::next;
}

Exec bfm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    if (is_reserved_bitfield(sf, n, immr, imms)) {
        return v.undefined();
    }
    const Bitfield field = select_bitfield(v, sf, n, immr, imms, rn);
    const u64 destination = v.x(rd);
    const u64 bottom = (destination & ~field.masks.wmask) | field.rotated;
    v.set_reg(rd, sf, (destination & ~field.masks.tmask) | (bottom & field.masks.tmask));
    return Exec::next;
}

Exec ubfm(Vcpu& v, Sf sf, N n, Immr immr, Imms imms, Rn rn, Rd rd) {
    if (is_reserved_bitfield(sf, n, immr, imms)) {
        return v.undefined();
    }
    const Bitfield field = select_bitfield(v, sf, n, immr, imms, rn);
    v.set_reg(rd, sf, field.rotated & field.masks.tmask);
    return Exec::next;
}

// ── Extract ────────────────────────────────────────────────────────────────────────────────────────────────

Exec extr(Vcpu& v, Sf sf, N n, Rm rm, Imms imms, Rn rn, Rd rd) {
    if (sf != n || (!sf && imms >= 32)) {
        return v.undefined();
    }
    const unsigned lsb = imms;
    if (sf) {
        v.set_x(rd, lsb == 0 ? v.x(rm) : v.x(rm) >> lsb | v.x(rn) << (64 - lsb));
    } else {
        v.set_x(rd, static_cast<u32>((u64{v.w(rn)} << 32 | v.w(rm)) >> lsb));
    }
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_dp_imm.inc"
};

}  // namespace

std::span<const DecodeRow> dp_imm_rows() {
    return kRows;
}

}  // namespace vmm::arch
