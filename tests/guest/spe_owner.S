// A profiling buffer that belongs to a higher Exception level: a driver is told so by PMBIDR_EL1.P and finds no buffer
// registers. The rest exists, and samples nothing.
// vmm: --spe --spe-owner higher
// vmm: --spe --spe-owner=higher --pmu --clock insn
// expect: PASS
#include "guest.h"
#include "spe.h"

#define PMBIDR_P 0x10

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    check x9, 3
    mrs x9, PMBIDR_EL1
    check_bits x9, PMBIDR_P, PMBIDR_P
    mov x10, #0
    no_register PMBLIMITR_EL1
    no_register PMBPTR_EL1
    no_register PMBSR_EL1
    check_sysreg PMSIDR_EL1, 0x2645F

    mov x9, #256
    msr PMSIRR_EL1, x9
    mov x9, #(PMSCR_E1SPE | PMSCR_E0SPE)
    msr PMSCR_EL1, x9
    isb
    mov x9, #1000
1:  subs x9, x9, #1
    b.ne 1b
    check_sysreg PMSICR_EL1, 0
    psb_csync
    ldp x29, x30, [sp], #16
    ret
