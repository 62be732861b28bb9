// Host code of data processing on general registers.

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

namespace {

bool fits_s32(u64 value) {
    return static_cast<s64>(value) == static_cast<s32>(value);
}

}  // namespace

void Emitter::load(const Reg64& to, unsigned slot) {
    mov(to, x64(slot));
}

void Emitter::load32(const Reg32& to, unsigned slot) {
    mov(to, x32(slot));
}

void Emitter::store(unsigned slot, const Reg64& from) {
    if (slot != kSink) {
        mov(x64(slot), from);
    }
}

void Emitter::emit_constant(unsigned slot, u64 value) {
    if (slot == kSink) {
        return;
    }
    if (fits_s32(value)) {
        mov(x64(slot), value);
    } else {
        mov(rax, value);
        mov(x64(slot), rax);
    }
}

// ── Arithmetic and logic ───────────────────────────────────────────────────────────────────────────────────

void Emitter::apply(Alu alu, const Xbyak::Reg& to, const Xbyak::Operand& from) {
    switch (alu) {
        case Alu::add: add(to, from); break;
        case Alu::sub: sub(to, from); break;
        case Alu::band: and_(to, from); break;
        case Alu::bor: or_(to, from); break;
        case Alu::bxor: xor_(to, from); break;
    }
}

/// `to` op= constant; uses rcx.
void Emitter::apply_constant(Alu alu, const Reg64& to, u64 constant) {
    if (alu == Alu::band && constant == 0xFFFF'FFFF) {
        mov(to.cvt32(), to.cvt32());
        return;
    }
    if (!fits_s32(constant)) {
        mov(rcx, constant);
        apply(alu, to, rcx);
        return;
    }
    const u32 value = static_cast<u32>(constant);
    switch (alu) {
        case Alu::add: add(to, value); break;
        case Alu::sub: sub(to, value); break;
        case Alu::band: and_(to, value); break;
        case Alu::bor: or_(to, value); break;
        case Alu::bxor: xor_(to, value); break;
    }
}

void Emitter::shift(Shift kind, const Xbyak::Reg& reg, unsigned amount) {
    const int count = static_cast<int>(amount);
    switch (kind) {
        case Shift::none: break;
        case Shift::lsl: shl(reg, count); break;
        case Shift::lsr: shr(reg, count); break;
        case Shift::asr: sar(reg, count); break;
        case Shift::ror: ror(reg, count); break;
    }
}

/// rd = rn op shifted or inverted rm.
void Emitter::emit_alu(const Op& op, Alu alu, bool wide, Shift kind, bool invert) {
    if (op.rd == kSink) {
        return;
    }
    if (wide) {
        load(rax, op.rn);
        if (kind == Shift::none && !invert) {
            apply(alu, rax, x64(op.rm));
        } else {
            load(rcx, op.rm);
            shift(kind, rcx, op.aux);
            if (invert) {
                not_(rcx);
            }
            apply(alu, rax, rcx);
        }
    } else {
        load32(eax, op.rn);
        if (kind == Shift::none && !invert) {
            apply(alu, eax, x32(op.rm));
        } else {
            load32(ecx, op.rm);
            shift(kind, ecx, op.aux);
            if (invert) {
                not_(ecx);
            }
            apply(alu, eax, ecx);
        }
    }
    store(op.rd, rax);
}

/// rd = rn + (W rm extended, shifted left by aux).
void Emitter::emit_alu_extended(const Op& op, bool is_signed) {
    if (is_signed) {
        movsxd(rcx, x32(op.rm));
    } else {
        load32(ecx, op.rm);
    }
    shl(rcx, op.aux);
    add(rcx, x64(op.rn));
    store(op.rd, rcx);
}

/// Stores the guest's flags from the host's, if anything may look at them.
void Emitter::save_flags(HostFlags kind) {
    host_flags_ = kind;
    if (!flags_needed(current_)) {
        return;
    }
    const Nzcv& f = env_.vcpu->s.nzcv;
    sets(at8(&f.n));
    setz(at8(&f.z));
    if (kind == HostFlags::logical) {
        mov(word[rbp + displacement(&f.c)], 0);
        return;
    }
    if (kind == HostFlags::subtraction) {
        setae(at8(&f.c));
    } else {
        setb(at8(&f.c));
    }
    seto(at8(&f.v));
}

