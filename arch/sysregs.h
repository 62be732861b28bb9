// The PE's own system registers and system instructions, in parts by what they are for.
#pragma once

namespace vmm::arch {

class Vcpu;

/// Adds all rows that the PE itself serves to its bank. (Timers, the interrupt controller's CPU interface and the
/// profiling unit add theirs.)
void add_pe_sysregs(Vcpu& v);

}  // namespace vmm::arch
