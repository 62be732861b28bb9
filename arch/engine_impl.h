// The state of the interpreting engine, shared by its three parts: engine.cpp (budgets, sampling, looking up
// code), lower.cpp (instructions to operations) and interpreter.cpp (the loop).
#pragma once

#include <array>
#include <optional>

#include "arch/code_cache.h"
#include "arch/decode.h"
#include "arch/engine.h"
#include "arch/hot_ops.h"
#include "arch/mmu.h"
#include "arch/pmu.h"
#include "arch/translator.h"

namespace vmm::arch {

/// Why the loop came back.
enum class LoopExit : u8 {
    budget,     // the next block does not fit into the budget; PC addresses it
    attention,  // the pins asked for attention
    boundary,   // something the caller accounts by has changed (Exception level, profiling registers)
    stop_here,  // reached the operation under a StopMark, or one that may be a breakpoint
    debug,      // the debug hook wants to stop
    wait,
    stop,
};

struct Engine::Impl : EngineFrame {
    explicit Impl(Vcpu& vcpu);

    Vcpu& v;
    CodeCache code;
    std::unique_ptr<Translator> translator;  // nullptr: everything is interpreted

    // ── Budget accounting ──────────────────────────────────────────────────────────────────────────────────
    s64 budget = 0;          // operations the loop may still execute; the loop keeps it in a register
    s64 segment_budget = 0;  // value of `budget` when the current segment began
    u64 total_before = 0;    // operations executed before the current segment
    bool in_loop = false;

    // ── What ends a segment ────────────────────────────────────────────────────────────────────────────────
    bool break_segment = false;       // set by observer_changed()
    bool break_on_el_change = false;  // the observer or the PMU counts per Exception level
    u8 segment_el = 1;

    // ── Looking up code by virtual address ─────────────────────────────────────────────────────────────────
    u64 generation = 1;
    bool clear_code = false;  // the code cache is full or was invalidated as a whole

    /// The block at PC, decoding it if need be; nullptr after a fetch exception was taken (PC is then the
    /// vector).
    Block* lookup();
    /// The block at PC if it was looked up before and nothing has changed since; else nullptr.
    Block* known_block() const {
        const JumpEntry& entry = jump_cache[jump_index(v.s.pc)];
        return entry.va == v.s.pc && entry.tag == jump_tag && !clear_code ? entry.block : nullptr;
    }
    /// The block at guest-physical `pa`, in RAM, decoding it if need be.
    Block* block_at(u64 pa);
    Block* decode_block(u64 pa);

    /// Makes a block that the loop has entered often run as host code.
    void heat_up(Block& block);
    /// Whether Block::native_counted is there; makes it if it can.
    bool has_counted_code(Block& block);
    /// Takes the branch `exit_op`, which host code left by, from now on without leaving it.
    void connect(Block* target);
    /// Forgets all decoded code: nobody may be inside a block.
    void clear_all_code();

    // ── Execution ──────────────────────────────────────────────────────────────────────────────────────────
    RunResult run(u64 budget);

    /// A place inside a block: the next instruction to execute, and the operation that stands for it (or, in
    /// a gap of NOPs, the next one).
    struct Position {
        Block* block = nullptr;
        Op* op = nullptr;
        unsigned index = 0;  // of the instruction, words in the page

        /// Instructions from here to the end of the block.
        s64 remaining() const { return s64{block->length} - (s64{index} - block->start); }
    };

    /// Runs blocks within `budget`, starting at `from`, or at PC when it is empty.
    /// `native`: host code to begin with instead of the operation; nullptr: none.
    LoopExit loop(const Position& from, const void* native);
    /// Host code that goes on at the place, if there is any.
    const void* entry_at(const Position& at) const {
        return at.op == nullptr || translator == nullptr ? nullptr : translator->entry_at(*at.block, *at.op);
    }
    /// Executes one instruction through the reference handlers; the sampled one with `trace`.
    Exec step(OpTrace* trace);
    Exec step_stopped(OpTrace& trace);
    Exec execute(const DecodeRow* row, u32 insn);
    Exec execute_traced(const DecodeRow* row, u32 insn, OpTrace& trace);
    LoopExit run_exactly();
    LoopExit run_part(const Position& from);
    /// Finishes the segment: tells PMU and observer what was executed.
    void account();
    u64 executed_in_segment() const {
        return static_cast<u64>(segment_budget - (in_loop ? budget_now : budget));
    }
    void begin_segment(s64 operations);
    bool must_step() const;
    LoopExit run_one(bool observed);
    LoopExit run_sampled();
    LoopExit run_segment(u64 limit);
    std::optional<LoopExit> run_debugged(u64 limit);

    std::optional<Exec> fetch(u32& insn);

    // The place the loop stopped at within a block, to step the sampled operation and go on behind it. Holds
    // while PC and the context are as they were and nothing was invalidated.
    struct StoppedAt {
        Position at;
        u64 pc = 0;
        u64 tag = 0;
    };
    bool holds(const StoppedAt& place) const {
        return place.at.block != nullptr && place.pc == v.s.pc && place.tag == jump_tag && !clear_code;
    }
    Position take_resume();
    StoppedAt stopped;
};

/// Fills `ops` (room for `most` + 1) from at most `most` instructions at `words`, the first at position `start`
/// of its page; stops early at an instruction that always leaves the block. Returns the instructions taken;
/// `op_count` is set.
unsigned lower_block(Vcpu& v, const u8* page, unsigned start, unsigned most, Op* ops, unsigned& op_count);

/// False until the loop was called for the first time in the program: that call only makes its labels known.
bool labels_published();

inline constexpr unsigned kMaxBlockLength = 64;  // instructions

}  // namespace vmm::arch
