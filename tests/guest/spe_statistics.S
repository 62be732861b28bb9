// A loop of eleven operations sampled 50 000 times and more, as a driver does it: the buffer emptied by the interrupt while
// EL0 runs, or large enough at EL1. Without jitter each operation is sampled equally often, exactly; with it each within 4
// standard errors, and the loads, stores, branches and others within 3. Prints how many runs there were.
// vmm: --spe --pmu
// vmm: --spe --pmu --clock insn --spe-version 1.4
// expect: rows: 0000000000000004
// expect: PASS
#include "guest.h"
#include "gic.h"
#include "paging.h"
#include "spe.h"

#define PPI 21
#define GICR_ISPENDR0 0x200

#define S_USER_CODE 0
#define S_USER_DATA 1
#define S_BUFFER 16             // four pages
#define F_USER_CODE FRAMES
#define F_DATA (FRAMES + 1)
#define F_BUFFER (FRAMES + 2)
#define SMALL_BUFFER SLOT_VA(S_BUFFER)
#define SMALL_BYTES 0x4000
#define LARGE_BUFFER (RAM + 0x2000000)
#define LARGE_BYTES 0x400000

#define LENGTH 11               // operations of the loop; 257 is no multiple of it
#define PERIOD 257
#define EACH 4550               // samples of each operation
#define SAMPLES (LENGTH * EACH)
#define PASSES (PERIOD * EACH)  // 257 * 4550 passes are 257 * 50050 operations
#define JITTER_PASSES 1800000   // 384.5 operations a sample: some 51 500 samples
// A sample's place in the loop is a random walk whose steps are uniform over 256 places: its largest eigenvalue is below
// 1 / (256 sin(pi / 11)) = 0.0139, so the variance of a count is below 1.03 times that of independent samples.
#define VARIANCE_PERCENT 103

.macro set_register name, value
    mov64 x0, (\value)
    msr \name, x0
.endm

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov64 x25, GICR(1)
    gic_setup x25
    bl paging_build
    map_slot S_USER_CODE, F_USER_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    map_slot S_USER_DATA, F_DATA, (NORMAL_PAGE | DESC_USER)
    map_slot S_BUFFER, F_BUFFER, NORMAL_PAGE
    map_slot (S_BUFFER + 1), (F_BUFFER + 1), NORMAL_PAGE
    map_slot (S_BUFFER + 2), (F_BUFFER + 2), NORMAL_PAGE
    map_slot (S_BUFFER + 3), (F_BUFFER + 3), NORMAL_PAGE
    frame x9, F_USER_CODE
    adr x10, loop
    adr x11, loop_end
