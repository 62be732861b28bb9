// Writes the host code of one block.
//
// Conventions of host code:
//   rbp  the guest's registers, biased so that X0 to X31 are a byte's displacement away; with it all of the Vcpu
//   r12  operations that may still be executed, the block's own length already subtracted
//   r14  virtual address of the guest page the block is in
//   r15  the EngineFrame
//   rax, rcx, rdx, rsi, rdi, r8 to r11, r13, rbx and all vector registers are free within an operation
// Guest registers and flags are in memory whenever an operation ends. rbp and not another register because processors that
// forward stores to loads by name do so for it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#define XBYAK_NO_EXCEPTION
#include <xbyak/xbyak.h>

#include "arch/hot_ops.h"
#include "arch/translator.h"
#include "arch/vcpu.h"
#include "arch/x64/constants.h"

namespace vmm::arch::x64 {

/// Entry points that all host code shares (native_code.cpp).
struct Thunks {
    const u8* enter = nullptr;  // from C++: NativeExit (*)(const void* native)
    // rax = handler, ecx = offset of the instruction in its page, esi = its word, edx = Op::tail
    const u8* call_handler = nullptr;
    const u8* not_entered = nullptr;  // rdx = Block
    const u8* interpret = nullptr;    // rdx = Block
    const u8* resolve = nullptr;      // rdx = Op, rcx = Block, rax = link
    const u8* lookup = nullptr;       // rax = target
    const u8* stop = nullptr;         // rdx = Op
    const u8* result = nullptr;       // al = Exec, rdx = Op
};

/// What host code refers to, the same for all blocks of a PE.
struct Environment {
    Vcpu* vcpu = nullptr;
    EngineFrame* frame = nullptr;
    Thunks thunks;
    const Constants* constants = nullptr;  // near the code
    bool avx2 = false;                     // else SIMD&FP data processing is left to the handlers
    bool fma = false;
};

class Emitter : public Xbyak::CodeGenerator {
  public:
    /// Writes to `memory`, which has room for `bytes`. `links`: a pointer for every way out of the block that can be linked;
    /// nullptr makes counted code, which has no links.
    Emitter(const Environment& environment, u8* memory, std::size_t bytes, Block& block, const void** links);

    /// The most bytes that one operation takes.
    static constexpr std::size_t kMaxBytesPerOp = 320;

    /// Translates the block. False: it holds an operation that has no host code.
    bool translate();

    /// For every operation the offset of its code, 0 where it relies on what the one before left in the host's flags.
    const std::vector<u16>& offsets() const { return offsets_; }

    /// Where each link points until its target is known.
    const std::vector<const u8*>& unresolved() const { return unresolved_; }

  private:
    using Address = Xbyak::Address;
    using Label = Xbyak::Label;
    using Reg64 = Xbyak::Reg64;
    using Reg32 = Xbyak::Reg32;
    using Xmm = Xbyak::Xmm;

    // The flags of the host, where they still are those of the guest.
    enum class HostFlags : u8 { none, subtraction, addition, logical };
    enum class Shift : u8 { none, lsl, lsr, asr, ror };
    enum class Alu : u8 { add, sub, band, bor, bxor };

    // ── Where things are ───────────────────────────────────────────────────────────────────────────────────
    int displacement(const void* field) const;
    Address at64(const void* field) { return qword[rbp + displacement(field)]; }
    Address at32(const void* field) { return dword[rbp + displacement(field)]; }
    Address at8(const void* field) { return byte[rbp + displacement(field)]; }
    Address x64(unsigned slot) { return qword[rbp + register_displacement(slot)]; }
    Address x32(unsigned slot) { return dword[rbp + register_displacement(slot)]; }
    static int register_displacement(unsigned slot) { return (static_cast<int>(slot) - 16) * 8; }
    void load(const Reg64& to, unsigned slot);
    void load32(const Reg32& to, unsigned slot);
    void store(unsigned slot, const Reg64& from);
    int page_offset(const Op& op) const { return op.index * 4; }

