// Several PEs: PSCI CPU_ON, exclusives and LSE atomics under contention, SGIs across PEs, broadcast TLBI and barriers.
// vmm: -c 2
// vmm: -c 4
// vmm: -c 2 --clock insn
// qemu: -smp 4
// expect: PASS
#include "guest.h"

#define ROUNDS 3000

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    ldr w0, =PSCI_VERSION
    hvc #0
    lsr x9, x0, #16
    check x9, 1

    // Start PE 1, 2, 3, … until PSCI refuses; X27 counts PEs.
    mov x27, #1
1:  ldr x0, =PSCI_CPU_ON
    mov x1, x27
    adr x2, secondary
    mov x3, x27
    hvc #0
    cbnz x0, 2f
    add x27, x27, #1
    b 1b
2:  mov64 x9, -2                // INVALID_PARAMETERS: no such PE
    cmp x0, x9
    check x0, -2
    bl contend

    // Wait for all, then compare the counters.
3:  wfe
    adr x9, finished
    ldar x10, [x9]
    cmp x10, x27
    b.ne 3b
    mov x11, #ROUNDS
    mul x11, x11, x27
    adrp x9, counters
    ldr x10, [x9]
    sub x10, x10, x11
    check x10, 0
    ldr x10, [x9, #64]
    sub x10, x10, x11
    check x10, 0
    ldr x10, [x9, #128]
    sub x10, x10, x11
    check x10, 0
    ldp x29, x30, [sp], #16
    ret

secondary:                      // x0 = PE number
    mov x9, #(3 << 20)
    msr cpacr_el1, x9
    isb
    mrs x9, mpidr_el1
    and x9, x9, #0xFF
    cmp x9, x0
    b.ne .                      // the wrong PE: never finishes
    bl contend
    ldr w0, =0x84000002         // CPU_OFF
    hvc #0
    b .

// Adds 1 ROUNDS times to three counters: by exclusives, by LDADD, and under a ticket lock with plain accesses.
contend:
    mov x15, x30
    adrp x9, counters
    mov w10, #ROUNDS
1:  // exclusives
2:  ldaxr x11, [x9]
    add x11, x11, #1
    stlxr w12, x11, [x9]
    cbnz w12, 2b
    // LSE
    add x13, x9, #64
    mov x11, #1
    ldaddal x11, x12, [x13]
    // ticket lock: next at +192, owner at +256
    add x13, x9, #192
    mov w11, #1
    ldaddal w11, w12, [x13]
    add x13, x9, #256
    sevl
3:  wfe                         // there may be fewer host CPUs than PEs: let the owner run
    ldar w14, [x13]
    cmp w14, w12
    b.ne 3b
    ldr x11, [x9, #128]
    add x11, x11, #1
    str x11, [x9, #128]
    add w14, w14, #1
    stlr w14, [x13]
    subs w10, w10, #1
    b.ne 1b
    adr x9, finished
    mov x10, #1
    staddl x10, [x9]
    ret x15

.balign 8
finished: .quad 0
.ltorg

.bss
.balign 4096
counters: .skip 4096
