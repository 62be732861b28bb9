// Host code of Advanced SIMD that moves lanes and bits: immediates, elements, permutations, table lookup.

#include <bit>

#include "arch/fp/fp.h"
#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

enum Immediate : u8 { kMove, kMoveInverted, kOr, kClear };
enum Permutation : u8 { kZip1, kZip2, kUzp1, kUzp2, kTrn1, kTrn2 };

u32 imm8_of(const Op& op) {
    return (op.insn >> 16 & 7) << 5 | (op.insn >> 5 & 31);
}

// imm5 of the copies: the lowest set bit tells the size, the bits above it the index.
unsigned copy_size(const Op& op) {
    return static_cast<unsigned>(std::countr_zero((op.insn >> 16 & 31) | 32));
}
unsigned copy_offset(const Op& op) {
    const unsigned size = copy_size(op);
    return (op.insn >> 16 & 31) >> (size + 1) << size;
}

/// AdvSIMDExpandImm() for op = 0.
u64 expand_immediate(unsigned cmode, u64 imm8) {
    if (cmode < 8) {
        return replicate(imm8 << (8 * (cmode >> 1)), 32);
    }
    if (cmode < 12) {
        return replicate(imm8 << (8 * (cmode >> 1 & 1)), 16);
    }
    switch (cmode) {
        case 12: return replicate(imm8 << 8 | 0xFF, 32);
        case 13: return replicate(imm8 << 16 | 0xFFFF, 32);
        case 14: return replicate(imm8, 8);
        default: return replicate(fp::expand_immediate<u32>(static_cast<u32>(imm8)), 32);
    }
}

}  // namespace

// ── Immediates ─────────────────────────────────────────────────────────────────────────────────────────────

