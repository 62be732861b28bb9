// The work of throughput.c on one CPU, or on two at once. Of two, the one that is done first switches itself off.
#include "bench.h"

#define PSCI_CPU_OFF 0x84000002
#define STACK_2_END (STACK_END + 0x20000)

.text
kernel one_cpu
    mov x1, #0
    b busy_work

kernel two_cpus
    stp x29, x30, [sp, #-16]!
    adr x1, continuation
    str x30, [x1]
    mov x19, x0
    mov x3, x0
    adr x2, secondary
    mov x1, #1                  // MPIDR: 0.0.0.1
    ldr x0, =PSCI_CPU_ON
    hvc #0
    cbnz x0, unexpected
    mov x0, x19
    mov x1, #0
    bl busy_work
    ldp x29, x30, [sp], #16
done:
    adr x1, finished
    mov x2, #1
    ldaddal x2, x2, [x1]
    cbz x2, 1f
    adr x1, continuation
    ldr x30, [x1]
    ret
1:  ldr w0, =PSCI_CPU_OFF
    hvc #0
    b .

// X0: count.
secondary:
    mov x19, x0
    mov x0, #(3 << 20)          // SIMD&FP usable
    msr cpacr_el1, x0
    isb
    ram x0, STACK_2_END
    mov sp, x0
    bl mmu_on
    mov x0, x19
    mov x1, #1
    bl busy_work
    b done

.balign 8
continuation: .quad 0
finished: .quad 0
