// The state of a vCPU as text, for people.
#pragma once

#include <string>

#include "vmm/cpu.h"

namespace vmm {

/// Registers of `cpu`, which no thread executes at the moment.
std::string dump_registers(const Cpu& cpu);

/// Return addresses by frame pointer (AAPCS64 frame records), innermost first. The same condition.
std::string dump_backtrace(Cpu& cpu);

}  // namespace vmm
