// What kind of operation a decode-table row is, in the terms of SPE's Operation Type packet (Arm ARM D18.2.7) and of the
// latency model. Finer facts of one execution (acquire, atomic, condition failed) travel in OpTrace.
#pragma once

#include "vmm/base/types.h"

namespace vmm::arch {

// clang-format off
#define VMM_OP_CLASSES(X)                                                                          \
    X(other)        /* integer data processing, hints, barriers, system registers, exceptions */   \
    X(multiply)     /* integer multiply */                                                         \
    X(divide)       /* integer divide */                                                           \
    X(cond_select)  /* CSEL family, CCMP/CCMN */                                                   \
    X(fp)           /* scalar floating point */                                                    \
    X(fp_divide)    /* FDIV, FSQRT, scalar or vector */                                            \
    X(fp_cond)      /* FCSEL, FCCMP */                                                             \
    X(simd)         /* Advanced SIMD integer */                                                    \
    X(simd_fp)      /* Advanced SIMD floating point */                                             \
    X(crypto)       /* AES, SHA, PMULL, CRC32 */                                                   \
    X(branch)       /* B */                                                                        \
    X(branch_link)  /* BL */                                                                       \
    X(branch_cond)  /* B.cond, CBZ, CBNZ, TBZ, TBNZ */                                             \
    X(branch_ind)   /* BR */                                                                       \
    X(branch_ind_link) /* BLR */                                                                   \
    X(branch_ret)   /* RET */                                                                      \
    X(eret)         /* ERET */                                                                     \
    X(load)         /* general-purpose registers; also LDAR, LDXR: see OpTrace flags */            \
    X(store)                                                                                       \
    X(load_fp)      /* SIMD&FP registers, B/H/S/D forms */                                         \
    X(store_fp)                                                                                    \
    X(load_simd)    /* SIMD&FP registers, Q, structure and replicate forms */                      \
    X(store_simd)                                                                                  \
    X(atomic)       /* LSE read-modify-write, compare and swap */                                  \
    X(prefetch)     /* PRFM */                                                                     \
    X(cache_op)     /* DC (but ZVA), IC, AT, TLBI */                                               \
    X(dc_zva)
// clang-format on

enum class OpClass : u8 {
#define X(name) name,
    VMM_OP_CLASSES(X)
#undef X
};

const char* to_string(OpClass op_class);

}  // namespace vmm::arch
