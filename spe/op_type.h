// From a traced operation to its Operation Type packet and type-filter flags. Pure.
// Arm ARM, "Operation Type packet" and "Filtering sample records by type".
#pragma once

#include "arch/op_trace.h"
#include "spe/sample.h"

namespace vmm::spe {

/// `pmsver` decides how DC ZVA is shown: as a store of unspecified registers from SPEv1p1 on.
OpType classify(const arch::OpTrace& trace, u8 pmsver);

}  // namespace vmm::spe