    // ── Data processing (emit_integer.cpp, emit_integer_word.cpp, emit_condition.cpp) ──────────────────────────────────────────────────────────────────────
    bool emit(Op& op);
    bool emit_data_processing(const Op& op);
    bool emit_shift_multiply_divide(const Op& op);
    bool emit_condition(const Op& op);
    void emit_constant(unsigned slot, u64 value);
    void emit_alu(const Op& op, Alu alu, bool wide, Shift shift = Shift::none, bool invert = false);
    void emit_alu_extended(const Op& op, bool is_signed);
    void emit_alu_flags(const Op& op, Alu alu, bool wide);
    void emit_alu_flags_constant(const Op& op, Alu alu, bool wide, u64 constant);
    void emit_logical_constant(const Op& op, Alu alu);
    void emit_shift_constant(const Op& op, Shift shift, bool wide);
    void emit_shift_register(const Op& op, Shift shift, bool wide);
    void emit_with_carry(const Op& op, bool subtract, bool set_flags);
    void emit_multiply_add(const Op& op, bool wide, bool subtract);
    void emit_divide(const Op& op, bool wide, bool is_signed);
    void apply(Alu alu, const Xbyak::Reg& to, const Xbyak::Operand& from);
    void apply_constant(Alu alu, const Reg64& to, u64 constant);
    void shift(Shift shift, const Xbyak::Reg& reg, unsigned amount);
    void save_flags(HostFlags kind);
    bool emit_integer_word(const Op& op);
    void finish_add_sub(u32 insn, unsigned rn, unsigned rd);
    bool emit_add_sub_shifted(u32 insn);
    bool emit_add_sub_extended(u32 insn);
    bool emit_logical_shifted(u32 insn);
    bool emit_carry_word(u32 insn);
    bool emit_long_multiply(u32 insn);
    bool emit_other_register_word(u32 insn);

    /// Emits a test of the guest's condition `cond`; the jump that is taken when it holds is `jump_if(returned, label)`.
    enum class Holds : u8 { e, ne, b, ae, s, ns, o, no, a, be, ge, l, g, le };
    Holds test_condition(unsigned cond);
    void jump_if(Holds holds, const Label& label);
    void move_if(Holds holds, const Xbyak::Reg32e& to, const Xbyak::Operand& from);
    void emit_select(const Op& op, unsigned cond, bool wide, HotOp variant);
    void emit_conditional_compare(const Op& op, bool wide, bool constant);

    // ── Branches (emit_branch.cpp) ─────────────────────────────────────────────────────────────────────────
    bool emit_branch(Op& op);
    void emit_entry();
    bool counted() const { return links_ == nullptr; }
    void count_down(Op& op);
    void take_link(Op& op);
    void take_link_if(Holds holds, Op& op);
    void go();
    void emit_compare_branch(Op& op);
    void emit_test_branch(Op& op, bool wide, Holds holds);

    // ── Memory (emit_memory.cpp, emit_atomic.cpp) ──────────────────────────────────────────────────────────
    bool emit_memory(Op& op);
    bool emit_memory_word(const Op& op);
    enum class Direction : u8 { load, store };
    void address(const Op& op, unsigned mode);
    void probe(unsigned bytes, Direction direction, const Label& slow, bool unprivileged = false);
    void check_sp(const Label& slow);
    void write_back(const Op& op, unsigned mode);
    void load_value(unsigned bytes, bool sign_extend, bool wide);
    void store_value(unsigned bytes);
    void emit_load_store(const Op& op);
    bool emit_load_store_word(const Op& op);
    void emit_pair(const Op& op, Direction direction, unsigned bytes, unsigned mode, bool from_sp);
    bool emit_pair_word(const Op& op);
    void emit_vector(const Op& op, Direction direction, unsigned bytes, unsigned mode);
    void emit_vector_pair(const Op& op, Direction direction);
    void atomic_address(unsigned rn, unsigned bytes, Direction direction, const Label& slow);
    void guest_physical();
    Xbyak::Reg sized(const Reg64& reg, unsigned bytes) const;
    void zero_extend(const Reg64& reg, unsigned bytes);
    bool emit_atomic(const Op& op);
    bool emit_exclusive_or_ordered(const Op& op);
    void emit_compare_and_swap(const Op& op, unsigned bytes, unsigned rs, unsigned rn, unsigned rt);
    void emit_load_exclusive(const Op& op, unsigned bytes, unsigned rn, unsigned rt);
    void emit_store_exclusive(const Op& op, unsigned bytes, unsigned rs, unsigned rn, unsigned rt);

    // ── System, and everything else (emit_system.cpp) ──────────────────────────────────────────────────────
    bool emit_system(Op& op);
    bool emit_by_word(Op& op);
    bool emit_system_word(Op& op);
    bool emit_system_register(const Op& op);
    bool emit_plain_write(const Op& op, SysregKey key, unsigned rt);
    void emit_zero_block(const Op& op);
    void check_el1(const Label& slow);
    const Label& slow_path(const Op& op);
    void emit_call(const Op& op);
    void emit_handler_call(const Op& op);

