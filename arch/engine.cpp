// The engine around the loop: looking up code, budgets, the sampled operation, interrupts.

#include "arch/engine.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "arch/debug_hook.h"
#include "arch/engine_impl.h"

namespace vmm::arch {

namespace {

constexpr u64 kNoSample = ~u64{0};  // OpObserver::ops_until_sample()

/// Stops in a block that are worth another piece of host code: making it costs as much as a hundred and more of them save.
constexpr u32 kStopsBeforeCounting = 128;

/// Fault status code of a synchronous external abort (nothing to fetch there).
constexpr u8 kFscExternalAbort = 0x10;

/// CPACR_EL1.FPEN traps SIMD&FP instructions at the current Exception level.
bool fp_trapped(const CpuState& s) {
    const u64 fpen = bits(s.cpacr_el1, 21, 20);
    return fpen != 3 && !(fpen == 1 && s.el == 1);
}

/// AArch64.BranchAddr of the PC: where TCR_EL1.TBIn says so, the top byte of an address branched to is
/// replaced by bit 55.
u64 branch_address(const CpuState& s) {
    const bool upper_half = bit(s.pc, 55);
    const bool top_byte_ignored = bit(s.tcr_el1, upper_half ? 38 : 37);
    return top_byte_ignored ? static_cast<u64>(sign_extend(s.pc, 56)) : s.pc;
}

}  // namespace

Engine::Impl::Impl(Vcpu& vcpu) : v(vcpu), code(vcpu.ram()) {
    if (!labels_published()) {
        loop(Position{}, nullptr);
    }
    if (vcpu.config.translate_after != 0) {
        translator = Translator::create(vcpu, *this);
    }
    code.set_translator(translator.get());
}

// ── Looking up code ────────────────────────────────────────────────────────────────────────────────────────

Block* Engine::Impl::lookup() {
    if (clear_code) {
        clear_all_code();
        jump_tag = generation << 16 | v.mmu().fetch_context();
    }
    v.s.pc = branch_address(v.s);
    const u64 pc = v.s.pc;
    if ((pc & 3) != 0) {
        v.pc_alignment_fault();
        return nullptr;
    }
    const Translation t = v.mmu().translate(pc, AccessType::fetch, v.s.el == 1);
    if (!t.ok || !v.ram().contains(t.pa, 4)) {
        v.instruction_abort(pc, t.ok ? kFscExternalAbort : t.fsc);
        return nullptr;
    }
    Block* block = block_at(t.pa);
    if (block == nullptr) {
        clear_all_code();
        block = block_at(t.pa);
    }
    jump_tag = generation << 16 | v.mmu().fetch_context();
    jump_cache[jump_index(pc)] = {pc, jump_tag, block};
    return block;
}

Block* Engine::Impl::block_at(u64 pa) {
    Block* block = code.find(pa);
    return block != nullptr ? block : decode_block(pa);
}

Block* Engine::Impl::decode_block(u64 pa) {
    Op ops[kMaxBlockLength + 1];
    unsigned op_count = 0;
    const unsigned start = static_cast<unsigned>((pa & ~kPageMask) >> 2);
    const DebugHook* const hook = v.debug_hook();
    const unsigned most = hook != nullptr ? hook->block_limit(start, kMaxBlockLength) : kMaxBlockLength;
    const unsigned length = lower_block(v, v.ram().host(pa & kPageMask, kPageSize), start, most, ops, op_count);
    Block* block = code.add(pa, op_count);
    if (block == nullptr) {
        clear_code = true;
        return nullptr;
    }
    block->length = length;
    std::copy_n(ops, op_count, block->ops());
    block->enter = ops[0].code;
    if (translator != nullptr) {
        block->enter = code_of(HotOp::enter_cold);
        block->native = translator->untranslated();
    }
    if (hook != nullptr && hook->marked(start)) {
        // Never executed in the loop: run_debugged() looks whether it is the breakpoint.
        block->ops()->index = static_cast<u16>(start);
        block->ops()->code = code_of(HotOp::stop_here);
        block->enter = block->ops()->code;
    }
    return block;
}

void Engine::Impl::clear_all_code() {
    clear_code = false;
    code.clear();
    ++generation;
}

void Engine::Impl::heat_up(Block& block) {
    if (translator->translate(block)) {
        block.enter = code_of(HotOp::enter_native);
    } else {
        clear_code = true;  // with all else, host code: it is full
        block.heat = 0;
    }
}

bool Engine::Impl::has_counted_code(Block& block) {
    if (block.native_counted != nullptr) {
        return true;
    }
    const bool translated = translator != nullptr && block.native != translator->untranslated();
    return translated && ++block.stops > kStopsBeforeCounting && translator->translate_counted(block);
}

void Engine::Impl::connect(Block* target) {
    if (exit_link != nullptr && target->native != translator->untranslated()) {
        *exit_link = target->native;
    }
}

// ── Segments: stretches of execution with one budget and one way of accounting ─────────────────────────────

void Engine::Impl::begin_segment(s64 operations) {
    budget = operations;
    segment_budget = operations;
    segment_el = v.s.el;
    break_segment = false;
    break_on_el_change = (v.observer() != nullptr && v.observer()->armed()) ||
                         (v.pmu().active() && v.pmu().overflow_depends_on_el());
}

void Engine::Impl::account() {
    total_before += executed_in_segment();
    segment_budget = budget = 0;
}

bool Engine::Impl::must_step() const {
    return fp_trapped(v.s) || v.s.il != 0 || v.software_step_active() || v.debug.may_break(v.s.pc);
}

/// Reads the instruction at PC into `insn`, or takes the exception that comes in its place.
std::optional<Exec> Engine::Impl::fetch(u32& insn) {
    if (v.software_step_active() && v.s.ss == 0) {
        return v.software_step();  // active-pending: the step is over
    }
    const u64 pc = v.s.pc;
    if ((pc & 3) != 0) {
        return v.pc_alignment_fault();
    }
    const Translation t = v.mmu().translate(pc, AccessType::fetch, v.s.el == 1);
    const u8* host = t.ok ? v.ram().host(t.pa, sizeof(insn)) : nullptr;
    if (host == nullptr) {
        return v.instruction_abort(pc, t.ok ? kFscExternalAbort : t.fsc);
    }
    if (v.debug.breaks_at(v.s, pc)) {
        return v.breakpoint();
    }
    if (v.s.il != 0) {
        return v.illegal_state();
    }
    insn = mm::load_relaxed<u32>(host);
    return std::nullopt;
}

Exec Engine::Impl::step(OpTrace* trace) {
    v.s.pc = branch_address(v.s);
    if (trace != nullptr) {
        trace->pc = v.s.pc;
        trace->el = v.s.el;
    }
    --budget;
    const bool stepping = v.software_step_active();
    u32 insn = 0;
    if (const std::optional<Exec> instead = fetch(insn); instead) {
        if (trace != nullptr) {
            trace->exception = true;
        }
        return *instead;
    }
    const DecodeRow* row = decode(insn);
    const Exec result = trace != nullptr ? execute_traced(row, insn, *trace) : execute(row, insn);
    if (stepping && result != Exec::exception) {
        v.s.ss = 0;  // active-not-pending becomes active-pending, or inactive by what the instruction did
        const bool exclusive = row != nullptr && std::string_view(row->id).starts_with("load_exclusive");
        v.stepped = !v.software_step_active() ? Stepped::nothing
                    : exclusive               ? Stepped::load_exclusive
                                              : Stepped::instruction;
    }
    return result;
}

/// The operation in front of which the loop stopped: it was fetched, and no step or illegal state is pending.
Exec Engine::Impl::step_stopped(OpTrace& trace) {
    trace.pc = v.s.pc;
    trace.el = v.s.el;
    --budget;
    const u64 pa = stopped.at.block->pa_page + (u64{stopped.at.index} << 2);
    const u32 insn = mm::load_relaxed<u32>(v.ram().host(pa, sizeof(insn)));
    return execute_traced(decode(insn), insn, trace);
}

/// The instruction at PC, through its reference handler; nullptr: UNDEFINED. PC is then that of the next one.
Exec Engine::Impl::execute(const DecodeRow* row, u32 insn) {
    const u64 pc = v.s.pc;
    Exec result = Exec::next;
    if (row == nullptr) [[unlikely]] {
        result = v.undefined();
    } else if (row->needs == Needs::fp && fp_trapped(v.s)) [[unlikely]] {
        result = v.trap_fp_access();
    } else {
        result = row->handler(v, insn);
    }
    if (result != Exec::branch && result != Exec::exception) {
        v.s.pc = pc + 4;
    }
    return result;
}

Exec Engine::Impl::execute_traced(const DecodeRow* row, u32 insn, OpTrace& trace) {
    trace.insn = insn;
    trace.op_class = row == nullptr ? OpClass::other : row->op_class;
    const u64 exceptions_before = v.exceptions_taken;
    v.begin_trace(&trace);
    const Exec result = execute(row, insn);
    v.end_trace();
    // An ERET that completes reports Exec::exception as well.
    trace.exception |= v.exceptions_taken != exceptions_before;
    if (trace.op_class == OpClass::eret && !trace.exception) {
        trace.taken = true;
        trace.target = v.s.pc;
        trace.target_el = v.s.el;
    }
    return result;
}

namespace {

/// Marks an operation so that the loop stops there, for the time of one run. The run may clear the code
/// cache; then the memory belongs to other operations and is left alone.
class StopMark {
  public:
    StopMark(const CodeCache& cache, Op& op)
        : cache_(cache), clears_(cache.clears()), op_(op), code_(op.code) {
        op_.code = code_of(HotOp::stop_here);
    }
    ~StopMark() {
        if (cache_.clears() == clears_) {
            op_.code = code_;
        }
    }
    StopMark(const StopMark&) = delete;
    StopMark& operator=(const StopMark&) = delete;

