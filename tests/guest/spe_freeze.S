// PMUv3p7 and SPEv1p2 together: with PMCR_EL0.FZS the event counters stand still while PMBLIMITR_EL1.PMFZ is set and the
// buffer is stopped, and with DP the cycle counter does, too.
// vmm: --spe --pmu --cpu max
// vmm: --spe --pmu --cpu max --clock insn
// expect: PASS
#include "guest.h"
#include "spe.h"

#define PMBLIMITR_PMFZ 0x20
#define PMCR_E 0x001
#define PMCR_P 0x002
#define PMCR_C 0x004
#define PMCR_DP 0x020
#define PMCR_LC 0x040
#define PMCR_LP 0x080
#define PMCR_FZO 0x200
#define PMCR_FZS (1 << 32)
#define CYCLES (1 << 31)
#define INST_RETIRED 0x08

// Counts instructions and cycles over a loop of \passes, with \pmcr and \limitr, while a management event is recorded.
// Two instructions a pass; X9 instructions, X10 cycles.
.macro count_stopped pmcr, limitr, passes=500
    msr pmcntenclr_el0, x15
    mov64 x0, (\pmcr | PMCR_LC | PMCR_P | PMCR_C)
    msr pmcr_el0, x0
    mov64 x0, (\limitr | PMBLIMITR_E)
    msr PMBLIMITR_EL1, x0
    mov x0, #PMBSR_S
    msr PMBSR_EL1, x0
    msr pmcntenset_el0, x15
    isb
    mov x0, #\passes
1:  subs x0, x0, #1
    b.ne 1b
    mrs x9, pmevcntr0_el0
    mrs x10, pmccntr_el0
    msr PMBSR_EL1, xzr
.endm

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #8, #4
    check x9, 7                 // PMUVer
    mrs x9, id_aa64dfr1_el1
    ubfx x9, x9, #52, #4
    check x9, 1                 // DPFZS
    check_sysreg s3_0_c9_c14_6, 0  // PMMIR_EL1
    mov64 x0, (PMCR_FZS | PMCR_FZO | PMCR_LP | PMCR_DP)
    msr pmcr_el0, x0
    mrs x9, pmcr_el0
    check_bits x9, 0xFFFFFFFF000007FF, (PMCR_FZS | PMCR_FZO | PMCR_LP | PMCR_DP | PMCR_LC)
    mov x0, #INST_RETIRED
    msr pmevtyper0_el0, x0
    mov64 x15, (CYCLES | 1)

    // Frozen: not one.
    count_stopped (PMCR_E | PMCR_FZS | PMCR_DP), PMBLIMITR_PMFZ
    check x9, 0
    check x10, 0
    // Without DP the cycles go on: ISB, MOV, the loop, and the MRS of the event counter.
    count_stopped (PMCR_E | PMCR_FZS), PMBLIMITR_PMFZ
    check x9, 0
    sub x10, x10, #1000
    lsr x11, x10, #3
    check x11, 0                // at least 1000, at most 1007
    // Without one of the two nothing stops.
    count_stopped (PMCR_E | PMCR_DP), PMBLIMITR_PMFZ
    sub x9, x9, #1000
    lsr x11, x9, #3
    check x11, 0
    count_stopped (PMCR_E | PMCR_FZS | PMCR_DP), 0
    sub x9, x9, #1000
    lsr x11, x9, #3
    check x11, 0

    // Freeze on overflow: the counter stands where it wrapped.
    msr pmcntenclr_el0, x15
    mov64 x0, (PMCR_E | PMCR_LC | PMCR_FZO)
    msr pmcr_el0, x0
    mov64 x0, 0xFFFFFFF0
    msr pmevcntr0_el0, x0
    mov x0, #1
    msr pmcntenset_el0, x0
    isb
    mov x0, #100
2:  subs x0, x0, #1
    b.ne 2b
    mov64 x9, 0x100000000       // 64-bit counters, overflow at 32
    mrs x10, pmevcntr0_el0
    sub x10, x10, x9
    check x10, 0
    mrs x10, pmovsclr_el0
    check x10, 1
    msr pmovsclr_el0, x10
    isb
    mrs x10, pmevcntr0_el0
    sub x10, x10, x9
    lsr x11, x10, #3
    check x11, 0                // goes on
    mrs x9, pmevcntr0_el0
    mrs x10, pmevcntr0_el0
    sub x10, x10, x9
    check x10, 1
    ldp x29, x30, [sp], #16
    ret
