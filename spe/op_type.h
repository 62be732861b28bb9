// From a traced operation to its Operation Type packet and type-filter flags. Pure.
// Arm ARM, "Operation Type packet" and "Filtering sample records by type".
#pragma once

#include "arch/op_trace.h"
#include "spe/features.h"
#include "spe/sample.h"

namespace vmm::spe {

/// `pmsver` decides how DC ZVA is shown: as a store of unspecified registers from SPEv1p1 on.
OpType classify(const arch::OpTrace& trace, u8 pmsver);

/// Adds what optional features tell: call and return (CRR) in branch packets; FP and SIMD (EFT and FPF) in other packets
/// and as type flags.
void add_optional_type(OpType& type, const arch::OpTrace& trace, const Features& features);

}  // namespace vmm::spe
