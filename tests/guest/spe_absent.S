// Without the option there is no profiling unit: no ID field, no registers, and PSB CSYNC does nothing.
// vmm:
// vmm: --pmu
// expect: PASS
#include "guest.h"
#include "spe.h"

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    check x9, 0
    mov x10, #0
    no_register PMSCR_EL1
    no_register PMSNEVFR_EL1
    no_register PMSICR_EL1
    no_register PMSIRR_EL1
    no_register PMSFCR_EL1
    no_register PMSEVFR_EL1
    no_register PMSLATFR_EL1
    no_register PMSIDR_EL1
    no_register PMBLIMITR_EL1
    no_register PMBPTR_EL1
    no_register s3_0_c9_c10_2
    no_register PMBSR_EL1
    no_register PMSDSFR_EL1
    no_register PMBMAR_EL1
    no_register s3_0_c9_c10_6
    no_register PMBIDR_EL1
    psb_csync
    ldp x29, x30, [sp], #16
    ret
