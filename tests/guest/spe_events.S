// Every buffer management event of the profiling unit, as a table (Arm ARM, "Profiling Buffer management"): what is wrong
// with the buffer, and what PMBSR_EL1 and PMBPTR_EL1 then say. Prints how many rows there are.
// vmm: --spe
// vmm: --spe --spe-version 1.4 --clock insn
// expect: rows: 0000000000000045
// expect: PASS
#include "guest.h"
#include "gic.h"
#include "paging.h"
#include "spe.h"

#define PPI 21
#define GICR_ISPENDR0 0x200
#define ROW_BYTES 128

// Tables of 48-bit addresses: level 0 before those of paging.h, and one of each level for the buffer.
#define LEVEL0 SPARE_TABLE
#define TEST1 (SPARE_TABLE + 1)
#define TEST2 (SPARE_TABLE + 2)
#define TEST3 (SPARE_TABLE + 3)
#define F_BUFFER FRAMES
#define WIDE_TCR ((16 | (16 << 16)) | TCR_WALKS_CACHED | TCR_TG0 | TCR_TG1 | TCR_EPD1)

#define T (1 << 39)             // the buffer: entry 1 of level 0, entry 0 of the others
#define UPPER 0xFFFF000000000000
#define NOTHING 0x0F000000      // a physical address where nothing answers
#define TOO_HIGH (1 << 40)      // one beyond TCR_EL1.IPS
#define RAM_BLOCK (RAM | DESC_BLOCK | DESC_AF | DESC_SHARED | DESC_PXN | DESC_UXN)
#define FULL PMBSR_FULL
#define COLL 0x10000
#define DL 0x80000
#define EA 0x40000
#define OLD 0xFC0DFFFF          // all that PMBSR_EL1 can hold but S
#define E PMBLIMITR_E
#define DISCARD (PMBLIMITR_DISCARD | PMBLIMITR_E)

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov64 x25, GICR(1)
    gic_setup x25
    bl paging_build
    frame x3, LEVEL0
    frame x4, LEVEL1
    orr x4, x4, #DESC_TABLE
    str x4, [x3]
    mov64 x1, MAIR_VALUE
    msr mair_el1, x1
    mov64 x1, WIDE_TCR
    msr tcr_el1, x1
    msr ttbr0_el1, x3
    msr ttbr1_el1, x3
    dsb ish
    isb
    tlbi vmalle1
    dsb ish
    isb
    mov64 x1, (SCTLR_RES1 | SCTLR_SPAN | SCTLR_M | SCTLR_C | SCTLR_I)
    msr sctlr_el1, x1
    isb
    mov x0, #256
    msr PMSIRR_EL1, x0
    adr x26, table
    mov x27, #0
1:  bl run_row
    add x27, x27, #1
    add x26, x26, #ROW_BYTES
    adr x0, table_end
    cmp x26, x0
    b.lo 1b
    bl test_writes
    adr x0, rows_text
    bl print
    mov x0, x27
    bl print_hex
    adr x0, end_of_line
    bl print
    ldp x29, x30, [sp], #16
    ret

// ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────────
// name                what
// frame, slot, value  the descriptor that is wrong: entry SLOT of table FRAME becomes VALUE (frame -1: none)
// tcr, ttbr1          bits of TCR_EL1 that are inverted, TTBR1_EL1
// start, limitr       PMBPTR_EL1 and PMBLIMITR_EL1
// before              PMBSR_EL1 before
// samples             operations sampled, unless an event ends it
// status, pointer     PMBSR_EL1 and PMBPTR_EL1 afterwards
.macro row name, frame, slot, value, tcr, ttbr1, start, limitr, before, samples, status, pointer
    .quad \frame, (\slot) * 8, \value, \tcr, \ttbr1, \start, \limitr, \before, \samples, \status, \pointer
8:  .ascii "\name"
    .org 8b + (ROW_BYTES - 88)
.endm

