// Small loops over integers, memory, branches and atomics. X0 = iterations.
#include "bench.h"

.text
// 6 operations, each needs the one before.
kernel alu_dependent
    mov x1, #1
1:  add x1, x1, x0
    eor x1, x1, x1, lsr #7
    add x1, x1, #3
    sub x1, x1, x0, lsl #1
    ror x1, x1, #9
    eor x1, x1, #0xFF
    loop_end 1b

kernel alu_independent
    mov x1, #1
1:  add x1, x1, x0
    add x2, x2, x0
    add x3, x3, #3
    sub x4, x4, x0
    eor x5, x5, x0
    orr x6, x0, #7
    and x7, x0, #0xFF0
    add x8, x8, x0, lsl #2
    loop_end 1b

kernel flags
    mov x1, #1
    mov x2, #0x5555
1:  adds x3, x1, x2, lsr #3
    adcs x1, x1, x3
    ccmp x1, x3, #4, cs
    csel x2, x1, x3, lo
    cmp x2, x0
    csinc x1, x1, x2, ge
    cset x4, hi
    add x1, x1, x4
    loop_end 1b

kernel multiply_divide
    mov x1, #12345
    mov x2, #0x9E37
1:  mul x3, x1, x2
    madd x1, x3, x2, x0
    umulh x4, x1, x3
    udiv x5, x1, x2
    eor x1, x5, x4
    sdiv w3, w1, w2
    add x1, x1, x3
    loop_end 1b

kernel loads_stores
    ram x9, SCRATCH
    mov x1, #1
