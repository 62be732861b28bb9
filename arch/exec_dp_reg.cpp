// Data Processing -- Register (Arm ARM C4.1, C6.2).
#include <nmmintrin.h>

#include "arch/decode_section.h"
#include "arch/pseudo.h"

namespace vmm::arch {

namespace {

using namespace operands;

// ── Data-processing (2 source) ─────────────────────────────────────────────────────────────────────────────

Exec udiv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    const u64 divisor = v.reg(rm, sf);
    v.set_x(rd, divisor == 0 ? 0 : v.reg(rn, sf) / divisor);
    return Exec::next;
}

/// Signed division as the instruction defines it: by zero gives zero, MIN / -1 gives MIN.
template <class Signed>
Signed divide_signed(Signed dividend, Signed divisor) {
    if (divisor == 0) {
        return 0;
    }
    if (divisor == -1) {
        return static_cast<Signed>(0 - static_cast<std::make_unsigned_t<Signed>>(dividend));
    }
    return dividend / divisor;
}

Exec sdiv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    if (sf) {
        v.set_x(rd, static_cast<u64>(divide_signed(static_cast<s64>(v.x(rn)), static_cast<s64>(v.x(rm)))));
    } else {
        v.set_w(rd, static_cast<u32>(divide_signed(static_cast<s32>(v.w(rn)), static_cast<s32>(v.w(rm)))));
    }
    return Exec::next;
}

/// value of Rn shifted by a register's (or an immediate's) amount, in the width of sf.
u64 shift_reg(Vcpu& v, bool sf, u32 rn, ShiftType type, u64 amount) {
    const unsigned count = static_cast<unsigned>(amount & 63);
    return sf ? shift_value(v.x(rn), type, count) : shift_value(v.w(rn), type, count);
}

Exec lslv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, shift_reg(v, sf, rn, ShiftType::lsl, v.x(rm)));
    return Exec::next;
}

Exec lsrv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, shift_reg(v, sf, rn, ShiftType::lsr, v.x(rm)));
    return Exec::next;
}

Exec asrv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, shift_reg(v, sf, rn, ShiftType::asr, v.x(rm)));
    return Exec::next;
}

Exec rorv(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, shift_reg(v, sf, rn, ShiftType::ror, v.x(rm)));
    return Exec::next;
}

// ── CRC32: reflected polynomial division. CRC32C is the host's own instruction. ────────────────────────────

constexpr std::array<u32, 256> make_crc32_table() {
    std::array<u32, 256> table{};
    for (u32 byte = 0; byte < 256; ++byte) {
        u32 crc = byte;
        for (int i = 0; i < 8; ++i) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;  // 0x04C11DB7 reflected
        }
        table[byte] = crc;
    }
    return table;
}

constexpr std::array<u32, 256> kCrc32Table = make_crc32_table();

u32 crc32(u32 accumulator, u64 value, unsigned bytes) {
    for (; bytes != 0; --bytes, value >>= 8) {
        accumulator = accumulator >> 8 ^ kCrc32Table[(accumulator ^ value) & 0xFF];
    }
    return accumulator;
}

Exec crc32b(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, crc32(v.w(rn), v.x(rm), 1));
    return Exec::next;
}

Exec crc32h(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, crc32(v.w(rn), v.x(rm), 2));
    return Exec::next;
}

Exec crc32w(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, crc32(v.w(rn), v.x(rm), 4));
    return Exec::next;
}

Exec crc32x(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, crc32(v.w(rn), v.x(rm), 8));
    return Exec::next;
}

Exec crc32cb(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, _mm_crc32_u8(v.w(rn), static_cast<u8>(v.x(rm))));
    return Exec::next;
}

Exec crc32ch(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, _mm_crc32_u16(v.w(rn), static_cast<u16>(v.x(rm))));
    return Exec::next;
}

Exec crc32cw(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, _mm_crc32_u32(v.w(rn), v.w(rm)));
    return Exec::next;
}