.section .rodata
.balign 8
table:
// Nothing wrong: records follow one another.
row "one record",               -1, 0, 0, 0, 0,  T, (T + 0x2000 + E), 0, 1,  0, (T + 64)
row "three records",            -1, 0, 0, 0, 0,  T, (T + 0x2000 + E), 0, 3,  0, (T + 192)
row "disabled",                 -1, 0, 0, 0, 0,  T, (T + 0x2000), 0, 1,  0, T
// Full: the record that leaves no room for another one.
row "room for one more",        -1, 0, 0, 0, 0,  (T + 0xF80), (T + 0x1000 + E), 0, 1,  0, (T + 0xFC0)
row "last record",              -1, 0, 0, 0, 0,  (T + 0xFC0), (T + 0x1000 + E), 0, 1,  FULL, (T + 0x1000)
row "last two records",         -1, 0, 0, 0, 0,  (T + 0xF80), (T + 0x1000 + E), 0, 5,  FULL, (T + 0x1000)
row "full keeps DL EA COLL",    -1, 0, 0, 0, 0,  (T + 0xFC0), (T + 0x1000 + E), OLD, 1,  (FULL | DL | EA | COLL), (T + 0x1000)
// No room to begin with: full without a record.
row "pointer at limit",         -1, 0, 0, 0, 0,  (T + 0x1000), (T + 0x1000 + E), 0, 1,  FULL, (T + 0x1000)
row "pointer behind limit",     -1, 0, 0, 0, 0,  (T + 0x2000), (T + 0x1000 + E), 0, 1,  FULL, (T + 0x2000)
row "limit zero",               -1, 0, 0, 0, 0,  T, E, 0, 1,  FULL, T
row "limit one page, a device", -1, 0, 0, 0, 0,  0, (0x1000 + E), 0, 1,  0, 64
row "pointer at the top",       -1, 0, 0, 0, 0,  -64, (-0x1000 + E), 0, 1,  FULL, -64
// Larger than PMBIDR_EL1.MaxBuffSize (4 MiB).
row "too large",                -1, 0, 0, 0, 0,  T, (T + 0x401000 + E), 0, 1,  PMBSR_TOO_LARGE, T
row "too large by one record",  -1, 0, 0, 0, 0,  (T + 0xFC0), (T + 0x401000 + E), 0, 1,  PMBSR_TOO_LARGE, (T + 0xFC0)
row "as large as allowed",      -1, 0, 0, 0, 0,  T, (T + 0x400000 + E), 0, 1,  0, (T + 64)
row "the largest",              -1, 0, 0, 0, 0,  0, (-0x1000 + E), 0, 1,  PMBSR_TOO_LARGE, 0
row "too large keeps COLL",     -1, 0, 0, 0, 0,  T, (T + 0x401000 + E), COLL, 1,  (PMBSR_TOO_LARGE | COLL), T
// Misaligned: PMBIDR_EL1.Align is 6.
row "misaligned by 1",          -1, 0, 0, 0, 0,  (T + 1), (T + 0x2000 + E), 0, 1,  (PMBSR_FAULT | 0x21), (T + 1)
row "misaligned by 32",         -1, 0, 0, 0, 0,  (T + 0x1E0), (T + 0x2000 + E), 0, 1,  (PMBSR_FAULT | 0x21), (T + 0x1E0)
row "misaligned by 63",         -1, 0, 0, 0, 0,  (T + 0x13F), (T + 0x2000 + E), 0, 1,  (PMBSR_FAULT | 0x21), (T + 0x13F)
// Translation faults.
row "translation 0, invalid",   LEVEL0, 1, 0, 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 4), T
row "translation 0, block",     LEVEL0, 1, RAM_BLOCK, 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 4), T
row "translation 0, too wide",  -1, 0, 0, 0, 0,  (1 << 48), ((1 << 48) + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 4), (1 << 48)
row "translation 0, hole",      -1, 0, 0, 0, 0,  (1 << 55), ((1 << 55) + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 4), (1 << 55)
row "translation 0, EPD1",      -1, 0, 0, 0, 0,  UPPER, (UPPER + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 4), UPPER
row "translation 1",            TEST1, 0, 0, 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 5), T
row "translation 2",            TEST2, 0, 0, 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 6), T
row "translation 3",            TEST3, 0, 0, 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 7), T
row "translation 3, reserved",  TEST3, 0, (RAM | DESC_BLOCK | DESC_AF), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 7), T
row "translation 3, later",     TEST3, 1, 0, 0, 0,  (T + 0xF80), (T + 0x2000 + E), 0, 5,  (PMBSR_FAULT | 7), (T + 0x1000)
row "fault keeps DL EA COLL",   TEST3, 0, 0, 0, 0,  T, (T + 0x1000 + E), OLD, 1,  (PMBSR_FAULT | 7 | DL | EA | COLL), T
// Access flag faults: hardware does not set the flag as long as TCR_EL1.HA is 0.
row "access flag 1",            TEST1, 0, (RAM_BLOCK & ~DESC_AF), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0x9), T
row "access flag 2",            TEST2, 0, (RAM_BLOCK & ~DESC_AF), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xA), T
row "access flag 3",            TEST3, 0, (RAM | NORMAL_PAGE & ~DESC_AF), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xB), T
row "access flag 1, HA",        TEST1, 0, (RAM_BLOCK & ~DESC_AF), TCR_HA, 0,  (T + 0x3000000), (T + 0x3001000 + E), 0, 1,  0, (T + 0x3000040)
row "access flag 2, HA",        TEST2, 0, ((RAM_BLOCK + 0x3000000) & ~DESC_AF), TCR_HA, 0,  T, (T + 0x1000 + E), 0, 1,  0, (T + 64)
row "access flag 3, HA",        TEST3, 0, ((RAM + 0x3000000) | NORMAL_PAGE & ~DESC_AF), TCR_HA, 0,  T, (T + 0x1000 + E), 0, 2,  0, (T + 128)
// Permission faults; with dirty state managed a page with DBM is written.
row "permission 1",             TEST1, 0, (RAM_BLOCK | DESC_READ_ONLY), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xD), T
row "permission 2",             TEST2, 0, (RAM_BLOCK | DESC_READ_ONLY), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xE), T
row "permission 3",             TEST3, 0, (RAM | NORMAL_PAGE | DESC_READ_ONLY), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xF), T
row "permission 3, for EL0",    TEST3, 0, (RAM | NORMAL_PAGE | DESC_READ_ONLY | DESC_USER), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xF), T
row "permission 3, later",      TEST3, 1, (RAM | NORMAL_PAGE | DESC_READ_ONLY), 0, 0,  (T + 0xF40), (T + 0x2000 + E), 0, 5,  (PMBSR_FAULT | 0xF), (T + 0x1000)
row "permission 3, DBM alone",  TEST3, 0, (RAM | NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM), TCR_HA, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0xF), T
row "permission 1, HD",         TEST1, 0, (RAM_BLOCK | DESC_READ_ONLY | DESC_DBM), (TCR_HA | TCR_HD), 0,  (T + 0x3000000), (T + 0x3001000 + E), 0, 1,  0, (T + 0x3000040)
row "permission 3, HD",         TEST3, 0, ((RAM + 0x3000000) | NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM), (TCR_HA | TCR_HD), 0,  T, (T + 0x1000 + E), 0, 1,  0, (T + 64)
// Address size faults: of the table's own address, of a table, of a block or page.
row "address size 0, TTBR1",    -1, 0, 0, TCR_EPD1, TOO_HIGH,  UPPER, (UPPER + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0), UPPER
row "address size 0",           LEVEL0, 1, (TOO_HIGH | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0), T
row "address size 1, table",    TEST1, 0, (TOO_HIGH | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 1), T
row "address size 1, block",    TEST1, 0, (TOO_HIGH | RAM_BLOCK), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 1), T
row "address size 2, table",    TEST2, 0, (TOO_HIGH | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 2), T
row "address size 2, block",    TEST2, 0, (TOO_HIGH | RAM_BLOCK), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 2), T
row "address size 3",           TEST3, 0, (TOO_HIGH | NORMAL_PAGE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 3), T
// External aborts: on a table walk they are faults, on the record itself they are ignored (PMBIDR_EL1.EA = 1).
row "abort on walk 0",          -1, 0, 0, TCR_EPD1, NOTHING,  UPPER, (UPPER + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0x14), UPPER
row "abort on walk 1",          LEVEL0, 1, (NOTHING | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0x15), T
row "abort on walk 2",          TEST1, 0, (NOTHING | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0x16), T
row "abort on walk 3",          TEST2, 0, (NOTHING | DESC_TABLE), 0, 0,  T, (T + 0x1000 + E), 0, 1,  (PMBSR_FAULT | 0x17), T
row "abort on the record",      TEST3, 0, (NOTHING | NORMAL_PAGE), 0, 0,  T, (T + 0x2000 + E), 0, 2,  0, (T + 128)
// Stopped already: nothing is sampled, and nothing changes, whatever S came from.
row "S set",                    -1, 0, 0, 0, 0,  T, (T + 0x2000 + E), PMBSR_S, 2,  PMBSR_S, T
row "S set, bad pointer",       TEST3, 0, 0, 0, 0,  (T + 1), (T + 0x2000 + E), (PMBSR_S | OLD), 2,  (PMBSR_S | OLD), (T + 1)
row "S and COLL, no room",      -1, 0, 0, 0, 0,  T, E, (PMBSR_S | COLL), 2,  (PMBSR_S | COLL), T
row "COLL alone stops nothing", -1, 0, 0, 0, 0,  T, (T + 0x2000 + E), COLL, 2,  COLL, (T + 128)
row "no S stops nothing",       -1, 0, 0, 0, 0,  T, (T + 0x2000 + E), OLD, 2,  OLD, (T + 128)
// Discard mode: no pointer is too bad.
row "discard",                  -1, 0, 0, 0, 0,  T, (T + 0x2000 + DISCARD), 0, 3,  0, T
row "discard, garbage",         -1, 0, 0, 0, 0,  0x123456789ABCDEF, (0xFEDCBA987654A000 + DISCARD), 0, 3,  0, 0x123456789ABCDEF
row "discard, no room",         -1, 0, 0, 0, 0,  -1, DISCARD, 0, 3,  0, -1
row "discard, unmapped",        TEST3, 0, 0, 0, 0,  T, (T + 0x2000 + DISCARD), 0, 3,  0, T
row "discard, too large",       -1, 0, 0, 0, 0,  0, (-0x1000 + DISCARD), 0, 3,  0, 0
row "discard, S set",           -1, 0, 0, 0, 0,  T, (T + 0x2000 + DISCARD), (PMBSR_S | COLL), 3,  (PMBSR_S | COLL), T
row "reserved fill mode",       -1, 0, 0, 0, 0,  T, (T + 0x2000 + E + 2), 0, 2,  0, (T + 128)
table_end:
rows_text: .asciz "rows: "
end_of_line: .asciz "\n"

