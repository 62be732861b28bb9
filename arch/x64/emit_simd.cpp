// Host code of Advanced SIMD on integers: lane by lane, pairwise, across lanes. Shifts and changes of width are in
// emit_simd_width.cpp, moves of elements and
// permutations are in emit_simd_move.cpp. What has no short equivalent on the host stays with the reference handler, as do
// the reserved encodings.
//
// A vector of 64 bits is computed as one of 128 whose upper half is cleared when it is stored.

#include <bit>

#include "arch/x64/emitter.h"
#include "arch/x64/fields.h"

namespace vmm::arch::x64 {

namespace {

enum LaneOperation : u8 {
    kLaneAdd,
    kLaneSub,
    kLaneMul,
    kLaneMla,
    kLaneMls,
    kLaneCmeq,
    kLaneCmgt,
    kLaneCmge,
    kLaneCmhi,
    kLaneCmhs,
    kLaneCmtst,
    kLaneCmlt,
    kLaneCmle,
    kLaneSmax,
    kLaneSmin,
    kLaneUmax,
    kLaneUmin,
    kLaneSabd,
    kLaneUabd,
    kLaneUrhadd,
    kLaneUshl,
    kLaneUhadd,
};
enum Logical : u8 { kAnd, kBic, kOrr, kOrn, kEor, kBsl, kBit, kBif };
enum OneSource : u8 { kLaneAbs, kLaneNeg, kCount, kNot };
enum Saturating : u8 { kUqadd, kSqadd, kUqsub, kSqsub };

}  // namespace

void Emitter::invert(const Xmm& reg) {
    vpcmpeqd(xmm5, xmm5, xmm5);
    vpxor(reg, reg, xmm5);
}

/// The same 64 bits twice. Uses rax.
void Emitter::splat(const Xmm& to, u64 value) {
    if (value == 0) {
        vpxor(to, to, to);
    } else if (value == ~u64{0}) {
        vpcmpeqd(to, to, to);
    } else if (static_cast<u32>(value) == value >> 32) {
        mov(eax, static_cast<u32>(value));
        vmovd(to, eax);
        vpshufd(to, to, 0);
    } else {
        mov(rax, value);
        vmovq(to, rax);
        vpunpcklqdq(to, to, to);
    }
}

void Emitter::lane_add(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b) {
    VMM_BY_SIZE(size, vpaddb(to, a, b), vpaddw(to, a, b), vpaddd(to, a, b), vpaddq(to, a, b))
}

void Emitter::lane_sub(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b) {
    VMM_BY_SIZE(size, vpsubb(to, a, b), vpsubw(to, a, b), vpsubd(to, a, b), vpsubq(to, a, b))
}

void Emitter::lane_equal(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b) {
    VMM_BY_SIZE(size, vpcmpeqb(to, a, b), vpcmpeqw(to, a, b), vpcmpeqd(to, a, b), vpcmpeqq(to, a, b))
}

void Emitter::lane_greater(unsigned size, const Xmm& to, const Xmm& a, const Xmm& b) {
    VMM_BY_SIZE(size, vpcmpgtb(to, a, b), vpcmpgtw(to, a, b), vpcmpgtd(to, a, b), vpcmpgtq(to, a, b))
}

/// Maximum or minimum of lanes below 64 bits.
void Emitter::lane_extreme(unsigned operation, unsigned size, const Xmm& to, const Xmm& a, const Xmm& b) {
    switch (operation) {
        case kLaneSmax:
            VMM_BY_SIZE(size, vpmaxsb(to, a, b), vpmaxsw(to, a, b), vpmaxsd(to, a, b), break) break;
        case kLaneSmin:
            VMM_BY_SIZE(size, vpminsb(to, a, b), vpminsw(to, a, b), vpminsd(to, a, b), break) break;
        case kLaneUmax:
            VMM_BY_SIZE(size, vpmaxub(to, a, b), vpmaxuw(to, a, b), vpmaxud(to, a, b), break) break;
        default: VMM_BY_SIZE(size, vpminub(to, a, b), vpminuw(to, a, b), vpminud(to, a, b), break) break;
    }
}

/// xmm0 = xmm0 >= xmm1, unsigned; uses xmm2.
void Emitter::lane_higher_or_same(unsigned size) {
    if (size == 3) {
        splat(xmm2, u64{1} << 63);
        vpxor(xmm0, xmm0, xmm2);
        vpxor(xmm1, xmm1, xmm2);
        vpcmpgtq(xmm0, xmm1, xmm0);
        invert(xmm0);
        return;
    }
    lane_extreme(kLaneUmax, size, xmm1, xmm0, xmm1);
    lane_equal(size, xmm0, xmm0, xmm1);
}

/// xmm0 shifted left by the signed low byte of each lane of xmm1; not for bytes.
void Emitter::lane_shift(unsigned size) {
    if (size == 1) {  // as words, even and odd halfwords apart
        vpsrld(xmm4, xmm0, 16);
        vpsrld(xmm5, xmm1, 16);
        vpxor(xmm2, xmm2, xmm2);
        vpblendw(xmm0, xmm0, xmm2, 0xAA);
        lane_shift(2);
        vmovaps(xmm3, xmm0);
        vmovaps(xmm0, xmm4);
        vmovaps(xmm1, xmm5);
        vmovaps(xmm4, xmm3);
        lane_shift(2);
        vpslld(xmm0, xmm0, 16);
        vpblendw(xmm0, xmm4, xmm0, 0xAA);
        return;
    }
    vpxor(xmm2, xmm2, xmm2);
    lane_sub(size, xmm2, xmm2, xmm1);
    splat(xmm3, size == 3 ? 0xFF : 0xFF'0000'00FF);
    vpand(xmm1, xmm1, xmm3);
    vpand(xmm2, xmm2, xmm3);
    // The host's counts are unsigned, and what they shift out leaves zero: one of the two is.
    if (size == 3) {
        vpsllvq(xmm1, xmm0, xmm1);
        vpsrlvq(xmm2, xmm0, xmm2);
    } else {
        vpsllvd(xmm1, xmm0, xmm1);
        vpsrlvd(xmm2, xmm0, xmm2);
    }
    vpor(xmm0, xmm1, xmm2);
}

bool Emitter::has_lane_operation(unsigned operation, unsigned size) {
    switch (operation) {
        case kLaneMul:
        case kLaneMla:
        case kLaneMls: return size == 1 || size == 2;
        case kLaneUrhadd:
        case kLaneUhadd: return size <= 1;
        case kLaneUshl: return size >= 1;
        case kLaneSmax:
        case kLaneSmin:
        case kLaneUmax:
        case kLaneUmin:
        case kLaneSabd:
        case kLaneUabd: return size <= 2;
        default: return true;
    }
}

/// xmm0 = xmm0 operation xmm1; xmm4 holds the lanes accumulated to. Uses xmm2, xmm3, xmm5, rax.
void Emitter::lane_operation(unsigned operation, unsigned size) {
    switch (operation) {
        case kLaneAdd: lane_add(size, xmm0, xmm0, xmm1); break;
        case kLaneSub: lane_sub(size, xmm0, xmm0, xmm1); break;
        case kLaneMul:
        case kLaneMla:
        case kLaneMls:
            size == 1 ? vpmullw(xmm0, xmm0, xmm1) : vpmulld(xmm0, xmm0, xmm1);
            if (operation == kLaneMla) {
                lane_add(size, xmm0, xmm4, xmm0);
            } else if (operation == kLaneMls) {
                lane_sub(size, xmm0, xmm4, xmm0);
            }
            break;
        case kLaneCmeq: lane_equal(size, xmm0, xmm0, xmm1); break;
        case kLaneCmgt: lane_greater(size, xmm0, xmm0, xmm1); break;
        case kLaneCmlt: lane_greater(size, xmm0, xmm1, xmm0); break;
        case kLaneCmge:
            lane_greater(size, xmm0, xmm1, xmm0);
            invert(xmm0);
            break;
        case kLaneCmle:
            lane_greater(size, xmm0, xmm0, xmm1);
            invert(xmm0);
            break;
        case kLaneCmhs: lane_higher_or_same(size); break;
        case kLaneCmhi:  // not: the second is higher or the same
            vmovaps(xmm3, xmm0);
            vmovaps(xmm0, xmm1);
            vmovaps(xmm1, xmm3);
            lane_higher_or_same(size);
            invert(xmm0);
            break;
        case kLaneCmtst:
            vpand(xmm0, xmm0, xmm1);
            vpxor(xmm1, xmm1, xmm1);
            lane_equal(size, xmm0, xmm0, xmm1);
            invert(xmm0);
            break;
        case kLaneSabd:
        case kLaneUabd:
            lane_extreme(operation == kLaneSabd ? kLaneSmax : kLaneUmax, size, xmm2, xmm0, xmm1);
            lane_extreme(operation == kLaneSabd ? kLaneSmin : kLaneUmin, size, xmm0, xmm0, xmm1);
            lane_sub(size, xmm0, xmm2, xmm0);
            break;
        case kLaneUrhadd: size == 0 ? vpavgb(xmm0, xmm0, xmm1) : vpavgw(xmm0, xmm0, xmm1); break;
        case kLaneUhadd:  // the host rounds up: less one where it did
            vpxor(xmm2, xmm0, xmm1);
            splat(xmm3, size == 0 ? 0x0101'0101'0101'0101 : 0x0001'0001'0001'0001);
            vpand(xmm2, xmm2, xmm3);
            size == 0 ? vpavgb(xmm0, xmm0, xmm1) : vpavgw(xmm0, xmm0, xmm1);
            lane_sub(size, xmm0, xmm0, xmm2);
            break;
        case kLaneUshl: lane_shift(size); break;
        default: lane_extreme(operation, size, xmm0, xmm0, xmm1); break;
    }
}

// ── Three registers of one width ───────────────────────────────────────────────────────────────────────────

void Emitter::emit_simd_three_same(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (!has_lane_operation(row.operation, size) || (size == 3 && !q_of(op))) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    vmovaps(xmm1, vreg(rm_of(op)));
    if (row.operation == kLaneMla || row.operation == kLaneMls) {
        vmovaps(xmm4, vreg(rd_of(op)));
    }
    lane_operation(row.operation, size);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// The scalar forms: doublewords.
void Emitter::emit_simd_scalar(const Op& op, const InlineRow& row) {
    if (size_of(op) != 3) {
        emit_call(op);
        return;
    }
    vmovq(xmm0, vreg(rn_of(op)));
    vmovq(xmm1, vreg(rm_of(op)));
    lane_operation(row.operation, 3);
    store_vector(rd_of(op), xmm0, 8);
}

void Emitter::emit_simd_compare_zero(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size == 3 && !q_of(op)) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    vpxor(xmm1, xmm1, xmm1);
    lane_operation(row.operation, size);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

void Emitter::emit_simd_by_element(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size != 1 && size != 2) {
        emit_call(op);
        return;
    }
    const unsigned h = op.insn >> 11 & 1;
    const unsigned l = op.insn >> 21 & 1;
    const unsigned m = op.insn >> 20 & 1;
    vmovaps(xmm0, vreg(rn_of(op)));
    if (size == 1) {
        vpbroadcastw(xmm1, vreg(rm_of(op) & 15, (h << 2 | l << 1 | m) * 2));
    } else {
        vbroadcastss(xmm1, vreg(rm_of(op), (h << 1 | l) * 4));
    }
    vmovaps(xmm4, vreg(rd_of(op)));
    lane_operation(row.operation, size);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// Pairs of adjacent lanes of Vm:Vn.
void Emitter::emit_simd_pairwise(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (!has_lane_operation(row.operation, size) || (size == 3 && (!q_of(op) || row.operation != kLaneAdd))) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    if (!q_of(op)) {
        vmovhps(xmm0, xmm0, vreg(rm_of(op)));
        vpshufb(xmm0, xmm0, constant(&env_.constants->even_first[size]));
        vpsrldq(xmm1, xmm0, 8);
    } else {
        vmovaps(xmm2, vreg(rm_of(op)));
        if (size != 3) {
            vpshufb(xmm0, xmm0, constant(&env_.constants->even_first[size]));
            vpshufb(xmm2, xmm2, constant(&env_.constants->even_first[size]));
        }
        vpunpckhqdq(xmm1, xmm0, xmm2);
        vpunpcklqdq(xmm0, xmm0, xmm2);
    }
    lane_operation(row.operation, size);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

void Emitter::emit_simd_logical(const Op& op, const InlineRow& row) {
    vmovaps(xmm0, vreg(rn_of(op)));
    vmovaps(xmm1, vreg(rm_of(op)));
    switch (row.operation) {
        case kAnd: vpand(xmm0, xmm0, xmm1); break;
        case kBic: vpandn(xmm0, xmm1, xmm0); break;
        case kOrr: vpor(xmm0, xmm0, xmm1); break;
        case kOrn:
            invert(xmm1);
            vpor(xmm0, xmm0, xmm1);
            break;
        case kEor: vpxor(xmm0, xmm0, xmm1); break;
        case kBsl:
            vpxor(xmm0, xmm0, xmm1);
            vpand(xmm0, xmm0, vreg(rd_of(op)));
            vpxor(xmm0, xmm0, xmm1);
            break;
        default:
            vmovaps(xmm2, vreg(rd_of(op)));
            vpxor(xmm0, xmm0, xmm2);
            row.operation == kBit ? vpand(xmm0, xmm0, xmm1) : vpandn(xmm0, xmm1, xmm0);
            vpxor(xmm0, xmm0, xmm2);
            break;
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// UQADD and the like of bytes and halfwords. QC is set when a lane differs from its wrapped result.
void Emitter::emit_simd_saturating(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (size > 1) {
        emit_call(op);
        return;
    }
    const bool add = row.operation == kUqadd || row.operation == kSqadd;
    if (q_of(op)) {
        vmovaps(xmm0, vreg(rn_of(op)));
        vmovaps(xmm1, vreg(rm_of(op)));
    } else {
        vmovq(xmm0, vreg(rn_of(op)));
        vmovq(xmm1, vreg(rm_of(op)));
    }
    add ? lane_add(size, xmm2, xmm0, xmm1) : lane_sub(size, xmm2, xmm0, xmm1);
    switch (row.operation) {
        case kUqadd: size == 0 ? vpaddusb(xmm0, xmm0, xmm1) : vpaddusw(xmm0, xmm0, xmm1); break;
        case kSqadd: size == 0 ? vpaddsb(xmm0, xmm0, xmm1) : vpaddsw(xmm0, xmm0, xmm1); break;
        case kUqsub: size == 0 ? vpsubusb(xmm0, xmm0, xmm1) : vpsubusw(xmm0, xmm0, xmm1); break;
        default: size == 0 ? vpsubsb(xmm0, xmm0, xmm1) : vpsubsw(xmm0, xmm0, xmm1); break;
    }
    vpxor(xmm2, xmm2, xmm0);
    xor_(eax, eax);
    vptest(xmm2, xmm2);
    setnz(al);
    shl(eax, 27);
    or_(at32(&env_.vcpu->s.fpsr), eax);
    vmovaps(vreg(rd_of(op)), xmm0);
}

// ── One register ───────────────────────────────────────────────────────────────────────────────────────────

void Emitter::emit_simd_one_source(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    if (row.operation <= kLaneNeg && size == 3 && !q_of(op)) {
        emit_call(op);
        return;
    }
    vmovaps(xmm0, vreg(rn_of(op)));
    vpxor(xmm1, xmm1, xmm1);
    switch (row.operation) {
        case kLaneAbs:
            if (size == 3) {
                vpcmpgtq(xmm1, xmm1, xmm0);
                vpxor(xmm0, xmm0, xmm1);
                vpsubq(xmm0, xmm0, xmm1);
            } else {
                VMM_BY_SIZE(size, vpabsb(xmm0, xmm0), vpabsw(xmm0, xmm0), vpabsd(xmm0, xmm0), break)
            }
            break;
        case kLaneNeg: lane_sub(size, xmm0, xmm1, xmm0); break;
        case kNot: invert(xmm0); break;
        default:  // CNT, by nibbles
            splat(xmm1, 0x0F0F'0F0F'0F0F'0F0F);
            vmovaps(xmm2, constant(&env_.constants->nibble_bits));
            vpand(xmm3, xmm0, xmm1);
            vpsrlw(xmm0, xmm0, 4);
            vpand(xmm0, xmm0, xmm1);
            vpshufb(xmm3, xmm2, xmm3);
            vpshufb(xmm0, xmm2, xmm0);
            vpaddb(xmm0, xmm0, xmm3);
            break;
    }
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// UADDLP: the even lanes plus the odd ones.
void Emitter::emit_simd_pair_long(const Op& op, const InlineRow&) {
    const unsigned size = size_of(op);
    if (size == 3) {
        emit_call(op);
        return;
    }
    const u8 bits_of_lane = static_cast<u8>(8u << size);
    vmovaps(xmm0, vreg(rn_of(op)));
    VMM_BY_SIZE(size + 1, break, vpsrlw(xmm1, xmm0, bits_of_lane), vpsrld(xmm1, xmm0, bits_of_lane),
                vpsrlq(xmm1, xmm0, bits_of_lane))
    vpxor(xmm2, xmm2, xmm2);
    size == 0   ? vpsllw(xmm0, xmm0, bits_of_lane)
    : size == 1 ? vpblendw(xmm0, xmm0, xmm2, 0xAA)
                : vpblendw(xmm0, xmm0, xmm2, 0xCC);
    if (size == 0) {
        vpsrlw(xmm0, xmm0, bits_of_lane);
    }
    lane_add(size + 1, xmm0, xmm0, xmm1);
    store_vector(rd_of(op), xmm0, bytes_of(op));
}

/// ADDV and UADDLV (`operation` 1) of bytes, ADDV of words.
void Emitter::emit_simd_across(const Op& op, const InlineRow& row) {
    const unsigned size = size_of(op);
    const bool long_result = row.operation == 1;
    if (size == 2 && q_of(op) && !long_result) {
        vmovaps(xmm0, vreg(rn_of(op)));
        vpshufd(xmm1, xmm0, 0x4E);
        vpaddd(xmm0, xmm0, xmm1);
        vpshufd(xmm1, xmm0, 0xB1);
        vpaddd(xmm0, xmm0, xmm1);
        vmovd(eax, xmm0);
    } else if (size == 0) {
        vpxor(xmm1, xmm1, xmm1);
        if (q_of(op)) {
            vpsadbw(xmm0, xmm1, vreg(rn_of(op)));
            vpsrldq(xmm1, xmm0, 8);
            vpaddd(xmm0, xmm0, xmm1);
        } else {
            vmovq(xmm0, vreg(rn_of(op)));
            vpsadbw(xmm0, xmm0, xmm1);
        }
        vmovd(eax, xmm0);
        if (!long_result) {
            movzx(eax, al);
        }
    } else {
        emit_call(op);
        return;
    }
    vmovd(xmm0, eax);
    vmovaps(vreg(rd_of(op)), xmm0);
}

void Emitter::emit_simd_scalar_pair_sum(const Op& op, const InlineRow&) {
    vmovq(xmm0, vreg(rn_of(op)));
    vmovq(xmm1, vreg(rn_of(op), 8));
    vpaddq(xmm0, xmm0, xmm1);
    vmovaps(vreg(rd_of(op)), xmm0);
}

// ── The table ──────────────────────────────────────────────────────────────────────────────────────────────

std::span<const Emitter::InlineRow> Emitter::simd_rows() {
    using E = Emitter;
    static constexpr InlineRow kRows[] = {
        {"three_same<Add>", &E::emit_simd_three_same, kLaneAdd},
        {"three_same<Sub>", &E::emit_simd_three_same, kLaneSub},
        {"three_same<Mul>", &E::emit_simd_three_same, kLaneMul},
        {"three_same<Mla>", &E::emit_simd_three_same, kLaneMla},
        {"three_same<Mls>", &E::emit_simd_three_same, kLaneMls},
        {"three_same<Cmeq>", &E::emit_simd_three_same, kLaneCmeq},
        {"three_same<Cmgt>", &E::emit_simd_three_same, kLaneCmgt},
        {"three_same<Cmge>", &E::emit_simd_three_same, kLaneCmge},
        {"three_same<Cmhi>", &E::emit_simd_three_same, kLaneCmhi},
        {"three_same<Cmhs>", &E::emit_simd_three_same, kLaneCmhs},
        {"three_same<Cmtst>", &E::emit_simd_three_same, kLaneCmtst},
        {"three_same<Smax>", &E::emit_simd_three_same, kLaneSmax},
        {"three_same<Smin>", &E::emit_simd_three_same, kLaneSmin},
        {"three_same<Umax>", &E::emit_simd_three_same, kLaneUmax},
        {"three_same<Umin>", &E::emit_simd_three_same, kLaneUmin},
        {"three_same<Sabd>", &E::emit_simd_three_same, kLaneSabd},
        {"three_same<Uabd>", &E::emit_simd_three_same, kLaneUabd},
        {"three_same<Urhadd>", &E::emit_simd_three_same, kLaneUrhadd},
        {"three_same<Uhadd>", &E::emit_simd_three_same, kLaneUhadd},
        {"three_same<Ushl>", &E::emit_simd_three_same, kLaneUshl},
        {"three_same<Uqadd>", &E::emit_simd_saturating, kUqadd},
        {"three_same<Sqadd>", &E::emit_simd_saturating, kSqadd},
        {"three_same<Uqsub>", &E::emit_simd_saturating, kUqsub},
        {"three_same<Sqsub>", &E::emit_simd_saturating, kSqsub},
        {"scalar_three_same<Add>", &E::emit_simd_scalar, kLaneAdd},
        {"scalar_three_same<Sub>", &E::emit_simd_scalar, kLaneSub},
        {"scalar_three_same<Cmeq>", &E::emit_simd_scalar, kLaneCmeq},
        {"scalar_three_same<Cmgt>", &E::emit_simd_scalar, kLaneCmgt},
        {"scalar_three_same<Cmge>", &E::emit_simd_scalar, kLaneCmge},
        {"scalar_three_same<Cmhi>", &E::emit_simd_scalar, kLaneCmhi},
        {"scalar_three_same<Cmhs>", &E::emit_simd_scalar, kLaneCmhs},
        {"compare_zero<Cmeq>", &E::emit_simd_compare_zero, kLaneCmeq},
        {"compare_zero<Cmgt>", &E::emit_simd_compare_zero, kLaneCmgt},
        {"compare_zero<Cmge>", &E::emit_simd_compare_zero, kLaneCmge},
        {"compare_zero<Cmlt>", &E::emit_simd_compare_zero, kLaneCmlt},
        {"compare_zero<Cmle>", &E::emit_simd_compare_zero, kLaneCmle},
        {"by_element<Mul>", &E::emit_simd_by_element, kLaneMul},
        {"by_element<Mla>", &E::emit_simd_by_element, kLaneMla},
        {"by_element<Mls>", &E::emit_simd_by_element, kLaneMls},
        {"pairwise<Add>", &E::emit_simd_pairwise, kLaneAdd},
        {"pairwise<Smax>", &E::emit_simd_pairwise, kLaneSmax},
        {"pairwise<Smin>", &E::emit_simd_pairwise, kLaneSmin},
        {"pairwise<Umax>", &E::emit_simd_pairwise, kLaneUmax},
        {"pairwise<Umin>", &E::emit_simd_pairwise, kLaneUmin},
        {"logical<And>", &E::emit_simd_logical, kAnd},
        {"logical<Bic>", &E::emit_simd_logical, kBic},
        {"logical<Orr>", &E::emit_simd_logical, kOrr},
        {"logical<Orn>", &E::emit_simd_logical, kOrn},
        {"logical<Eor>", &E::emit_simd_logical, kEor},
        {"logical<Bsl>", &E::emit_simd_logical, kBsl},
        {"logical<Bit>", &E::emit_simd_logical, kBit},
        {"logical<Bif>", &E::emit_simd_logical, kBif},
        {"two_reg<Abs>", &E::emit_simd_one_source, kLaneAbs},
        {"two_reg<Neg>", &E::emit_simd_one_source, kLaneNeg},
        {"cnt_vector", &E::emit_simd_one_source, kCount},
        {"not_vector", &E::emit_simd_one_source, kNot},
        {"pairwise_long<PairAddUnsigned>", &E::emit_simd_pair_long},
        {"across<AddAcross>", &E::emit_simd_across, 0},
        {"add_long_across<kUnsigned>", &E::emit_simd_across, 1},
        {"scalar_addp", &E::emit_simd_scalar_pair_sum},
    };
    return kRows;
}

}  // namespace vmm::arch::x64