Exec crc32cx(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, static_cast<u32>(_mm_crc32_u64(v.w(rn), v.x(rm))));
    return Exec::next;
}

// ── Data-processing (1 source) ─────────────────────────────────────────────────────────────────────────────

u64 reverse_bytes(u64 value) {
    return __builtin_bswap64(value);
}

u64 reverse_bits(u64 value) {
    value = (value >> 1 & 0x5555555555555555) | (value & 0x5555555555555555) << 1;
    value = (value >> 2 & 0x3333333333333333) | (value & 0x3333333333333333) << 2;
    value = (value >> 4 & 0x0F0F0F0F0F0F0F0F) | (value & 0x0F0F0F0F0F0F0F0F) << 4;
    return reverse_bytes(value);
}

Exec rbit(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    // Bit 31 of a W register becomes bit 0: the reversal leaves it at bit 32.
    v.set_x(rd, reverse_bits(v.x(rn)) >> (sf ? 0 : 32));
    return Exec::next;
}

Exec rev16(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    const u64 value = v.reg(rn, sf);
    v.set_x(rd, (value >> 8 & 0x00FF00FF00FF00FF) | (value & 0x00FF00FF00FF00FF) << 8);
    return Exec::next;
}

Exec rev_w(Vcpu& v, Rn rn, Rd rd) {
    v.set_x(rd, __builtin_bswap32(v.w(rn)));
    return Exec::next;
}

Exec rev32(Vcpu& v, Rn rn, Rd rd) {
    v.set_x(rd, std::rotr(reverse_bytes(v.x(rn)), 32));
    return Exec::next;
}

Exec rev_x(Vcpu& v, Rn rn, Rd rd) {
    v.set_x(rd, reverse_bytes(v.x(rn)));
    return Exec::next;
}

Exec clz(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    v.set_x(rd, static_cast<u64>(sf ? std::countl_zero(v.x(rn)) : std::countl_zero(v.w(rn))));
    return Exec::next;
}

/// Number of bits below the sign bit that equal it.
template <class T>
u64 count_leading_sign_bits(T value) {
    return static_cast<u64>(std::countl_zero(static_cast<T>((value ^ value << 1) | 1)));
}

Exec cls(Vcpu& v, Sf sf, Rn rn, Rd rd) {
    v.set_x(rd, sf ? count_leading_sign_bits(v.x(rn)) : count_leading_sign_bits(v.w(rn)));
    return Exec::next;
}

// ── Logical (shifted register) ─────────────────────────────────────────────────────────────────────────────

constexpr bool is_reserved_shift(Sf sf, Imm6 imm6) {
    return !sf && imm6 >= 32;
}

/// The shifted second operand; inverted for BIC, ORN, EON, BICS. Upper half clear for 32-bit forms unless inverted.
u64 logical_operand(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6) {
    return shift_reg(v, sf, rm, static_cast<ShiftType>(shift.value), imm6);
}

Exec set_logical(Vcpu& v, Sf sf, Rd rd, u64 result) {
    v.set_reg(rd, sf, result);
    return Exec::next;
}

Exec set_logical_flags(Vcpu& v, Sf sf, Rd rd, u64 result) {
    v.s.nzcv = sf ? logical_flags(result) : logical_flags(static_cast<u32>(result));
    v.set_reg(rd, sf, result);
    return Exec::next;
}

Exec and_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) & logical_operand(v, sf, shift, rm, imm6));
}

Exec bic_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) & ~logical_operand(v, sf, shift, rm, imm6));
}

Exec orr_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) | logical_operand(v, sf, shift, rm, imm6));
}

Exec orn_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) | ~logical_operand(v, sf, shift, rm, imm6));
}

Exec eor_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) ^ logical_operand(v, sf, shift, rm, imm6));
}

Exec eon_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical(v, sf, rd, v.x(rn) ^ ~logical_operand(v, sf, shift, rm, imm6));
}

Exec ands_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical_flags(v, sf, rd, v.x(rn) & logical_operand(v, sf, shift, rm, imm6));
}