void Emitter::emit_alu_flags(const Op& op, Alu alu, bool wide) {
    const Xbyak::Reg to = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    const Address rm = wide ? x64(op.rm) : x32(op.rm);
    mov(to, wide ? x64(op.rn) : x32(op.rn));
    if (op.rd == kSink && alu == Alu::sub) {
        cmp(to, rm);
    } else {
        apply(alu, to, rm);
        store(op.rd, rax);
    }
    save_flags(alu == Alu::sub   ? HostFlags::subtraction
               : alu == Alu::add ? HostFlags::addition
                                 : HostFlags::logical);
}

/// `constant`: for add and sub below 2^31.
void Emitter::emit_alu_flags_constant(const Op& op, Alu alu, bool wide, u64 constant) {
    if (alu == Alu::band) {
        load(rax, op.rn);
        if (wide) {
            apply_constant(alu, rax, constant);
            test(rax, rax);
        } else {
            and_(eax, static_cast<u32>(constant));
        }
    } else if (op.rd == kSink && alu == Alu::sub) {
        cmp(wide ? x64(op.rn) : x32(op.rn), static_cast<u32>(constant));
    } else if (wide) {
        load(rax, op.rn);
        apply_constant(alu, rax, constant);
    } else {
        load32(eax, op.rn);
        alu == Alu::sub ? sub(eax, static_cast<u32>(constant)) : add(eax, static_cast<u32>(constant));
    }
    if (op.rd != kSink) {
        store(op.rd, rax);
    }
    save_flags(alu == Alu::sub   ? HostFlags::subtraction
               : alu == Alu::add ? HostFlags::addition
                                 : HostFlags::logical);
}

void Emitter::emit_logical_constant(const Op& op, Alu alu) {
    load(rax, op.rn);
    apply_constant(alu, rax, op.constant);
    store(op.rd, rax);
}

void Emitter::emit_shift_constant(const Op& op, Shift kind, bool wide) {
    if (wide) {
        load(rax, op.rn);
        shift(kind, rax, op.aux);
    } else {
        load32(eax, op.rn);
        shift(kind, eax, op.aux);
    }
    store(op.rd, rax);
}

void Emitter::emit_shift_register(const Op& op, Shift kind, bool wide) {
    load32(ecx, op.rm);
    const Xbyak::Reg to = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    mov(to, wide ? x64(op.rn) : x32(op.rn));
    switch (kind) {
        case Shift::none: break;
        case Shift::lsl: shl(to, cl); break;
        case Shift::lsr: shr(to, cl); break;
        case Shift::asr: sar(to, cl); break;
        case Shift::ror: ror(to, cl); break;
    }
    store(op.rd, rax);
}

void Emitter::emit_with_carry(const Op& op, bool subtract, bool set_flags) {
    movzx(eax, at8(&env_.vcpu->s.nzcv.c));
    if (subtract) {
        cmp(al, 1);  // the host's carry is a borrow
    } else {
        add(al, 0xFF);
    }
    load(rax, op.rn);
    if (subtract) {
        sbb(rax, x64(op.rm));
    } else {
        adc(rax, x64(op.rm));
    }
    store(op.rd, rax);
    if (set_flags) {
        save_flags(subtract ? HostFlags::subtraction : HostFlags::addition);
    }
}

void Emitter::emit_multiply_add(const Op& op, bool wide, bool is_subtract) {
    if (wide) {
        load(rcx, op.rn);
        imul(rcx, x64(op.rm));
        load(rax, op.ra);
        is_subtract ? sub(rax, rcx) : add(rax, rcx);
    } else {
        load32(ecx, op.rn);
        imul(ecx, x32(op.rm));
        load32(eax, op.ra);
        is_subtract ? sub(eax, ecx) : add(eax, ecx);
    }
    store(op.rd, rax);
}

