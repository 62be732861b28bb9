// The performance monitors: what counts, at which Exception level, how counters overflow and interrupt, and who may look.
// A cycle of this machine is an executed operation, so every count is exact; REFERENCE_QEMU relaxes that.
// vmm: --pmu
// vmm: --pmu --clock insn
// vmm: --pmu --spe
// qemu: -icount shift=0
// expect: PASS
#include "guest.h"
#include "gic.h"
#include "paging.h"
#include "spe.h"

#define PPI 23
#define GICR_ISPENDR0 0x200
#define E_SW_INCR 0x00
#define E_INST_RETIRED 0x08
#define E_EXC_TAKEN 0x09
#define E_EXC_RETURN 0x0A
#define E_CPU_CYCLES 0x11
#define E_CHAIN 0x1E
#define E_SAMPLE_POP 0x4000
#define E_SAMPLE_FEED 0x4001
#define NOT_EL1 (1 << 31)
#define NOT_EL0 (1 << 30)
#define CYCLES (1 << 31)
#define PMCR_E 1
#define PMCR_P 2
#define PMCR_C 4
#define PMCR_LC 0x40

#define S_USER_CODE 1
#define F_USER_CODE FRAMES

.macro set_register name, value
    mov64 x0, (\value)
    msr \name, x0
.endm

.macro interrupt_pending
    mov64 x10, (GICR(1) + GICR_SGI_BASE + GICR_ISPENDR0)
    ldr w10, [x10]
    ubfx x10, x10, #PPI, #1
.endm

// The PMU with nothing counting and all counters zero.
.macro quiet
    set_register pmcr_el0, (PMCR_LC | PMCR_P | PMCR_C)
    set_register pmcntenclr_el0, 0x8000003F
    set_register pmintenclr_el1, 0x8000003F
    set_register pmovsclr_el0, 0x8000003F
    msr pmccfiltr_el0, xzr
    isb
.endm

// Counts \passes passes of two operations with the counters \mask. Between the MSR that enables and the one that
// disables, which counts itself: an ISB, the passes.
.macro count mask, passes
    mov64 x0, (\mask)
    mov64 x1, (\passes)
    bl counted_loop
.endm
#define OPERATIONS(passes) ((passes) * 2 + 2)

.text
counted_loop:
    msr pmcntenset_el0, x0
    isb
1:  subs x1, x1, #1
    b.ne 1b
    msr pmcntenclr_el0, x0
    isb
    ret

// X\register counted \value operations: exactly, or in QEMU at least 4/5 of it and at most twice as many.
#define counted counted_at __LINE__,
.macro counted_at line, register, value
#ifdef REFERENCE_QEMU
    mov64 x1, ((\value) * 4 / 5)
    cmp \register, x1
    mov64 x1, ((\value) * 2 + 20)
    ccmp \register, x1, #2, hs
    b.ls 99f
#endif
    check_at \line, \register, (\value)
99:
.endm

user_code:
1:  subs x1, x1, #1
    b.ne 1b
    svc #1
    nop
user_counter:
    mrs x5, pmccntr_el0
    svc #2
user_until_interrupt:
    subs x1, x1, #1
    cbz x1, 1f
    cbz x27, user_until_interrupt
1:  svc #3
user_code_end:

// Runs the loop of EL0.
.macro user_loop passes
    expect_exception 88f
    mov64 x1, (\passes)
    mov64 x9, SLOT_VA(S_USER_CODE)
    enter_el0 x9
88:
.endm

.global irq_handler
irq_handler:
    mrs x19, s3_0_c12_c12_0
    msr pmovsclr_el0, x26
    isb
    add x27, x27, #1
    msr s3_0_c12_c12_1, x19
    isb
    ret

.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov64 x25, GICR(1)
    gic_setup x25
    bl paging_build
    map_slot S_USER_CODE, F_USER_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    frame x9, F_USER_CODE
    adr x10, user_code
    adr x11, user_code_end
1:  ldr w12, [x10], #4
    str w12, [x9], #4
    cmp x10, x11
    b.lo 1b
    dsb ish
    ic iallu
    dsb ish
    isb
    bl paging_on
    bl test_identity
    bl test_counting
    bl test_filters
    bl test_overflow
    bl test_events
    bl test_access
    bl test_profiling
    ldp x29, x30, [sp], #16
    ret