    // ── Instructions that are calls in the loop but have host code (emit_inline.cpp) ───────────────────────
    // By row of the decode table. What `operation` means is the emit function's affair; a scalar has one lane.
    struct InlineRow {
        const char* id;  // DecodeRow::id
        void (Emitter::*emit)(const Op&, const InlineRow&);
        u8 operation = 0;
        u8 lane_bytes = 0;
        u8 lanes = 1;
        unsigned bytes() const { return unsigned{lane_bytes} * lanes; }
        unsigned wide() const { return lane_bytes == 8 ? 1 : 0; }  // index into Constants
    };
    static const InlineRow* find_inline(Handler handler);
    bool emit_inline(const Op& op);
    Address vreg(unsigned n, unsigned offset = 0) {
        return ptr[rbp + displacement(&env_.vcpu->s.v[n]) + static_cast<int>(offset)];
    }
    Address constant(const void* field) { return ptr[rip + field]; }
    void finish() { L(slow_.back()->back); }

    // Floating point, scalars (emit_fp.cpp).
    static std::span<const InlineRow> fp_rows();
    void check_rounding(const Label& slow);
    void check_flushing(const Label& slow);
    void check_scalar(const InlineRow& row, bool exact_when_tiny, const Label& slow);
    void load_scalar(const Xmm& to, unsigned reg, const InlineRow& row, unsigned index = 0);
    void arithmetic(const InlineRow& row, unsigned operation, const Xmm& to, const Xmm& a,
                    const Xbyak::Operand& b);
    void multiply_add(const InlineRow& row, unsigned operation, const Xmm& to, const Xmm& a,
                      const Xbyak::Operand& b);
    void round_scalar(const InlineRow& row, unsigned mode);
    void emit_fp_move(const Op& op, const InlineRow& row);
    void emit_fp_sign(const Op& op, const InlineRow& row);
    void emit_fp_constant(const Op& op, const InlineRow& row);
    void emit_fp_to_general(const Op& op, const InlineRow& row);
    void emit_fp_from_general(const Op& op, const InlineRow& row);
    void emit_fp_two_source(const Op& op, const InlineRow& row);
    void emit_fp_element(const Op& op, const InlineRow& row);
    void emit_fp_pair_sum(const Op& op, const InlineRow& row);
    void emit_fp_extreme(const Op& op, const InlineRow& row);
    void emit_fp_square_root(const Op& op, const InlineRow& row);
    void emit_fp_multiply_add(const Op& op, const InlineRow& row);
    void emit_fp_compare(const Op& op, const InlineRow& row);
    void emit_fp_conditional_compare(const Op& op, const InlineRow& row);
    void emit_fp_select(const Op& op, const InlineRow& row);
    void emit_fp_convert_format(const Op& op, const InlineRow& row);
    void emit_fp_from_integer(const Op& op, const InlineRow& row);
    void emit_fp_to_integer(const Op& op, const InlineRow& row);
    void emit_fp_round(const Op& op, const InlineRow& row);
    void compare_scalars(unsigned rn, const Xbyak::Operand& with, const InlineRow& row, const Label& slow);

    // Floating point, vectors (emit_fp_vector.cpp).
    static std::span<const InlineRow> vector_fp_rows();
    void check_lanes(const InlineRow& row, bool exact_when_tiny, const Label& slow);
    void check_ordered(const InlineRow& row, const Xmm& a, const Xmm& b, const Label& slow);
    void load_vector(const Xmm& to, unsigned reg, const InlineRow& row);
    void load_element(const Xmm& to, unsigned reg, unsigned index, const InlineRow& row);
    void store_vector(unsigned reg, const Xmm& from, unsigned bytes);
    void emit_vfp_two_source(const Op& op, const InlineRow& row);
    void emit_vfp_difference(const Op& op, const InlineRow& row);
    void emit_vfp_multiply_add(const Op& op, const InlineRow& row);
    void emit_vfp_element(const Op& op, const InlineRow& row);
    void emit_vfp_pair_sum(const Op& op, const InlineRow& row);
    void emit_vfp_extreme(const Op& op, const InlineRow& row);
    void emit_vfp_square_root(const Op& op, const InlineRow& row);
    void emit_vfp_sign(const Op& op, const InlineRow& row);
    void compare_lanes(const Op& op, const InlineRow& row, const Label& slow);
    void emit_vfp_compare(const Op& op, const InlineRow& row);
    void emit_vfp_compare_zero(const Op& op, const InlineRow& row);
    void emit_vfp_from_integer(const Op& op, const InlineRow& row);
    void emit_vfp_to_integer(const Op& op, const InlineRow& row);
    void emit_vfp_round(const Op& op, const InlineRow& row);
    void emit_vfp_lengthen(const Op& op, const InlineRow& row);
    void emit_vfp_narrow(const Op& op, const InlineRow& row);