1:  ldr w12, [x10], #4
    str w12, [x9], #4
    cmp x10, x11
    b.lo 1b
    mov w12, #0x0001            // svc #0 in place of the return
    movk w12, #0xD400, lsl #16
    str w12, [x9, #-4]
    dsb ish
    ic iallu
    dsb ish
    isb
    bl paging_on
    mov x27, #0
    bl regular_el1
    bl regular_el0
    bl jitter_el1
    bl jitter_el0
    adr x0, rows_text
    bl print
    mov x0, x27
    bl print_hex
    adr x0, end_of_line
    bl print
    ldp x29, x30, [sp], #16
    ret

// X1 passes over the data at X4.
loop:
    ldr x3, [x4]                // load
    add x5, x5, #1
    str x3, [x4, #8]            // store
    cmp x5, #0
    csel x6, x5, x3, ne
    ldp x7, x8, [x4, #16]       // load
    cbz x4, loop                // branch
    fadd d0, d0, d1
    stp x7, x8, [x4, #32]       // store
    subs x1, x1, #1
    b.ne loop                   // branch
    ret
loop_end:

// ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// Clears the histogram. Clobbers X9, X10.
clear_counts:
    adrp x9, counts
    add x9, x9, :lo12:counts
    mov x10, #(LENGTH + 3)
1:  str xzr, [x9], #8
    subs x10, x10, #1
    b.ne 1b
    ret

// Takes all records from X9 up to PMBPTR_EL1: their PC must lie in the loop that starts at X10, and is counted in `counts`;
// behind those are the numbers of records by the low bits of the Operation Type packet: other, load or store, branch.
// Clobbers X0..X3, X5, X9, X11..X14.
take_records:
    mrs x11, PMBPTR_EL1
    adrp x12, counts
    add x12, x12, :lo12:counts
1:  cmp x9, x11
    b.hs 5f
    add x13, x9, #RECORD_BYTES
2:  ldrb w0, [x9], #1
    cmp w0, #0xB0
    b.ne 3f
    ldr x1, [x9]
    ubfx x1, x1, #0, #56
    sub x1, x1, x10
    lsr x2, x1, #2
    cmp x2, #LENGTH
    b.hs bad_record
    ldr x3, [x12, x2, lsl #3]
    add x3, x3, #1
    str x3, [x12, x2, lsl #3]
    add x9, x9, #8
    b 2b
3:  cmp w0, #1
    b.eq 4f                     // the end
    cmp w0, #0x20
    b.lo bad_record
    sub w1, w0, #0x48
    cmp w1, #2
    b.hi 6f
    add x1, x1, #LENGTH
    ldr x3, [x12, x1, lsl #3]
    add x3, x3, #1
    str x3, [x12, x1, lsl #3]
6:  ubfx w1, w0, #4, #2
    mov w2, #1
    lsl w1, w2, w1
    add x9, x9, x1
    cmp x9, x13
    b.lo 2b
bad_record:
    mov x1, x9
    mov x2, #0
    mov x0, #0xBADD
    b check_equal
4:  mov x9, x13
    b 1b
5:  ret

// The PMU counts the population, what was sampled, and what was kept.
.macro count_samples
    set_register pmcr_el0, 2
    set_register pmevtyper0_el0, 0x4000
    set_register pmevtyper1_el0, 0x4001
    set_register pmevtyper2_el0, 0x4002
    set_register pmcntenset_el0, 7
    set_register pmcr_el0, 1
    isb
.endm

// X21 = all samples that were counted; checks that the PMU knows as many.
sum_counts:
    mov x21, #0
    adrp x9, counts
    add x9, x9, :lo12:counts
    mov x10, #LENGTH
1:  ldr x11, [x9], #8
    add x21, x21, x11
    subs x10, x10, #1
    b.ne 1b
    mrs x1, pmevcntr1_el0
    mov x2, x21
    mov x0, #__LINE__
    stp x29, x30, [sp, #-16]!
    bl check_equal
    mrs x1, pmevcntr2_el0
    mov x2, x21
    mov x0, #__LINE__
    bl check_equal
    ldp x29, x30, [sp], #16
    ret

// Each operation of the loop was sampled EACH times; kinds likewise.
check_regular:
    stp x29, x30, [sp, #-16]!
    bl sum_counts
    check x21, SAMPLES
    adrp x19, counts
    add x19, x19, :lo12:counts
    mov x22, #LENGTH
1:  ldr x9, [x19], #8
    check x9, EACH
    subs x22, x22, #1
    b.ne 1b
    ldr x9, [x19], #8
    check x9, (5 * EACH)        // others
    ldr x9, [x19], #8
    check x9, (4 * EACH)        // loads and stores
    ldr x9, [x19], #8
    check x9, (2 * EACH)        // branches
    add x27, x27, #1
    ldp x29, x30, [sp], #16
    ret

// The count in X9 of \part operations of LENGTH lies within \sigma standard errors of what X21 samples should have:
// (11 c - part n)^2 <= sigma^2 * n * part * (11 - part) * 1.03. Clobbers X0..X3.
.macro check_within sigma, part
    mov x0, #LENGTH
    mul x1, x9, x0
    mov x0, #\part
    msub x1, x21, x0, x1
    mul x1, x1, x1
    mov x0, #100
    mul x1, x1, x0
    mov64 x2, ((\sigma) * (\sigma) * (\part) * (LENGTH - (\part)) * VARIANCE_PERCENT)
    mul x2, x2, x21
    cmp x1, x2
    b.ls 89f
    mov x0, #__LINE__
    bl check_equal
89:
.endm

check_jitter:
    stp x29, x30, [sp, #-16]!
    bl sum_counts
    mov64 x9, 50000
    cmp x21, x9
    cset x9, hs
    check x9, 1
    adrp x19, counts
    add x19, x19, :lo12:counts
    mov x22, #0
    mov x23, #0                 // loads
1:  ldr x9, [x19, x22, lsl #3]
    check_within 4, 1
    add x22, x22, #1
    cmp x22, #LENGTH
    b.lo 1b
    ldr x9, [x19]
    ldr x10, [x19, #(5 * 8)]
    add x9, x9, x10
    check_within 3, 2           // loads
    ldr x9, [x19, #(2 * 8)]
    ldr x10, [x19, #(8 * 8)]
    add x9, x9, x10
    check_within 3, 2           // stores
    ldr x9, [x19, #((LENGTH + 2) * 8)]
    check_within 3, 2           // branches
    ldr x9, [x19, #(LENGTH * 8)]
    check_within 3, 5           // others
    ldr x9, [x19, #((LENGTH + 1) * 8)]
    check_within 3, 4           // loads and stores
    add x27, x27, #1
    ldp x29, x30, [sp], #16
    ret

// ── At EL1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────

.macro prepare interval, buffer, bytes
    bl clear_counts
    msr PMBLIMITR_EL1, xzr
    msr PMSCR_EL1, xzr
    isb
    set_register PMBPTR_EL1, (\buffer)
    msr PMBSR_EL1, xzr
    set_register PMSIRR_EL1, (\interval)
    set_register PMSICR_EL1, 0
    set_register PMBLIMITR_EL1, ((\buffer) + (\bytes) + PMBLIMITR_E)
    count_samples
.endm

// Between the MSR that enables and the one that disables: ISB, BL, the passes, RET. BL and ISB come first, so the sample
// points are two operations earlier in the loop than at EL0, which does not change how often each is hit.
.macro sample_el1 passes
    mov64 x1, (\passes)
    frame x4, F_DATA
    set_register PMSCR_EL1, PMSCR_E1SPE
    isb
    bl loop
    msr PMSCR_EL1, xzr
    isb
    psb_csync
    dsb nsh
    mov64 x9, LARGE_BUFFER
    adr x10, loop
    bl take_records
    check_sysreg PMBSR_EL1, 0
.endm

regular_el1:
    stp x29, x30, [sp, #-16]!
    prepare 256, LARGE_BUFFER, LARGE_BYTES
    sample_el1 PASSES
    // Four operations more than there are in the loop: ISB, BL, RET and MSR.
    check_sysreg pmevcntr0_el0, (PERIOD * SAMPLES + 4)
    check_sysreg PMSICR_EL1, (PERIOD - 4)
    bl check_regular
    ldp x29, x30, [sp], #16
    ret

jitter_el1:
    stp x29, x30, [sp, #-16]!
    prepare 257, LARGE_BUFFER, LARGE_BYTES
    sample_el1 JITTER_PASSES
    check_sysreg pmevcntr0_el0, (LENGTH * JITTER_PASSES + 4)
    bl check_jitter
    ldp x29, x30, [sp], #16
    ret

// ── At EL0, the buffer emptied by its interrupt ──────────────────────────────────────────────────────────────────────

.global irq_handler
irq_handler:
    stp x29, x30, [sp, #-16]!
    stp x6, x7, [sp, #-16]!
    stp x8, x9, [sp, #-16]!
    stp x10, x11, [sp, #-16]!
    stp x12, x13, [sp, #-16]!
    mrs x6, ICC_IAR1_EL1
    check x6, PPI
    check_sysreg PMBSR_EL1, PMBSR_FULL
    check_sysreg PMBPTR_EL1, (SMALL_BUFFER + SMALL_BYTES)
    mov64 x9, SMALL_BUFFER
    mov64 x10, SLOT_VA(S_USER_CODE)
    bl take_records
    set_register PMBPTR_EL1, SMALL_BUFFER
    isb
    msr PMBSR_EL1, xzr
    isb
    add x26, x26, #1
    msr ICC_EOIR1_EL1, x6
    isb
    ldp x12, x13, [sp], #16
    ldp x10, x11, [sp], #16
    ldp x8, x9, [sp], #16
    ldp x6, x7, [sp], #16
    ldp x29, x30, [sp], #16
    ret

// X26 counts the interrupts.
.macro sample_el0 passes
    mov x26, #0
    expect_exception 88f
    mov64 x9, SLOT_VA(S_USER_CODE)
    msr elr_el1, x9
    mov x0, #0x340              // EL0, interrupts enabled
    msr spsr_el1, x0
    mov64 x1, (\passes)
    mov64 x4, SLOT_VA(S_USER_DATA)
    set_register PMSCR_EL1, PMSCR_E0SPE
    isb
    eret
88: msr PMSCR_EL1, xzr
    isb
    psb_csync
    dsb nsh
    check x20, 0x56000000
    mov64 x9, SMALL_BUFFER
    mov64 x10, SLOT_VA(S_USER_CODE)
    bl take_records
    check_sysreg PMBSR_EL1, 0
.endm

regular_el0:
    stp x29, x30, [sp, #-16]!
    prepare 256, SMALL_BUFFER, SMALL_BYTES
    sample_el0 PASSES
    check x26, (SAMPLES / (SMALL_BYTES / RECORD_BYTES))
    check_sysreg pmevcntr0_el0, (PERIOD * SAMPLES + 1)
    check_sysreg PMSICR_EL1, (PERIOD - 1)
    bl check_regular
    ldp x29, x30, [sp], #16
    ret

jitter_el0:
    stp x29, x30, [sp, #-16]!
    prepare 257, SMALL_BUFFER, SMALL_BYTES
    sample_el0 JITTER_PASSES
    check_sysreg pmevcntr0_el0, (LENGTH * JITTER_PASSES + 1)
    bl check_jitter
    ldp x29, x30, [sp], #16
    ret

.section .rodata
rows_text: .asciz "rows: "
end_of_line: .asciz "\n"

.bss
.balign 8
counts: .skip 8 * (LENGTH + 3)
