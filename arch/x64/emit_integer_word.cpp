// Host code of data processing (register) in the forms that the lowering leaves to their handlers, by instruction word.

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

namespace {

unsigned field(u32 insn, unsigned hi, unsigned lo) {
    return static_cast<unsigned>(bits(insn, hi, lo));
}

}  // namespace

/// rax = rn + or - rcx, with flags if asked for, to `rd`.
void Emitter::finish_add_sub(u32 insn, unsigned rn, unsigned rd) {
    const bool wide = bit(insn, 31);
    const bool subtract = bit(insn, 30);
    if (wide) {
        load(rax, rn);
        subtract ? sub(rax, rcx) : add(rax, rcx);
    } else {
        load32(eax, rn);
        subtract ? sub(eax, ecx) : add(eax, ecx);
    }
    store(rd, rax);
    if (bit(insn, 29)) {
        save_flags(subtract ? HostFlags::subtraction : HostFlags::addition);
    }
}

bool Emitter::emit_add_sub_shifted(u32 insn) {
    const bool wide = bit(insn, 31);
    const unsigned amount = field(insn, 15, 10);
    if (field(insn, 23, 22) == 3 || (!wide && amount >= 32)) {
        return false;
    }
    const Shift kind = static_cast<Shift>(field(insn, 23, 22) + 1);
    load(rcx, field(insn, 20, 16));
    shift(kind, wide ? static_cast<Xbyak::Reg>(rcx) : static_cast<Xbyak::Reg>(ecx), amount);
    const unsigned rd = field(insn, 4, 0);
    finish_add_sub(insn, field(insn, 9, 5), rd == 31 ? kSink : rd);
    return true;
}

bool Emitter::emit_add_sub_extended(u32 insn) {
    const unsigned amount = field(insn, 12, 10);
    const unsigned rm = field(insn, 20, 16);
    if (field(insn, 23, 22) != 0 || amount > 4) {
        return false;
    }
    load(rcx, rm);
    switch (field(insn, 15, 13)) {
        case 0: movzx(ecx, cl); break;
        case 1: movzx(ecx, cx); break;
        case 2: mov(ecx, ecx); break;
        case 4: movsx(rcx, cl); break;
        case 5: movsx(rcx, cx); break;
        case 6: movsxd(rcx, ecx); break;
        default: break;
    }
    if (amount != 0) {
        shl(rcx, static_cast<int>(amount));
    }
    const unsigned rd = field(insn, 4, 0);
    const unsigned rn = field(insn, 9, 5);
    finish_add_sub(insn, rn == 31 ? kSp : rn, rd != 31 ? rd : bit(insn, 29) ? kSink : kSp);
    return true;
}

bool Emitter::emit_logical_shifted(u32 insn) {
    const bool wide = bit(insn, 31);
    const unsigned amount = field(insn, 15, 10);
    if (!wide && amount >= 32) {
        return false;
    }
    const Xbyak::Reg to = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    const Xbyak::Reg operand = wide ? static_cast<Xbyak::Reg>(rcx) : static_cast<Xbyak::Reg>(ecx);
    load(rcx, field(insn, 20, 16));
    if (amount != 0) {
        shift(static_cast<Shift>(field(insn, 23, 22) + 1), operand, amount);
    }
    if (bit(insn, 21)) {
        not_(operand);
    }
    const unsigned rn = field(insn, 9, 5);
    mov(to, wide ? x64(rn) : x32(rn));
    static constexpr Alu kAlus[4] = {Alu::band, Alu::bor, Alu::bxor, Alu::band};
    const unsigned opc = field(insn, 30, 29);
    apply(kAlus[opc], to, operand);
    const unsigned rd = field(insn, 4, 0);
    store(rd == 31 ? kSink : rd, rax);
    if (opc == 3) {
        save_flags(HostFlags::logical);
    }
    return true;
}

/// ADC, SBC and their flag-setting forms.
bool Emitter::emit_carry_word(u32 insn) {
    if (field(insn, 15, 10) != 0) {
        return false;
    }
    const bool wide = bit(insn, 31);
    const bool subtract = bit(insn, 30);
    const unsigned rn = field(insn, 9, 5);
    const unsigned rm = field(insn, 20, 16);
    const unsigned rd = field(insn, 4, 0);
    const Xbyak::Reg to = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    movzx(eax, at8(&env_.vcpu->s.nzcv.c));
    if (subtract) {
        cmp(al, 1);
    } else {
        add(al, 0xFF);
    }
    mov(to, wide ? x64(rn) : x32(rn));
    if (subtract) {
        sbb(to, wide ? x64(rm) : x32(rm));
    } else {
        adc(to, wide ? x64(rm) : x32(rm));
    }
    store(rd == 31 ? kSink : rd, rax);
    if (bit(insn, 29)) {
        save_flags(subtract ? HostFlags::subtraction : HostFlags::addition);
    }
    return true;
}

/// SMADDL, SMSUBL, UMADDL, UMSUBL.
bool Emitter::emit_long_multiply(u32 insn) {
    const unsigned operation = field(insn, 23, 21);
    if (!bit(insn, 31) || (operation != 1 && operation != 5)) {
        return false;
    }
    if (operation == 1) {
        movsxd(rax, x32(field(insn, 9, 5)));
        movsxd(rcx, x32(field(insn, 20, 16)));
    } else {
        load32(eax, field(insn, 9, 5));
        load32(ecx, field(insn, 20, 16));
    }
    imul(rcx, rax);
    load(rax, field(insn, 14, 10));
    bit(insn, 15) ? sub(rax, rcx) : add(rax, rcx);
    const unsigned rd = field(insn, 4, 0);
    store(rd == 31 ? kSink : rd, rax);
    return true;
}

/// REV16, REV32 and RORV.
bool Emitter::emit_other_register_word(u32 insn) {
    const unsigned rd = field(insn, 4, 0) == 31 ? kSink : field(insn, 4, 0);
    const unsigned rn = field(insn, 9, 5);
    if ((insn & 0xFFE0'FC00) == 0x9AC0'2C00) {
        load32(ecx, field(insn, 20, 16));
        load(rax, rn);
        ror(rax, cl);
        store(rd, rax);
        return true;
    }
    if ((insn & 0xFFFF'FC00) == 0xDAC0'0800) {
        load(rax, rn);
        bswap(rax);
        ror(rax, 32);
        store(rd, rax);
        return true;
    }
    if ((insn & 0xFFFF'FC00) == 0x5AC0'0400) {
        load32(eax, rn);
        bswap(eax);
        ror(eax, 16);
        store(rd, rax);
        return true;
    }
    return false;
}

bool Emitter::emit_integer_word(const Op& op) {
    const u32 insn = op.insn;
    if (!bit(insn, 28)) {
        if (!bit(insn, 24)) {
            return emit_logical_shifted(insn);
        }
        return bit(insn, 21) ? emit_add_sub_extended(insn) : emit_add_sub_shifted(insn);
    }
    if (bit(insn, 24)) {
        return field(insn, 30, 29) == 0 && emit_long_multiply(insn);
    }
    switch (field(insn, 24, 21)) {
        case 0: return emit_carry_word(insn);
        case 6: return emit_other_register_word(insn);
        default: return false;
    }
}

}  // namespace vmm::arch::x64
