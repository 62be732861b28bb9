// Host code of atomics, exclusives, acquires and releases on general registers. What each means on the host is explained
// with the reference handlers (exec_ldst_exclusive.cpp, exec_ldst_atomics.cpp).

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

namespace {

unsigned slot_written(unsigned rt) {
    return rt == 31 ? kSink : rt;
}

}  // namespace

/// The host address of a naturally aligned access of `bytes` to [Xn|SP], in r8.
void Emitter::atomic_address(unsigned rn, unsigned bytes, Direction direction, const Label& slow) {
    if (rn == 31) {
        check_sp(slow);
    }
    load(rax, rn == 31 ? kSp : rn);
    if (bytes > 1) {
        test(al, static_cast<u8>(bytes - 1));
        jnz(slow, T_NEAR);
    }
    probe(1, direction, slow);  // an aligned access does not cross a page
    lea(r8, ptr[rax + rsi]);
}

Xbyak::Reg Emitter::sized(const Reg64& reg, unsigned bytes) const {
    switch (bytes) {
        case 1: return reg.cvt8();
        case 2: return reg.cvt16();
        case 4: return reg.cvt32();
        default: return reg;
    }
}

/// Clears what is above the `bytes` of `reg`.
void Emitter::zero_extend(const Reg64& reg, unsigned bytes) {
    switch (bytes) {
        case 1: movzx(reg.cvt32(), reg.cvt8()); break;
        case 2: movzx(reg.cvt32(), reg.cvt16()); break;
        case 4: mov(reg.cvt32(), reg.cvt32()); break;
        default: break;
    }
}

/// LDADD, LDCLR, LDEOR, LDSET, SWP and their forms without a result.
bool Emitter::emit_atomic(const Op& op) {
    const u32 insn = op.insn;
    const unsigned operation = static_cast<unsigned>(bits(insn, 15, 12));
    const unsigned bytes = 1u << bits(insn, 31, 30);
    const unsigned rs = static_cast<unsigned>(bits(insn, 20, 16));
    const unsigned rn = static_cast<unsigned>(bits(insn, 9, 5));
    const unsigned rt = static_cast<unsigned>(bits(insn, 4, 0));
    enum : unsigned { kAdd = 0, kClear = 1, kXor = 2, kSet = 3, kSwap = 8 };
    if (operation > kSet && operation != kSwap) {
        return false;
    }
    const Label& slow = slow_path(op);
    atomic_address(rn, bytes, Direction::store, slow);
    load(rdx, rs);
    const Address target = ptr[r8];
    const Xbyak::Reg value = sized(rdx, bytes);
    if (operation == kSwap || operation == kAdd) {
        if (operation == kSwap) {
            xchg(target, value);
        } else {
            lock();
            xadd(target, value);
        }
        zero_extend(rdx, bytes);
        store(slot_written(rt), rdx);
        L(slow_.back()->back);
        return true;
    }
    if (operation == kClear) {
        not_(rdx);
    }
    const auto apply_to = [&](const Xbyak::Operand& to, const Xbyak::Reg& from) {
        operation == kClear ? and_(to, from) : operation == kXor ? xor_(to, from) : or_(to, from);
    };
    if (rt == 31) {
        lock();
        apply_to(target, value);
    } else {
        Label again;
        mov(sized(rax, bytes), target);
        L(again);
        mov(rcx, rax);
        apply_to(sized(rcx, bytes), value);
        lock();
        cmpxchg(target, sized(rcx, bytes));
        jne(again);
        zero_extend(rax, bytes);
        store(rt, rax);
    }
    L(slow_.back()->back);
    return true;
}

void Emitter::emit_compare_and_swap(const Op& op, unsigned bytes, unsigned rs, unsigned rn, unsigned rt) {
    const Label& slow = slow_path(op);
    atomic_address(rn, bytes, Direction::store, slow);
    load(rax, rs);
    load(rdx, rt);
    lock();
    cmpxchg(ptr[r8], sized(rdx, bytes));
    zero_extend(rax, bytes);
    store(slot_written(rs), rax);
    L(slow_.back()->back);
}