// ── What runs a row ──────────────────────────────────────────────────────────────────────────────────────────────────
.text
#define ROW_FRAME 0
#define ROW_SLOT 8
#define ROW_VALUE 16
#define ROW_TCR 24
#define ROW_TTBR1 32
#define ROW_START 40
#define ROW_LIMITR 48
#define ROW_BEFORE 56
#define ROW_SAMPLES 64
#define ROW_STATUS 72
#define ROW_POINTER 80
#define UNTOUCHED 0x5A5A

// X10 = whether the interrupt is pending at the GIC.
.macro interrupt_pending
    mov64 x10, (GICR(1) + GICR_SGI_BASE + GICR_ISPENDR0)
    ldr w10, [x10]
    ubfx x10, x10, #PPI, #1
.endm

// Compares \register with that of the row at \offset; a failure names the row's number, and \what in front of it.
.macro expect register, what, expected
    mov x1, \register
    mov x2, \expected
    mov64 x0, (\what << 16)
    add x0, x0, x27
    bl check_equal
.endm

// The buffer's tables as they are when nothing is wrong: four pages from T on.
good_tables:
    frame x3, LEVEL0
    frame x4, TEST1
    frame x5, TEST2
    frame x6, TEST3
    frame x7, F_BUFFER
    orr x9, x4, #DESC_TABLE
    str x9, [x3, #8]
    orr x9, x5, #DESC_TABLE
    str x9, [x4]
    orr x9, x6, #DESC_TABLE
    str x9, [x5]
    mov64 x9, NORMAL_PAGE
    orr x9, x9, x7
    mov x10, #0
1:  str x9, [x6, x10, lsl #3]
    add x9, x9, #0x1000
    add x10, x10, #1
    cmp x10, #4
    b.lo 1b
    ret

// Executes X1 * 2 operations with profiling on, of which the unit sees two more (ISB and the MSR that ends it).
profile:
    mov x0, #PMSCR_E1SPE
    msr PMSCR_EL1, x0
    isb
1:  subs x1, x1, #1
    b.ne 1b
    msr PMSCR_EL1, xzr
    isb
    psb_csync
    dsb nsh
    isb
    ret

// X26: the row; X27: its number.
run_row:
    stp x29, x30, [sp, #-16]!
    msr PMBLIMITR_EL1, xzr
    isb
    bl good_tables
    ldr x9, [x26, #ROW_FRAME]
    tbnz x9, #63, 1f
    adrp x10, __free
    add x10, x10, x9, lsl #GRANULE_SHIFT
    ldr x11, [x26, #ROW_SLOT]
    ldr x12, [x26, #ROW_VALUE]
    str x12, [x10, x11]
1:  mov64 x9, WIDE_TCR
    ldr x10, [x26, #ROW_TCR]
    eor x9, x9, x10
    ldr x10, [x26, #ROW_TTBR1]
    msr ttbr1_el1, x10
    msr tcr_el1, x9
    isb
    flush_tlb
    mov x9, #UNTOUCHED
    msr esr_el1, x9
    msr far_el1, x9
    ldr x9, [x26, #ROW_START]
    msr PMBPTR_EL1, x9
    ldr x9, [x26, #ROW_BEFORE]
    msr PMBSR_EL1, x9
    mov x9, #1
    msr PMSICR_EL1, x9
    ldr x9, [x26, #ROW_LIMITR]
    msr PMBLIMITR_EL1, x9
    isb
    // Nothing happens before profiling is enabled as well; the line is what S is.
    interrupt_pending
    ldr x11, [x26, #ROW_BEFORE]
    ubfx x11, x11, #17, #1
    expect x10, 1, x11
    // The first operation is a sample, then each 257th.
    ldr x9, [x26, #ROW_SAMPLES]
    sub x9, x9, #1
    mov x10, #257
    mul x9, x9, x10
    add x9, x9, #100
    lsr x1, x9, #1
    bl profile
    mrs x9, PMBSR_EL1
    ldr x11, [x26, #ROW_STATUS]
    expect x9, 2, x11
    mrs x9, PMBPTR_EL1
    ldr x11, [x26, #ROW_POINTER]
    expect x9, 3, x11
    interrupt_pending
    ldr x11, [x26, #ROW_STATUS]
    ubfx x11, x11, #17, #1
    expect x10, 4, x11
    // Never an exception.
    mov x11, #UNTOUCHED
    mrs x9, esr_el1
    expect x9, 5, x11
    mrs x9, far_el1
    expect x9, 6, x11
    // Once stopped, all stands still.
    ldr x11, [x26, #ROW_STATUS]
    tbz x11, #17, 2f
    mrs x19, PMSICR_EL1
    mov x1, #400
    bl profile
    mrs x9, PMSICR_EL1
    expect x9, 7, x19
    mrs x9, PMBSR_EL1
    ldr x11, [x26, #ROW_STATUS]
    expect x9, 8, x11
    mrs x9, PMBPTR_EL1
    ldr x11, [x26, #ROW_POINTER]
    expect x9, 9, x11
    // Disabling the buffer clears neither the event nor the interrupt, clearing the status does.
2:  msr PMBLIMITR_EL1, xzr
    isb
    interrupt_pending
    ldr x11, [x26, #ROW_STATUS]
    ubfx x11, x11, #17, #1
    expect x10, 10, x11
    msr PMBSR_EL1, xzr
    isb
    interrupt_pending
    expect x10, 11, xzr
    mov64 x9, WIDE_TCR
    msr tcr_el1, x9
    isb
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// Writes to the buffer registers while profiling is on: they take effect at once.
.macro now_sample
    mov x9, #1
    msr PMSICR_EL1, x9
    nop                         // the sample
    nop
.endm

test_writes:
    stp x29, x30, [sp, #-16]!
    bl good_tables
    flush_tlb
    mov64 x9, T
    msr PMBPTR_EL1, x9
    mov64 x9, (T + 0x2000 + E)
    msr PMBLIMITR_EL1, x9
    mov64 x9, 0xFFFFFF00
    msr PMSIRR_EL1, x9
    msr PMSICR_EL1, xzr
    mov x0, #PMSCR_E1SPE
    msr PMSCR_EL1, x0
    now_sample
    check_sysreg PMBPTR_EL1, (T + 64)
    // The pointer.
    mov64 x9, (T + 0x1000)
    msr PMBPTR_EL1, x9
    now_sample
    check_sysreg PMBPTR_EL1, (T + 0x1040)
    // The limit: further, and then nearer than the pointer.
    mov64 x9, (T + 0x3000 + E)
    msr PMBLIMITR_EL1, x9
    now_sample
    check_sysreg PMBPTR_EL1, (T + 0x1080)
    mov64 x9, (T + 0x1000 + E)
    msr PMBLIMITR_EL1, x9
    check_sysreg PMBSR_EL1, PMBSR_FULL
    interrupt_pending
    check x10, 1
    // Clearing S without making room: again at once, and the line with it.
    msr PMBSR_EL1, xzr
    check_sysreg PMBSR_EL1, PMBSR_FULL
    interrupt_pending
    check x10, 1
    // Room, then S: sampling goes on with PMSCR_EL1 never touched.
    mov64 x9, (T + 0x3000 + E)
    msr PMBLIMITR_EL1, x9
    check_sysreg PMBSR_EL1, PMBSR_FULL
    msr PMBSR_EL1, xzr
    now_sample
    check_sysreg PMBSR_EL1, 0
    check_sysreg PMBPTR_EL1, (T + 0x10C0)
    // S by software: stops and interrupts.
    mov64 x9, PMBSR_S
    msr PMBSR_EL1, x9
    interrupt_pending
    check x10, 1
    now_sample
    check_sysreg PMSICR_EL1, 1
    check_sysreg PMBPTR_EL1, (T + 0x10C0)
    check_sysreg PMBSR_EL1, PMBSR_S
    msr PMBSR_EL1, xzr
    nop                         // PMSICR_EL1 was 1
    check_sysreg PMBPTR_EL1, (T + 0x1100)
    interrupt_pending
    check x10, 0
    // A misaligned pointer.
    mov64 x9, (T + 4)
    msr PMBPTR_EL1, x9
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 0x21)
    check_sysreg PMBPTR_EL1, (T + 4)
    msr PMSCR_EL1, xzr
    msr PMBLIMITR_EL1, xzr
    msr PMBSR_EL1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret
