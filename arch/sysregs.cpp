#include "arch/sysregs.h"

#include "arch/vcpu.h"

namespace vmm::arch {

void add_pe_sysregs(Vcpu&) {}

}  // namespace vmm::arch
