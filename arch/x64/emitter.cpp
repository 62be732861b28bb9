#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

Emitter::Emitter(const Environment& environment, u8* memory, std::size_t bytes, Block& block,
                 const void** links)
    : CodeGenerator(bytes, memory),
      env_(environment),
      block_(block),
      links_(links),
      state_(reinterpret_cast<u8*>(&environment.vcpu->s.x[16])) {
    for (const Op* op = block.ops(); op != block.end(); ++op) {
        hot_.push_back(hot_op_of(op->code));
    }
    find_needed_flags();
}

int Emitter::displacement(const void* field) const {
    return static_cast<int>(static_cast<const u8*>(field) - state_);
}

/// An operation's flags are needed unless a later one of the block replaces them all and none between reads them or may
/// leave the block: exceptions and branches show the flags to others.
void Emitter::find_needed_flags() {
    flags_needed_.assign(hot_.size(), true);
    bool needed = true;
    for (std::size_t i = hot_.size(); i-- > 0;) {
        const HotOp hot = hot_[i];
        const bool data_processing = hot >= HotOp::movi && hot <= HotOp::sbcs64;
        flags_needed_[i] = needed || !data_processing || counted();
        const bool replaces = (hot >= HotOp::subsi64 && hot <= HotOp::addsi32) || hot == HotOp::andsi64 ||
                              hot == HotOp::andsi32 || (hot >= HotOp::subs64 && hot <= HotOp::adds32) ||
                              hot == HotOp::ands64 || hot == HotOp::ands32;
        const bool reads = (hot >= HotOp::csel64_eq && hot <= HotOp::ccmpi32) ||
                           (hot >= HotOp::adcs64 && hot <= HotOp::sbcs64);
        if (replaces) {
            needed = false;
        } else if (!data_processing || reads) {
            needed = true;
        }
    }
}

bool Emitter::emit(Op& op) {
    // What leaves the host's flags alone says so itself.
    const HostFlags before = host_flags_;
    const HotOp hot = hot_[current_];
    const bool reads = (hot >= HotOp::csel64_eq && hot <= HotOp::ccmpi32) ||
                       (hot >= HotOp::b_eq && hot <= HotOp::b_le) || hot == HotOp::cond_far;
    if (!reads) {
        host_flags_ = HostFlags::none;
    }
    if (emit_data_processing(op)) {
        if (hot == HotOp::movi || hot == HotOp::mov64 || hot == HotOp::mov32) {
            host_flags_ = before;
        }
        return true;
    }
    return emit_condition(op) || emit_branch(op) || emit_memory(op) || emit_system(op);
}

bool Emitter::translate() {
    if (!counted()) {
        emit_entry();
    }
    for (Op* op = block_.ops(); op != block_.end(); ++op) {
        if (counted()) {
            count_down(*op);
        }
        offsets_.push_back(host_flags_ == HostFlags::none ? static_cast<u16>(getSize()) : 0);
        if (!emit(*op)) {
            return false;
        }
        ++current_;
    }
    emit_out_of_line();
    return Xbyak::GetError() == 0;
}

void Emitter::emit_out_of_line() {
    for (std::size_t i = 0; i < slow_.size(); ++i) {
        const Slow& slow = *slow_[i];
        L(slow_[i]->entry);
        if (!slow.called) {
            emit_handler_call(*slow.op);
            je(slow.back, T_NEAR);
        }
        mov(rdx, reinterpret_cast<u64>(slow.op));
        jmp(env_.thunks.result);
    }
    for (const std::unique_ptr<Taken>& taken : taken_) {
        L(taken->entry);
        take_link(*taken->op);
    }
    for (const std::unique_ptr<Taken>& stop : stops_) {
        L(stop->entry);
        mov(rdx, reinterpret_cast<u64>(stop->op));
        jmp(env_.thunks.stop);
    }
    for (std::size_t i = 0; i < leaving_.size(); ++i) {
        unresolved_.push_back(getCurr());
        lea(rax, ptr[rip + static_cast<const void*>(links_ + i)]);
        mov(rcx, reinterpret_cast<u64>(&block_));
        mov(rdx, reinterpret_cast<u64>(leaving_[i]->op));
        jmp(env_.thunks.resolve);
    }
}

}  // namespace vmm::arch::x64
