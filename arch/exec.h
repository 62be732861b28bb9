// What an instruction handler returns.
#pragma once

#include "vmm/base/types.h"

namespace vmm::arch {

class Vcpu;

enum class Exec : u8 {
    next,       // completed; PC still addresses this instruction and the engine advances it by 4
    branch,     // completed; the handler has written PC
    end_block,  // as `next`, but something that decoding, translation or interrupts depend on has changed
    exception,  // an exception was taken (or returned from): PC, PSTATE and EL are those of the new context
    wait,       // as `next`, and the PE has nothing to do until an interrupt (WFI)
    stop,       // as `next`, and the run loop returns to its caller (PSCI calls, machine reset)
};

/// One instruction, fields extracted from its word. PC addresses the instruction when it is called.
using Handler = Exec (*)(Vcpu&, u32 insn);

}  // namespace vmm::arch