Exec bics_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_shift(sf, imm6)) {
        return v.undefined();
    }
    return set_logical_flags(v, sf, rd, v.x(rn) & ~logical_operand(v, sf, shift, rm, imm6));
}

// ── Add/subtract ───────────────────────────────────────────────────────────────────────────────────────────

/// Rd = operand1 + operand2 + carry_in in the width of sf, with flags.
Exec add_setting_flags(Vcpu& v, bool sf, u32 rd, u64 operand1, u64 operand2, bool carry_in) {
    if (sf) {
        v.set_x(rd, add_with_carry<u64>(operand1, operand2, carry_in, v.s.nzcv));
    } else {
        v.set_x(rd, add_with_carry<u32>(static_cast<u32>(operand1), static_cast<u32>(operand2), carry_in, v.s.nzcv));
    }
    return Exec::next;
}

constexpr bool is_reserved_addend(Sf sf, Shift shift, Imm6 imm6) {
    return shift == 3 || is_reserved_shift(sf, imm6);
}

Exec add_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_addend(sf, shift, imm6)) {
        return v.undefined();
    }
    v.set_reg(rd, sf, v.x(rn) + logical_operand(v, sf, shift, rm, imm6));
    return Exec::next;
}

Exec adds_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_addend(sf, shift, imm6)) {
        return v.undefined();
    }
    return add_setting_flags(v, sf, rd, v.x(rn), logical_operand(v, sf, shift, rm, imm6), false);
}

Exec sub_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_addend(sf, shift, imm6)) {
        return v.undefined();
    }
    v.set_reg(rd, sf, v.x(rn) - logical_operand(v, sf, shift, rm, imm6));
    return Exec::next;
}

Exec subs_shift(Vcpu& v, Sf sf, Shift shift, Rm rm, Imm6 imm6, Rn rn, Rd rd) {
    if (is_reserved_addend(sf, shift, imm6)) {
        return v.undefined();
    }
    return add_setting_flags(v, sf, rd, v.x(rn), ~logical_operand(v, sf, shift, rm, imm6), true);
}

Exec add_ext(Vcpu& v, Sf sf, Rm rm, Option option, Imm3 imm3, Rn rn, Rd rd) {
    if (imm3 > 4) {
        return v.undefined();
    }
    const u64 result = v.xsp(rn) + extend_value(v.x(rm), option, imm3);
    v.set_xsp(rd, sf ? result : static_cast<u32>(result));
    return Exec::next;
}

Exec adds_ext(Vcpu& v, Sf sf, Rm rm, Option option, Imm3 imm3, Rn rn, Rd rd) {
    if (imm3 > 4) {
        return v.undefined();
    }
    return add_setting_flags(v, sf, rd, v.xsp(rn), extend_value(v.x(rm), option, imm3), false);
}

Exec sub_ext(Vcpu& v, Sf sf, Rm rm, Option option, Imm3 imm3, Rn rn, Rd rd) {
    if (imm3 > 4) {
        return v.undefined();
    }
    const u64 result = v.xsp(rn) - extend_value(v.x(rm), option, imm3);
    v.set_xsp(rd, sf ? result : static_cast<u32>(result));
    return Exec::next;
}

Exec subs_ext(Vcpu& v, Sf sf, Rm rm, Option option, Imm3 imm3, Rn rn, Rd rd) {
    if (imm3 > 4) {
        return v.undefined();
    }
    return add_setting_flags(v, sf, rd, v.xsp(rn), ~extend_value(v.x(rm), option, imm3), true);
}

Exec adc(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.x(rn) + v.x(rm) + v.s.nzcv.c);
    return Exec::next;
}

Exec adcs(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    return add_setting_flags(v, sf, rd, v.x(rn), v.x(rm), v.s.nzcv.c != 0);
}

Exec sbc(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.x(rn) + ~v.x(rm) + v.s.nzcv.c);
    return Exec::next;
}