    // Integers (emit_simd.cpp, emit_simd_width.cpp). `size` is log2 of the lane's bytes; xmm0 to xmm5 are for everybody's use.
    static std::span<const InlineRow> simd_rows();
    static std::span<const InlineRow> simd_width_rows();
    void invert(const Xmm& reg);
    void splat(const Xmm& to, u64 value);
    void lane_add(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b);
    void lane_sub(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b);
    void lane_equal(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b);
    void lane_greater(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b);
    void lane_extreme(unsigned operation, unsigned size, const Xmm& to, const Xmm& a, const Xmm& b);
    void lane_higher_or_same(unsigned size);
    void lane_shift(unsigned size);
    static bool has_lane_operation(unsigned operation, unsigned size);
    void lane_operation(unsigned operation, unsigned size);
    void shift_lanes(unsigned operation, unsigned size, unsigned amount);
    void load_widened(const Xmm& to, unsigned reg, bool upper, unsigned size, bool is_signed);
    void emit_simd_three_same(const Op& op, const InlineRow& row);
    void emit_simd_scalar(const Op& op, const InlineRow& row);
    void emit_simd_compare_zero(const Op& op, const InlineRow& row);
    void emit_simd_by_element(const Op& op, const InlineRow& row);
    void emit_simd_pairwise(const Op& op, const InlineRow& row);
    void emit_simd_logical(const Op& op, const InlineRow& row);
    void emit_simd_saturating(const Op& op, const InlineRow& row);
    void emit_simd_one_source(const Op& op, const InlineRow& row);
    void emit_simd_pair_long(const Op& op, const InlineRow& row);
    void emit_simd_across(const Op& op, const InlineRow& row);
    void emit_simd_scalar_pair_sum(const Op& op, const InlineRow& row);
    void emit_simd_shift(const Op& op, const InlineRow& row);
    void emit_simd_narrow(const Op& op, const InlineRow& row);
    void emit_simd_shift_long(const Op& op, const InlineRow& row);
    void emit_simd_long(const Op& op, const InlineRow& row);
    void emit_simd_wide(const Op& op, const InlineRow& row);

    // Lanes moved (emit_simd_move.cpp).
    static std::span<const InlineRow> simd_move_rows();
    void broadcast(unsigned size, const Address& from);
    void interleave(unsigned size, bool high);
    void gather_even_first(unsigned size);
    void transpose(unsigned size, bool odd);
    void emit_simd_immediate(const Op& op, const InlineRow& row);
    void emit_simd_byte_mask(const Op& op, const InlineRow& row);
    void emit_simd_fmov_double(const Op& op, const InlineRow& row);
    void emit_simd_dup(const Op& op, const InlineRow& row);
    void emit_simd_dup_scalar(const Op& op, const InlineRow& row);
    void emit_simd_insert(const Op& op, const InlineRow& row);
    void emit_simd_extract(const Op& op, const InlineRow& row);
    void emit_simd_ext(const Op& op, const InlineRow& row);
    void emit_simd_table(const Op& op, const InlineRow& row);
    void emit_simd_permute(const Op& op, const InlineRow& row);
    void emit_simd_reverse(const Op& op, const InlineRow& row);

    // Loads and stores without an operation of the loop (emit_simd_memory.cpp).
    static std::span<const InlineRow> simd_memory_rows();
    void load_bytes(const Xmm& to, const Address& from, unsigned bytes);
    void store_bytes(const Address& to, const Xmm& from, unsigned bytes);
    void transfer_registers(unsigned first, unsigned second, unsigned count, unsigned bytes, bool load);
    int simd_address(const Op& op, const InlineRow& row, const Label& slow);
    void emit_simd_access(const Op& op, const InlineRow& row);
    void emit_simd_structures(const Op& op, const InlineRow& row);
    void emit_simd_replicate(const Op& op, const InlineRow& row);

    // ── Out of line ────────────────────────────────────────────────────────────────────────────────────────
    struct Slow {
        const Op* op = nullptr;
        bool called = false;  // the handler was called in line; only its unusual results come here
        Label entry;
        Label back;
    };
    struct Taken {
        Op* op = nullptr;
        Label entry;
    };
    void emit_out_of_line();

    bool flags_needed(std::size_t op) const { return flags_needed_[op]; }
    void find_needed_flags();

    const Environment& env_;
    Block& block_;
    const void** links_;
    u8* const state_;  // what rbp points to
    Label entry_;
    std::vector<HotOp> hot_;
    std::vector<bool> flags_needed_;
    std::size_t current_ = 0;
    HostFlags host_flags_ = HostFlags::none;
    std::vector<std::unique_ptr<Slow>> slow_;
    std::vector<std::unique_ptr<Taken>> taken_;
    std::vector<std::unique_ptr<Taken>> leaving_;  // links to be resolved
    std::vector<const u8*> unresolved_;
    std::vector<u16> offsets_;
    std::vector<std::unique_ptr<Taken>> stops_;
};

}  // namespace vmm::arch::x64
