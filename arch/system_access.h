// The way of MRS, MSR, SYS and SYSL to a row of the system-register bank.
#pragma once

#include "arch/exec.h"
#include "arch/sysreg.h"

namespace vmm::arch {

enum class SystemAccess : u8 {
    read,   // MRS, SYSL
    write,  // MSR, SYS
};

/// Runs the steps described at SysregRow for the current Exception level, between the row of `key` and X[rt] (31: reads
/// are discarded, zero is written). Returns next or end_block, or exception after UNDEFINED, a trap, or a fault of a
/// system instruction.
Exec access_system_register(Vcpu& v, SysregKey key, SystemAccess access, unsigned rt);

}  // namespace vmm::arch