test_identity:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #8, #4
#ifndef REFERENCE_QEMU
    check x9, 4                 // PMUv3 for Armv8.1
    mrs x9, pmcr_el0
    ubfx x9, x9, #11, #5
    check x9, 6
#endif
    mrs x9, pmceid0_el0
    check_bits x9, ((1 << E_SW_INCR) | (1 << E_INST_RETIRED) | (1 << E_CPU_CYCLES)), ((1 << E_SW_INCR) | (1 << E_INST_RETIRED) | (1 << E_CPU_CYCLES))
    // Counters that do not exist cannot be enabled.
    quiet
    mov x9, #-1
    msr pmcntenset_el0, x9
    isb
#ifndef REFERENCE_QEMU
    check_sysreg pmcntenset_el0, 0x8000003F
    msr pmintenset_el1, x9
    isb
    check_sysreg pmintenset_el1, 0x8000003F
#endif
    msr pmcntenclr_el0, x9
    msr pmintenclr_el1, x9
    isb
    check_sysreg pmcntenset_el0, 0
    check_sysreg pmcntenclr_el0, 0
    ldp x29, x30, [sp], #16
    ret

// Operations and cycles.
test_counting:
    stp x29, x30, [sp, #-16]!
    quiet
    set_register pmevtyper0_el0, E_INST_RETIRED
    set_register pmevtyper3_el0, E_CPU_CYCLES
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    isb
    count (CYCLES | 9), 10000
    mrs x9, pmevcntr0_el0
    counted x9, OPERATIONS(10000)
    mrs x9, pmevcntr3_el0
    mrs x10, pmccntr_el0
#ifndef REFERENCE_QEMU
    check x9, OPERATIONS(10000)
    check x10, OPERATIONS(10000)
#endif
    cmp x10, #0
    cset x11, ne
    check x11, 1
    // Two reads in a row see each other.
    set_register pmcntenset_el0, CYCLES
    isb
    mrs x9, pmccntr_el0
    nop
    nop
    mrs x10, pmccntr_el0
    sub x10, x10, x9
#ifndef REFERENCE_QEMU
    check x10, 3
#endif
    set_register pmcntenclr_el0, CYCLES
    isb
    // Nothing counts while PMCR_EL0.E is clear, or when not enabled.
    set_register pmcr_el0, PMCR_LC
    isb
    mrs x25, pmevcntr0_el0
    count (CYCLES | 9), 1000
    mrs x9, pmevcntr0_el0
    sub x9, x9, x25
    check x9, 0
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    isb
    count 2, 1000
    mrs x9, pmevcntr0_el0
    sub x9, x9, x25
    check x9, 0
    // Resets: the event counters, then the cycle counter.
    set_register pmcr_el0, (PMCR_LC | PMCR_P)
    isb
    check_sysreg pmevcntr0_el0, 0
    mrs x9, pmccntr_el0
    cmp x9, #0
    cset x9, ne
    check x9, 1
    set_register pmcr_el0, (PMCR_LC | PMCR_C)
    isb
    check_sysreg pmccntr_el0, 0
    // By way of the selected counter.
    set_register pmselr_el0, 2
    isb
    set_register pmxevtyper_el0, E_INST_RETIRED
    set_register pmxevcntr_el0, 0x1234
    isb
    check_sysreg pmevtyper2_el0, E_INST_RETIRED
    check_sysreg pmevcntr2_el0, 0x1234
    set_register pmselr_el0, 31
    isb
    set_register pmxevtyper_el0, NOT_EL0
    isb
    check_sysreg pmccfiltr_el0, NOT_EL0
    ldp x29, x30, [sp], #16
    ret

// Counters of one Exception level.
test_filters:
    stp x29, x30, [sp, #-16]!
    quiet
    set_register pmevtyper0_el0, (E_INST_RETIRED | NOT_EL1)
    set_register pmevtyper1_el0, (E_INST_RETIRED | NOT_EL0)
    set_register pmevtyper2_el0, (E_INST_RETIRED | NOT_EL0 | NOT_EL1)
    set_register pmccfiltr_el0, NOT_EL1
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    isb
    count (CYCLES | 7), 1000
    check_sysreg pmevcntr0_el0, 0
    mrs x9, pmevcntr1_el0
    counted x9, OPERATIONS(1000)
    check_sysreg pmevcntr2_el0, 0
#ifndef REFERENCE_QEMU
    check_sysreg pmccntr_el0, 0
#endif
    set_register pmcr_el0, (PMCR_LC | PMCR_E | PMCR_P)
    set_register pmcntenset_el0, (CYCLES | 7)
    isb
    user_loop 5000
    set_register pmcntenclr_el0, (CYCLES | 7)
    isb
    check x20, 0x56000001
    mrs x9, pmevcntr0_el0
    counted x9, 10001           // and the SVC
    mrs x9, pmevcntr1_el0       // the way there and back
    cmp x9, #100
    cset x9, lo
    check x9, 1
    check_sysreg pmevcntr2_el0, 0
#ifndef REFERENCE_QEMU
    check_sysreg pmccntr_el0, 10001
#endif
    ldp x29, x30, [sp], #16
    ret

test_overflow:
    stp x29, x30, [sp, #-16]!
    quiet
    set_register pmevtyper0_el0, E_INST_RETIRED
    set_register pmevtyper1_el0, E_CHAIN
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    set_register pmevcntr0_el0, 0xFFFFFF00
    isb
    count 3, 1000
    check_sysreg pmovsclr_el0, 1
    check_sysreg pmovsset_el0, 1
#ifndef REFERENCE_QEMU
    check_sysreg pmevcntr0_el0, (OPERATIONS(1000) - 0x100)
    check_sysreg pmevcntr1_el0, 1
#endif
    // The interrupt is the AND of status and enable, a level.
    interrupt_pending
    check x10, 0
    set_register pmintenset_el1, 1
    isb
    interrupt_pending
    check x10, 1
    mrs x19, s3_0_c12_c12_0
    check x19, PPI
    msr s3_0_c12_c12_1, x19
    isb
    interrupt_pending
    check x10, 1
    set_register pmovsclr_el0, 1
    isb
    interrupt_pending
    check x10, 0
    set_register pmovsset_el0, 1
    isb
    interrupt_pending
    check x10, 1
    set_register pmintenclr_el1, 1
    isb
    interrupt_pending
    check x10, 0
    set_register pmovsclr_el0, 1

    // Taken in the middle of the loop, at the operation that overflowed.
    set_register pmintenset_el1, 1
    set_register pmevcntr0_el0, 0xFFFFFC18      // 1000 operations to go
    isb
    mov x26, #1
    mov x27, #0
    msr daifclr, #2
    set_register pmcntenset_el0, 1
    isb
    mov64 x1, 100000
1:  subs x1, x1, #1
    cbz x1, 2f
    cbz x27, 1b
2:  set_register pmcntenclr_el0, 1
    msr daifset, #2
    mov x11, x1
    check x27, 1
#ifndef REFERENCE_QEMU
    // ISB, the four that make 100000, three operations a pass.
    mov64 x9, 100000
    sub x1, x9, x11
    check x1, ((1000 - 5 + 2) / 3)
#endif
    check_sysreg pmovsclr_el0, 0

#ifndef REFERENCE_QEMU
    // The same at EL0, with a counter that sees only that.
    set_register pmevtyper0_el0, (E_INST_RETIRED | NOT_EL1)
    set_register pmevcntr0_el0, 0xFFFFFC18
    set_register pmcntenset_el0, 1
    mov x27, #0
    mov64 x1, 100000
    mov64 x9, (SLOT_VA(S_USER_CODE) + user_until_interrupt - user_code)
    msr elr_el1, x9
    mov x0, #0x340              // interrupts unmasked
    msr spsr_el1, x0
    expect_exception 3f
    mov64 x1, 100000
    eret
3:  mov x11, x1
    set_register pmcntenclr_el0, 1
    check x20, 0x56000003
    mov64 x9, 100000
    sub x1, x9, x11
    check x1, ((1000 + 2) / 3)

    // The cycle counter has 64 bits and overflows there.
    quiet
    set_register pmccntr_el0, 0xFFFFFFFF
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    isb
    count CYCLES, 100
    check_sysreg pmovsclr_el0, 0
    check_sysreg pmccntr_el0, (0xFFFFFFFF + OPERATIONS(100))
    set_register pmccntr_el0, -100
    set_register pmintenset_el1, CYCLES
    isb
    interrupt_pending
    check x10, 0
    count CYCLES, 100
    check_sysreg pmovsclr_el0, CYCLES
    check_sysreg pmccntr_el0, (OPERATIONS(100) - 100)
    interrupt_pending
    check x10, 1
    // Counters that overflow together, and a chain with its own interrupt.
    quiet
    set_register pmevtyper2_el0, E_INST_RETIRED
    set_register pmevtyper3_el0, E_CHAIN
    set_register pmevtyper4_el0, E_INST_RETIRED
    set_register pmevcntr2_el0, -10
    set_register pmevcntr3_el0, -1
    set_register pmevcntr4_el0, -10
    set_register pmintenset_el1, 8
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    isb
    count 0x1C, 100
    check_sysreg pmovsclr_el0, 0x1C
    check_sysreg pmevcntr3_el0, 0
    interrupt_pending
    check x10, 1
#endif
    quiet
    interrupt_pending
    check x10, 0
    ldp x29, x30, [sp], #16
    ret

// Events that are not operations.
test_events:
    stp x29, x30, [sp, #-16]!
    quiet
    set_register pmevtyper0_el0, E_SW_INCR
    set_register pmevtyper1_el0, E_EXC_TAKEN
    set_register pmevtyper2_el0, E_EXC_RETURN
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    set_register pmcntenset_el0, 7
    isb
    mov x11, #5
    mov x12, #3                 // counter 1 counts something else
1:  msr pmswinc_el0, x12
    subs x11, x11, #1
    b.ne 1b
    mov x11, #7
2:  expect_exception 3f
    svc #0
    unreachable
3:  subs x11, x11, #1
    b.ne 2b
    set_register pmcntenclr_el0, 7
    isb
    check_sysreg pmevcntr0_el0, 5
#ifndef REFERENCE_QEMU
    check_sysreg pmevcntr1_el0, 7
    check_sysreg pmevcntr2_el0, 7
#endif
    ldp x29, x30, [sp], #16
    ret

// EL0 reads the counter when PMUSERENR_EL0 says so.
test_access:
    stp x29, x30, [sp, #-16]!
    msr pmuserenr_el0, xzr
    isb
    mov64 x9, (SLOT_VA(S_USER_CODE) + user_counter - user_code)
    expect_exception 1f
    enter_el0 x9
1:  lsr x9, x20, #26
    check x9, 0x18              // trapped MRS
    set_register pmuserenr_el0, 1
    isb
    mov64 x9, (SLOT_VA(S_USER_CODE) + user_counter - user_code)
    expect_exception 2f
    enter_el0 x9
2:  check x20, 0x56000002
    set_register pmuserenr_el0, 4               // CR: reading the cycle counter
    isb
    mov64 x9, (SLOT_VA(S_USER_CODE) + user_counter - user_code)
    expect_exception 3f
    enter_el0 x9
3:  check x20, 0x56000002
    msr pmuserenr_el0, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

// What the profiling unit sampled from, if there is one.
test_profiling:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    cbz x9, 1f
    mrs x9, pmceid0_el0
    lsr x9, x9, #32
    check_bits x9, 3, 3
    quiet
    set_register pmevtyper0_el0, E_SAMPLE_POP
    set_register pmevtyper1_el0, E_SAMPLE_FEED
    set_register pmcr_el0, (PMCR_LC | PMCR_E)
    set_register pmcntenset_el0, 3
    set_register PMSIRR_EL1, 256
    msr PMBSR_EL1, xzr
    set_register PMBLIMITR_EL1, (PMBLIMITR_E | PMBLIMITR_DISCARD)
    mov64 x1, 12850
    set_register PMSCR_EL1, PMSCR_E1SPE
2:  subs x1, x1, #1
    b.ne 2b
    msr PMSCR_EL1, xzr
    msr PMBLIMITR_EL1, xzr
    isb
    check_sysreg pmevcntr0_el0, (12850 * 2 + 1)
    check_sysreg pmevcntr1_el0, 100
    quiet
1:  ldp x29, x30, [sp], #16
    ret
