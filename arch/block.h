// Decoded code: operations ready to execute, in blocks.
#pragma once

#include <algorithm>

#include "arch/exec.h"
#include "arch/sysreg.h"
#include "vmm/base/types.h"

namespace vmm::arch {

struct Block;

/// One decoded operation: what the interpreter's loop executes. An operation stands for one instruction, or
/// for two that were fused; NOPs vanish. `code` is the address of its handler inside the loop.
struct Op {
    const void* code = nullptr;
    union {
        Handler handler = nullptr;  // the reference: for `call`, and the slow path of every fast operation
        u64 constant;               // MOVZ, logical immediates
        Block* link;                // direct branches within the page: the target, once known
        u64* storage;               // MRS of a plain register
    };
    u32 insn = 0;  // instruction word; for fused compare-and-branch the constant compared with
    s32 imm = 0;   // address offset; for branches and ADR the target relative to the page's address
    u8 rd = 0;     // register slots of CpuState::x
    u8 rn = 0;
    u8 rm = 0;
    u8 ra = 0;
    u8 tail = 0;    // instructions of the block after this operation
    u8 aux = 0;     // shift amount, condition
    u16 index = 0;  // position of the (first) instruction in its page, in words
};
static_assert(sizeof(Op) == 40 || sizeof(Op) == 32);

/// A run of instructions within one page that is entered at its start. Conditional branches that are not
/// taken stay inside it. Followed in memory by its operations; the last one always leaves the block.
struct Block {
    Block* next_in_page = nullptr;
    u64 pa_page = 0;
    const void* enter = nullptr;   // the loop's label where execution of the block begins
    const void* native = nullptr;  // host code (Translator), or what leads back to the loop
    const void* native_counted = nullptr;  // host code that stops after EngineFrame::ops_to_stop operations
    u32 length = 0;                // instructions; what entering the block takes from the budget
    u16 op_count = 0;
    u16 start = 0;  // position of the first instruction in the page, in words
    u32 heat = 0;   // times the interpreter entered it
    u32 stops = 0;  // times the loop was to stop inside it, since it has host code
    u32 first_link = 0;  // of the links its host code leaves by
    u32 link_count = 0;

    Op* ops() { return reinterpret_cast<Op*>(this + 1); }
    const Op* ops() const { return reinterpret_cast<const Op*>(this + 1); }
    Op* end() { return ops() + op_count; }

    /// The last operation that starts at or before the instruction `index` of the page, which is in the block.
    /// Every operation stands for an instruction at least, so it is at most that far from the first.
    Op* last_at_or_before(unsigned index) {
        Op* op = ops() + std::min(index - start, op_count - 1u);
        while (op != ops() && op->index > index) {
            --op;
        }
        return op;
    }

    /// Offset of the block in its page, bytes.
    u64 offset() const { return u64{start} << 2; }
    /// Instructions from `op` (included) to the end of the block.
    u32 remaining_from(const Op& op) const { return length - (op.index - u32{start}); }
};

}  // namespace vmm::arch
