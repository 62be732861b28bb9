// The PE's own system registers and system instructions, in parts by what they are for.
#pragma once

#include <span>

#include "arch/sysreg.h"
#include "arch/vcpu.h"

namespace vmm::arch {

/// A row whose value may live in the PE's state.
struct PeRow {
    SysregRow row;
    u64 CpuState::*state = nullptr;
};

std::span<const PeRow> control_rows();              // sysregs_control.cpp
std::span<const PeRow> debug_rows();                // sysregs_debug.cpp
std::span<const SysregRow> system_instruction_rows();  // system_instructions.cpp

/// Adds the identification registers of the PE's model. (sysregs_id.cpp)
void add_id_rows(Vcpu& v);

/// Adds the registers of its breakpoints and watchpoints. (sysregs_debug.cpp)
void add_debug_unit_rows(Vcpu& v);

/// Adds all rows that the PE itself serves to its bank. (Timers, the interrupt controller's CPU interface and the
/// profiling unit add theirs.)
void add_pe_sysregs(Vcpu& v);

}  // namespace vmm::arch
