// Three functions whose shares of the executed operations are known: 60 %, 30 % and 10 %, but for one in ten thousand.
// For profilers; tests/system/host_trace_test.py.
// vmm:
// vmm: --clock insn
// expect: PASS
#include "guest.h"

#define ROUNDS 50

.macro function name
    .global \name
    .type \name, %function
\name:
.endm

// Each runs X0 times four operations.
.text
function spend_60
1:  add x2, x2, #1
    eor x3, x3, x2
    subs x0, x0, #1
    b.ne 1b
    ret
.size spend_60, . - spend_60

function spend_30
    adr x1, cell
1:  ldr x2, [x1]
    str x2, [x1, #8]
    subs x0, x0, #1
    b.ne 1b
    ret
.size spend_30, . - spend_30

function spend_10
1:  mul x2, x2, x3
    madd x3, x2, x2, x3
    subs x0, x0, #1
    b.ne 1b
    ret
.size spend_10, . - spend_10

function guest_main
    stp x29, x30, [sp, #-16]!
    mov x10, #ROUNDS
    // Another context for the second half of the rounds: the profiler shows it as another process.
    msr contextidr_el1, xzr
1:  mov x0, #60000
    bl spend_60
    mov x0, #30000
    bl spend_30
    mov x0, #10000
    bl spend_10
    subs x10, x10, #1
    b.eq 2f
    cmp x10, #(ROUNDS / 2)
    b.ne 1b
    mov x0, #4242
    msr contextidr_el1, x0
    isb
    b 1b
2:  ldp x29, x30, [sp], #16
    ret
.size guest_main, . - guest_main

.data
.balign 16
cell: .quad 1, 2
