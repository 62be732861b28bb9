// Host code of entering blocks and leaving them.

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

/// Charges the block's instructions and looks whether anybody wants the vCPU's attention.
void Emitter::emit_entry() {
    L(entry_);
    sub(r12, static_cast<u32>(block_.length));
    mov(rax, at64(&env_.vcpu->pins.attention_word()));
    or_(rax, r12);
    Label enter;
    jns(enter);
    mov(rdx, reinterpret_cast<u64>(&block_));
    jmp(env_.thunks.not_entered);
    L(enter);
}

/// In counted code, before each operation: stops there when the count is used up.
void Emitter::count_down(Op& op) {
    const u8* const frame = reinterpret_cast<const u8*>(env_.frame);
    const int offset = static_cast<int>(reinterpret_cast<const u8*>(&env_.frame->ops_to_stop) - frame);
    sub(qword[r15 + offset], 1);
    stops_.push_back(std::make_unique<Taken>());
    stops_.back()->op = &op;
    js(stops_.back()->entry, T_NEAR);
    host_flags_ = HostFlags::none;
}

/// Leaves by a direct branch: gives back what the block did not execute.
void Emitter::take_link(Op& op) {
    if (op.tail != 0) {
        add(r12, op.tail);
    }
    if (op.imm < 0 || op.imm >= static_cast<s32>(kPageSize)) {
        lea(rax, ptr[r14 + op.imm]);
        go();
        return;
    }
    if (counted()) {
        xor_(eax, eax);  // no link to be set
        mov(rcx, reinterpret_cast<u64>(&block_));
        mov(rdx, reinterpret_cast<u64>(&op));
        jmp(env_.thunks.resolve);
        return;
    }
    if (op.imm == static_cast<s32>(block_.offset())) {
        jmp(entry_, T_NEAR);
        return;
    }
    const void** const link = links_ + leaving_.size();
    auto leaving = std::make_unique<Taken>();
    leaving->op = &op;
    leaving_.push_back(std::move(leaving));
    jmp(ptr[rip + reinterpret_cast<const void*>(link)]);
}

void Emitter::take_link_if(Holds holds, Op& op) {
    auto taken = std::make_unique<Taken>();
    taken->op = &op;
    jump_if(holds, taken->entry);
    taken_.push_back(std::move(taken));
}

/// Continues at the virtual address in rax, by the jump cache.
void Emitter::go() {
    using Frame = EngineFrame;
    const EngineFrame& f = *env_.frame;
    const auto in_frame = [&f](const void* field) {
        return static_cast<int>(static_cast<const u8*>(field) - reinterpret_cast<const u8*>(&f));
    };
    static_assert(sizeof(Frame::JumpEntry) == 32);
    const Frame::JumpEntry& first = f.jump_cache[0];
    mov(rcx, rax);
    shr(rcx, 12);
    xor_(ecx, eax);
    and_(ecx, (Frame::kJumpEntries - 1) << 2);  // times 8 is the entry's offset
    mov(rdx, qword[r15 + in_frame(&f.jump_tag)]);
    cmp(rax, qword[r15 + rcx * 8 + in_frame(&first.va)]);
    jne(env_.thunks.lookup);
    cmp(rdx, qword[r15 + rcx * 8 + in_frame(&first.tag)]);
    jne(env_.thunks.lookup);
    mov(r14, rax);
    and_(r14, static_cast<s32>(kPageMask));
    mov(rdx, qword[r15 + rcx * 8 + in_frame(&first.block)]);
    jmp(qword[rdx + static_cast<int>(offsetof(Block, native))]);
}

void Emitter::emit_compare_branch(Op& op) {
    const unsigned index = static_cast<unsigned>(hot_[current_]) - static_cast<unsigned>(HotOp::cmp64_beq);
    static constexpr Holds kHolds[12] = {Holds::e, Holds::ne, Holds::ae, Holds::b, Holds::s, Holds::ns,
                                         Holds::a, Holds::be, Holds::ge, Holds::l, Holds::g, Holds::le};
    const bool wide = (index & 1) == 0;
    const Xbyak::Reg to = wide ? static_cast<Xbyak::Reg>(rax) : static_cast<Xbyak::Reg>(eax);
    if ((index & 2) != 0) {
        cmp(wide ? x64(op.rn) : x32(op.rn), op.insn);  // the constant compared with, below 2^24
    } else {
        mov(to, wide ? x64(op.rn) : x32(op.rn));
        cmp(to, wide ? x64(op.rm) : x32(op.rm));
    }
    save_flags(HostFlags::subtraction);
    take_link_if(kHolds[index / 4], op);
}

