// SPE on the second PE alone, with another interrupt: the first PE has no profiling registers, the second has, and its
// interrupt is the one asked for.
// vmm: -c 2 --spe --spe-cpus 1 --spe-ppi 20
// vmm: -c 2 --spe --spe-cpus=1-1 --spe-ppi=20 --clock insn
// vmm: -c 2 --spe --spe-cpus 1 --spe-ppi 20 --cpu max --pmu
// expect: PASS
#include "guest.h"
#include "gic.h"
#include "spe.h"

#define GICR_ISPENDR0 0x200
#define GICR_LAST 0x3FFD0000    // of the PE with the highest number
#define INTID 20
#define USUAL_INTID 21

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    check x9, 0
    mov x10, #0
    no_register PMSCR_EL1
    no_register PMSIDR_EL1
    no_register PMBPTR_EL1
    no_register PMBIDR_EL1
    psb_csync
    mrs x9, id_aa64dfr1_el1     // the same on all PEs
    check x9, 0

    ldr x0, =PSCI_CPU_ON
    mov x1, #1
    adr x2, secondary
    mov x3, #0
    hvc #0
    check x0, 0
1:  wfe
    adr x9, finished
    ldar x10, [x9]
    cbz x10, 1b
    ldp x29, x30, [sp], #16
    ret

secondary:
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    check x9, 3
    check_sysreg PMSIDR_EL1, 0x2645F
    mrs x9, id_aa64dfr1_el1
    check x9, 0
    mov64 x25, GICR_LAST
    mov64 x9, (GICR_LAST + GICR_SGI_BASE + GICR_ISPENDR0)
    ldr w10, [x9]
    check x10, 0
    mov x11, #PMBSR_S
    msr PMBSR_EL1, x11
    isb
    ldr w10, [x9]
    check x10, (1 << INTID)
    msr PMBSR_EL1, xzr
    isb
    ldr w10, [x9]
    check x10, 0
    adr x9, finished
    mov x10, #1
    stlr x10, [x9]
    sev
    ldr w0, =0x84000002         // CPU_OFF
    hvc #0
    b .

.data
.balign 8
finished:
    .quad 0
