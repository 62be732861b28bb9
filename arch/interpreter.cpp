// The interpreter's loop: every frequent operation inline, dispatched by computed goto.
//
// This file is written for speed and is the only one in arch/ that is. What it relies on:
//   - measured on the kind of host this runs on, computed goto compiled by g++ 12 is as fast as tail calls, and one
//     budget subtraction per block costs within noise; the load/store probe is the dearest part of an access;
//   - state that must survive a call out of the loop (PC, budget) is stored before the call and only then;
//   - an operation that meets anything unusual (TLB miss, misaligned SP, EL0 access to an EL1 register) calls the decode
//     table's reference handler, which starts the instruction afresh. Operations here write nothing before that decision.
// tests/unit/arch/lower_test.cpp runs every operation here against its reference handler.

#include <algorithm>
#include <utility>
#include <vector>

#include "arch/engine_impl.h"

namespace vmm::arch {

namespace {

[[gnu::always_inline]] inline void set_flags_logical64(Nzcv& f, u64 result) {
    f.n = result >> 63;
    f.z = result == 0;
    f.c = 0;
    f.v = 0;
}

[[gnu::always_inline]] inline void set_flags_logical32(Nzcv& f, u32 result) {
    f.n = static_cast<u8>(result >> 31);
    f.z = result == 0;
    f.c = 0;
    f.v = 0;
}

[[gnu::always_inline]] inline u64 sub_with_flags64(Nzcv& f, u64 a, u64 b) {
    const u64 result = a - b;
    f.n = result >> 63;
    f.z = result == 0;
    f.c = a >= b;
    f.v = ((a ^ b) & (a ^ result)) >> 63;
    return result;
}

[[gnu::always_inline]] inline u32 sub_with_flags32(Nzcv& f, u32 a, u32 b) {
    const u32 result = a - b;
    f.n = static_cast<u8>(result >> 31);
    f.z = result == 0;
    f.c = a >= b;
    f.v = static_cast<u8>(((a ^ b) & (a ^ result)) >> 31);
    return result;
}

[[gnu::always_inline]] inline u64 add_with_flags64(Nzcv& f, u64 a, u64 b) {
    const u64 result = a + b;
    f.n = result >> 63;
    f.z = result == 0;
    f.c = result < a;
    f.v = (~(a ^ b) & (a ^ result)) >> 63;
    return result;
}

[[gnu::always_inline]] inline u32 add_with_flags32(Nzcv& f, u32 a, u32 b) {
    const u32 result = a + b;
    f.n = static_cast<u8>(result >> 31);
    f.z = result == 0;
    f.c = result < a;
    f.v = static_cast<u8>((~(a ^ b) & (a ^ result)) >> 31);
    return result;
}

[[gnu::always_inline]] inline u64 adc_with_flags64(Nzcv& f, u64 a, u64 b) {
    const u64 partial = a + b;
    const u64 result = partial + f.c;
    const u8 carry = static_cast<u8>((partial < a) | (result < partial));
    f.n = result >> 63;
    f.z = result == 0;
    f.c = carry;
    f.v = (~(a ^ b) & (a ^ result)) >> 63;
    return result;
}

// Conditions on flags, and the same decided directly by a comparison (T: unsigned, S: signed type).
#define COND_eq f.z
#define COND_ne !f.z
#define COND_hs f.c
#define COND_lo !f.c
#define COND_mi f.n
#define COND_pl !f.n
#define COND_vs f.v
#define COND_vc !f.v
#define COND_hi (f.c & !f.z)
#define COND_ls !(f.c & !f.z)
#define COND_ge f.n == f.v
#define COND_lt f.n != f.v
#define COND_gt ((f.n == f.v) & !f.z)
#define COND_le !((f.n == f.v) & !f.z)

#define CMP_eq(S, a, b, r) (a) == (b)
#define CMP_ne(S, a, b, r) (a) != (b)
#define CMP_hs(S, a, b, r) (a) >= (b)
#define CMP_lo(S, a, b, r) (a) < (b)
#define CMP_mi(S, a, b, r) static_cast<S>(r) < 0
#define CMP_pl(S, a, b, r) static_cast<S>(r) >= 0
#define CMP_hi(S, a, b, r) (a) > (b)
#define CMP_ls(S, a, b, r) (a) <= (b)
#define CMP_ge(S, a, b, r) static_cast<S>(a) >= static_cast<S>(b)
#define CMP_lt(S, a, b, r) static_cast<S>(a) < static_cast<S>(b)
#define CMP_gt(S, a, b, r) static_cast<S>(a) > static_cast<S>(b)
#define CMP_le(S, a, b, r) static_cast<S>(a) <= static_cast<S>(b)

const void* const* label_table = nullptr;

}  // namespace

// NOLINTBEGIN: one function by design, see the head of the file.
LoopExit Engine::Impl::loop(const Position& from, const void* native) {
    static const void* const labels[] = {
#define VMM_HOT_OP(name) &&op_##name,
        VMM_HOT_OPS(VMM_HOT_OP)
#undef VMM_HOT_OP
    };
    if (label_table == nullptr) {
        label_table = labels;
        return LoopExit::stop;
    }

    Vcpu& cpu = v;
    u64* const x = cpu.s.x.data();
    Nzcv& f = cpu.s.nzcv;
    const std::atomic<s64>& attention = cpu.pins.attention_word();
    s64 remaining = budget;   // operations that may still be executed
    u64 page_va = 0;          // virtual address of the page that holds the current block
    Op* op = nullptr;
    Block* block = nullptr;
    u64 target = 0;
    Exec result = Exec::next;

#define NEXT            \
    do {                \
        ++op;           \
        goto* op->code; \
    } while (false)

// Takes the block's length from the budget and enters it, unless the budget or the pins forbid.
#define ENTER(b)                                                                     \
    do {                                                                             \
        block = (b);                                                                 \
        remaining -= block->length;                                                  \
        if ((remaining | attention.load(std::memory_order_relaxed)) < 0) [[unlikely]] \
            goto not_entered;                                                        \
        op = block->ops();                                                           \
        goto* block->enter;                                                          \
    } while (false)

#define OP_PC (page_va + (u64{op->index} << 2))

// Leaves for the reference handler.
#define CALL_REFERENCE goto op_call

// A direct branch within the page is taken: give back what the block did not execute.
#define TAKE_LINK                      \
    do {                               \
        remaining += op->tail;         \
        if (op->link != nullptr) [[likely]] \
            ENTER(op->link);           \
        goto resolve_link;             \
    } while (false)

// Continues at the virtual address `target`.
#define GO(address)                                                                                \
    do {                                                                                           \
        target = (address);                                                                        \
        const JumpEntry& jump = jump_cache[jump_index(target)];                                    \
        if (jump.va == target && jump.tag == jump_tag) [[likely]] {                                \
            page_va = target & kPageMask;                                                          \
            ENTER(jump.block);                                                                     \
        }                                                                                          \
        goto lookup_target;                                                                        \
    } while (false)

    in_loop = true;
    budget_now = remaining;
    if (from.op != nullptr) {
        page_va = cpu.s.pc & kPageMask;
        block = from.block;
        op = from.op;
        remaining -= from.remaining();
        if (native != nullptr) {
            native_remaining = remaining;
            goto enter_native;
        }
        goto* op->code;
    }
    GO(cpu.s.pc);

    // ── The loop's own business ────────────────────────────────────────────────────────────────────────────

not_entered:
    remaining += block->length;
    cpu.s.pc = page_va + block->offset();
    budget = remaining;
    in_loop = false;
    return attention.load(std::memory_order_relaxed) < 0 ? LoopExit::attention : LoopExit::budget;

resolve_link : {
    const u64 offset = static_cast<u64>(op->imm);
    Block* found = block_at(block->pa_page + offset);
    if (found != nullptr) {
        op->link = found;
        ENTER(found);
    }
    target = page_va + offset;  // the code cache is full
    goto lookup_target;
}

op_enter_cold:
    if (++block->heat < cpu.config.translate_after) {
        goto* op->code;
    }
    heat_up(*block);
    if (block->native == translator->untranslated()) {
        goto* op->code;
    }
op_enter_native:
    native_remaining = remaining + block->length;  // host code takes it itself
    native = block->native;
enter_native:
    native_page_va = page_va;
    {
        const NativeExit exit = translator->enter(native);
        remaining = native_remaining;
        page_va = native_page_va;
        op = exit_op;
        if (exit == NativeExit::stop) {
            goto op_stop_here;  // in the block that was begun with
        }
        block = exit_block;
        switch (exit) {
            case NativeExit::not_entered: goto not_entered;
            case NativeExit::interpret: ENTER(block);
            case NativeExit::resolve:
                block = block_at(block->pa_page + static_cast<u64>(op->imm));
                if (block == nullptr) {
                    target = page_va + static_cast<u64>(op->imm);  // the code cache is full
                    goto lookup_target;
                }
                connect(block);
                ENTER(block);
            case NativeExit::lookup: target = exit_target; goto lookup_target;
            case NativeExit::stop: __builtin_unreachable();
            case NativeExit::result: result = exit_result; goto handled;
        }
        __builtin_unreachable();
    }

lookup_target:
    cpu.s.pc = target;
    if (remaining <= 0 || attention.load(std::memory_order_relaxed) < 0) [[unlikely]] {
        // Vectors that cannot be fetched come here for ever.
        budget = remaining;
        in_loop = false;
        return attention.load(std::memory_order_relaxed) < 0 ? LoopExit::attention : LoopExit::budget;
    }
    if (cpu.debug.may_break(target)) [[unlikely]] {
        budget = remaining;
        in_loop = false;
        return LoopExit::boundary;
    }
    budget_now = remaining;
    block = lookup();
    if (block == nullptr) {
        // A fetch exception was taken; it counts as the operation that faulted.
        --remaining;
        goto context_changed;
    }
    page_va = cpu.s.pc & kPageMask;
    ENTER(block);

op_call:
    cpu.s.pc = OP_PC;
    budget_now = remaining + op->tail;
    result = op->handler(cpu, op->insn);
    if (result == Exec::next) [[likely]] {
        NEXT;
    }
handled:
    remaining += op->tail;
    switch (result) {
        case Exec::next: __builtin_unreachable();
        case Exec::branch: GO(cpu.s.pc);
        case Exec::exception: break;
        case Exec::end_block: cpu.s.pc += 4; break;
        case Exec::wait:
        case Exec::stop:
            cpu.s.pc += 4;
            budget = remaining;
            in_loop = false;
            return result == Exec::wait ? LoopExit::wait : LoopExit::stop;
    }

context_changed:
    if (break_segment || (break_on_el_change && cpu.s.el != segment_el)) [[unlikely]] {
        budget = remaining;
        in_loop = false;
        return LoopExit::boundary;
    }
    if (cpu.irq_deliverable() || must_step()) [[unlikely]] {
        budget = remaining;
        in_loop = false;
        return LoopExit::attention;
    }
    GO(cpu.s.pc);

op_stop_here:
    // Entered with the whole block charged: give back from this operation on.
    remaining += block->remaining_from(*op);
    cpu.s.pc = OP_PC;
    budget = remaining;
    in_loop = false;
    return LoopExit::stop_here;

op_next_in_page:
    TAKE_LINK;
op_next_page:
    GO(page_va + kPageSize);

    // ── Data processing ────────────────────────────────────────────────────────────────────────────────────

#define OP(name, ...) \
    op_##name : {     \
        __VA_ARGS__;  \
    }                 \
    NEXT;

