// Fields of instruction words, and what emit functions for SIMD and floating point share.
#pragma once

#include "arch/block.h"
#include "vmm/base/bits.h"

namespace vmm::arch::x64 {

// InlineRow::operation of floating-point arithmetic.
enum Arithmetic : u8 { kAdd, kSub, kMul, kDiv, kNegatedMul, kMax, kMin, kAbs, kNeg };
enum MultiplyAdd : u8 { kMadd, kMsub, kNmadd, kNmsub };

inline unsigned rd_of(const Op& op) {
    return op.insn & 31;
}
inline unsigned rn_of(const Op& op) {
    return op.insn >> 5 & 31;
}
inline unsigned rm_of(const Op& op) {
    return op.insn >> 16 & 31;
}
inline unsigned ra_of(const Op& op) {
    return op.insn >> 10 & 31;
}
inline unsigned cond_of(const Op& op) {
    return op.insn >> 12 & 15;
}
inline bool sf_of(const Op& op) {
    return bit(op.insn, 31);
}
inline bool q_of(const Op& op) {
    return bit(op.insn, 30);
}
inline unsigned size_of(const Op& op) {
    return op.insn >> 22 & 3;
}
/// Bytes of a vector, by its Q bit.
inline unsigned bytes_of(const Op& op) {
    return q_of(op) ? 16 : 8;
}
/// The index of floating-point by-element forms: H:L for words, H for doublewords.
inline unsigned element_of(const Op& op, unsigned lane_bytes) {
    const unsigned h = op.insn >> 11 & 1;
    return lane_bytes == 8 ? h : h << 1 | (op.insn >> 21 & 1);
}

/// One of four statements by log2 of the lane's bytes.
#define VMM_BY_SIZE(size, b, w, d, q) \
    switch (size) {                   \
        case 0: b; break;             \
        case 1: w; break;             \
        case 2: d; break;             \
        default: q; break;            \
    }

}  // namespace vmm::arch::x64
