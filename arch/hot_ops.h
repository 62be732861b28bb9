// The operations the interpreter executes inside its loop, and the few facts about them that others need.
//
// Everything the lowering (lower.cpp) does not recognise becomes `call`: a call of the decode table's reference handler.
// The list is expanded into an enumeration, into the loop's label table and into names for tests and dumps.
#pragma once

#include "arch/block.h"

namespace vmm::arch {

// Conditions a compare can be fused with: all but VS, VC and AL.
#define VMM_FUSED_CONDITIONS(X) X(eq) X(ne) X(hs) X(lo) X(mi) X(pl) X(hi) X(ls) X(ge) X(lt) X(gt) X(le)
#define VMM_CONDITIONS(X) X(eq) X(ne) X(hs) X(lo) X(mi) X(pl) X(vs) X(vc) X(hi) X(ls) X(ge) X(lt) X(gt) X(le)

// Load and store shapes: name, C++ type in memory, result type.
#define VMM_LOAD_SHAPES(X)                                                                        \
    X(ldr8, u8, u64) X(ldr16, u16, u64) X(ldr32, u32, u64) X(ldr64, u64, u64)                     \
    X(ldrs8x, s8, s64) X(ldrs16x, s16, s64) X(ldrs32x, s32, s64) X(ldrs8w, s8, s32) X(ldrs16w, s16, s32)
#define VMM_STORE_SHAPES(X) X(str8, u8) X(str16, u16) X(str32, u32) X(str64, u64)

// Addressing modes of the shapes above: base + immediate; the same from SP; base + (index << aux), index 64-bit,
// zero-extended or sign-extended 32-bit; pre- and post-index.
#define VMM_ADDRESS_MODES(X, shape) \
    X(shape##_imm) X(shape##_sp) X(shape##_reg) X(shape##_uxtw) X(shape##_sxtw) X(shape##_pre) X(shape##_post)

// clang-format off
#define VMM_HOT_OPS(X)                                                                                          \
    /* control of the loop itself */                                                                            \
    X(enter_cold) X(enter_native) X(call) X(stop_here) X(next_in_page) X(next_page)                             \
    /* data processing */                                                                                       \
    X(movi) X(mov64) X(mov32) X(movk) X(adr)                                                                    \
    X(addi64) X(addi32) X(subsi64) X(subsi32) X(addsi64) X(addsi32)                                             \
    X(add64) X(add32) X(sub64) X(sub32) X(subs64) X(subs32) X(adds64) X(adds32)                                 \
    X(add64_lsl) X(sub64_lsl) X(add32_lsl) X(sub32_lsl) X(add64_lsr) X(add64_asr)                               \
    X(add64_uxtw) X(add64_sxtw)                                                                                 \
    X(andi) X(orri) X(eori) X(orri32) X(eori32) X(movk32) X(andsi64) X(andsi32)                                 \
    X(and64) X(orr64) X(eor64) X(bic64) X(orn64) X(eon64) X(and32) X(orr32) X(eor32) X(bic32) X(orn32)          \
    X(ands64) X(ands32)                                                                                         \
    X(and64_lsl) X(orr64_lsl) X(eor64_lsl) X(orr32_lsl) X(eor32_lsl) X(and64_lsr) X(orr64_lsr) X(eor64_lsr)     \
    X(eor32_lsr) X(eor32_ror) X(eor64_ror)                                                                      \
    X(lsl64i) X(lsl32i) X(lsr64i) X(lsr32i) X(asr64i) X(asr32i) X(ubfx) X(sbfx64) X(ubfiz) X(sbfiz64)           \
    X(bfm) X(sbfx32) X(ror64i) X(ror32i) X(extr64)                                                              \
    X(lsl64) X(lsl32) X(lsr64) X(lsr32) X(asr64) X(asr32) X(ror32)                                              \
    X(madd64) X(madd32) X(msub64) X(msub32) X(mul64) X(mul32) X(umull) X(smull) X(umaddl) X(umulh) X(smulh)     \
    X(udiv64) X(udiv32) X(sdiv64) X(sdiv32)                                                                     \
    VMM_CONDITIONS(VMM_HOT_CSEL) X(csinv64) X(csinv32) X(csneg64) X(csneg32)                                    \
    X(ccmp64) X(ccmp32) X(ccmpi64) X(ccmpi32)                                                                   \
    X(clz64) X(clz32) X(rev64) X(rev32) X(adcs64) X(adc64) X(sbcs64)                                            \
    /* branches; `far` ones leave the page */                                                                   \
    X(b) X(b_far) X(bl) X(bl_far) X(br) X(blr) X(ret)                                                           \
    X(cbz64) X(cbnz64) X(cbz32) X(cbnz32) X(tbz) X(tbnz)                                                        \
    X(cond_far) X(cbz64_far) X(cbnz64_far) X(cbz32_far) X(cbnz32_far) X(tbz_far) X(tbnz_far)                    \
    VMM_CONDITIONS(VMM_HOT_BCOND)                                                                               \
    VMM_FUSED_CONDITIONS(VMM_HOT_CMP_BCOND)                                                                     \
    X(tst64_beq) X(tst64_bne) X(tst32_beq) X(tst32_bne)                                                         \
    /* loads and stores */                                                                                      \
    VMM_HOT_LOADS VMM_HOT_STORES                                                                                \
    X(ldp64_imm) X(ldp64_sp) X(ldp64_pre) X(ldp64_post) X(ldp64_sp_post) X(ldp32_imm)                           \
    X(stp64_imm) X(stp64_sp) X(stp64_pre) X(stp64_post) X(stp64_sp_pre) X(stp32_imm)                            \
    X(ldr_lit64) X(ldr_lit32)                                                                                   \
    X(ldrq_imm) X(strq_imm) X(ldrd_imm) X(strd_imm) X(ldrs_imm) X(strs_imm)                                     \
    X(ldrq_post) X(strq_post) X(ldpq_imm) X(stpq_imm) X(ldrd_reg) X(strd_reg)                                   \
    /* system */                                                                                                \
    X(mrs_plain) X(daif_set) X(daif_clear)
// clang-format on

#define VMM_HOT_BCOND(c) VMM_HOT_OP(b_##c)
#define VMM_HOT_CMP_BCOND(c) \
    VMM_HOT_OP(cmp64_b##c) VMM_HOT_OP(cmp32_b##c) VMM_HOT_OP(cmpi64_b##c) VMM_HOT_OP(cmpi32_b##c)
#define VMM_HOT_CSEL(c) \
    VMM_HOT_OP(csel64_##c) VMM_HOT_OP(csel32_##c) VMM_HOT_OP(csinc64_##c) VMM_HOT_OP(csinc32_##c)
#define VMM_HOT_LOAD(shape, memory, result) VMM_ADDRESS_MODES(VMM_HOT_OP, shape)
#define VMM_HOT_STORE(shape, memory) VMM_ADDRESS_MODES(VMM_HOT_OP, shape)
#define VMM_HOT_LOADS VMM_LOAD_SHAPES(VMM_HOT_LOAD)
#define VMM_HOT_STORES VMM_STORE_SHAPES(VMM_HOT_STORE)

// VMM_HOT_OPS(X) is expanded with VMM_HOT_OP defined as X.
enum class HotOp : u16 {
#define VMM_HOT_OP(name) name,
    VMM_HOT_OPS(VMM_HOT_OP)
#undef VMM_HOT_OP
    count
};

/// The loop's label of an operation. (interpreter.cpp)
const void* code_of(HotOp op);

/// The operation a label belongs to. (interpreter.cpp)
HotOp hot_op_of(const void* code);

const char* to_string(HotOp op);

/// True when Op::link holds a link that invalidation must cut.
bool has_link(const Op& op);

}  // namespace vmm::arch