    OP(movi, x[op->rd] = op->constant)
    OP(mov64, x[op->rd] = x[op->rm])
    OP(mov32, x[op->rd] = static_cast<u32>(x[op->rm]))
    OP(movk, x[op->rd] = (x[op->rd] & ~(u64{0xFFFF} << op->aux)) | (static_cast<u64>(static_cast<u32>(op->imm)) << op->aux))
    OP(adr, x[op->rd] = page_va + op->constant)

    OP(addi64, x[op->rd] = x[op->rn] + static_cast<s64>(op->imm))
    OP(addi32, x[op->rd] = static_cast<u32>(x[op->rn]) + static_cast<u32>(op->imm))
    OP(subsi64, x[op->rd] = sub_with_flags64(f, x[op->rn], static_cast<u32>(op->imm)))
    OP(subsi32, x[op->rd] = sub_with_flags32(f, static_cast<u32>(x[op->rn]), static_cast<u32>(op->imm)))
    OP(addsi64, x[op->rd] = add_with_flags64(f, x[op->rn], static_cast<u32>(op->imm)))
    OP(addsi32, x[op->rd] = add_with_flags32(f, static_cast<u32>(x[op->rn]), static_cast<u32>(op->imm)))
    OP(add64, x[op->rd] = x[op->rn] + x[op->rm])
    OP(add32, x[op->rd] = static_cast<u32>(x[op->rn] + x[op->rm]))
    OP(sub64, x[op->rd] = x[op->rn] - x[op->rm])
    OP(sub32, x[op->rd] = static_cast<u32>(x[op->rn] - x[op->rm]))
    OP(subs64, x[op->rd] = sub_with_flags64(f, x[op->rn], x[op->rm]))
    OP(subs32, x[op->rd] = sub_with_flags32(f, static_cast<u32>(x[op->rn]), static_cast<u32>(x[op->rm])))
    OP(adds64, x[op->rd] = add_with_flags64(f, x[op->rn], x[op->rm]))
    OP(adds32, x[op->rd] = add_with_flags32(f, static_cast<u32>(x[op->rn]), static_cast<u32>(x[op->rm])))
    OP(add64_lsl, x[op->rd] = x[op->rn] + (x[op->rm] << op->aux))
    OP(sub64_lsl, x[op->rd] = x[op->rn] - (x[op->rm] << op->aux))
    OP(add32_lsl, x[op->rd] = static_cast<u32>(x[op->rn] + (x[op->rm] << op->aux)))
    OP(sub32_lsl, x[op->rd] = static_cast<u32>(x[op->rn] - (x[op->rm] << op->aux)))
    OP(add64_lsr, x[op->rd] = x[op->rn] + (x[op->rm] >> op->aux))
    OP(add64_asr, x[op->rd] = x[op->rn] + static_cast<u64>(static_cast<s64>(x[op->rm]) >> op->aux))
    OP(add64_uxtw, x[op->rd] = x[op->rn] + (u64{static_cast<u32>(x[op->rm])} << op->aux))
    OP(add64_sxtw, x[op->rd] = x[op->rn] + (static_cast<u64>(s64{static_cast<s32>(x[op->rm])}) << op->aux))

