// Host code of system instructions, and calls of reference handlers for everything without host code.

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

bool Emitter::emit_system(Op& op) {
    Vcpu& v = *env_.vcpu;
    switch (hot_[current_]) {
        case HotOp::call:
            if (!emit_inline(op) && !emit_by_word(op)) {
                emit_call(op);
            }
            return true;
        case HotOp::mrs_plain: {
            const Label& slow = slow_path(op);
            if (op.aux == 0) {
                cmp(at8(&v.s.el), 0);
                je(slow, T_NEAR);
            }
            mov(rax, at64(reinterpret_cast<const u8*>(&v) + op.imm));
            store(op.rd, rax);
            L(slow_.back()->back);
            return true;
        }
        case HotOp::daif_set: {
            const Label& slow = slow_path(op);
            cmp(at8(&v.s.el), 0);
            je(slow, T_NEAR);
            or_(at8(&v.s.daif), op.aux);
            L(slow_.back()->back);
            return true;
        }
        case HotOp::daif_clear: {
            if ((op.aux & kDaifD) != 0) {
                emit_call(op);
                return true;
            }
            const Label& slow = slow_path(op);
            cmp(at8(&v.s.el), 0);
            je(slow, T_NEAR);
            if ((op.aux & kDaifI) != 0) {
                cmp(at8(&v.pins.irq_level()), 0);
                jne(slow, T_NEAR);
            }
            and_(at8(&v.s.daif), static_cast<u8>(~op.aux));
            L(slow_.back()->back);
            return true;
        }
        default: return false;
    }
}

/// Leaves for the handler unless the PE is at EL1.
void Emitter::check_el1(const Label& slow) {
    cmp(at8(&env_.vcpu->s.el), 0);
    je(slow, T_NEAR);
}

/// MSR (register) and MRS of registers that are more than plain reads.
bool Emitter::emit_system_register(const Op& op) {
    constexpr SysregKey kSpEl0 = sysreg_key(3, 0, 4, 1, 0);
    constexpr SysregKey kDaif = sysreg_key(3, 3, 4, 2, 1);
    Vcpu& v = *env_.vcpu;
    const bool is_read = bit(op.insn, 21);
    const unsigned rt = static_cast<unsigned>(bits(op.insn, 4, 0));
    const unsigned target = rt == 31 ? kSink : rt;
    const SysregKey key = static_cast<SysregKey>(bits(op.insn, 20, 5));
    if (key == kSpEl0) {
        static_assert(offsetof(CpuState, sp_sel) == offsetof(CpuState, el) + 1);
        const Label& slow = slow_path(op);
        cmp(word[rbp + displacement(&v.s.el)], 0x0101);  // EL1 on SP_EL1
        jne(slow, T_NEAR);
        load(rax, rt);
        if (is_read) {
            mov(rax, at64(&v.s.sp_el0));
            store(target, rax);
        } else {
            mov(at64(&v.s.sp_el0), rax);
        }
        L(slow_.back()->back);
        return true;
    }
    if (key == kDaif) {
        const Label& slow = slow_path(op);
        check_el1(slow);
        if (is_read) {
            movzx(eax, at8(&v.s.daif));
            shl(eax, 6);
            store(target, rax);
        } else {
            // What unmasks a pending interrupt or changes the masking of debug exceptions takes the long way.
            load(rax, rt);
            shr(eax, 6);
            and_(eax, 0xF);
            mov(ecx, eax);
            xor_(cl, at8(&v.s.daif));
            test(cl, kDaifD);
            jnz(slow, T_NEAR);
            mov(ecx, eax);
            not_(ecx);
            shr(ecx, 1);  // bit 0: IRQ unmasked
            static_assert(kDaifI == 2);
            test(at8(&v.pins.irq_level()), cl);
            jnz(slow, T_NEAR);
            mov(at8(&v.s.daif), al);
        }
        L(slow_.back()->back);
        return true;
    }
    return !is_read && emit_plain_write(op, key, rt);
}

/// MSR of a register that only keeps its value.
bool Emitter::emit_plain_write(const Op& op, SysregKey key, unsigned rt) {
    Vcpu& v = *env_.vcpu;
    const SysregBank::Entry* entry = v.sysregs.find(key);
    if (entry == nullptr || entry->write != nullptr || entry->check != nullptr || entry->ends_block ||
        entry->storage == nullptr || entry->access == SysregAccess::ro_el0 ||
        entry->access == SysregAccess::ro_el1) {
        return false;
    }
    const s64 offset = reinterpret_cast<const u8*>(entry->storage) - reinterpret_cast<const u8*>(&v);
    if (offset < 0 || offset >= static_cast<s64>(sizeof(Vcpu))) {
        return false;
    }
    const Label& slow = slow_path(op);
    if (entry->access != SysregAccess::rw_el0 && entry->access != SysregAccess::wo_el0) {
        check_el1(slow);
    }
    load(rax, rt);
    if (entry->writable != ~u64{0}) {
        apply_constant(Alu::band, rax, entry->writable);
    }
    if (entry->fixed != 0) {
        apply_constant(Alu::bor, rax, entry->fixed);
    }
    mov(at64(entry->storage), rax);
    L(slow_.back()->back);
    return true;
}

/// DC ZVA: 64 bytes of zeroes, at EL1. EL0 may be forbidden it.
void Emitter::emit_zero_block(const Op& op) {
    const Label& slow = slow_path(op);
    check_el1(slow);
    load(rax, bits(op.insn, 4, 0));
    and_(rax, -64);
    probe(1, Direction::store, slow);
    pxor(xmm0, xmm0);
    for (int offset = 0; offset < 64; offset += 16) {
        movups(ptr[rax + rsi + offset], xmm0);
    }
    L(slow_.back()->back);
}

/// System instructions that the lowering leaves to their handlers.
bool Emitter::emit_system_word(Op& op) {
    const u32 insn = op.insn;
    if ((insn & 0xFFD0'0000) == 0xD510'0000) {
        return emit_system_register(op);
    }
    if ((insn & 0xFFFF'F0FF) ==
        0xD503'30BF) {  // DMB; of loads, or of stores alone: the host orders them by itself
        const u64 types = bits(insn, 9, 8);
        if (types == 0 || types == 3) {
            lock();
            or_(dword[rsp - 64], 0);
        }
        return true;
    }
    if ((insn & 0xFFFF'F0FF) == 0xD503'30DF) {  // ISB: a new block is all there is to it
        take_link(op);
        return true;
    }
    if ((insn & 0xFFFF'FFE0) == 0xD50B'7420) {
        emit_zero_block(op);
        return true;
    }
    return false;
}

bool Emitter::emit_by_word(Op& op) {
    switch (bits(op.insn, 28, 25)) {
        case 0b1010:
        case 0b1011: return emit_system_word(op);
        case 0b0101:
        case 0b1101: return emit_integer_word(op);
        case 0b0100:
        case 0b0110:
        case 0b1100:
        case 0b1110: return emit_memory_word(op);
        default: return false;
    }
}

/// Calls the operation's reference handler; its result is in al.
void Emitter::emit_handler_call(const Op& op) {
    mov(ecx, page_offset(op));
    mov(esi, op.insn);
    mov(edx, op.tail);
    mov(rax, reinterpret_cast<u64>(op.handler));
    call(env_.thunks.call_handler);
    test(al, al);
}

void Emitter::emit_call(const Op& op) {
    const Label& leave = slow_path(op);
    slow_.back()->called = true;
    emit_handler_call(op);
    jne(leave, T_NEAR);
}

}  // namespace vmm::arch::x64
