// Lowering: from instruction words to the operations the loop executes inline.
//
// Only frequent shapes are recognised here, by the layout of their group in the Arm ARM's C4 tables; everything else
// stays a call of the decode table's row. What is recognised must mean the same as the row: lower_test.cpp compares them.

#include "arch/engine_impl.h"

namespace vmm::arch {

namespace {

// Register slots.
u8 dst(u32 n) {
    return static_cast<u8>(n == 31 ? kSink : n);
}
u8 src(u32 n) {
    return static_cast<u8>(n);
}
u8 sp_or(u32 n) {
    return static_cast<u8>(n == 31 ? kSp : n);
}

u32 field(u32 insn, unsigned hi, unsigned lo) {
    return static_cast<u32>(bits(insn, hi, lo));
}

u32 rd_of(u32 insn) {
    return field(insn, 4, 0);
}
u32 rn_of(u32 insn) {
    return field(insn, 9, 5);
}
u32 rm_of(u32 insn) {
    return field(insn, 20, 16);
}

// While a block is being lowered, Op::code holds the HotOp itself; lower_block() ends by replacing it with the label.

bool use(Op& op, HotOp hot) {
    op.code = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(hot));
    return true;
}

HotOp hot_of(const Op& op) {
    return static_cast<HotOp>(reinterpret_cast<std::uintptr_t>(op.code));
}

/// Picks the 64- or the 32-bit operation.
bool use(Op& op, bool sf, HotOp hot64, HotOp hot32) {
    return use(op, sf ? hot64 : hot32);
}

// ── Data processing, immediate (C4.1.93) ───────────────────────────────────────────────────────────────────

bool lower_pc_relative(u32 insn, Op& op) {
    const s64 imm = sign_extend(u64{field(insn, 23, 5)} << 2 | field(insn, 30, 29), 21);
    const bool page = bit(insn, 31);
    op.rd = dst(rd_of(insn));
    op.constant = page ? static_cast<u64>(imm) << 12 : (u64{op.index} << 2) + static_cast<u64>(imm);
    return use(op, HotOp::adr);
}

bool lower_add_sub_imm(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const bool sub = bit(insn, 30);
    const s32 imm = static_cast<s32>(field(insn, 21, 10) << (bit(insn, 22) ? 12 : 0));
    op.rn = sp_or(rn_of(insn));
    if (bit(insn, 29)) {
        op.rd = dst(rd_of(insn));
        op.imm = imm;
        return sub ? use(op, sf, HotOp::subsi64, HotOp::subsi32)
                   : use(op, sf, HotOp::addsi64, HotOp::addsi32);
    }
    op.rd = sp_or(rd_of(insn));
    op.imm = sub ? -imm : imm;
    return use(op, sf, HotOp::addi64, HotOp::addi32);
}

/// DecodeBitMasks for a logical immediate; false for reserved values.
bool decode_logical_immediate(u32 insn, u64& mask) {
    const bool sf = bit(insn, 31);
    const unsigned n = field(insn, 22, 22);
    const unsigned imms = field(insn, 15, 10);
    const unsigned immr = field(insn, 21, 16);
    const unsigned pattern = n << 6 | (~imms & 0x3F);
    if (pattern < 2 || (!sf && n == 1)) {
        return false;
    }
    const unsigned size = 1u << (31 - std::countl_zero(pattern));
    const unsigned ones_count = (imms & (size - 1)) + 1;
    if (ones_count == size) {
        return false;
    }
    mask = replicate(rotate_right(ones(ones_count), immr & (size - 1), size), size);
    if (!sf) {
        mask &= 0xFFFF'FFFF;
    }
    return true;
}

bool lower_logical_imm(u32 insn, Op& op) {
    u64 mask = 0;
    if (!decode_logical_immediate(insn, mask)) {
        return false;
    }
    const bool sf = bit(insn, 31);
    const unsigned opc = field(insn, 30, 29);
    op.rn = src(rn_of(insn));
    op.rd = opc == 3 ? dst(rd_of(insn)) : sp_or(rd_of(insn));
    op.constant = mask;
    switch (opc) {
        case 0: return use(op, HotOp::andi);
        case 1: return use(op, sf, HotOp::orri, HotOp::orri32);
        case 2: return use(op, sf, HotOp::eori, HotOp::eori32);
        default: return use(op, sf, HotOp::andsi64, HotOp::andsi32);
    }
}

bool lower_move_wide(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const unsigned shift = field(insn, 22, 21) * 16;
    const u64 imm = field(insn, 20, 5);
    if (!sf && shift > 16) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    switch (field(insn, 30, 29)) {
        case 0: op.constant = ~(imm << shift) & (sf ? ~u64{0} : 0xFFFF'FFFF); return use(op, HotOp::movi);
        case 2: op.constant = imm << shift; return use(op, HotOp::movi);
        case 3:
            if (op.rd == kSink) {
                return false;
            }
            op.aux = static_cast<u8>(shift);
            op.imm = static_cast<s32>(imm);
            return use(op, sf, HotOp::movk, HotOp::movk32);
        default: return false;
    }
}

bool lower_bitfield(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const unsigned width = sf ? 64 : 32;
    const unsigned immr = field(insn, 21, 16);
    const unsigned imms = field(insn, 15, 10);
    if (sf != bit(insn, 22) || immr >= width || imms >= width) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    const unsigned opc = field(insn, 30, 29);
    if (opc == 2) {  // UBFM
        if (imms == width - 1) {
            op.aux = static_cast<u8>(immr);
            return use(op, sf, HotOp::lsr64i, HotOp::lsr32i);
        }
        if (imms + 1 == immr) {
            op.aux = static_cast<u8>(width - immr);
            return use(op, sf, HotOp::lsl64i, HotOp::lsl32i);
        }
        if (imms >= immr) {
            op.aux = static_cast<u8>(immr);
            op.constant = ones(imms - immr + 1);
            return use(op, HotOp::ubfx);
        }
        op.aux = static_cast<u8>(width - immr);
        op.constant = ones(imms + 1);
        return use(op, HotOp::ubfiz);
    }
    if (opc == 0) {  // SBFM
        if (imms == width - 1) {
            op.aux = static_cast<u8>(immr);
            return use(op, sf, HotOp::asr64i, HotOp::asr32i);
        }
        if (!sf) {
            op.aux = static_cast<u8>(31 - imms);
            op.ra = static_cast<u8>(31 - imms + immr);
            return imms >= immr && use(op, HotOp::sbfx32);
        }
        if (imms >= immr) {
            op.aux = static_cast<u8>(63 - imms);
            op.ra = static_cast<u8>(63 - imms + immr);
            return use(op, HotOp::sbfx64);
        }
        op.aux = static_cast<u8>(63 - imms);
        op.ra = static_cast<u8>(63 - imms - (64 - immr));
        return use(op, HotOp::sbfiz64);
    }
    if (opc != 1 || !sf || op.rd == kSink) {
        return false;
    }
    // BFM: BFXIL copies bits [imms:immr] to the bottom, BFI the low imms+1 bits to position 64-immr; both rotate right by
    // immr.
    op.aux = static_cast<u8>(immr);
    op.constant = imms >= immr ? ones(imms - immr + 1) : ones(imms + 1) << (64 - immr);
    return use(op, HotOp::bfm);
}

bool lower_extract(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const unsigned lsb = field(insn, 15, 10);
    if (sf != bit(insn, 22) || field(insn, 30, 29) != 0 || bit(insn, 21) || (!sf && lsb >= 32)) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.aux = static_cast<u8>(lsb);
    if (op.rn == op.rm) {
        return use(op, sf, HotOp::ror64i, HotOp::ror32i);
    }
    return sf && lsb != 0 && use(op, HotOp::extr64);
}

bool lower_dp_imm(u32 insn, Op& op) {
    switch (field(insn, 25, 23)) {
        case 0:
        case 1: return lower_pc_relative(insn, op);
        case 2: return lower_add_sub_imm(insn, op);
        case 4: return lower_logical_imm(insn, op);
        case 5: return lower_move_wide(insn, op);
        case 6: return lower_bitfield(insn, op);
        case 7: return lower_extract(insn, op);
        default: return false;
    }
}

// ── Data processing, register (C4.1.95) ────────────────────────────────────────────────────────────────────

bool lower_logical_reg(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const unsigned amount = field(insn, 15, 10);
    const unsigned shift = field(insn, 23, 22);
    const bool invert = bit(insn, 21);
    const unsigned opc = field(insn, 30, 29);
    if (!sf && amount >= 32) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.aux = static_cast<u8>(amount);
    if (amount == 0) {
        if (opc == 1 && !invert && op.rn == kZr) {
            return use(op, sf, HotOp::mov64, HotOp::mov32);
        }
        switch (opc << 1 | (invert ? 1 : 0)) {
            case 0: return use(op, sf, HotOp::and64, HotOp::and32);
            case 1: return use(op, sf, HotOp::bic64, HotOp::bic32);
            case 2: return use(op, sf, HotOp::orr64, HotOp::orr32);
            case 3: return use(op, sf, HotOp::orn64, HotOp::orn32);
            case 4: return use(op, sf, HotOp::eor64, HotOp::eor32);
            case 5: return sf && use(op, HotOp::eon64);
            case 6: return use(op, sf, HotOp::ands64, HotOp::ands32);
            default: return false;
        }
    }
    if (invert || opc == 3) {
        return false;
    }
    switch (shift << 2 | opc) {
        case 0: return sf && use(op, HotOp::and64_lsl);
        case 1: return use(op, sf, HotOp::orr64_lsl, HotOp::orr32_lsl);
        case 2: return use(op, sf, HotOp::eor64_lsl, HotOp::eor32_lsl);
        case 4: return sf && use(op, HotOp::and64_lsr);
        case 5: return sf && use(op, HotOp::orr64_lsr);
        case 6: return use(op, sf, HotOp::eor64_lsr, HotOp::eor32_lsr);
        case 14: return use(op, sf, HotOp::eor64_ror, HotOp::eor32_ror);
        default: return false;
    }
}

bool lower_add_sub_reg(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const bool sub = bit(insn, 30);
    const bool set_flags = bit(insn, 29);
    const unsigned amount = field(insn, 15, 10);
    const unsigned shift = field(insn, 23, 22);
    if (shift == 3 || (!sf && amount >= 32)) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.aux = static_cast<u8>(amount);
    if (amount == 0) {
        if (set_flags) {
            return sub ? use(op, sf, HotOp::subs64, HotOp::subs32)
                       : use(op, sf, HotOp::adds64, HotOp::adds32);
        }
        return sub ? use(op, sf, HotOp::sub64, HotOp::sub32) : use(op, sf, HotOp::add64, HotOp::add32);
    }
    if (set_flags) {
        return false;
    }
    if (shift == 0) {
        return sub ? use(op, sf, HotOp::sub64_lsl, HotOp::sub32_lsl)
                   : use(op, sf, HotOp::add64_lsl, HotOp::add32_lsl);
    }
    return sf && !sub && use(op, shift == 1 ? HotOp::add64_lsr : HotOp::add64_asr);
}

bool lower_add_ext(u32 insn, Op& op) {
    // ADD Xd|SP, Xn|SP, Wm, UXTW|SXTW #n, and the LSL form, which reads as UXTX.
    const unsigned option = field(insn, 15, 13);
    const unsigned amount = field(insn, 12, 10);
    if (field(insn, 31, 29) != 0b100 || field(insn, 23, 22) != 0 || amount > 4) {
        return false;
    }
    op.rd = sp_or(rd_of(insn));
    op.rn = sp_or(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.aux = static_cast<u8>(amount);
    switch (option) {
        case 2: return use(op, HotOp::add64_uxtw);
        case 3: return use(op, HotOp::add64_lsl);
        case 6: return use(op, HotOp::add64_sxtw);
        default: return false;
    }
}

bool lower_conditional_compare(u32 insn, Op& op) {
    if (field(insn, 30, 29) != 0b11 || bit(insn, 10) || bit(insn, 4)) {
        return false;  // CCMN
    }
    const bool sf = bit(insn, 31);
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));  // a register number, or the constant itself
    op.ra = static_cast<u8>(field(insn, 3, 0));
    op.aux = static_cast<u8>(field(insn, 15, 12));
    return bit(insn, 11) ? use(op, sf, HotOp::ccmpi64, HotOp::ccmpi32)
                         : use(op, sf, HotOp::ccmp64, HotOp::ccmp32);
}

bool lower_conditional_select(u32 insn, Op& op) {
    struct Selects {
        HotOp csel64, csel32, csinc64, csinc32;
    };
    static constexpr Selects kSelects[] = {
#define SELECTS(c) {HotOp::csel64_##c, HotOp::csel32_##c, HotOp::csinc64_##c, HotOp::csinc32_##c},
        VMM_CONDITIONS(SELECTS)
#undef SELECTS
    };
    const unsigned cond = field(insn, 15, 12);
    if (bit(insn, 29) || bit(insn, 11) || cond >= std::size(kSelects)) {
        return false;
    }
    const Selects& selects = kSelects[cond];
    const bool sf = bit(insn, 31);
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.aux = static_cast<u8>(cond);
    switch (field(insn, 30, 30) << 1 | field(insn, 10, 10)) {
        case 0: return use(op, sf, selects.csel64, selects.csel32);
        case 1: return use(op, sf, selects.csinc64, selects.csinc32);
        case 2: return use(op, sf, HotOp::csinv64, HotOp::csinv32);
        default: return use(op, sf, HotOp::csneg64, HotOp::csneg32);
    }
}

bool lower_one_source(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    if (bit(insn, 29) || rm_of(insn) != 0) {
        return false;
    }
    switch (field(insn, 15, 10)) {
        case 2: return !sf && use(op, HotOp::rev32);
        case 3: return sf && use(op, HotOp::rev64);
        case 4: return use(op, sf, HotOp::clz64, HotOp::clz32);
        default: return false;
    }
}

bool lower_two_source(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    if (bit(insn, 29)) {
        return false;
    }
    switch (field(insn, 15, 10)) {
        case 2: return use(op, sf, HotOp::udiv64, HotOp::udiv32);
        case 3: return use(op, sf, HotOp::sdiv64, HotOp::sdiv32);
        case 8: return use(op, sf, HotOp::lsl64, HotOp::lsl32);
        case 9: return use(op, sf, HotOp::lsr64, HotOp::lsr32);
        case 10: return use(op, sf, HotOp::asr64, HotOp::asr32);
        case 11: return !sf && use(op, HotOp::ror32);
        default: return false;
    }
}

bool lower_three_source(u32 insn, Op& op) {
    const bool sf = bit(insn, 31);
    const bool subtract = bit(insn, 15);
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    op.ra = src(field(insn, 14, 10));
    if (field(insn, 30, 29) != 0) {
        return false;
    }
    switch (field(insn, 23, 21)) {
        case 0:
            if (subtract) {
                return use(op, sf, HotOp::msub64, HotOp::msub32);
            }
            return op.ra == kZr ? use(op, sf, HotOp::mul64, HotOp::mul32)
                                : use(op, sf, HotOp::madd64, HotOp::madd32);
        case 1: return sf && !subtract && op.ra == kZr && use(op, HotOp::smull);
        case 2: return sf && !subtract && op.ra == kZr && use(op, HotOp::smulh);
        case 5: return sf && !subtract && use(op, op.ra == kZr ? HotOp::umull : HotOp::umaddl);
        case 6: return sf && !subtract && op.ra == kZr && use(op, HotOp::umulh);
        default: return false;
    }
}

bool lower_with_carry(u32 insn, Op& op) {
    if (!bit(insn, 31) || field(insn, 15, 10) != 0) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.rn = src(rn_of(insn));
    op.rm = src(rm_of(insn));
    switch (field(insn, 30, 29)) {
        case 0: return use(op, HotOp::adc64);
        case 1: return use(op, HotOp::adcs64);
        case 3: return use(op, HotOp::sbcs64);
        default: return false;
    }
}

bool lower_dp_reg(u32 insn, Op& op) {
    if (!bit(insn, 28)) {
        if (!bit(insn, 24)) {
            return lower_logical_reg(insn, op);
        }
        return bit(insn, 21) ? lower_add_ext(insn, op) : lower_add_sub_reg(insn, op);
    }
    if (bit(insn, 24)) {
        return lower_three_source(insn, op);
    }
    switch (field(insn, 24, 21)) {
        case 0: return lower_with_carry(insn, op);
        case 2: return lower_conditional_compare(insn, op);
        case 4: return lower_conditional_select(insn, op);
        case 6: return bit(insn, 30) ? lower_one_source(insn, op) : lower_two_source(insn, op);
        default: return false;
    }
}

// ── Branches (C4.1.94) ─────────────────────────────────────────────────────────────────────────────────────

/// Sets the target of a direct branch relative to the page's address; true when it lies in the page.
bool set_target(Op& op, s64 displacement) {
    op.imm = static_cast<s32>((s64{op.index} << 2) + displacement);
    op.link = nullptr;
    return op.imm >= 0 && op.imm < static_cast<s32>(kPageSize);
}

constexpr HotOp kBranchOn[14] = {
#define VMM_HOT_OP(name) HotOp::name,
    VMM_CONDITIONS(VMM_HOT_BCOND)
#undef VMM_HOT_OP
};

/// `leaves`: set when the operation never falls through.
bool lower_branch(u32 insn, Op& op, bool& leaves) {
    Op saved = op;
    if (field(insn, 30, 26) == 0b00101) {  // B, BL
        const bool link = bit(insn, 31);
        const bool in_page = set_target(op, sign_extend(field(insn, 25, 0), 26) * 4);
        leaves = true;
        return link ? use(op, in_page, HotOp::bl, HotOp::bl_far) : use(op, in_page, HotOp::b, HotOp::b_far);
    }
    if (field(insn, 31, 24) == 0x54 && !bit(insn, 4)) {  // B.cond
        const unsigned cond = field(insn, 3, 0);
        const bool in_page = set_target(op, sign_extend(field(insn, 23, 5), 19) * 4);
        if (cond >= 14) {
            leaves = true;
            return use(op, in_page, HotOp::b, HotOp::b_far);
        }
        op.aux = static_cast<u8>(cond);
        return use(op, in_page ? kBranchOn[cond] : HotOp::cond_far);
    }
    if (field(insn, 30, 25) == 0b011010) {  // CBZ, CBNZ
        op.rn = src(rd_of(insn));
        const bool sf = bit(insn, 31);
        const bool in_page = set_target(op, sign_extend(field(insn, 23, 5), 19) * 4);
        if (bit(insn, 24)) {
            return in_page ? use(op, sf, HotOp::cbnz64, HotOp::cbnz32)
                           : use(op, sf, HotOp::cbnz64_far, HotOp::cbnz32_far);
        }
        return in_page ? use(op, sf, HotOp::cbz64, HotOp::cbz32)
                       : use(op, sf, HotOp::cbz64_far, HotOp::cbz32_far);
    }
    if (field(insn, 30, 25) == 0b011011) {  // TBZ, TBNZ
        op.rn = src(rd_of(insn));
        op.aux = static_cast<u8>(field(insn, 31, 31) << 5 | field(insn, 23, 19));
        const bool in_page = set_target(op, sign_extend(field(insn, 18, 5), 14) * 4);
        return bit(insn, 24) ? use(op, in_page, HotOp::tbnz, HotOp::tbnz_far)
                             : use(op, in_page, HotOp::tbz, HotOp::tbz_far);
    }
    if ((insn & 0xFF9F'FC1F) == 0xD61F'0000) {  // BR, BLR, RET
        op.rn = src(rn_of(insn));
        leaves = true;
        switch (field(insn, 22, 21)) {
            case 0: return use(op, HotOp::br);
            case 1: return use(op, HotOp::blr);
            case 2: return use(op, HotOp::ret);
            default: break;
        }
    }
    op = saved;
    leaves = false;
    return false;
}

// ── Loads and stores (C4.1.96) ─────────────────────────────────────────────────────────────────────────────

enum Mode : u8 { imm, sp, reg, uxtw, sxtw, pre, post, mode_count };

/// The operation of a shape in a mode: the seven modes of a shape follow each other in HotOp.
bool use_shape(Op& op, u32 size, u32 opc, Mode mode) {
    static constexpr HotOp kShapes[4][4] = {
        {HotOp::str8_imm, HotOp::ldr8_imm, HotOp::ldrs8x_imm, HotOp::ldrs8w_imm},
        {HotOp::str16_imm, HotOp::ldr16_imm, HotOp::ldrs16x_imm, HotOp::ldrs16w_imm},
        {HotOp::str32_imm, HotOp::ldr32_imm, HotOp::ldrs32x_imm, HotOp::call},
        {HotOp::str64_imm, HotOp::ldr64_imm, HotOp::call, HotOp::call},
    };
    static_assert(static_cast<u16>(HotOp::str8_post) - static_cast<u16>(HotOp::str8_imm) == post);
    static_assert(static_cast<u16>(HotOp::ldrs16w_sxtw) - static_cast<u16>(HotOp::ldrs16w_imm) == sxtw);
    const HotOp shape = kShapes[size][opc];
    if (shape == HotOp::call) {
        return false;
    }
    return use(op, static_cast<HotOp>(static_cast<u16>(shape) + mode));
}

u8 transfer_slot(u32 rt, bool load) {
    return load ? dst(rt) : src(rt);
}

bool lower_ldst_imm(u32 insn, Op& op) {
    const u32 size = field(insn, 31, 30);
    const u32 opc = field(insn, 23, 22);
    const u32 rn = rn_of(insn);
    const u32 rt = rd_of(insn);
    op.rd = transfer_slot(rt, opc != 0);
    op.rn = sp_or(rn);
    if (bit(insn, 24)) {  // unsigned offset
        op.imm = static_cast<s32>(field(insn, 21, 10) << size);
        return use_shape(op, size, opc, rn == 31 ? sp : imm);
    }
    if (bit(insn, 21)) {  // register offset
        const u32 option = field(insn, 15, 13);
        if (field(insn, 11, 10) != 2 || rn == 31) {
            return false;
        }
        op.rm = src(rm_of(insn));
        op.aux = static_cast<u8>(bit(insn, 12) ? size : 0);
        switch (option) {
            case 2: return use_shape(op, size, opc, uxtw);
            case 3:
            case 7: return use_shape(op, size, opc, reg);
            case 6: return use_shape(op, size, opc, sxtw);
            default: return false;
        }
    }
    op.imm = static_cast<s32>(sign_extend(field(insn, 20, 12), 9));
    switch (field(insn, 11, 10)) {
        case 0: return use_shape(op, size, opc, rn == 31 ? sp : imm);
        case 1: return rn != 31 && rn != rt && use_shape(op, size, opc, post);
        case 3: return rn != 31 && rn != rt && use_shape(op, size, opc, pre);
        default: return false;  // unprivileged
    }
}

bool lower_ldst_pair(u32 insn, Op& op) {
    const u32 opc = field(insn, 31, 30);
    const bool load = bit(insn, 22);
    const u32 rn = rn_of(insn);
    const u32 rt = rd_of(insn);
    const u32 rt2 = field(insn, 14, 10);
    const u32 mode = field(insn, 25, 23);  // 0 no-allocate, 1 post, 2 offset, 3 pre
    const bool write_back = (mode & 1) != 0;
    if ((opc != 0 && opc != 2) || (load && rt == rt2) || (write_back && (rn == rt || rn == rt2))) {
        return false;
    }
    op.rd = transfer_slot(rt, load);
    op.ra = transfer_slot(rt2, load);
    op.rn = sp_or(rn);
    op.imm = static_cast<s32>(sign_extend(field(insn, 21, 15), 7)) * (opc == 2 ? 8 : 4);
    if (opc == 0) {
        return !write_back && rn != 31 && use(op, load ? HotOp::ldp32_imm : HotOp::stp32_imm);
    }
    switch (mode) {
        case 1:
            if (rn == 31) {
                return load && use(op, HotOp::ldp64_sp_post);
            }
            return use(op, load ? HotOp::ldp64_post : HotOp::stp64_post);
        case 3:
            if (rn == 31) {
                return !load && use(op, HotOp::stp64_sp_pre);
            }
            return use(op, load ? HotOp::ldp64_pre : HotOp::stp64_pre);
        default:
            if (rn == 31) {
                return use(op, load ? HotOp::ldp64_sp : HotOp::stp64_sp);
            }
            return use(op, load ? HotOp::ldp64_imm : HotOp::stp64_imm);
    }
}

bool lower_ldst_simd(u32 insn, Op& op) {
    const u32 rn = rn_of(insn);
    const u32 size = field(insn, 31, 30);
    op.rd = static_cast<u8>(rd_of(insn));
    op.rn = sp_or(rn);
    op.rm = rn == 31 ? 1 : 0;
    if (field(insn, 29, 27) == 0b101) {  // pairs: LDP/STP Qt, offset forms
        const u32 mode = field(insn, 25, 23);
        const u32 rt2 = field(insn, 14, 10);
        const bool load = bit(insn, 22);
        if (size != 2 || (mode != 0 && mode != 2) || (load && rt2 == op.rd)) {
            return false;
        }
        op.ra = static_cast<u8>(rt2);
        op.imm = static_cast<s32>(sign_extend(field(insn, 21, 15), 7)) * 16;
        return use(op, load ? HotOp::ldpq_imm : HotOp::stpq_imm);
    }
    const u32 opc = field(insn, 23, 22);
    const bool load = (opc & 1) != 0;
    const unsigned scale = (opc & 2) != 0 ? 4 : size;
    if ((opc & 2) != 0 && size != 0) {
        return false;
    }
    bool post_index = false;
    if (bit(insn, 24)) {
        op.imm = static_cast<s32>(field(insn, 21, 10) << scale);
    } else if (!bit(insn, 21) && field(insn, 11, 10) == 0) {
        op.imm = static_cast<s32>(sign_extend(field(insn, 20, 12), 9));
    } else if (!bit(insn, 21) && field(insn, 11, 10) == 1 && scale == 4 && rn != 31) {
        op.imm = static_cast<s32>(sign_extend(field(insn, 20, 12), 9));
        post_index = true;
    } else if (bit(insn, 21) && field(insn, 11, 10) == 2 && scale == 3 && rn != 31 &&
               field(insn, 14, 13) == 3) {
        op.rm = src(rm_of(insn));  // LSL or SXTX: the index register as it is
        op.aux = static_cast<u8>(bit(insn, 12) ? 3 : 0);
        return use(op, load ? HotOp::ldrd_reg : HotOp::strd_reg);
    } else {
        return false;
    }
    if (post_index) {
        return use(op, load ? HotOp::ldrq_post : HotOp::strq_post);
    }
    switch (scale) {
        case 2: return use(op, load ? HotOp::ldrs_imm : HotOp::strs_imm);
        case 3: return use(op, load ? HotOp::ldrd_imm : HotOp::strd_imm);
        case 4: return use(op, load ? HotOp::ldrq_imm : HotOp::strq_imm);
        default: return false;
    }
}

bool lower_literal(u32 insn, Op& op) {
    const u32 opc = field(insn, 31, 30);
    if (opc > 1) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.imm = static_cast<s32>((s64{op.index} << 2) + sign_extend(field(insn, 23, 5), 19) * 4);
    return use(op, opc == 1 ? HotOp::ldr_lit64 : HotOp::ldr_lit32);
}

bool lower_ldst(u32 insn, Op& op) {
    const bool simd = bit(insn, 26);
    switch (field(insn, 29, 27)) {
        case 0b111: return simd ? lower_ldst_simd(insn, op) : lower_ldst_imm(insn, op);
        case 0b101: return simd ? lower_ldst_simd(insn, op) : lower_ldst_pair(insn, op);
        case 0b011: return !simd && !bit(insn, 24) && lower_literal(insn, op);
        default: return false;
    }
}

// ── System (C4.1.94) ───────────────────────────────────────────────────────────────────────────────────────

bool lower_mrs(Vcpu& v, u32 insn, Op& op) {
    const SysregBank::Entry* entry = v.sysregs.find(static_cast<SysregKey>(field(insn, 20, 5)));
    if (entry == nullptr || entry->read != nullptr || entry->check != nullptr || entry->storage == nullptr ||
        entry->access == SysregAccess::wo_el1 || entry->access == SysregAccess::wo_el0) {
        return false;
    }
    const s64 offset = reinterpret_cast<const u8*>(entry->storage) - reinterpret_cast<const u8*>(&v);
    if (offset < 0 || offset >= static_cast<s64>(sizeof(Vcpu))) {
        return false;
    }
    op.rd = dst(rd_of(insn));
    op.imm = static_cast<s32>(offset);
    op.aux = entry->access == SysregAccess::rw_el0 || entry->access == SysregAccess::ro_el0 ||
             entry->access == SysregAccess::el0_reads;
    return use(op, HotOp::mrs_plain);
}

bool is_isb(u32 insn) {
    return (insn & 0xFFFF'F0FF) == 0xD503'30DF;
}

bool lower_system(Vcpu& v, u32 insn, Op& op, bool& leaves) {
    if ((insn & 0xFFF0'0000) == 0xD530'0000) {
        return lower_mrs(v, insn, op);
    }
    if ((insn & 0xFFFF'F0FF) == 0xD503'40DF) {  // MSR DAIFSet
        op.aux = static_cast<u8>(field(insn, 11, 8));
        return use(op, HotOp::daif_set);
    }
    if ((insn & 0xFFFF'F0FF) == 0xD503'40FF) {  // MSR DAIFClr
        op.aux = static_cast<u8>(field(insn, 11, 8));
        return use(op, HotOp::daif_clear);
    }
    // ISB, and exception generation and return, end every block they stand in.
    leaves = is_isb(insn) || (insn & 0xFF00'0000) == 0xD400'0000 || insn == 0xD69F'03E0;
    return false;
}

/// Hints that do nothing on this PE vanish: NOP, YIELD, CSDB, PACIASP and the like, and prefetches. WFE, WFI, SEV, SEVL,
/// ESB and PSB stay.
bool is_nop(u32 insn) {
    const bool prefetch = (insn & 0xFFC0'0000) == 0xF980'0000 || (insn & 0xFFE0'4C00) == 0xF8A0'4800 ||
                          (insn & 0xFF00'0000) == 0xD800'0000;  // unsigned offset, register, literal
    if (prefetch) {
        return true;
    }
    if ((insn & 0xFFFF'F01F) != 0xD503'201F) {
        return false;
    }
    const u32 hint = field(insn, 11, 5);
    return hint == 0 || hint == 1 || hint >= 20 || (hint >= 6 && hint <= 15);
}

bool lower(Vcpu& v, u32 insn, Op& op, bool& leaves) {
    switch (field(insn, 28, 25)) {
        case 0b1000:
        case 0b1001: return lower_dp_imm(insn, op);
        case 0b1010:
        case 0b1011:
            return field(insn, 31, 22) == 0b1101010100 || field(insn, 31, 24) == 0b11010100 ||
                           field(insn, 31, 25) == 0b1101011
                       ? lower_system(v, insn, op, leaves) || lower_branch(insn, op, leaves)
                       : lower_branch(insn, op, leaves);
        case 0b0101:
        case 0b1101: return lower_dp_reg(insn, op);
        case 0b0100:
        case 0b0110:
        case 0b1100:
        case 0b1110: return lower_ldst(insn, op);
        default: return false;
    }
}

// ── Fusion ─────────────────────────────────────────────────────────────────────────────────────────────────

struct FusedSet {
    HotOp reg64, reg32, imm64, imm32;
};

constexpr FusedSet kNotFused{HotOp::call, HotOp::call, HotOp::call, HotOp::call};

/// By condition; VS and VC are not fused.
const FusedSet& fused_set(HotOp branch) {
    static constexpr FusedSet kSets[] = {
#define SET(c) {HotOp::cmp64_b##c, HotOp::cmp32_b##c, HotOp::cmpi64_b##c, HotOp::cmpi32_b##c},
        VMM_FUSED_CONDITIONS(SET)
#undef SET
    };
    static constexpr HotOp kBranches[] = {
#define BRANCH(c) HotOp::b_##c,
        VMM_FUSED_CONDITIONS(BRANCH)
#undef BRANCH
    };
    for (unsigned i = 0; i < std::size(kBranches); ++i) {
        if (kBranches[i] == branch) {
            return kSets[i];
        }
    }
    return kNotFused;
}

/// Merges a compare and the conditional branch behind it into `compare`; false where the pair has no fused form.
bool fuse(Op& compare, const Op& branch) {
    if (compare.rd != kSink || branch.index != compare.index + 1) {
        return false;
    }
    const HotOp first = hot_of(compare);
    const HotOp second = hot_of(branch);
    const FusedSet& set = fused_set(second);
    HotOp fused = HotOp::call;
    switch (first) {
        case HotOp::subs64: fused = set.reg64; break;
        case HotOp::subs32: fused = set.reg32; break;
        case HotOp::subsi64: fused = set.imm64; break;
        case HotOp::subsi32: fused = set.imm32; break;
        case HotOp::ands64:
            fused = second == HotOp::b_eq   ? HotOp::tst64_beq
                    : second == HotOp::b_ne ? HotOp::tst64_bne
                                            : HotOp::call;
            break;
        case HotOp::ands32:
            fused = second == HotOp::b_eq   ? HotOp::tst32_beq
                    : second == HotOp::b_ne ? HotOp::tst32_bne
                                            : HotOp::call;
            break;
        default: break;
    }
    if (fused == HotOp::call) {
        return false;
    }
    compare.insn = static_cast<u32>(compare.imm);
    compare.imm = branch.imm;
    compare.link = nullptr;
    return use(compare, fused);
}

bool is_conditional_branch(const Op& op) {
    return hot_of(op) >= HotOp::b_eq && hot_of(op) <= HotOp::b_le;
}

Exec undefined_instruction(Vcpu& v, u32) {
    return v.undefined();
}

}  // namespace

unsigned lower_block(Vcpu& v, const u8* page, unsigned start, unsigned most, Op* ops, unsigned& op_count) {
    unsigned count = 0;
    unsigned index = start;
    bool leaves = false;
    while (!leaves && index < CodeCache::kWordsPerPage && index - start < most) {
        const u32 insn = mm::load_relaxed<u32>(page + index * 4);
        if (is_nop(insn)) {
            ++index;
            continue;
        }
        const DecodeRow* row = decode(insn);
        Op& op = ops[count];
        op = Op{};
        op.index = static_cast<u16>(index++);
        op.insn = insn;
        op.handler = row == nullptr ? &undefined_instruction : row->handler;
        const bool lowered = row != nullptr && lower(v, insn, op, leaves);
        if (!lowered || v.config.reference_only) {
            const u16 position = op.index;
            op = Op{};
            op.index = position;
            op.insn = insn;
            op.handler = row == nullptr ? &undefined_instruction : row->handler;
            use(op, HotOp::call);
        }
        if (is_isb(insn)) {
            op.imm = static_cast<s32>(index * 4);  // where host code goes on
        }
        if (row == nullptr) {
            leaves = true;
        }
        if (count != 0 && is_conditional_branch(op) && fuse(ops[count - 1], op)) {
            continue;
        }
        ++count;
    }
    const unsigned length = index - start;
    if (!leaves) {
        Op& op = ops[count++];
        op = Op{};
        op.index = static_cast<u16>(index);
        op.imm = static_cast<s32>(index * 4);
        use(op, index < CodeCache::kWordsPerPage ? HotOp::next_in_page : HotOp::next_page);
    }
    // Instructions behind each operation: those behind its last one.
    for (unsigned i = 0; i < count; ++i) {
        const bool fused = hot_of(ops[i]) >= HotOp::cmp64_beq && hot_of(ops[i]) <= HotOp::tst32_bne;
        const unsigned behind = ops[i].index + (fused ? 2u : 1u) - start;
        ops[i].tail = static_cast<u8>(behind > length ? 0 : length - behind);
        ops[i].code = code_of(hot_of(ops[i]));
    }
    op_count = count;
    return length;
}

bool has_link(const Op& op) {
    const HotOp hot = hot_op_of(op.code);
    switch (hot) {
        case HotOp::next_in_page:
        case HotOp::b:
        case HotOp::bl:
        case HotOp::cbz64:
        case HotOp::cbnz64:
        case HotOp::cbz32:
        case HotOp::cbnz32:
        case HotOp::tbz:
        case HotOp::tbnz: return true;
        default:
            return (hot >= HotOp::b_eq && hot <= HotOp::b_le) ||
                   (hot >= HotOp::cmp64_beq && hot <= HotOp::tst32_bne);
    }
}

}  // namespace vmm::arch