void Emitter::emit_simd_immediate(const Op& op, const InlineRow& row) {
    const u64 value = expand_immediate(op.insn >> 12 & 15, imm8_of(op));
    splat(xmm0, row.operation == kMoveInverted ? ~value : value);
    if (row.operation == kOr) {
        vpor(xmm0, xmm0, vreg(rd_of(op)));
    } else if (row.operation == kClear) {
        vpandn(xmm0, xmm0, vreg(rd_of(op)));
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// MOVI of 64 bits: each bit of the immediate becomes a byte.
void Emitter::emit_simd_byte_mask(const Op& op, const InlineRow&) {
    u64 value = 0;
    for (unsigned i = 0; i < 8; ++i) {
        value |= bit(imm8_of(op), i) ? u64{0xFF} << (8 * i) : 0;
    }
    splat(xmm0, value);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

void Emitter::emit_simd_fmov_double(const Op& op, const InlineRow&) {
    splat(xmm0, fp::expand_immediate<u64>(imm8_of(op)));
    store_vector(rd_of(op), xmm0, 16);
}

// ── Elements ───────────────────────────────────────────────────────────────────────────────────────────────

void Emitter::broadcast(unsigned size, const Address& from) {
    switch (size) {
        case 0: vpbroadcastb(xmm0, from); break;
        case 1: vpbroadcastw(xmm0, from); break;
        case 2: vpbroadcastd(xmm0, from); break;
        default: vpbroadcastq(xmm0, from); break;
    }
}

/// DUP of an element; `operation` 1: of a general register.
void Emitter::emit_simd_dup(const Op& op, const InlineRow& row) {
    const unsigned size = copy_size(op);
    if (size > 3 || (size == 3 && !q_of(op))) {
        emit_call(op);
        return;
    }
    if (row.operation == 1) {
        broadcast(size, ptr[rbp + register_displacement(rn_of(op))]);
    } else {
        broadcast(size, vreg(rn_of(op), copy_offset(op)));
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

void Emitter::emit_simd_dup_scalar(const Op& op, const InlineRow&) {
    const Address from = vreg(rn_of(op), copy_offset(op));
    switch (copy_size(op)) {
        case 0:
            vpxor(xmm0, xmm0, xmm0);
            vpinsrb(xmm0, xmm0, from, 0);
            break;
        case 1:
            vpxor(xmm0, xmm0, xmm0);
            vpinsrw(xmm0, xmm0, from, 0);
            break;
        case 2: vmovss(xmm0, from); break;
        case 3: vmovsd(xmm0, from); break;
        default: emit_call(op); return;
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

/// INS from a general register; `operation` 1: from an element. By way of the whole register, so that later loads of it find
/// one store.
void Emitter::emit_simd_insert(const Op& op, const InlineRow& row) {
    const unsigned size = copy_size(op);
    if (size > 3) {
        emit_call(op);
        return;
    }
    const u8 index = static_cast<u8>(copy_offset(op) >> size);
    const Address from = row.operation == 1 ? vreg(rn_of(op), (op.insn >> 11 & 15) >> size << size)
                                            : ptr[rbp + register_displacement(rn_of(op))];
    vmovaps(xmm0, vreg(rd_of(op)));
    switch (size) {
        case 0: vpinsrb(xmm0, xmm0, from, index); break;
        case 1: vpinsrw(xmm0, xmm0, from, index); break;
        case 2: vpinsrd(xmm0, xmm0, from, index); break;
        default: vpinsrq(xmm0, xmm0, from, index); break;
    }
    vmovaps(vreg(rd_of(op)), xmm0);
}

/// UMOV; `operation` 1: SMOV.
void Emitter::emit_simd_extract(const Op& op, const InlineRow& row) {
    const unsigned size = copy_size(op);
    const bool is_signed = row.operation == 1;
    const bool valid = is_signed ? size < 2 || (size == 2 && q_of(op)) : size <= 3 && (size == 3) == q_of(op);
    if (!valid) {
        emit_call(op);
        return;
    }
    if (rd_of(op) == 31) {
        return;
    }
    const int at = displacement(&env_.vcpu->s.v[rn_of(op)]) + static_cast<int>(copy_offset(op));
    switch (size) {
        case 0:
            if (is_signed) {
                q_of(op) ? movsx(rax, byte[rbp + at]) : movsx(eax, byte[rbp + at]);
            } else {
                movzx(eax, byte[rbp + at]);
            }
            break;
        case 1:
            if (is_signed) {
                q_of(op) ? movsx(rax, word[rbp + at]) : movsx(eax, word[rbp + at]);
            } else {
                movzx(eax, word[rbp + at]);
            }
            break;
        case 2: is_signed ? movsxd(rax, dword[rbp + at]) : mov(eax, dword[rbp + at]); break;
        default: mov(rax, qword[rbp + at]); break;
    }
    store(rd_of(op), rax);
}

// ── Permutations ───────────────────────────────────────────────────────────────────────────────────────────

void Emitter::emit_simd_ext(const Op& op, const InlineRow&) {
    const u8 index = static_cast<u8>(op.insn >> 11 & 15);
    if (q_of(op)) {
        vmovaps(xmm0, vreg(rm_of(op)));
        vpalignr(xmm0, xmm0, vreg(rn_of(op)), index);
        vmovaps(vreg(rd_of(op)), xmm0);
        return;
    }
    if (index >= 8) {
        emit_call(op);
        return;
    }
    vmovq(xmm0, vreg(rn_of(op)));
    vmovhps(xmm0, xmm0, vreg(rm_of(op)));
    vpsrldq(xmm0, xmm0, index);
    store_vector(rd_of(op), xmm0, 8);
}

/// TBL: PSHUFB clears bytes whose index has bit 7 set; the saturating addition sets it in every index above 15.
void Emitter::emit_simd_table(const Op& op, const InlineRow&) {
    const unsigned registers = (op.insn >> 13 & 3) + 1;
    splat(xmm3, 0x7070'7070'7070'7070);
    vmovaps(xmm1, vreg(rm_of(op)));
    if (registers > 1) {
        splat(xmm4, 0x1010'1010'1010'1010);
    }
    for (unsigned i = 0; i < registers; ++i) {
        const Xmm& part = i == 0 ? xmm0 : xmm5;
        vpaddusb(xmm2, xmm1, xmm3);
        vmovaps(part, vreg((rn_of(op) + i) % 32));
        vpshufb(part, part, xmm2);
        if (i != 0) {
            vpor(xmm0, xmm0, part);
        }
        if (i + 1 < registers) {
            vpsubb(xmm1, xmm1, xmm4);
        }
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

void Emitter::interleave(unsigned size, bool high) {
    switch (size) {
        case 0: high ? vpunpckhbw(xmm0, xmm0, xmm1) : vpunpcklbw(xmm0, xmm0, xmm1); break;
        case 1: high ? vpunpckhwd(xmm0, xmm0, xmm1) : vpunpcklwd(xmm0, xmm0, xmm1); break;
        case 2: high ? vpunpckhdq(xmm0, xmm0, xmm1) : vpunpckldq(xmm0, xmm0, xmm1); break;
        default: high ? vpunpckhqdq(xmm0, xmm0, xmm1) : vpunpcklqdq(xmm0, xmm0, xmm1); break;
    }
}

/// xmm0, xmm1 = the even lanes of both in the lower half, the odd ones in the upper; below 64 bits.
void Emitter::gather_even_first(unsigned size) {
    vpshufb(xmm0, xmm0, constant(&env_.constants->even_first[size]));
    vpshufb(xmm1, xmm1, constant(&env_.constants->even_first[size]));
}

/// TRN of lanes below 64 bits: half of every pair from each source.
void Emitter::transpose(unsigned size, bool odd) {
    const Xmm& shifted = odd ? xmm0 : xmm1;
    const u8 lane_bits = static_cast<u8>(8u << size);
    switch (size) {
        case 0: odd ? vpsrlw(shifted, shifted, lane_bits) : vpsllw(shifted, shifted, lane_bits); break;
        case 1: odd ? vpsrld(shifted, shifted, lane_bits) : vpslld(shifted, shifted, lane_bits); break;
        default: odd ? vpsrlq(shifted, shifted, lane_bits) : vpsllq(shifted, shifted, lane_bits); break;
    }
    if (size == 0) {
        splat(xmm2, 0xFF00'FF00'FF00'FF00);
        vpblendvb(xmm0, xmm0, xmm1, xmm2);
    } else {
        vpblendw(xmm0, xmm0, xmm1, size == 1 ? 0xAA : 0xCC);
    }
}

void Emitter::emit_simd_permute(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    const bool second = row.operation == kZip2 || row.operation == kUzp2 || row.operation == kTrn2;
    if (size == 3 && !q_of(op)) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    vmovaps(xmm1, vreg(rm_of(op)));
    if (size == 3) {
        interleave(3, second);
    } else if (row.operation == kZip1 || row.operation == kZip2) {
        interleave(size, second && q_of(op));
        if (second && !q_of(op)) {
            vpsrldq(xmm0, xmm0, 8);
        }
    } else if (row.operation == kTrn1 || row.operation == kTrn2) {
        transpose(size, second);
    } else if (q_of(op)) {
        gather_even_first(size);
        interleave(3, second);
    } else {
        interleave(3, false);
        vpshufb(xmm0, xmm0, constant(&env_.constants->even_first[size]));
        if (second) {
            vpsrldq(xmm0, xmm0, 8);
        }
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// REV16, REV32, REV64; `operation` is log2 of the container's bytes.
void Emitter::emit_simd_reverse(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size >= row.operation) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    vpshufb(xmm0, xmm0, constant(&env_.constants->reversed[row.operation - 1u][size]));
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::simd_move_rows() {
    using E = Emitter;
#define IMMEDIATE(name, operation) \
    { name, &E::emit_simd_immediate, operation }
    static constexpr InlineRow kRows[] = {
        IMMEDIATE("movi<0b0000>", kMove),
        IMMEDIATE("movi<0b0010>", kMove),
        IMMEDIATE("movi<0b0100>", kMove),
        IMMEDIATE("movi<0b0110>", kMove),
        IMMEDIATE("movi<0b1000>", kMove),
        IMMEDIATE("movi<0b1010>", kMove),
        IMMEDIATE("movi<0b1100>", kMove),
        IMMEDIATE("movi<0b1101>", kMove),
        IMMEDIATE("movi<0b1110>", kMove),
        IMMEDIATE("movi<0b1111>", kMove),
        IMMEDIATE("mvni<0b0000>", kMoveInverted),
        IMMEDIATE("mvni<0b0010>", kMoveInverted),
        IMMEDIATE("mvni<0b0100>", kMoveInverted),
        IMMEDIATE("mvni<0b0110>", kMoveInverted),
        IMMEDIATE("mvni<0b1000>", kMoveInverted),
        IMMEDIATE("mvni<0b1010>", kMoveInverted),
        IMMEDIATE("mvni<0b1100>", kMoveInverted),
        IMMEDIATE("mvni<0b1101>", kMoveInverted),
        IMMEDIATE("orr_imm<0b0001>", kOr),
        IMMEDIATE("orr_imm<0b0011>", kOr),
        IMMEDIATE("orr_imm<0b0101>", kOr),
        IMMEDIATE("orr_imm<0b0111>", kOr),
        IMMEDIATE("orr_imm<0b1001>", kOr),
        IMMEDIATE("orr_imm<0b1011>", kOr),
        IMMEDIATE("bic_imm<0b0001>", kClear),
        IMMEDIATE("bic_imm<0b0011>", kClear),
        IMMEDIATE("bic_imm<0b0101>", kClear),
        IMMEDIATE("bic_imm<0b0111>", kClear),
        IMMEDIATE("bic_imm<0b1001>", kClear),
        IMMEDIATE("bic_imm<0b1011>", kClear),
        {"movi_64", &E::emit_simd_byte_mask},
        {"fmov_double", &E::emit_simd_fmov_double},
        {"dup_element", &E::emit_simd_dup, 0},
        {"dup_general", &E::emit_simd_dup, 1},
        {"dup_scalar", &E::emit_simd_dup_scalar},
        {"ins_general", &E::emit_simd_insert, 0},
        {"ins_element", &E::emit_simd_insert, 1},
        {"umov", &E::emit_simd_extract, 0},
        {"smov", &E::emit_simd_extract, 1},
        {"ext", &E::emit_simd_ext},
        {"table_lookup<false>", &E::emit_simd_table},
        {"zip<0>", &E::emit_simd_permute, kZip1},
        {"zip<1>", &E::emit_simd_permute, kZip2},
        {"unzip_vectors<0>", &E::emit_simd_permute, kUzp1},
        {"unzip_vectors<1>", &E::emit_simd_permute, kUzp2},
        {"transpose<0>", &E::emit_simd_permute, kTrn1},
        {"transpose<1>", &E::emit_simd_permute, kTrn2},
        {"reverse<u16>", &E::emit_simd_reverse, 1},
        {"reverse<u32>", &E::emit_simd_reverse, 2},
        {"reverse<u64>", &E::emit_simd_reverse, 3},
    };
#undef IMMEDIATE
    return kRows;
}

}  // namespace vmm::arch::x64
