// Host code of the loads and stores of SIMD&FP registers that the interpreter's loop has no operation for.

#include <bit>

#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

// InlineRow::operation: an addressing mode, and whether it is a load. `lane_bytes` is the size of a register's part in
// memory, `lanes` their number.
enum Mode : u8 {
    kUnsignedOffset,
    kUnscaled,
    kPostIndex,
    kPreIndex,
    kRegisterOffset,
    kLiteral,
    kPairOffset,
    kPairPost,
    kPairPre
};
constexpr u8 kModeMask = 15;
constexpr u8 kLoads = 16;

unsigned base_slot(const Op& op) {
    return rn_of(op) == 31 ? kSp : rn_of(op);
}
int imm9_of(const Op& op) {
    return static_cast<int>(sign_extend(op.insn >> 12 & 0x1FF, 9));
}
int imm7_of(const Op& op) {
    return static_cast<int>(sign_extend(op.insn >> 15 & 0x7F, 7));
}

}  // namespace

void Emitter::load_bytes(const Xmm& to, const Address& from, unsigned bytes) {
    switch (bytes) {
        case 1:
            vpxor(to, to, to);
            vpinsrb(to, to, from, 0);
            break;
        case 2:
            vpxor(to, to, to);
            vpinsrw(to, to, from, 0);
            break;
        case 4: vmovss(to, from); break;
        case 8: vmovsd(to, from); break;
        default: vmovups(to, from); break;
    }
}

void Emitter::store_bytes(const Address& to, const Xmm& from, unsigned bytes) {
    switch (bytes) {
        case 1: vpextrb(to, from, 0); break;
        case 2: vpextrw(to, from, 0); break;
        case 4: vmovss(to, from); break;
        case 8: vmovsd(to, from); break;
        default: vmovups(to, from); break;
    }
}

/// `count` registers from `first` on, to or from the host address rax + rsi.
void Emitter::transfer_registers(unsigned first, unsigned second, unsigned count, unsigned bytes, bool load) {
    const unsigned stride = count == 2 ? (second - first) & 31 : 1;
    for (unsigned i = 0; i < count; ++i) {
        const Xmm part(static_cast<int>(i));
        load ? load_bytes(part, ptr[rax + rsi + static_cast<int>(i * bytes)], bytes)
             : vmovaps(part, vreg((first + i * stride) & 31));
    }
    for (unsigned i = 0; i < count; ++i) {
        const Xmm part(static_cast<int>(i));
        load ? vmovaps(vreg((first + i * stride) & 31), part)
             : store_bytes(ptr[rax + rsi + static_cast<int>(i * bytes)], part, bytes);
    }
}

/// Leaves the access's virtual address in rax. Returns what write-back adds to it.
int Emitter::simd_address(const Op& op, const InlineRow& row, const Label& slow) {
    const unsigned mode = row.operation & kModeMask;
    const int scale = row.lane_bytes;
    if (mode == kLiteral) {
        const int offset = static_cast<int>(sign_extend(op.insn >> 5 & 0x7FFFF, 19)) * 4;
        lea(rax, ptr[r14 + page_offset(op) + offset]);
        return 0;
    }
    if (rn_of(op) == 31) {
        check_sp(slow);
    }
    load(rax, base_slot(op));
    int offset = 0;
    int added = 0;
    switch (mode) {
        case kUnsignedOffset: offset = static_cast<int>(op.insn >> 10 & 0xFFF) * scale; break;
        case kUnscaled:
        case kPreIndex: offset = imm9_of(op); break;
        case kPostIndex: added = imm9_of(op); break;
        case kPairOffset:
        case kPairPre: offset = imm7_of(op) * scale; break;
        case kPairPost: added = imm7_of(op) * scale; break;
        default: {  // a register
            const bool is_signed = bit(op.insn, 15);
            if (bit(op.insn, 13)) {
                load(rcx, rm_of(op));
            } else if (is_signed) {
                movsxd(rcx, x32(rm_of(op)));
            } else {
                load32(ecx, rm_of(op));
            }
            if (bit(op.insn, 12)) {
                shl(rcx, std::countr_zero(row.lane_bytes));
            }
            add(rax, rcx);
            break;
        }
    }
    if (offset != 0) {
        add(rax, offset);
    }
    return added;
}

void Emitter::emit_simd_access(const Op& op, const InlineRow& row) {
    const unsigned mode = row.operation & kModeMask;
    const bool loads = (row.operation & kLoads) != 0;
    const Label& slow = slow_path(op);
    const int added = simd_address(op, row, slow);
    probe(row.bytes(), loads ? Direction::load : Direction::store, slow);
    transfer_registers(rd_of(op), ra_of(op), row.lanes, row.lane_bytes, loads);
    if (mode == kPostIndex || mode == kPairPost) {
        add(rax, added);
    }
    if (mode == kPostIndex || mode == kPairPost || mode == kPreIndex || mode == kPairPre) {
        store(base_slot(op), rax);
    }
    finish();
}