  private:
    const CodeCache& cache_;
    const u64 clears_;
    Op& op_;
    const void* const code_;
};

LoopExit to_loop_exit(Exec result) {
    switch (result) {
        case Exec::wait: return LoopExit::wait;
        case Exec::stop: return LoopExit::stop;
        case Exec::next:
        case Exec::branch: return LoopExit::budget;
        case Exec::end_block:
        case Exec::exception: return LoopExit::boundary;
    }
    return LoopExit::boundary;
}

}  // namespace

/// Executes exactly `budget` operations unless something else ends the segment first. The end of the budget
/// may lie inside a block, inside a fused operation or in a gap that NOPs left.
LoopExit Engine::Impl::run_exactly() {
    Position from = take_resume();  // when empty, at PC
    for (;;) {
        const bool fits = from.op == nullptr || from.remaining() <= budget;
        const LoopExit exit = fits ? loop(from, entry_at(from)) : run_part(from);
        if (exit == LoopExit::stop_here && budget == 0) {
            return LoopExit::budget;
        }
        if (exit != LoopExit::budget && exit != LoopExit::stop_here) {
            return exit;
        }
        Block* block = known_block();
        if (budget == 0) {
            stopped = {{block, nullptr, 0}, v.s.pc, jump_tag};
            if (block != nullptr) {
                stopped.at = {block, block->ops(), block->start};
            }
            return LoopExit::budget;
        }
        if (block == nullptr && must_step()) {
            return LoopExit::boundary;
        }
        if (block == nullptr) {
            block = lookup();
        }
        if (block == nullptr) {
            --budget;
            return LoopExit::boundary;
        }
        from = {block, block->ops(), block->start};
    }
}

/// Runs from `from` to the position `budget` operations further on, which lies within the block.
LoopExit Engine::Impl::run_part(const Position& from) {
    const unsigned stop_index = from.index + static_cast<unsigned>(budget);
    Op* stop = from.block->last_at_or_before(stop_index);
    // When `stop` starts before the position, that is in a gap of NOPs behind it, unless it stands for two
    // instructions.
    const bool fused = from.block->remaining_from(*stop) - stop->tail > 1;
    if (stop->index < stop_index && !fused && stop + 1 != from.block->end()) {
        ++stop;
    }
    const u64 page_va = v.s.pc & kPageMask;
    LoopExit exit = LoopExit::stop_here;
    if (from.op == from.block->ops() && has_counted_code(*from.block)) {
        ops_to_stop = static_cast<u64>(stop - from.op);
        exit = loop(from, from.block->native_counted);
    } else {
        const StopMark mark(code, *stop);
        exit = loop(from, nullptr);
    }
    if (exit != LoopExit::stop_here) {
        return exit;
    }
    const u64 stop_pc = page_va + (u64{stop_index} << 2);
    if (stop->index > stop_index) {
        budget += stop->index - stop_index;  // the NOPs between count as not executed yet
        v.s.pc = stop_pc;
    }
    while (budget > 0 && v.s.pc < stop_pc) {
        const Exec result = step(nullptr);
        if (result != Exec::next) {
            return to_loop_exit(result);
        }
    }
    const unsigned index = static_cast<unsigned>((v.s.pc & ~kPageMask) >> 2);
    stopped = {{from.block, stop, index}, v.s.pc, jump_tag};
    return LoopExit::stop_here;
}

/// Where to go on once the operation the loop stopped in front of has been stepped; empty: anywhere else.
Engine::Impl::Position Engine::Impl::take_resume() {
    const StoppedAt from = stopped;
    stopped.at.block = nullptr;
    Block* const block = from.at.block;
    if (block == nullptr || v.s.pc != from.pc + 4 || from.tag != jump_tag || clear_code) {
        return {};
    }
    const unsigned index = from.at.index + 1;
    Op* op = from.at.op;
    while (op != block->end() && op->index < index) {
        ++op;
    }
    // Not where the block hands over to the next page.
    const bool inside = index < u32{block->start} + block->length;
    return inside && op != block->end() && op->index == index ? Position{block, op, index} : Position{};
}

/// One operation outside the loop.
LoopExit Engine::Impl::run_one(bool observed) {
    budget = segment_budget = 1;
    const Exec result = step(nullptr);
    account();
    if (observed) {
        v.observer()->on_ops_executed(1);
    }
    return to_loop_exit(result);
}

/// The sampled operation, traced for the observer.
LoopExit Engine::Impl::run_sampled() {
    budget = segment_budget = 1;
    OpTrace trace;
    const Exec result = holds(stopped) ? step_stopped(trace) : step(&trace);
    account();
    v.observer()->on_sample(trace);
    return to_loop_exit(result);
}

/// What the debug hook makes of the next operation. nullopt: nothing, and the loop may run blocks; it comes back in front
/// of what may be a breakpoint.
std::optional<LoopExit> Engine::Impl::run_debugged(u64 limit) {
    DebugHook& hook = *v.debug_hook();
    const u64 pc = branch_address(v.s);
    if (hook.stops_before(pc)) {
        return LoopExit::debug;
    }
    OpObserver* const observer = v.observer();
    const u64 until_sample = observer != nullptr ? observer->ops_until_sample() : kNoSample;
    if (!hook.alone(pc) && limit >= kMaxBlockLength && until_sample > limit && !must_step()) {
        return std::nullopt;
    }
    stopped = {};
    budget = segment_budget = 1;
    OpTrace trace;
    const Exec result = step(&trace);
    if (hook.stop()) {
        budget = segment_budget;  // a watchpoint: it has not happened
        account();
        return LoopExit::debug;
    }
    account();
    if (until_sample == 1) {
        observer->on_sample(trace);
    } else if (until_sample != kNoSample) {
        observer->on_ops_executed(1);
    }
    hook.operation_done();
    return result == Exec::wait && hook.steps() ? LoopExit::boundary : to_loop_exit(result);
}

/// One segment of at most `limit` operations: those up to the next sample, and the sampled one unless
/// something comes between.
[[gnu::flatten]] LoopExit Engine::Impl::run_segment(u64 limit) {
    if (v.debug_hook() != nullptr) [[unlikely]] {
        if (const std::optional<LoopExit> exit = run_debugged(limit)) {
            return *exit;
        }
    }
    OpObserver* const observer = v.observer();
    const u64 until_sample = observer != nullptr ? observer->ops_until_sample() : kNoSample;
    const bool observed = until_sample != kNoSample;
    if (must_step()) [[unlikely]] {
        stopped = {};
        return until_sample == 1 ? run_sampled() : run_one(observed);
    }
    if (until_sample == 1) {
        return run_sampled();
    }
    const bool sample_ahead = until_sample - 1 <= limit;
    begin_segment(static_cast<s64>(sample_ahead ? until_sample - 1 : limit));
    const u64 whole = static_cast<u64>(segment_budget);
    const LoopExit exit = sample_ahead || whole < kMaxBlockLength ? run_exactly() : loop(Position{}, nullptr);
    const u64 executed = executed_in_segment();
    account();
    if (observed && executed != 0) {
        observer->on_ops_executed(executed);
    }
    if (exit != LoopExit::budget || !sample_ahead) {
        return exit;
    }
    const bool undisturbed = executed < limit && !break_segment && !v.pins.attention() && !v.irq_deliverable();
    return undisturbed ? run_sampled() : LoopExit::boundary;
}

RunResult Engine::Impl::run(u64 limit) {
    const u64 end = total_before + limit;
    bool kicked = false;
    for (;;) {
        if (v.pins.take_attention()) {
            v.serve_requests();
            kicked = true;
        }
        if (v.irq_deliverable() && (v.debug_hook() == nullptr || !v.debug_hook()->holds_interrupts())) {
            v.s.pc = branch_address(v.s);  // nobody may have looked it up since a branch to it
            v.irq();
        }
        if (kicked) {
            return RunResult::kicked;
        }
        if (total_before >= end) {
            return RunResult::budget;
        }
        const u64 start = total_before;
        const u64 until_overflow = v.pmu().active() ? v.pmu().ops_until_overflow() : ~u64{0};
        const LoopExit exit = run_segment(std::min(end - start, until_overflow));
        if (total_before - start >= until_overflow) {
            v.pmu().sync();  // the interrupt comes with the operation that overflowed
        }
        switch (exit) {
            case LoopExit::wait: return RunResult::wait;
            case LoopExit::stop: return RunResult::stop;
            case LoopExit::debug: return RunResult::debug;
            case LoopExit::budget:
                // The loop does not enter a block that does not fit; the rest is left to the next run.
                if (end - total_before < kMaxBlockLength) {
                    return RunResult::budget;
                }
                break;
            case LoopExit::attention:
            case LoopExit::boundary:
            case LoopExit::stop_here: break;
        }
    }
}

// ── The interface ──────────────────────────────────────────────────────────────────────────────────────────

Engine::Engine(Vcpu& vcpu) : impl_(std::make_unique<Impl>(vcpu)) {}

Engine::~Engine() = default;

RunResult Engine::run(u64 budget) {
    return impl_->run(budget);
}

u64 Engine::ops_executed() const {
    return impl_->total_before + impl_->executed_in_segment();
}

bool Engine::translates() const {
    return impl_->translator != nullptr;
}

void Engine::invalidate_code_page(u64 pa_page) {
    if (impl_->code.has_code(pa_page)) {
        impl_->code.invalidate_page(pa_page);
        invalidate_links();
    }
}

void Engine::invalidate_all_code() {
    impl_->code.invalidate_all();
    impl_->clear_code = true;
    invalidate_links();
}

void Engine::invalidate_links() {
    ++impl_->generation;
    context_changed();
}

void Engine::context_changed() {
    impl_->jump_tag = impl_->generation << 16 | impl_->v.mmu().fetch_context();
}

void Engine::observer_changed() {
    impl_->break_segment = true;
}

RunResult Vcpu::run(u64 budget) {
    executing.store(true, std::memory_order_seq_cst);
    if (!requests.empty()) {
        serve_requests();
    }
    const RunResult result = engine_->run(budget);
    pmu_->sync();
    executing.store(false, std::memory_order_seq_cst);
    return result;
}

u64 Vcpu::ops_executed() const {
    return engine_->ops_executed();
}

void Vcpu::set_debug_hook(DebugHook* hook) {
    debug_hook_ = hook;
    engine_->invalidate_all_code();
}

bool Vcpu::translates() const {
    return engine_->translates();
}

void Vcpu::observer_changed() {
    engine_->observer_changed();
}

}  // namespace vmm::arch