    OP(andi, x[op->rd] = x[op->rn] & op->constant)
    OP(orri, x[op->rd] = x[op->rn] | op->constant)
    OP(eori, x[op->rd] = x[op->rn] ^ op->constant)
    OP(orri32, x[op->rd] = static_cast<u32>(x[op->rn] | op->constant))
    OP(eori32, x[op->rd] = static_cast<u32>(x[op->rn] ^ op->constant))
    OP(movk32, x[op->rd] = (x[op->rd] & (0xFFFF'FFFF & ~(u64{0xFFFF} << op->aux))) | (static_cast<u64>(static_cast<u32>(op->imm)) << op->aux))
    OP(andsi64, const u64 r = x[op->rn] & op->constant; set_flags_logical64(f, r); x[op->rd] = r)
    OP(andsi32, const u32 r = static_cast<u32>(x[op->rn] & op->constant); set_flags_logical32(f, r); x[op->rd] = r)
    OP(and64, x[op->rd] = x[op->rn] & x[op->rm])
    OP(orr64, x[op->rd] = x[op->rn] | x[op->rm])
    OP(eor64, x[op->rd] = x[op->rn] ^ x[op->rm])
    OP(bic64, x[op->rd] = x[op->rn] & ~x[op->rm])
    OP(orn64, x[op->rd] = x[op->rn] | ~x[op->rm])
    OP(eon64, x[op->rd] = x[op->rn] ^ ~x[op->rm])
    OP(and32, x[op->rd] = static_cast<u32>(x[op->rn] & x[op->rm]))
    OP(orr32, x[op->rd] = static_cast<u32>(x[op->rn] | x[op->rm]))
    OP(eor32, x[op->rd] = static_cast<u32>(x[op->rn] ^ x[op->rm]))
    OP(bic32, x[op->rd] = static_cast<u32>(x[op->rn] & ~x[op->rm]))
    OP(orn32, x[op->rd] = static_cast<u32>(x[op->rn] | ~x[op->rm]))
    OP(ands64, const u64 r = x[op->rn] & x[op->rm]; set_flags_logical64(f, r); x[op->rd] = r)
    OP(ands32, const u32 r = static_cast<u32>(x[op->rn] & x[op->rm]); set_flags_logical32(f, r); x[op->rd] = r)
    OP(and64_lsl, x[op->rd] = x[op->rn] & (x[op->rm] << op->aux))
    OP(orr64_lsl, x[op->rd] = x[op->rn] | (x[op->rm] << op->aux))
    OP(eor64_lsl, x[op->rd] = x[op->rn] ^ (x[op->rm] << op->aux))
    OP(orr32_lsl, x[op->rd] = static_cast<u32>(x[op->rn] | (x[op->rm] << op->aux)))
    OP(eor32_lsl, x[op->rd] = static_cast<u32>(x[op->rn] ^ (x[op->rm] << op->aux)))
    OP(and64_lsr, x[op->rd] = x[op->rn] & (x[op->rm] >> op->aux))
    OP(orr64_lsr, x[op->rd] = x[op->rn] | (x[op->rm] >> op->aux))
    OP(eor64_lsr, x[op->rd] = x[op->rn] ^ (x[op->rm] >> op->aux))
    OP(eor32_lsr, x[op->rd] = static_cast<u32>(x[op->rn]) ^ (static_cast<u32>(x[op->rm]) >> op->aux))
    OP(eor32_ror, x[op->rd] = static_cast<u32>(x[op->rn]) ^ std::rotr(static_cast<u32>(x[op->rm]), op->aux))
    OP(eor64_ror, x[op->rd] = x[op->rn] ^ std::rotr(x[op->rm], op->aux))

    OP(lsl64i, x[op->rd] = x[op->rn] << op->aux)
    OP(lsl32i, x[op->rd] = static_cast<u32>(x[op->rn]) << op->aux)
    OP(lsr64i, x[op->rd] = x[op->rn] >> op->aux)
    OP(lsr32i, x[op->rd] = static_cast<u32>(x[op->rn]) >> op->aux)
    OP(asr64i, x[op->rd] = static_cast<u64>(static_cast<s64>(x[op->rn]) >> op->aux))
    OP(asr32i, x[op->rd] = static_cast<u32>(static_cast<s32>(x[op->rn]) >> op->aux))
    // aux = lsb, constant = mask of the field at bit 0
    OP(ubfx, x[op->rd] = (x[op->rn] >> op->aux) & op->constant)
    OP(ubfiz, x[op->rd] = (x[op->rn] & op->constant) << op->aux)
    // aux = shift left that puts the field at the top, ra = arithmetic shift right that follows
    OP(sbfx64, x[op->rd] = static_cast<u64>(static_cast<s64>(x[op->rn] << op->aux) >> op->ra))
    OP(sbfiz64, x[op->rd] = static_cast<u64>(static_cast<s64>(x[op->rn] << op->aux) >> op->ra))
    OP(sbfx32, x[op->rd] = static_cast<u32>(static_cast<s32>(static_cast<u32>(x[op->rn]) << op->aux) >> op->ra))
    // field = (rn rotated right by aux), inserted under the mask `constant`
    OP(bfm, x[op->rd] = (x[op->rd] & ~op->constant) | (std::rotr(x[op->rn], op->aux) & op->constant))
    OP(ror64i, x[op->rd] = std::rotr(x[op->rn], op->aux))
    OP(ror32i, x[op->rd] = std::rotr(static_cast<u32>(x[op->rn]), op->aux))
    OP(extr64, x[op->rd] = (x[op->rm] >> op->aux) | (x[op->rn] << (64 - op->aux)))
    OP(lsl64, x[op->rd] = x[op->rn] << (x[op->rm] & 63))
    OP(lsl32, x[op->rd] = static_cast<u32>(x[op->rn]) << (x[op->rm] & 31))
    OP(lsr64, x[op->rd] = x[op->rn] >> (x[op->rm] & 63))
    OP(lsr32, x[op->rd] = static_cast<u32>(x[op->rn]) >> (x[op->rm] & 31))
    OP(asr64, x[op->rd] = static_cast<u64>(static_cast<s64>(x[op->rn]) >> (x[op->rm] & 63)))
    OP(asr32, x[op->rd] = static_cast<u32>(static_cast<s32>(x[op->rn]) >> (x[op->rm] & 31)))
    OP(ror32, x[op->rd] = std::rotr(static_cast<u32>(x[op->rn]), static_cast<int>(x[op->rm] & 31)))

    OP(madd64, x[op->rd] = x[op->ra] + x[op->rn] * x[op->rm])
    OP(madd32, x[op->rd] = static_cast<u32>(x[op->ra] + x[op->rn] * x[op->rm]))
    OP(msub64, x[op->rd] = x[op->ra] - x[op->rn] * x[op->rm])
    OP(msub32, x[op->rd] = static_cast<u32>(x[op->ra] - x[op->rn] * x[op->rm]))
    OP(mul64, x[op->rd] = x[op->rn] * x[op->rm])
    OP(mul32, x[op->rd] = static_cast<u32>(x[op->rn] * x[op->rm]))
    OP(umull, x[op->rd] = u64{static_cast<u32>(x[op->rn])} * static_cast<u32>(x[op->rm]))
    OP(smull, x[op->rd] = static_cast<u64>(s64{static_cast<s32>(x[op->rn])} * static_cast<s32>(x[op->rm])))
    OP(umaddl, x[op->rd] = x[op->ra] + u64{static_cast<u32>(x[op->rn])} * static_cast<u32>(x[op->rm]))
    OP(umulh, x[op->rd] = static_cast<u64>((u128{x[op->rn]} * x[op->rm]) >> 64))
    OP(smulh, x[op->rd] = static_cast<u64>((s128{static_cast<s64>(x[op->rn])} * static_cast<s64>(x[op->rm])) >> 64))
    OP(udiv64, x[op->rd] = x[op->rm] == 0 ? 0 : x[op->rn] / x[op->rm])
    OP(udiv32, const u32 d = static_cast<u32>(x[op->rm]); x[op->rd] = d == 0 ? 0 : static_cast<u32>(x[op->rn]) / d)
    OP(sdiv64, const u64 d = x[op->rm];
       x[op->rd] = d == 0 ? 0
                   : d == ~u64{0} ? -x[op->rn]
                                  : static_cast<u64>(static_cast<s64>(x[op->rn]) / static_cast<s64>(d)))
    OP(sdiv32, const u32 d = static_cast<u32>(x[op->rm]); const u32 n = static_cast<u32>(x[op->rn]);
       x[op->rd] = d == 0 ? 0
                   : d == ~u32{0} ? u32{-n}
                                  : static_cast<u32>(static_cast<s32>(n) / static_cast<s32>(d)))

#define CSELS(c)                                                                        \
    OP(csel64_##c, x[op->rd] = (COND_##c) ? x[op->rn] : x[op->rm])                      \
    OP(csel32_##c, x[op->rd] = static_cast<u32>((COND_##c) ? x[op->rn] : x[op->rm]))    \
    OP(csinc64_##c, x[op->rd] = (COND_##c) ? x[op->rn] : x[op->rm] + 1)                 \
    OP(csinc32_##c, x[op->rd] = static_cast<u32>((COND_##c) ? x[op->rn] : x[op->rm] + 1))
    VMM_CONDITIONS(CSELS)
#undef CSELS
    OP(csinv64, x[op->rd] = cpu.condition_holds(op->aux) ? x[op->rn] : ~x[op->rm])
    OP(csinv32, x[op->rd] = static_cast<u32>(cpu.condition_holds(op->aux) ? x[op->rn] : ~x[op->rm]))
    OP(csneg64, x[op->rd] = cpu.condition_holds(op->aux) ? x[op->rn] : -x[op->rm])
    OP(csneg32, x[op->rd] = static_cast<u32>(cpu.condition_holds(op->aux) ? x[op->rn] : -x[op->rm]))
    // aux = condition, ra = NZCV when it fails, imm = 1 for CCMN
    OP(ccmp64, if (cpu.condition_holds(op->aux)) sub_with_flags64(f, x[op->rn], x[op->rm]);
       else f.unpack(u64{op->ra} << 28))
    OP(ccmp32, if (cpu.condition_holds(op->aux))
                   sub_with_flags32(f, static_cast<u32>(x[op->rn]), static_cast<u32>(x[op->rm]));
       else f.unpack(u64{op->ra} << 28))
    OP(ccmpi64, if (cpu.condition_holds(op->aux)) sub_with_flags64(f, x[op->rn], op->rm);
       else f.unpack(u64{op->ra} << 28))
    OP(ccmpi32, if (cpu.condition_holds(op->aux)) sub_with_flags32(f, static_cast<u32>(x[op->rn]), op->rm);
       else f.unpack(u64{op->ra} << 28))
    OP(clz64, x[op->rd] = static_cast<u64>(std::countl_zero(x[op->rn])))
    OP(clz32, x[op->rd] = static_cast<u64>(std::countl_zero(static_cast<u32>(x[op->rn]))))
    OP(rev64, x[op->rd] = __builtin_bswap64(x[op->rn]))
    OP(rev32, x[op->rd] = __builtin_bswap32(static_cast<u32>(x[op->rn])))
    OP(adcs64, x[op->rd] = adc_with_flags64(f, x[op->rn], x[op->rm]))
    OP(sbcs64, x[op->rd] = adc_with_flags64(f, x[op->rn], ~x[op->rm]))
    OP(adc64, x[op->rd] = x[op->rn] + x[op->rm] + f.c)

    // ── Branches ───────────────────────────────────────────────────────────────────────────────────────────

op_b:
    TAKE_LINK;
op_bl:
    x[30] = OP_PC + 4;
    TAKE_LINK;
op_b_far:
    GO(page_va + static_cast<u64>(s64{op->imm}));
op_bl_far:
    x[30] = OP_PC + 4;
    GO(page_va + static_cast<u64>(s64{op->imm}));
op_br:
op_ret:
    GO(x[op->rn]);
op_blr:
    target = x[op->rn];
    x[30] = OP_PC + 4;
    GO(target);

#define BRANCH_FAR_IF(name, ...)                            \
    op_##name : if (__VA_ARGS__) {                            \
        remaining += op->tail;                              \
        GO(page_va + static_cast<u64>(s64{op->imm}));       \
    }                                                       \
    NEXT;

    BRANCH_FAR_IF(cond_far, cpu.condition_holds(op->aux))
    BRANCH_FAR_IF(cbz64_far, x[op->rn] == 0)
    BRANCH_FAR_IF(cbnz64_far, x[op->rn] != 0)
    BRANCH_FAR_IF(cbz32_far, static_cast<u32>(x[op->rn]) == 0)
    BRANCH_FAR_IF(cbnz32_far, static_cast<u32>(x[op->rn]) != 0)
    BRANCH_FAR_IF(tbz_far, ((x[op->rn] >> op->aux) & 1) == 0)
    BRANCH_FAR_IF(tbnz_far, ((x[op->rn] >> op->aux) & 1) != 0)

#define BRANCH_IF(name, ...)     \
    op_##name : if (__VA_ARGS__) { \
        TAKE_LINK;               \
    }                            \
    NEXT;

    BRANCH_IF(cbz64, x[op->rn] == 0)
    BRANCH_IF(cbnz64, x[op->rn] != 0)
    BRANCH_IF(cbz32, static_cast<u32>(x[op->rn]) == 0)
    BRANCH_IF(cbnz32, static_cast<u32>(x[op->rn]) != 0)
    BRANCH_IF(tbz, ((x[op->rn] >> op->aux) & 1) == 0)
    BRANCH_IF(tbnz, ((x[op->rn] >> op->aux) & 1) != 0)
#define BCOND(c) BRANCH_IF(b_##c, COND_##c)
    VMM_CONDITIONS(BCOND)
#undef BCOND

    // Compare (register with register, register with constant) and branch.
#define CMP_BCOND(name, T, S, flags, operand, c)      \
    op_##name : {                                     \
        const T a = static_cast<T>(x[op->rn]);        \
        const T b = static_cast<T>(operand);          \
        [[maybe_unused]] const T r = flags(f, a, b);  \
        if (CMP_##c(S, a, b, r)) {                    \
            TAKE_LINK;                                \
        }                                             \
    }                                                 \
    NEXT;
#define CMP_BCONDS(c)                                                        \
    CMP_BCOND(cmp64_b##c, u64, s64, sub_with_flags64, x[op->rm], c)          \
    CMP_BCOND(cmp32_b##c, u32, s32, sub_with_flags32, x[op->rm], c)          \
    CMP_BCOND(cmpi64_b##c, u64, s64, sub_with_flags64, op->insn, c)          \
    CMP_BCOND(cmpi32_b##c, u32, s32, sub_with_flags32, op->insn, c)
    VMM_FUSED_CONDITIONS(CMP_BCONDS)
#undef CMP_BCONDS
#define TST_BCOND(name, T, flags, test)                          \
    op_##name : {                                                \
        const T r = static_cast<T>(x[op->rn] & x[op->rm]);       \
        flags(f, r);                                             \
        if (r test 0) {                                          \
            TAKE_LINK;                                           \
        }                                                        \
    }                                                            \
    NEXT;
    TST_BCOND(tst64_beq, u64, set_flags_logical64, ==)
    TST_BCOND(tst64_bne, u64, set_flags_logical64, !=)
    TST_BCOND(tst32_beq, u32, set_flags_logical32, ==)
    TST_BCOND(tst32_bne, u32, set_flags_logical32, !=)

    // ── Loads and stores ───────────────────────────────────────────────────────────────────────────────────

#define HIT(address, bytes, tag)                                                                              \
    const u64 va = (address);                                                                                 \
    const TlbEntry& entry = cpu.tlb_.entry(va);                                                               \
    if ((((va + (bytes)-1) & kPageMask) | cpu.ctx_) != entry.tag) [[unlikely]]                                \
        CALL_REFERENCE;                                                                                       \
    u8* const host = reinterpret_cast<u8*>(va + entry.addend);
#define SP_ALIGNED                  \
    if ((x[kSp] & 15) != 0) [[unlikely]] \
        CALL_REFERENCE;

#define LOAD(name, T, R, before, address, after)                                                  \
    op_##name : {                                                                                 \
        before HIT(address, sizeof(T), read_tag) const u64 loaded =                               \
            static_cast<u64>(static_cast<std::conditional_t<sizeof(R) == 4, u32, u64>>(           \
                static_cast<R>(mm::load_relaxed<T>(host))));                                      \
        after x[op->rd] = loaded;                                                                 \
    }                                                                                             \
    NEXT;
#define STORE(name, T, before, address, after)                                   \
    op_##name : {                                                                \
        before HIT(address, sizeof(T), write_tag)                                \
            mm::store_relaxed<T>(host, static_cast<T>(x[op->rd]));               \
        after                                                                    \
    }                                                                            \
    NEXT;

#define IMM_ADDRESS x[op->rn] + static_cast<u64>(s64{op->imm})
#define REG_ADDRESS x[op->rn] + (x[op->rm] << op->aux)
#define UXTW_ADDRESS x[op->rn] + (u64{static_cast<u32>(x[op->rm])} << op->aux)
#define SXTW_ADDRESS x[op->rn] + (static_cast<u64>(s64{static_cast<s32>(x[op->rm])}) << op->aux)
#define WRITE_BACK_PRE x[op->rn] = va;
#define WRITE_BACK_POST x[op->rn] = va + static_cast<u64>(s64{op->imm});

#define LOADS(shape, T, R)                                          \
    LOAD(shape##_imm, T, R, , IMM_ADDRESS, )                        \
    LOAD(shape##_sp, T, R, SP_ALIGNED, IMM_ADDRESS, )               \
    LOAD(shape##_reg, T, R, , REG_ADDRESS, )                        \
    LOAD(shape##_uxtw, T, R, , UXTW_ADDRESS, )                      \
    LOAD(shape##_sxtw, T, R, , SXTW_ADDRESS, )                      \
    LOAD(shape##_pre, T, R, , IMM_ADDRESS, WRITE_BACK_PRE)          \
    LOAD(shape##_post, T, R, , x[op->rn], WRITE_BACK_POST)
    VMM_LOAD_SHAPES(LOADS)
#undef LOADS
#define STORES(shape, T)                                            \
    STORE(shape##_imm, T, , IMM_ADDRESS, )                          \
    STORE(shape##_sp, T, SP_ALIGNED, IMM_ADDRESS, )                 \
    STORE(shape##_reg, T, , REG_ADDRESS, )                          \
    STORE(shape##_uxtw, T, , UXTW_ADDRESS, )                        \
    STORE(shape##_sxtw, T, , SXTW_ADDRESS, )                        \
    STORE(shape##_pre, T, , IMM_ADDRESS, WRITE_BACK_PRE)            \
    STORE(shape##_post, T, , x[op->rn], WRITE_BACK_POST)
    VMM_STORE_SHAPES(STORES)
#undef STORES

#define LDP(name, T, before, address, after)                                      \
    op_##name : {                                                                 \
        before HIT(address, 2 * sizeof(T), read_tag)                              \
        const u64 first = mm::load_relaxed<T>(host);                              \
        const u64 second = mm::load_relaxed<T>(host + sizeof(T));                 \
        after x[op->rd] = first;                                                  \
        x[op->ra] = second;                                                       \
    }                                                                             \
    NEXT;
#define STP(name, T, before, address, after)                                      \
    op_##name : {                                                                 \
        before HIT(address, 2 * sizeof(T), write_tag)                             \
        mm::store_relaxed<T>(host, static_cast<T>(x[op->rd]));                    \
        mm::store_relaxed<T>(host + sizeof(T), static_cast<T>(x[op->ra]));        \
        after                                                                     \
    }                                                                             \
    NEXT;
    LDP(ldp64_imm, u64, , IMM_ADDRESS, )
    LDP(ldp64_sp, u64, SP_ALIGNED, IMM_ADDRESS, )
    LDP(ldp64_pre, u64, , IMM_ADDRESS, WRITE_BACK_PRE)
    LDP(ldp64_post, u64, , x[op->rn], WRITE_BACK_POST)
    LDP(ldp64_sp_post, u64, SP_ALIGNED, x[op->rn], WRITE_BACK_POST)
    LDP(ldp32_imm, u32, , IMM_ADDRESS, )
    STP(stp64_imm, u64, , IMM_ADDRESS, )
    STP(stp64_sp, u64, SP_ALIGNED, IMM_ADDRESS, )
    STP(stp64_pre, u64, , IMM_ADDRESS, WRITE_BACK_PRE)
    STP(stp64_post, u64, , x[op->rn], WRITE_BACK_POST)
    STP(stp64_sp_pre, u64, SP_ALIGNED, IMM_ADDRESS, WRITE_BACK_PRE)
    STP(stp32_imm, u32, , IMM_ADDRESS, )

    LOAD(ldr_lit64, u64, u64, , page_va + static_cast<u64>(s64{op->imm}), )
    LOAD(ldr_lit32, u32, u64, , page_va + static_cast<u64>(s64{op->imm}), )

    // SIMD&FP registers: rd is a V register number. 16-byte accesses need only 8-byte atomicity.
#define LDRV(name, bytes, before, address, after)                                                    \
    op_##name : {                                                                                    \
        before HIT(address, bytes, read_tag) Vreg& d = cpu.s.v[op->rd];                              \
        d.lo = bytes == 4 ? u64{mm::load_relaxed<u32>(host)} : mm::load_relaxed<u64>(host);          \
        d.hi = bytes == 16 ? mm::load_relaxed<u64>(host + 8) : 0;                                    \
        after                                                                                        \
    }                                                                                                \
    NEXT;
#define STRV(name, bytes, before, address, after)                                                    \
    op_##name : {                                                                                    \
        before HIT(address, bytes, write_tag) const Vreg& d = cpu.s.v[op->rd];                       \
        if constexpr (bytes == 4) {                                                                  \
            mm::store_relaxed<u32>(host, static_cast<u32>(d.lo));                                    \
        } else {                                                                                     \
            mm::store_relaxed<u64>(host, d.lo);                                                      \
        }                                                                                            \
        if constexpr (bytes == 16) {                                                                 \
            mm::store_relaxed<u64>(host + 8, d.hi);                                                  \
        }                                                                                            \
        after                                                                                        \
    }                                                                                                \
    NEXT;
    // The base may be SP: its alignment is checked where it is (rm = 1).
#define V_SP if (op->rm != 0) { SP_ALIGNED }
    LDRV(ldrq_imm, 16, V_SP, IMM_ADDRESS, )
    STRV(strq_imm, 16, V_SP, IMM_ADDRESS, )
    LDRV(ldrd_imm, 8, V_SP, IMM_ADDRESS, )
    STRV(strd_imm, 8, V_SP, IMM_ADDRESS, )
    LDRV(ldrs_imm, 4, V_SP, IMM_ADDRESS, )
    STRV(strs_imm, 4, V_SP, IMM_ADDRESS, )
    LDRV(ldrq_post, 16, , x[op->rn], WRITE_BACK_POST)
    STRV(strq_post, 16, , x[op->rn], WRITE_BACK_POST)
    LDRV(ldrd_reg, 8, , REG_ADDRESS, )
    STRV(strd_reg, 8, , REG_ADDRESS, )
op_ldpq_imm : {
    V_SP HIT(IMM_ADDRESS, 32, read_tag) Vreg& d1 = cpu.s.v[op->rd];
    Vreg& d2 = cpu.s.v[op->ra];
    d1.lo = mm::load_relaxed<u64>(host);
    d1.hi = mm::load_relaxed<u64>(host + 8);
    d2.lo = mm::load_relaxed<u64>(host + 16);
    d2.hi = mm::load_relaxed<u64>(host + 24);
}
    NEXT;
op_stpq_imm : {
    V_SP HIT(IMM_ADDRESS, 32, write_tag) const Vreg& d1 = cpu.s.v[op->rd];
    const Vreg& d2 = cpu.s.v[op->ra];
    mm::store_relaxed<u64>(host, d1.lo);
    mm::store_relaxed<u64>(host + 8, d1.hi);
    mm::store_relaxed<u64>(host + 16, d2.lo);
    mm::store_relaxed<u64>(host + 24, d2.hi);
}
    NEXT;

    // ── System ─────────────────────────────────────────────────────────────────────────────────────────────

    // A register without hooks, read at EL1; aux = 1 where EL0 may read it as well. `imm` indexes plain_registers_.
op_mrs_plain:
    if (cpu.s.el == 0 && op->aux == 0) [[unlikely]] {
        CALL_REFERENCE;
    }
    x[op->rd] = *reinterpret_cast<const u64*>(reinterpret_cast<const u8*>(&cpu) + op->imm);
    NEXT;
op_daif_set:
    if (cpu.s.el == 0) [[unlikely]] {
        CALL_REFERENCE;
    }
    cpu.s.daif |= op->aux;
    NEXT;
op_daif_clear:
    // Unmasking debug exceptions may start single-stepping.
    if (cpu.s.el == 0 || (op->aux & kDaifD) != 0 || (cpu.pins.irq() && (op->aux & kDaifI) != 0)) [[unlikely]] {
        CALL_REFERENCE;
    }
    cpu.s.daif = static_cast<u8>(cpu.s.daif & ~op->aux);
    NEXT;
}
// NOLINTEND

bool labels_published() {
    return label_table != nullptr;
}

const void* code_of(HotOp op) {
    return label_table[static_cast<unsigned>(op)];
}

HotOp hot_op_of(const void* code) {
    using Pair = std::pair<const void*, HotOp>;
    static const std::vector<Pair> by_label = [] {
        std::vector<Pair> pairs;
        for (unsigned i = 0; i < static_cast<unsigned>(HotOp::count); ++i) {
            pairs.emplace_back(label_table[i], static_cast<HotOp>(i));
        }
        std::sort(pairs.begin(), pairs.end());
        return pairs;
    }();
    const auto found = std::lower_bound(by_label.begin(), by_label.end(), Pair{code, HotOp{}});
    return found != by_label.end() && found->first == code ? found->second : HotOp::count;
}

const char* to_string(HotOp op) {
    static const char* const names[] = {
#define VMM_HOT_OP(name) #name,
        VMM_HOT_OPS(VMM_HOT_OP)
#undef VMM_HOT_OP
    };
    return op < HotOp::count ? names[static_cast<unsigned>(op)] : "?";
}

}  // namespace vmm::arch