void Emitter::emit_test_branch(Op& op, bool wide, Holds holds) {
    if (wide) {
        load(rax, op.rn);
        test(x64(op.rm), rax);
    } else {
        load32(eax, op.rn);
        test(x32(op.rm), eax);
    }
    save_flags(HostFlags::logical);
    take_link_if(holds, op);
}

bool Emitter::emit_branch(Op& op) {
    const HotOp hot = hot_[current_];
    if (hot >= HotOp::cmp64_beq && hot < HotOp::tst64_beq) {
        emit_compare_branch(op);
        return true;
    }
    if (hot >= HotOp::b_eq && hot <= HotOp::b_le) {
        const Holds holds = test_condition(static_cast<unsigned>(hot) - static_cast<unsigned>(HotOp::b_eq));
        take_link_if(holds, op);
        return true;
    }
    switch (hot) {
        case HotOp::tst64_beq: emit_test_branch(op, true, Holds::e); return true;
        case HotOp::tst64_bne: emit_test_branch(op, true, Holds::ne); return true;
        case HotOp::tst32_beq: emit_test_branch(op, false, Holds::e); return true;
        case HotOp::tst32_bne: emit_test_branch(op, false, Holds::ne); return true;
        case HotOp::cbz64:
        case HotOp::cbnz64:
            cmp(x64(op.rn), 0);
            take_link_if(hot == HotOp::cbz64 ? Holds::e : Holds::ne, op);
            return true;
        case HotOp::cbz32:
        case HotOp::cbnz32:
            cmp(x32(op.rn), 0);
            take_link_if(hot == HotOp::cbz32 ? Holds::e : Holds::ne, op);
            return true;
        case HotOp::tbz:
        case HotOp::tbnz:
            test(byte[rbp + register_displacement(op.rn) + op.aux / 8], 1 << op.aux % 8);
            take_link_if(hot == HotOp::tbz ? Holds::e : Holds::ne, op);
            return true;
        case HotOp::next_in_page:
        case HotOp::b: take_link(op); return true;
        case HotOp::bl:
            lea(rax, ptr[r14 + page_offset(op) + 4]);
            store(30, rax);
            take_link(op);
            return true;
        case HotOp::bl_far:
            lea(rax, ptr[r14 + page_offset(op) + 4]);
            store(30, rax);
            [[fallthrough]];
        case HotOp::b_far:
            lea(rax, ptr[r14 + op.imm]);
            go();
            return true;
        case HotOp::next_page:
            lea(rax, ptr[r14 + static_cast<int>(kPageSize)]);
            go();
            return true;
        case HotOp::br:
        case HotOp::ret:
            load(rax, op.rn);
            go();
            return true;
        case HotOp::blr:
            load(rax, op.rn);
            lea(rcx, ptr[r14 + page_offset(op) + 4]);
            store(30, rcx);
            go();
            return true;
        case HotOp::cond_far: take_link_if(test_condition(op.aux), op); return true;
        case HotOp::cbz64_far:
        case HotOp::cbnz64_far:
            cmp(x64(op.rn), 0);
            take_link_if(hot == HotOp::cbz64_far ? Holds::e : Holds::ne, op);
            return true;
        case HotOp::cbz32_far:
        case HotOp::cbnz32_far:
            cmp(x32(op.rn), 0);
            take_link_if(hot == HotOp::cbz32_far ? Holds::e : Holds::ne, op);
            return true;
        case HotOp::tbz_far:
        case HotOp::tbnz_far:
            test(byte[rbp + register_displacement(op.rn) + op.aux / 8], 1 << op.aux % 8);
            take_link_if(hot == HotOp::tbz_far ? Holds::e : Holds::ne, op);
            return true;
        default: return false;
    }
}

}  // namespace vmm::arch::x64