void Emitter::emit_divide(const Op& op, bool wide, bool is_signed) {
    Label zero;
    Label negate;
    Label done;
    const Xbyak::Reg divisor = wide ? static_cast<Xbyak::Reg>(rcx) : static_cast<Xbyak::Reg>(ecx);
    const Xbyak::Reg dividend = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    mov(divisor, wide ? x64(op.rm) : x32(op.rm));
    mov(dividend, wide ? x64(op.rn) : x32(op.rn));
    test(divisor, divisor);
    jz(zero);
    if (is_signed) {
        cmp(divisor, -1);  // the host would trap on the least number
        je(negate);
        wide ? cqo() : cdq();
        idiv(divisor);
    } else {
        xor_(edx, edx);
        div(divisor);
    }
    jmp(done);
    if (is_signed) {
        L(negate);
        neg(dividend);
        jmp(done);
    }
    L(zero);
    xor_(eax, eax);
    L(done);
    store(op.rd, rax);
}

bool Emitter::emit_shift_multiply_divide(const Op& op) {
    switch (hot_[current_]) {
        case HotOp::lsl64i: emit_shift_constant(op, Shift::lsl, true); return true;
        case HotOp::lsl32i: emit_shift_constant(op, Shift::lsl, false); return true;
        case HotOp::lsr64i: emit_shift_constant(op, Shift::lsr, true); return true;
        case HotOp::lsr32i: emit_shift_constant(op, Shift::lsr, false); return true;
        case HotOp::asr64i: emit_shift_constant(op, Shift::asr, true); return true;
        case HotOp::asr32i: emit_shift_constant(op, Shift::asr, false); return true;
        case HotOp::ror64i: emit_shift_constant(op, Shift::ror, true); return true;
        case HotOp::ror32i: emit_shift_constant(op, Shift::ror, false); return true;
        case HotOp::lsl64: emit_shift_register(op, Shift::lsl, true); return true;
        case HotOp::lsl32: emit_shift_register(op, Shift::lsl, false); return true;
        case HotOp::lsr64: emit_shift_register(op, Shift::lsr, true); return true;
        case HotOp::lsr32: emit_shift_register(op, Shift::lsr, false); return true;
        case HotOp::asr64: emit_shift_register(op, Shift::asr, true); return true;
        case HotOp::asr32: emit_shift_register(op, Shift::asr, false); return true;
        case HotOp::ror32: emit_shift_register(op, Shift::ror, false); return true;
        case HotOp::ubfx:
            load(rax, op.rn);
            shr(rax, op.aux);
            apply_constant(Alu::band, rax, op.constant);
            break;
        case HotOp::ubfiz:
            load(rax, op.rn);
            apply_constant(Alu::band, rax, op.constant);
            shl(rax, op.aux);
            break;
        case HotOp::sbfx64:
        case HotOp::sbfiz64:
            load(rax, op.rn);
            shl(rax, op.aux);
            sar(rax, op.ra);
            break;
        case HotOp::sbfx32:
            load32(eax, op.rn);
            shl(eax, op.aux);
            sar(eax, op.ra);
            break;
        case HotOp::bfm:
            load(rax, op.rn);
            ror(rax, op.aux);
            apply_constant(Alu::band, rax, op.constant);
            load(rdx, op.rd);
            apply_constant(Alu::band, rdx, ~op.constant);
            or_(rax, rdx);
            break;
        case HotOp::extr64:
            load(rax, op.rm);
            load(rcx, op.rn);
            shrd(rax, rcx, op.aux);
            break;
        case HotOp::madd64: emit_multiply_add(op, true, false); return true;
        case HotOp::madd32: emit_multiply_add(op, false, false); return true;
        case HotOp::msub64: emit_multiply_add(op, true, true); return true;
        case HotOp::msub32: emit_multiply_add(op, false, true); return true;
        case HotOp::mul64:
            load(rax, op.rn);
            imul(rax, x64(op.rm));
            break;
        case HotOp::mul32:
            load32(eax, op.rn);
            imul(eax, x32(op.rm));
            break;
        case HotOp::umull:
        case HotOp::umaddl:
            load32(eax, op.rn);
            load32(ecx, op.rm);
            imul(rax, rcx);
            if (hot_[current_] == HotOp::umaddl) {
                add(rax, x64(op.ra));
            }
            break;
        case HotOp::smull:
            movsxd(rax, x32(op.rn));
            movsxd(rcx, x32(op.rm));
            imul(rax, rcx);
            break;
        case HotOp::umulh:
            load(rax, op.rn);
            mul(x64(op.rm));
            mov(rax, rdx);
            break;
        case HotOp::smulh:
            load(rax, op.rn);
            imul(x64(op.rm));
            mov(rax, rdx);
            break;
        case HotOp::udiv64: emit_divide(op, true, false); return true;
        case HotOp::udiv32: emit_divide(op, false, false); return true;
        case HotOp::sdiv64: emit_divide(op, true, true); return true;
        case HotOp::sdiv32: emit_divide(op, false, true); return true;
        case HotOp::clz64: lzcnt(rax, x64(op.rn)); break;
        case HotOp::clz32: lzcnt(eax, x32(op.rn)); break;
        case HotOp::rev64:
            load(rax, op.rn);
            bswap(rax);
            break;
        case HotOp::rev32:
            load32(eax, op.rn);
            bswap(eax);
            break;
        default: return false;
    }
    store(op.rd, rax);
    return true;
}