/// LD1 and ST1 of `lanes` whole registers.
void Emitter::emit_simd_structures(const Op& op, const InlineRow& row) {
    const bool loads = (row.operation & kLoads) != 0;
    const bool post_index = (row.operation & kModeMask) == kPostIndex;
    const unsigned bytes = row.lanes * bytes_of(op);
    const Label& slow = slow_path(op);
    if (rn_of(op) == 31) {
        check_sp(slow);
    }
    load(rax, base_slot(op));
    probe(bytes, loads ? Direction::load : Direction::store, slow);
    transfer_registers(rd_of(op), rd_of(op) + 1, row.lanes, bytes_of(op), loads);
    if (post_index) {
        if (rm_of(op) == 31) {
            add(rax, bytes);
        } else {
            add(rax, x64(rm_of(op)));
        }
        store(base_slot(op), rax);
    }
    finish();
}

/// LD1R.
void Emitter::emit_simd_replicate(const Op& op, const InlineRow& row) {
    const bool post_index = (row.operation & kModeMask) == kPostIndex;
    const Label& slow = slow_path(op);
    if (rn_of(op) == 31) {
        check_sp(slow);
    }
    load(rax, base_slot(op));
    probe(row.lane_bytes, Direction::load, slow);
    broadcast(static_cast<unsigned>(std::countr_zero(row.lane_bytes)), ptr[rax + rsi]);
    store_vector(rd_of(op), xmm0, bytes_of(op));
    if (post_index) {
        if (rm_of(op) == 31) {
            add(rax, row.lane_bytes);
        } else {
            add(rax, x64(rm_of(op)));
        }
        store(base_slot(op), rax);
    }
    finish();
}

// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::simd_memory_rows() {
    using E = Emitter;
#define LOAD_STORE(form, mode, letter, bytes, count)                                \
    {#form "<Ldr" letter ">", &E::emit_simd_access, mode | kLoads, bytes, count}, { \
#form "<Str" letter ">", &E::emit_simd_access, mode, bytes, count           \
    }
#define REGISTERS(form, mode)                                                                                \
    LOAD_STORE(form, mode, "B", 1, 1), LOAD_STORE(form, mode, "H", 2, 1), LOAD_STORE(form, mode, "S", 4, 1), \
        LOAD_STORE(form, mode, "D", 8, 1), LOAD_STORE(form, mode, "Q", 16, 1)
#define PAIR(form, mode, letter, bytes)                                         \
    {#form "<Ldp" letter ">", &E::emit_simd_access, mode | kLoads, bytes, 2}, { \
#form "<Stp" letter ">", &E::emit_simd_access, mode, bytes, 2           \
    }
#define PAIRS(form, mode) PAIR(form, mode, "S", 4), PAIR(form, mode, "D", 8), PAIR(form, mode, "Q", 16)
#define STRUCTURE(form, mode, type, count)                                                     \
    {#form "<Ld1x" #count "<" type ">>", &E::emit_simd_structures, mode | kLoads, 0, count}, { \
#form "<St1x" #count "<" type ">>", &E::emit_simd_structures, mode, 0, count           \
    }
#define STRUCTURES(form, mode, type)                                                                \
    STRUCTURE(form, mode, type, 1), STRUCTURE(form, mode, type, 2), STRUCTURE(form, mode, type, 3), \
        STRUCTURE(form, mode, type, 4)
    static constexpr InlineRow kRows[] = {
        REGISTERS(fp_unsigned_offset, kUnsignedOffset),
        REGISTERS(fp_unscaled, kUnscaled),
        REGISTERS(fp_post_index, kPostIndex),
        REGISTERS(fp_pre_index, kPreIndex),
        REGISTERS(fp_register_offset, kRegisterOffset),
        {"fp_literal<LdrS>", &E::emit_simd_access, kLiteral | kLoads, 4, 1},
        {"fp_literal<LdrD>", &E::emit_simd_access, kLiteral | kLoads, 8, 1},
        {"fp_literal<LdrQ>", &E::emit_simd_access, kLiteral | kLoads, 16, 1},
        PAIRS(fp_pair_offset, kPairOffset),
        PAIRS(fp_pair_post_index, kPairPost),
        PAIRS(fp_pair_pre_index, kPairPre),
        STRUCTURES(structures, kUnscaled, "u8"),
        STRUCTURES(structures, kUnscaled, "u16"),
        STRUCTURES(structures, kUnscaled, "u32"),
        STRUCTURES(structures, kUnscaled, "u64"),
        STRUCTURES(structures_post, kPostIndex, "u8"),
        STRUCTURES(structures_post, kPostIndex, "u16"),
        STRUCTURES(structures_post, kPostIndex, "u32"),
        STRUCTURES(structures_post, kPostIndex, "u64"),
        {"structures<Ld1r<u8>>", &E::emit_simd_replicate, kUnscaled, 1},
        {"structures<Ld1r<u16>>", &E::emit_simd_replicate, kUnscaled, 2},
        {"structures<Ld1r<u32>>", &E::emit_simd_replicate, kUnscaled, 4},
        {"structures<Ld1r<u64>>", &E::emit_simd_replicate, kUnscaled, 8},
        {"structures_post<Ld1r<u8>>", &E::emit_simd_replicate, kPostIndex, 1},
        {"structures_post<Ld1r<u16>>", &E::emit_simd_replicate, kPostIndex, 2},
        {"structures_post<Ld1r<u32>>", &E::emit_simd_replicate, kPostIndex, 4},
        {"structures_post<Ld1r<u64>>", &E::emit_simd_replicate, kPostIndex, 8},
    };
#undef LOAD_STORE
#undef REGISTERS
#undef PAIR
#undef PAIRS
#undef STRUCTURE
#undef STRUCTURES
    return kRows;
}

}  // namespace vmm::arch::x64