/// The guest-physical address of the host address in r8, in rcx; uses rdi.
void Emitter::guest_physical() {
    const mm::GuestRam& ram = env_.vcpu->ram();
    mov(rcx, ram.base() - reinterpret_cast<u64>(ram.host_base()));
    add(rcx, r8);
}

void Emitter::emit_load_exclusive(const Op& op, unsigned bytes, unsigned rn, unsigned rt) {
    Vcpu::ExclusiveMonitor& monitor = env_.vcpu->monitor;
    const Label& slow = slow_path(op);
    atomic_address(rn, bytes, Direction::load, slow);
    load_value(bytes, false, false);
    guest_physical();
    mov(at8(&monitor.armed), 1);
    mov(at8(&monitor.size), bytes);
    mov(at64(&monitor.pa), rcx);
    mov(at64(&monitor.value_lo), rdx);
    mov(at64(&monitor.value_hi), u64{0});
    store(slot_written(rt), rdx);
    L(slow_.back()->back);
}

void Emitter::emit_store_exclusive(const Op& op, unsigned bytes, unsigned rs, unsigned rn, unsigned rt) {
    Vcpu::ExclusiveMonitor& monitor = env_.vcpu->monitor;
    const Label& slow = slow_path(op);
    Label failed;
    atomic_address(rn, bytes, Direction::store, slow);
    guest_physical();
    mov(edi, 1);
    cmp(at8(&monitor.armed), 0);
    je(failed, T_NEAR);
    cmp(at8(&monitor.size), bytes);
    jne(failed, T_NEAR);
    cmp(rcx, at64(&monitor.pa));
    jne(failed, T_NEAR);
    mov(rax, at64(&monitor.value_lo));
    load(rdx, rt);
    lock();
    cmpxchg(ptr[r8], sized(rdx, bytes));
    setne(dil);
    L(failed);
    mov(at8(&monitor.armed), 0);
    store(slot_written(rs), rdi);
    L(slow_.back()->back);
}

/// C4.1 "Load/store exclusive register", "Load/store ordered", "Compare and swap".
bool Emitter::emit_exclusive_or_ordered(const Op& op) {
    const u32 insn = op.insn;
    const unsigned bytes = 1u << bits(insn, 31, 30);
    const unsigned rs = static_cast<unsigned>(bits(insn, 20, 16));
    const unsigned rn = static_cast<unsigned>(bits(insn, 9, 5));
    const unsigned rt = static_cast<unsigned>(bits(insn, 4, 0));
    if ((insn & 0x3FA0'7C00) == 0x08A0'7C00) {
        emit_compare_and_swap(op, bytes, rs, rn, rt);
        return true;
    }
    if ((insn & 0x3FFF'7C00) == 0x085F'7C00) {
        emit_load_exclusive(op, bytes, rn, rt);
        return true;
    }
    if ((insn & 0x3FE0'7C00) == 0x0800'7C00) {
        emit_store_exclusive(op, bytes, rs, rn, rt);
        return true;
    }
    if ((insn & 0x3FFF'FC00) == 0x08DF'FC00) {  // LDAR
        const Label& slow = slow_path(op);
        atomic_address(rn, bytes, Direction::load, slow);
        load_value(bytes, false, false);
        store(slot_written(rt), rdx);
        L(slow_.back()->back);
        return true;
    }
    if ((insn & 0x3FFF'FC00) == 0x089F'FC00) {  // STLR: no later LDAR may pass it
        const Label& slow = slow_path(op);
        atomic_address(rn, bytes, Direction::store, slow);
        load(rdx, rt);
        xchg(ptr[r8], sized(rdx, bytes));
        L(slow_.back()->back);
        return true;
    }
    return false;
}

}  // namespace vmm::arch::x64
