// Cycles that every event model adds up: of execution units, translation and events of the pipeline.
#pragma once

#include "arch/op_class.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// Cycles: a base and the width of the variation above it.
struct Cycles {
    u32 base;
    u32 spread;
};

/// From issue to completion, without memory.
constexpr Cycles execution_cycles(arch::OpClass op_class) {
    using arch::OpClass;
    switch (op_class) {
        case OpClass::multiply: return {2, 1};
        case OpClass::divide: return {5, 7};
        case OpClass::fp: return {2, 2};
        case OpClass::fp_divide: return {7, 8};
        case OpClass::fp_cond: return {2, 0};
        case OpClass::simd: return {2, 1};
        case OpClass::simd_fp: return {3, 1};
        case OpClass::crypto: return {2, 1};
        case OpClass::prefetch: return {1, 1};
        case OpClass::cache_op: return {8, 12};
        case OpClass::dc_zva: return {4, 4};
        case OpClass::eret: return {12, 8};
        case OpClass::store:
        case OpClass::store_fp:
        case OpClass::store_simd: return {1, 1};  // completes into the store buffer
        default: return {1, 1};
    }
}

inline constexpr Cycles kIssue{1, 6};
inline constexpr Cycles kMispredictPenalty{8, 6};
inline constexpr Cycles kAtomicExtra{4, 4};
inline constexpr Cycles kMisalignedExtra{1, 1};
inline constexpr Cycles kTlbHit{1, 0};
inline constexpr Cycles kTlbRefill{5, 2};
inline constexpr Cycles kTlbWalk{25, 30};
inline constexpr Cycles kExceptionExtra{10, 8};

}  // namespace vmm::spe
