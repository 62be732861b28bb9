// Code that changes: patched on its own page, on the page that runs, in front of the next instruction, across a page
// boundary, through another address; with and without translation; and by another PE.
// vmm:
// vmm: -c 2
// vmm: -c 2 --clock insn
// qemu: -smp 2
// expect: PASS
#include "guest.h"
#include "paging.h"

#define ROUNDS 1000
#define SLOT_ALIAS 1
#define F_CODE FRAMES           // and the next one
#define MOVZ_X0 0xD2800000      // imm16 in [20:5]
#define RET 0xD65F03C0

// Makes the instruction at \address (just written) visible to fetches of all PEs.
.macro publish address
    dc cvau, \address
    dsb ish
    ic ivau, \address
    dsb ish
    isb
.endm

// Stores MOVZ X0, #\value (a register of 16 bits) at \address. Clobbers X0, X1.
.macro write_movz address, value
    mov64 x0, MOVZ_X0
    bfi x0, \value, #5, #16
    str w0, [\address]
.endm

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    bl single                   // translation off
    bl paging_build
    map_slot SLOT_ALIAS, F_CODE, (NORMAL_PAGE | DESC_PXN | DESC_UXN)
    bl paging_on
    bl single
    bl aliased
    bl other_pe
    ldp x29, x30, [sp], #16
    ret

single:
    stp x29, x30, [sp, #-16]!
    // A function on its own page, by IC IVAU and by IC IALLU in turn, called through two call sites.
    frame x9, F_CODE
    mov64 x10, RET
    str w10, [x9, #4]
    mov x11, #ROUNDS
1:  write_movz x9, x11
    tbz x11, #0, 2f
    publish x9
    b 3f
2:  dc cvau, x9
    dsb ish
    ic iallu
    dsb ish
    isb
3:  blr x9
    sub x1, x0, x11
    check x1, 0
    blr x9
    sub x1, x0, x11
    check x1, 0
    subs x11, x11, #1
    b.ne 1b

    // On the page of the loop itself, before and behind the instruction that writes.
    mov x11, #ROUNDS
    mov x12, #0
    b 5f
patched_before:
    movz x0, #0
    sub x1, x0, x11
    check x1, 0
    subs x11, x11, #1
    b.eq 6f
5:  adr x9, patched_before
    write_movz x9, x11
    publish x9
    adr x9, patched_behind
    eor x12, x11, #0xFF00
    write_movz x9, x12
    publish x9
patched_behind:
    movz x0, #0
    sub x1, x0, x12
    check x1, 0
    b patched_before

    // A branch that goes one way and the other: NOP or B.
6:  mov x11, #ROUNDS
    adr x9, patched_branch
7:  mov64 x0, 0xD503201F        // NOP
    mov64 x1, 0x14000003        // B .+12
    tst x11, #1
    csel x0, x0, x1, eq
    str w0, [x9]
    publish x9
patched_branch:
    nop
    mov x12, #0
    b 8f
    mov x12, #1
8:  and x1, x11, #1
    sub x1, x1, x12
    check x1, 0
    subs x11, x11, #1
    b.ne 7b

    // Straight-line code over the end of a page, patched on either side.
    frame x9, (F_CODE + 1)
    sub x13, x9, #8
    mov64 x10, 0xD503201F
    str w10, [x13]
    mov64 x10, (0x91000000 | (1 << 10))     // ADD X0, X0, #1
    str w10, [x9]
    str w10, [x9, #4]
    mov64 x10, RET
    str w10, [x9, #8]
    mov x11, #ROUNDS
9:  sub x14, x9, #4
    write_movz x14, x11
    mov64 x10, (0x91000000 | (1 << 10))
    and x12, x11, #7
    add x10, x10, x12, lsl #10              // ADD X0, X0, #(1 + n)
    str w10, [x9]
    dc cvau, x9
    publish x14
    ic ivau, x9
    dsb ish
    isb
    blr x13
    sub x1, x0, x11
    sub x1, x1, x12
    check x1, 2
    subs x11, x11, #1
    b.ne 9b

    // Data that lives beside running code changes nothing but itself.
    mov x11, #ROUNDS
    adr x9, beside
10: str x11, [x9]
    ldr x12, [x9]
    sub x1, x12, x11
    check x1, 0
    subs x11, x11, #1
    b.ne 10b
    ldp x29, x30, [sp], #16
    ret
.balign 8
beside: .quad 0

// Written and cleaned through another address than the one that runs; the instruction cache is physically tagged
// (CTR_EL0.L1Ip), so either address serves to invalidate it.
aliased:
    stp x29, x30, [sp, #-16]!
    frame x9, F_CODE
    mov64 x13, SLOT_VA(SLOT_ALIAS)
    mov64 x10, RET
    str w10, [x9, #4]
    mov x11, #ROUNDS
1:  write_movz x13, x11
    publish x13
    blr x9
    sub x1, x0, x11
    check x1, 0
    subs x11, x11, #1
    b.ne 1b
    ldp x29, x30, [sp], #16
    ret

// Another PE runs what this one writes: after this PE's maintenance and its own ISB it must see the new code.
other_pe:
    stp x29, x30, [sp, #-16]!
    frame x9, F_CODE
    mov64 x10, RET
    str w10, [x9, #4]
    write_movz x9, xzr
    publish x9
    ldr x0, =PSCI_CPU_ON
    mov x1, #1
    adr x2, secondary
    mov x3, #0
    hvc #0
    cbnz x0, 3f                 // the only PE
    adr x14, turn
    mov x11, #1
1:  write_movz x9, x11
    publish x9
    stlr x11, [x14]             // your turn: number X11
    sev
    add x15, x14, #8
    b 4f
2:  wfe
4:  ldar x12, [x15]             // what the other one found, plus its number << 32
    lsr x1, x12, #32
    cmp x1, x11
    b.ne 2b
    mov w12, w12
    sub x1, x12, x11
    check x1, 0
    add x11, x11, #1
    cmp x11, #ROUNDS
    b.lo 1b
3:  ldp x29, x30, [sp], #16
    ret

secondary:
    mov64 x1, MAIR_VALUE
    msr mair_el1, x1
    mov64 x1, TCR_VALUE
    msr tcr_el1, x1
    frame x1, LEVEL1
    msr ttbr0_el1, x1
    isb
    tlbi vmalle1
    dsb ish
    isb
    mov64 x1, (SCTLR_RES1 | SCTLR_SPAN | SCTLR_M | SCTLR_C | SCTLR_I)
    msr sctlr_el1, x1
    isb
    frame x9, F_CODE
    adr x14, turn
    mov x11, #1
    b 2f
1:  wfe
2:  ldar x12, [x14]
    cmp x12, x11
    b.ne 1b
    isb
    blr x9
    orr x12, x0, x11, lsl #32
    add x15, x14, #8
    stlr x12, [x15]
    sev
    add x11, x11, #1
    b 2b
.balign 8
turn: .quad 0, 0