1:  and x2, x0, #0xFF0
    ldr x3, [x9, x2]
    ldr w4, [x9, #64]
    ldrb w5, [x9, #17]
    add x1, x1, x3
    add x4, x4, x5
    str x4, [x9, x2]
    loop_end 1b

// X0: copies of 16 KiB.
kernel memcpy_x
1:  ram x2, SCRATCH
    ram x3, (SCRATCH + 0x5000)
    mov x4, #(16384 / 64)
2:  ldp x5, x6, [x2]
    ldp x7, x8, [x2, #16]
    ldp x9, x10, [x2, #32]
    ldp x11, x12, [x2, #48]
    add x2, x2, #64
    stp x5, x6, [x3]
    stp x7, x8, [x3, #16]
    stp x9, x10, [x3, #32]
    stp x11, x12, [x3, #48]
    add x3, x3, #64
    subs x4, x4, #1
    b.ne 2b
    mov x1, x4
    loop_end 1b

kernel memcpy_q
1:  ram x2, SCRATCH
    ram x3, (SCRATCH + 0x5000)
    mov x4, #(16384 / 64)
2:  ldp q0, q1, [x2]
    ldp q2, q3, [x2, #32]
    add x2, x2, #64
    stp q0, q1, [x3]
    stp q2, q3, [x3, #32]
    add x3, x3, #64
    subs x4, x4, #1
    b.ne 2b
    mov x1, x4
    loop_end 1b

// A load from each page of 16 MiB, again and again.
kernel page_stride
    ram x2, SCRATCH
    mov x3, #0
    mov x1, #0
    mov x5, #0x1040
1:  ldr x4, [x2, x3]
    add x1, x1, x4
    add x3, x3, x5
    and x3, x3, #0xFFFFFF
    loop_end 1b

// X1: a random walk of the two-way branches.
kernel branches
    mov x1, #0x9E37
1:  eor x1, x1, x1, lsl #13
    eor x1, x1, x1, lsr #7
    eor x1, x1, x1, lsl #17
    tbz x1, #5, 2f
    add x2, x2, #1
2:  tbz x1, #11, 3f
    add x2, x2, #2
3:  tbz x1, #23, 4f
    add x2, x2, #3
4:  loop_end 1b

kernel calls_same_page
    mov x9, x30
    mov x1, #1
1:  bl 3f
    bl 3f
    subs x0, x0, #1
    b.ne 1b
    mov x0, x1
    ret x9
3:  add x1, x1, x0
    ret

kernel calls_other_page
    mov x9, x30
    mov x1, #1
1:  bl far_leaf_1
    bl far_leaf_2
    subs x0, x0, #1
    b.ne 1b
    mov x0, x1
    ret x9
.balign 4096
    nop
far_leaf_1:
    add x1, x1, x0
    ret
.balign 4096
    nop
far_leaf_2:
    add x1, x1, #3
    ret

// Calls of 8 functions in random order.
kernel calls_indirect
    mov x9, x30
    adr x10, leaves
    mov x1, #0x9E37
1:  eor x1, x1, x1, lsl #13
    eor x1, x1, x1, lsr #7
    eor x1, x1, x1, lsl #17
    and x2, x1, #0x70
    add x2, x2, x10
    blr x2
    subs x0, x0, #1
    b.ne 1b
    add x0, x1, x3
    ret x9
.balign 16
leaves:
.set value, 1
.rept 8
    add x3, x3, #value
    eor x3, x3, x0
    ret
    nop
    .set value, value + 2
.endr

// Jumps through a table, in an order that repeats after 8.
kernel jumps_table
    adr x10, cases
    mov x1, #0
1:  and x2, x0, #7
    add x2, x10, x2, lsl #4
    br x2
cases:
.set value, 1
.rept 8
    add x1, x1, #value
    eor x1, x1, x0
    b 2f
    nop
    .set value, value + 2
.endr
2:  loop_end 1b

// Random calls among 1024 functions of 20 operations.
#define FUNCTION_BYTES 80
kernel calls_random
    mov x9, x30
    adrp x10, functions
    add x10, x10, :lo12:functions
    mov x1, #0x9E37
    mov x11, #FUNCTION_BYTES
    ram x12, SCRATCH
1:  eor x1, x1, x1, lsl #13
    eor x1, x1, x1, lsr #7
    eor x1, x1, x1, lsl #17
    and x2, x1, #1023
    madd x2, x2, x11, x10
    blr x2
    subs x0, x0, #1
    b.ne 1b
    add x0, x1, x3
    ret x9
functions:
.rept 1024
    stp x29, x30, [sp, #-16]!
    mov x29, sp
    ldr x4, [x12, #8]
    ldr x5, [x12, #40]
    add x4, x4, x5
    and x6, x1, #0xFF
    cmp x6, #16
    csel x5, x4, x6, hi
    tbnz x1, #40, 1f
    add x3, x3, #5
    eor x3, x3, x5
1:  lsr x4, x1, #9
    str x4, [x12, #16]
    ldrb w6, [x12, #18]
    add x3, x3, x6
    cbz x1, 2f
    orr x5, x4, #1
    add x3, x3, x5
2:  ldp x29, x30, [sp], #16
    ret
.endr

kernel exclusives
    ram x9, SCRATCH
1:  ldaxr x1, [x9]
    add x1, x1, #1
    stlxr w2, x1, [x9]
    cbnz w2, 1b
    loop_end 1b

kernel atomics
    ram x9, SCRATCH
    add x10, x9, #8
    mov x2, #3
1:  ldaddal x2, x1, [x9]
    mov x3, x1
    casal x3, x0, [x9]
    swpal x2, x3, [x10]
    loop_end 1b

kernel barriers
    ram x9, SCRATCH
1:  ldar x1, [x9]
    stlr x0, [x9]
    dmb ishld
    dmb ishst
    dmb ish
    loop_end 1b

kernel system_registers
    mov x1, #0
1:  mrs x2, tpidr_el1
    mrs x3, sp_el0
    mrs x4, esr_el1
    mrs x5, CurrentEL
    msr tpidr_el0, x0
    mrs x6, tpidr_el0
    add x1, x1, x6
    loop_end 1b
