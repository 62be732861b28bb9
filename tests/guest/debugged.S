// For a debugger (debugger.py): two PEs that count, a watched variable, and something to change.
#include "guest.h"

#define ROUNDS 4000

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov x29, sp
    ldr x0, =PSCI_CPU_ON
    mov x1, #1
    adr x2, secondary
    mov x3, #7
    hvc #0
    check x0, 0

    fmov v3.2d, #1.0
    mov x20, #0
1:  mov x0, x20
    bl work
    add x20, x20, #1
    cmp x20, #ROUNDS
    b.ne 1b

    bl changed                  // 1, unless a debugger has changed the instruction
    adrp x9, expected
    ldr x10, [x9, #:lo12:expected]
    cmp x0, x10
    b.eq 2f
    unreachable
2:  adrp x9, stop
    mov x10, #1
    str x10, [x9, #:lo12:stop]
3:  ldr x10, [x9, #:lo12:stopped]
    cbz x10, 3b
    ldp x29, x30, [sp], #16
    ret

// x0: what is stored to `written`. Reads `read`, exchanges `both`.
.global work
work:
    stp x29, x30, [sp, #-16]!
    mov x29, sp
    adrp x9, written
.global work_store
work_store:
    str x0, [x9, #:lo12:written]
.global work_load
work_load:
    ldr x1, [x9, #:lo12:read]
    add x11, x9, #:lo12:both
    add x12, x9, #:lo12:pair
.global work_swap
work_swap:
    swpal x0, x2, [x11]
.global work_pair
work_pair:
    stp x0, x1, [x12]
    ldp x29, x30, [sp], #16
    ret

.global changed
changed:
    mov x0, #1
    ret

.global secondary
secondary:                      // x0 = 7
    adrp x9, stop
    mov x21, #0
.global spin
spin:
    add x21, x21, #1
    ldr x10, [x9, #:lo12:stop]
    cbz x10, spin
    mov x10, #1
    str x10, [x9, #:lo12:stopped]
    ldr w0, =0x84000002         // CPU_OFF
    hvc #0
    b .
.ltorg

.data
.balign 4096
.global written, read, both, pair, expected, stop, stopped
written: .quad 0
read: .quad 0x1122334455667788
both: .quad 0
pair: .quad 0, 0
expected: .quad 1
stop: .quad 0
stopped: .quad 0
