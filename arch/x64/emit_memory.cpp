// Host code of loads and stores.

#include <array>
#include <iterator>

#include "arch/x64/emitter.h"

namespace vmm::arch::x64 {

namespace {

/// Addressing modes in the order of VMM_ADDRESS_MODES.
enum Mode : unsigned { kImm, kSpImm, kReg, kUxtw, kSxtw, kPre, kPost, kModes };

struct Shape {
    u8 bytes;
    bool is_load;
    bool sign_extend;
    bool wide;  // sign extension to 64 bits
};

/// In the order of VMM_LOAD_SHAPES and VMM_STORE_SHAPES.
constexpr Shape kShapes[] = {
    {1, true, false, false},  {2, true, false, false},  {4, true, false, false},  {8, true, false, false},
    {1, true, true, true},    {2, true, true, true},    {4, true, true, true},    {1, true, true, false},
    {2, true, true, false},   {1, false, false, false}, {2, false, false, false}, {4, false, false, false},
    {8, false, false, false},
};
static_assert(std::size(kShapes) * kModes ==
              static_cast<unsigned>(HotOp::str64_post) - static_cast<unsigned>(HotOp::ldr8_imm) + 1);

constexpr unsigned kVectorBytes = 16;

}  // namespace

/// Leaves the access's virtual address in rax.
void Emitter::address(const Op& op, unsigned mode) {
    switch (mode) {
        case kReg:
            load(rax, op.rm);
            shl(rax, op.aux);
            add(rax, x64(op.rn));
            break;
        case kUxtw:
            load32(eax, op.rm);
            shl(rax, op.aux);
            add(rax, x64(op.rn));
            break;
        case kSxtw:
            movsxd(rax, x32(op.rm));
            shl(rax, op.aux);
            add(rax, x64(op.rn));
            break;
        case kPost: load(rax, op.rn); break;
        default:
            load(rax, op.rn);
            if (op.imm != 0) {
                add(rax, op.imm);
            }
            break;
    }
}

/// Looks up the page of [rax, rax + bytes) in the first-level TLB; the host address is then rax + rsi.
void Emitter::probe(unsigned bytes, Direction direction, const Label& slow, bool unprivileged) {
    static_assert(sizeof(TlbEntry) == 32 && kPageShift == 12);
    const TlbEntry& first = env_.vcpu->tlb_.entry(0);
    const u64& tag = direction == Direction::load ? first.read_tag : first.write_tag;
    mov(ecx, eax);
    shr(ecx, 7);
    and_(ecx, (Tlb::kEntries - 1) * 32);
    if (bytes == 1) {
        mov(rdx, rax);
    } else {
        lea(rdx, ptr[rax + static_cast<int>(bytes - 1)]);
    }
    and_(rdx, static_cast<s32>(kPageMask));
    or_(rdx, at64(unprivileged ? &env_.vcpu->unprivileged_ctx_ : &env_.vcpu->ctx_));
    cmp(rdx, qword[rbp + rcx + displacement(&tag)]);
    jne(slow, T_NEAR);
    mov(rsi, qword[rbp + rcx + displacement(&first.addend)]);
}

void Emitter::check_sp(const Label& slow) {
    test(byte[rbp + register_displacement(kSp)], 15);
    jnz(slow, T_NEAR);
}

void Emitter::write_back(const Op& op, unsigned mode) {
    if (mode == kPost) {
        add(rax, op.imm);
    }
    if (mode == kPre || mode == kPost) {
        store(op.rn, rax);
    }
}

/// Where the operation goes on by its reference handler when the fast path does not fit.
const Xbyak::Label& Emitter::slow_path(const Op& op) {
    slow_.push_back(std::make_unique<Slow>());
    slow_.back()->op = &op;
    return slow_.back()->entry;
}

/// rdx = what is at rax + rsi, extended.
void Emitter::load_value(unsigned bytes, bool sign_extend, bool wide) {
    switch (bytes) {
        case 1:
            if (!sign_extend) {
                movzx(edx, byte[rax + rsi]);
            } else {
                wide ? movsx(rdx, byte[rax + rsi]) : movsx(edx, byte[rax + rsi]);
            }
            break;
        case 2:
            if (!sign_extend) {
                movzx(edx, word[rax + rsi]);
            } else {
                wide ? movsx(rdx, word[rax + rsi]) : movsx(edx, word[rax + rsi]);
            }
            break;
        case 4: sign_extend ? movsxd(rdx, dword[rax + rsi]) : mov(edx, dword[rax + rsi]); break;
        default: mov(rdx, qword[rax + rsi]); break;
    }
}

/// Stores rdx at rax + rsi.
void Emitter::store_value(unsigned bytes) {
    switch (bytes) {
        case 1: mov(byte[rax + rsi], dl); break;
        case 2: mov(word[rax + rsi], dx); break;
        case 4: mov(dword[rax + rsi], edx); break;
        default: mov(qword[rax + rsi], rdx); break;
    }
}

void Emitter::emit_load_store(const Op& op) {
    const unsigned index = static_cast<unsigned>(hot_[current_]) - static_cast<unsigned>(HotOp::ldr8_imm);
    const Shape& shape = kShapes[index / kModes];
    const unsigned mode = index % kModes;
    const Label& slow = slow_path(op);
    if (mode == kSpImm) {
        check_sp(slow);
    }
    address(op, mode);
    probe(shape.bytes, shape.is_load ? Direction::load : Direction::store, slow);
    if (shape.is_load) {
        load_value(shape.bytes, shape.sign_extend, shape.wide);
    } else {
        load(rdx, op.rd);
        store_value(shape.bytes);
    }
    write_back(op, mode);
    if (shape.is_load) {
        store(op.rd, rdx);
    }
    L(slow_.back()->back);
}

/// LDP and STP of two registers of `bytes` each.
void Emitter::emit_pair(const Op& op, Direction direction, unsigned bytes, unsigned mode, bool from_sp) {
    const Label& slow = slow_path(op);
    if (from_sp) {
        check_sp(slow);
    }
    address(op, mode);
    probe(2 * bytes, direction, slow);
    const bool wide = bytes == 8;
    if (direction == Direction::load) {
        if (wide) {
            mov(rdx, qword[rax + rsi]);
            mov(rcx, qword[rax + rsi + 8]);
        } else {
            mov(edx, dword[rax + rsi]);
            mov(ecx, dword[rax + rsi + 4]);
        }
        write_back(op, mode);
        store(op.rd, rdx);
        store(op.ra, rcx);
    } else {
        load(rdx, op.rd);
        load(rcx, op.ra);
        if (wide) {
            mov(qword[rax + rsi], rdx);
            mov(qword[rax + rsi + 8], rcx);
        } else {
            mov(dword[rax + rsi], edx);
            mov(dword[rax + rsi + 4], ecx);
        }
        write_back(op, mode);
    }
    L(slow_.back()->back);
}

void Emitter::emit_vector(const Op& op, Direction direction, unsigned bytes, unsigned mode) {
    const Label& slow = slow_path(op);
    if (mode == kImm && op.rm != 0) {  // the base is SP
        check_sp(slow);
    }
    address(op, mode);
    probe(bytes, direction, slow);
    const Address reg = ptr[rbp + displacement(&env_.vcpu->s.v[op.rd])];
    if (direction == Direction::load) {
        switch (bytes) {
            case 4: movd(xmm0, dword[rax + rsi]); break;
            case 8: movq(xmm0, qword[rax + rsi]); break;
            default: movups(xmm0, ptr[rax + rsi]); break;
        }
        movaps(reg, xmm0);
    } else {
        movaps(xmm0, reg);
        switch (bytes) {
            case 4: movd(dword[rax + rsi], xmm0); break;
            case 8: movq(qword[rax + rsi], xmm0); break;
            default: movups(ptr[rax + rsi], xmm0); break;
        }
    }
    write_back(op, mode);
    L(slow_.back()->back);
}

void Emitter::emit_vector_pair(const Op& op, Direction direction) {
    const Label& slow = slow_path(op);
    if (op.rm != 0) {
        check_sp(slow);
    }
    address(op, kImm);
    probe(2 * kVectorBytes, direction, slow);
    const Address first = ptr[rbp + displacement(&env_.vcpu->s.v[op.rd])];
    const Address second = ptr[rbp + displacement(&env_.vcpu->s.v[op.ra])];
    if (direction == Direction::load) {
        movups(xmm0, ptr[rax + rsi]);
        movups(xmm1, ptr[rax + rsi + kVectorBytes]);
        movaps(first, xmm0);
        movaps(second, xmm1);
    } else {
        movaps(xmm0, first);
        movaps(xmm1, second);
        movups(ptr[rax + rsi], xmm0);
        movups(ptr[rax + rsi + kVectorBytes], xmm1);
    }
    L(slow_.back()->back);
}

// ── Forms that the lowering leaves to their handlers, by instruction word ──────────────────────────────────

/// One register, C4.1 "Load/store register" with base SP, with write-back, unprivileged.
bool Emitter::emit_load_store_word(const Op& op) {
    const u32 insn = op.insn;
    const unsigned bytes = 1u << bits(insn, 31, 30);
    const unsigned opc = static_cast<unsigned>(bits(insn, 23, 22));
    const unsigned rn = static_cast<unsigned>(bits(insn, 9, 5));
    const unsigned rt = static_cast<unsigned>(bits(insn, 4, 0));
    const bool is_load = opc != 0;
    if ((opc >= 2 && bytes == 8) || (opc == 3 && bytes == 4)) {
        return false;  // prefetches, unallocated
    }
    Op access;
    access.rn = static_cast<u8>(rn == 31 ? kSp : rn);
    unsigned mode = kImm;
    bool unprivileged = false;
    if (bit(insn, 21)) {
        const unsigned option = static_cast<unsigned>(bits(insn, 15, 13));
        if (bits(insn, 11, 10) != 2 || (option & 2) == 0) {
            return false;
        }
        mode = option == 2 ? kUxtw : option == 6 ? kSxtw : kReg;
        access.rm = static_cast<u8>(bits(insn, 20, 16));
        access.aux = static_cast<u8>(bit(insn, 12) ? bits(insn, 31, 30) : 0);
    } else {
        access.imm = static_cast<s32>(sign_extend(bits(insn, 20, 12), 9));
        static constexpr unsigned kForms[4] = {kImm, kPost, kImm, kPre};
        mode = kForms[bits(insn, 11, 10)];
        unprivileged = bits(insn, 11, 10) == 2;
        if (mode != kImm && rn == rt) {
            return false;
        }
    }
    const Label& slow = slow_path(op);
    if (rn == 31) {
        check_sp(slow);
    }
    address(access, mode);
    probe(bytes, is_load ? Direction::load : Direction::store, slow, unprivileged);
    if (is_load) {
        load_value(bytes, opc >= 2, opc == 2);
    } else {
        load(rdx, rt);
        store_value(bytes);
    }
    write_back(access, mode);
    if (is_load) {
        store(rt == 31 ? kSink : rt, rdx);
    }
    L(slow_.back()->back);
    return true;
}

/// Pairs of general registers: LDPSW, 32-bit ones with write-back or from SP, stack forms.
bool Emitter::emit_pair_word(const Op& op) {
    const u32 insn = op.insn;
    const unsigned opc = static_cast<unsigned>(bits(insn, 31, 30));
    const bool is_load = bit(insn, 22);
    const unsigned rn = static_cast<unsigned>(bits(insn, 9, 5));
    const unsigned rt = static_cast<unsigned>(bits(insn, 4, 0));
    const unsigned rt2 = static_cast<unsigned>(bits(insn, 14, 10));
    const unsigned form =
        static_cast<unsigned>(bits(insn, 24, 23));  // 0 no-allocate, 1 post, 2 offset, 3 pre
    const bool writes_back = (form & 1) != 0;
    if (opc == 3 || (opc == 1 && (!is_load || form == 0)) || (is_load && rt == rt2) ||
        (writes_back && (rn == rt || rn == rt2))) {
        return false;
    }
    const unsigned bytes = opc == 2 ? 8 : 4;
    const unsigned mode = form == 1 ? kPost : form == 3 ? kPre : kImm;
    Op access;
    access.rn = static_cast<u8>(rn == 31 ? kSp : rn);
    access.imm = static_cast<s32>(sign_extend(bits(insn, 21, 15), 7)) * static_cast<s32>(bytes);
    const Label& slow = slow_path(op);
    if (rn == 31) {
        check_sp(slow);
    }
    address(access, mode);
    probe(2 * bytes, is_load ? Direction::load : Direction::store, slow);
    if (!is_load) {
        load(rdx, rt);
        store_value(bytes);
        load(rdx, rt2);
        bytes == 8 ? mov(qword[rax + rsi + 8], rdx) : mov(dword[rax + rsi + 4], edx);
        write_back(access, mode);
    } else {
        load_value(bytes, opc == 1, true);
        switch (opc) {
            case 0: mov(ecx, dword[rax + rsi + 4]); break;
            case 1: movsxd(rcx, dword[rax + rsi + 4]); break;
            default: mov(rcx, qword[rax + rsi + 8]); break;
        }
        write_back(access, mode);
        store(rt == 31 ? kSink : rt, rdx);
        store(rt2 == 31 ? kSink : rt2, rcx);
    }
    L(slow_.back()->back);
    return true;
}

bool Emitter::emit_memory_word(const Op& op) {
    const u32 insn = op.insn;
    if (bit(insn, 26)) {
        return false;  // SIMD&FP
    }
    switch (bits(insn, 29, 27)) {
        case 0b111:
            if (!bit(insn, 24) && bit(insn, 21) && bits(insn, 11, 10) == 0) {
                return emit_atomic(op);
            }
            return bit(insn, 24) ? false : emit_load_store_word(op);
        case 0b101: return !bit(insn, 25) && emit_pair_word(op);
        case 0b001: return emit_exclusive_or_ordered(op);
        default: return false;
    }
}

bool Emitter::emit_memory(Op& op) {
    constexpr Direction kLoad = Direction::load;
    constexpr Direction kStore = Direction::store;
    const HotOp hot = hot_[current_];
    if (hot >= HotOp::ldr8_imm && hot <= HotOp::str64_post) {
        emit_load_store(op);
        return true;
    }
    switch (hot) {
        case HotOp::ldp64_imm: emit_pair(op, kLoad, 8, kImm, false); return true;
        case HotOp::ldp64_sp: emit_pair(op, kLoad, 8, kImm, true); return true;
        case HotOp::ldp64_pre: emit_pair(op, kLoad, 8, kPre, false); return true;
        case HotOp::ldp64_post: emit_pair(op, kLoad, 8, kPost, false); return true;
        case HotOp::ldp64_sp_post: emit_pair(op, kLoad, 8, kPost, true); return true;
        case HotOp::ldp32_imm: emit_pair(op, kLoad, 4, kImm, false); return true;
        case HotOp::stp64_imm: emit_pair(op, kStore, 8, kImm, false); return true;
        case HotOp::stp64_sp: emit_pair(op, kStore, 8, kImm, true); return true;
        case HotOp::stp64_pre: emit_pair(op, kStore, 8, kPre, false); return true;
        case HotOp::stp64_post: emit_pair(op, kStore, 8, kPost, false); return true;
        case HotOp::stp64_sp_pre: emit_pair(op, kStore, 8, kPre, true); return true;
        case HotOp::stp32_imm: emit_pair(op, kStore, 4, kImm, false); return true;
        case HotOp::ldrq_imm: emit_vector(op, kLoad, 16, kImm); return true;
        case HotOp::strq_imm: emit_vector(op, kStore, 16, kImm); return true;
        case HotOp::ldrd_imm: emit_vector(op, kLoad, 8, kImm); return true;
        case HotOp::strd_imm: emit_vector(op, kStore, 8, kImm); return true;
        case HotOp::ldrs_imm: emit_vector(op, kLoad, 4, kImm); return true;
        case HotOp::strs_imm: emit_vector(op, kStore, 4, kImm); return true;
        case HotOp::ldrq_post: emit_vector(op, kLoad, 16, kPost); return true;
        case HotOp::strq_post: emit_vector(op, kStore, 16, kPost); return true;
        case HotOp::ldrd_reg: emit_vector(op, kLoad, 8, kReg); return true;
        case HotOp::strd_reg: emit_vector(op, kStore, 8, kReg); return true;
        case HotOp::ldpq_imm: emit_vector_pair(op, kLoad); return true;
        case HotOp::stpq_imm: emit_vector_pair(op, kStore); return true;
        case HotOp::ldr_lit64:
        case HotOp::ldr_lit32: {
            const Label& slow = slow_path(op);
            lea(rax, ptr[r14 + op.imm]);
            const bool wide = hot == HotOp::ldr_lit64;
            probe(wide ? 8 : 4, kLoad, slow);
            wide ? mov(rdx, qword[rax + rsi]) : mov(edx, dword[rax + rsi]);
            store(op.rd, rdx);
            L(slow_.back()->back);
            return true;
        }
        default: return false;
    }
}

}  // namespace vmm::arch::x64