Exec sbcs(Vcpu& v, Sf sf, Rm rm, Rn rn, Rd rd) {
    return add_setting_flags(v, sf, rd, v.x(rn), ~v.x(rm), v.s.nzcv.c != 0);
}

// ── Conditional compare and select ─────────────────────────────────────────────────────────────────────────

/// The flags of Rn + operand2 + carry_in if the condition holds, else those of the instruction.
Exec conditional_compare(Vcpu& v, Sf sf, u32 rn, u64 operand2, bool carry_in, Cond cond, operands::Nzcv nzcv) {
    if (v.conditional(v.condition_holds(cond))) {
        return add_setting_flags(v, sf, 31, v.x(rn), operand2, carry_in);
    }
    v.s.nzcv.unpack(u64{nzcv.value} << 28);
    return Exec::next;
}

Exec ccmn_reg(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare(v, sf, rn, v.x(rm), false, cond, nzcv);
}

Exec ccmp_reg(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare(v, sf, rn, ~v.x(rm), true, cond, nzcv);
}

Exec ccmn_imm(Vcpu& v, Sf sf, Imm5 imm5, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare(v, sf, rn, imm5, false, cond, nzcv);
}

Exec ccmp_imm(Vcpu& v, Sf sf, Imm5 imm5, Cond cond, Rn rn, operands::Nzcv nzcv) {
    return conditional_compare(v, sf, rn, ~u64{imm5.value}, true, cond, nzcv);
}

Exec csel(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.conditional(v.condition_holds(cond)) ? v.x(rn) : v.x(rm));
    return Exec::next;
}

Exec csinc(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.conditional(v.condition_holds(cond)) ? v.x(rn) : v.x(rm) + 1);
    return Exec::next;
}

Exec csinv(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.conditional(v.condition_holds(cond)) ? v.x(rn) : ~v.x(rm));
    return Exec::next;
}

Exec csneg(Vcpu& v, Sf sf, Rm rm, Cond cond, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.conditional(v.condition_holds(cond)) ? v.x(rn) : 0 - v.x(rm));
    return Exec::next;
}

// ── Data-processing (3 source) ─────────────────────────────────────────────────────────────────────────────

Exec madd(Vcpu& v, Sf sf, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.x(ra) + v.x(rn) * v.x(rm));
    return Exec::next;
}

Exec msub(Vcpu& v, Sf sf, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_reg(rd, sf, v.x(ra) - v.x(rn) * v.x(rm));
    return Exec::next;
}

u64 multiply_long_signed(Vcpu& v, Rn rn, Rm rm) {
    return static_cast<u64>(s64{static_cast<s32>(v.w(rn))} * static_cast<s32>(v.w(rm)));
}

u64 multiply_long_unsigned(Vcpu& v, Rn rn, Rm rm) {
    return u64{v.w(rn)} * v.w(rm);
}

Exec smaddl(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_x(rd, v.x(ra) + multiply_long_signed(v, rn, rm));
    return Exec::next;
}

Exec smsubl(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_x(rd, v.x(ra) - multiply_long_signed(v, rn, rm));
    return Exec::next;
}

Exec smulh(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    const s128 product = s128{static_cast<s64>(v.x(rn))} * static_cast<s64>(v.x(rm));
    v.set_x(rd, static_cast<u64>(product >> 64));
    return Exec::next;
}

Exec umaddl(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_x(rd, v.x(ra) + multiply_long_unsigned(v, rn, rm));
    return Exec::next;
}

Exec umsubl(Vcpu& v, Rm rm, Ra ra, Rn rn, Rd rd) {
    v.set_x(rd, v.x(ra) - multiply_long_unsigned(v, rn, rm));
    return Exec::next;
}

Exec umulh(Vcpu& v, Rm rm, Rn rn, Rd rd) {
    v.set_x(rd, static_cast<u64>(u128{v.x(rn)} * v.x(rm) >> 64));
    return Exec::next;
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_dp_reg.inc"
};

}  // namespace

std::span<const DecodeRow> dp_reg_rows() {
    return kRows;
}

}  // namespace vmm::arch