bool Emitter::emit_data_processing(const Op& op) {
    switch (hot_[current_]) {
        case HotOp::movi: emit_constant(op.rd, op.constant); return true;
        case HotOp::mov64: load(rax, op.rm); break;
        case HotOp::mov32: load32(eax, op.rm); break;
        case HotOp::movk:
            load(rax, op.rd);
            apply_constant(Alu::band, rax, ~(u64{0xFFFF} << op.aux));
            apply_constant(Alu::bor, rax, u64{static_cast<u32>(op.imm)} << op.aux);
            break;
        case HotOp::adr:
            if (fits_s32(op.constant)) {
                lea(rax, ptr[r14 + static_cast<int>(op.constant)]);
            } else {
                mov(rax, op.constant);
                add(rax, r14);
            }
            break;
        case HotOp::addi64:
            load(rax, op.rn);
            add(rax, op.imm);
            break;
        case HotOp::addi32:
            load32(eax, op.rn);
            add(eax, op.imm);
            break;
        case HotOp::subsi64:
            emit_alu_flags_constant(op, Alu::sub, true, static_cast<u32>(op.imm));
            return true;
        case HotOp::subsi32:
            emit_alu_flags_constant(op, Alu::sub, false, static_cast<u32>(op.imm));
            return true;
        case HotOp::addsi64:
            emit_alu_flags_constant(op, Alu::add, true, static_cast<u32>(op.imm));
            return true;
        case HotOp::addsi32:
            emit_alu_flags_constant(op, Alu::add, false, static_cast<u32>(op.imm));
            return true;
        case HotOp::andsi64: emit_alu_flags_constant(op, Alu::band, true, op.constant); return true;
        case HotOp::andsi32: emit_alu_flags_constant(op, Alu::band, false, op.constant); return true;
        case HotOp::subs64: emit_alu_flags(op, Alu::sub, true); return true;
        case HotOp::subs32: emit_alu_flags(op, Alu::sub, false); return true;
        case HotOp::adds64: emit_alu_flags(op, Alu::add, true); return true;
        case HotOp::adds32: emit_alu_flags(op, Alu::add, false); return true;
        case HotOp::ands64: emit_alu_flags(op, Alu::band, true); return true;
        case HotOp::ands32: emit_alu_flags(op, Alu::band, false); return true;
        case HotOp::add64: emit_alu(op, Alu::add, true); return true;
        case HotOp::add32: emit_alu(op, Alu::add, false); return true;
        case HotOp::sub64: emit_alu(op, Alu::sub, true); return true;
        case HotOp::sub32: emit_alu(op, Alu::sub, false); return true;
        case HotOp::add64_lsl: emit_alu(op, Alu::add, true, Shift::lsl); return true;
        case HotOp::sub64_lsl: emit_alu(op, Alu::sub, true, Shift::lsl); return true;
        case HotOp::add32_lsl: emit_alu(op, Alu::add, false, Shift::lsl); return true;
        case HotOp::sub32_lsl: emit_alu(op, Alu::sub, false, Shift::lsl); return true;
        case HotOp::add64_lsr: emit_alu(op, Alu::add, true, Shift::lsr); return true;
        case HotOp::add64_asr: emit_alu(op, Alu::add, true, Shift::asr); return true;
        case HotOp::add64_uxtw: emit_alu_extended(op, false); return true;
        case HotOp::add64_sxtw: emit_alu_extended(op, true); return true;
        case HotOp::andi: emit_logical_constant(op, Alu::band); return true;
        case HotOp::orri: emit_logical_constant(op, Alu::bor); return true;
        case HotOp::eori: emit_logical_constant(op, Alu::bxor); return true;
        case HotOp::orri32:
        case HotOp::eori32:
            load32(eax, op.rn);
            hot_[current_] == HotOp::orri32 ? or_(eax, static_cast<u32>(op.constant))
                                            : xor_(eax, static_cast<u32>(op.constant));
            break;
        case HotOp::movk32:
            load32(eax, op.rd);
            and_(eax, ~(u32{0xFFFF} << op.aux));
            or_(eax, static_cast<u32>(op.imm) << op.aux);
            break;
        case HotOp::and64: emit_alu(op, Alu::band, true); return true;
        case HotOp::orr64: emit_alu(op, Alu::bor, true); return true;
        case HotOp::eor64: emit_alu(op, Alu::bxor, true); return true;
        case HotOp::bic64: emit_alu(op, Alu::band, true, Shift::none, true); return true;
        case HotOp::orn64: emit_alu(op, Alu::bor, true, Shift::none, true); return true;
        case HotOp::eon64: emit_alu(op, Alu::bxor, true, Shift::none, true); return true;
        case HotOp::and32: emit_alu(op, Alu::band, false); return true;
        case HotOp::orr32: emit_alu(op, Alu::bor, false); return true;
        case HotOp::eor32: emit_alu(op, Alu::bxor, false); return true;
        case HotOp::bic32: emit_alu(op, Alu::band, false, Shift::none, true); return true;
        case HotOp::orn32: emit_alu(op, Alu::bor, false, Shift::none, true); return true;
        case HotOp::and64_lsl: emit_alu(op, Alu::band, true, Shift::lsl); return true;
        case HotOp::orr64_lsl: emit_alu(op, Alu::bor, true, Shift::lsl); return true;
        case HotOp::eor64_lsl: emit_alu(op, Alu::bxor, true, Shift::lsl); return true;
        case HotOp::orr32_lsl: emit_alu(op, Alu::bor, false, Shift::lsl); return true;
        case HotOp::eor32_lsl: emit_alu(op, Alu::bxor, false, Shift::lsl); return true;
        case HotOp::and64_lsr: emit_alu(op, Alu::band, true, Shift::lsr); return true;
        case HotOp::orr64_lsr: emit_alu(op, Alu::bor, true, Shift::lsr); return true;
        case HotOp::eor64_lsr: emit_alu(op, Alu::bxor, true, Shift::lsr); return true;
        case HotOp::eor32_lsr: emit_alu(op, Alu::bxor, false, Shift::lsr); return true;
        case HotOp::eor64_ror: emit_alu(op, Alu::bxor, true, Shift::ror); return true;
        case HotOp::eor32_ror: emit_alu(op, Alu::bxor, false, Shift::ror); return true;
        case HotOp::adc64: emit_with_carry(op, false, false); return true;
        case HotOp::adcs64: emit_with_carry(op, false, true); return true;
        case HotOp::sbcs64: emit_with_carry(op, true, true); return true;
        default: return emit_shift_multiply_divide(op);
    }
    store(op.rd, rax);
    return true;
}

}  // namespace vmm::arch::x64
