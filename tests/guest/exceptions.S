// Synchronous exceptions from EL1 and EL0, their syndromes, and the return from them.
// vmm:
// qemu:
// expect: PASS
#include "guest.h"

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!

    // SVC from EL1: EC 0x15, ELR behind the instruction, vector "current EL with SPx".
    expect_exception after_svc
    svc #0x1234
    unreachable
after_svc:
    check x20, 0x56001234
    check x23, 0x10

    // BRK: EC 0x3C, ELR at the instruction.
    expect_exception after_brk
brk_here:
    brk #0x77
    unreachable
after_brk:
    check x20, 0xF2000077
    adr x9, brk_here
    sub x9, x21, x9
    check x9, 0

    // An unallocated encoding, and a register that does not exist.
    expect_exception after_undefined
    .inst 0x00000000
    unreachable
after_undefined:
    check x20, 0x02000000
    expect_exception after_no_register
    mrs x0, s3_0_c9_c9_0          // PMSCR_EL1, without SPE
    unreachable
after_no_register:
    check x20, 0x02000000

    // A read where nothing answers: external abort on a data access, WnR clear; then a write.
    expect_exception after_read_abort
    mov64 x9, 0x0F000000
    ldr x10, [x9]
    unreachable
after_read_abort:
    check x20, 0x96000010
    check x22, 0x0F000000
    expect_exception after_write_abort
    str x10, [x9]
    unreachable
after_write_abort:
    check x20, 0x96000050

#ifndef REFERENCE_QEMU          // does not look at the alignment of Device accesses (7.2)
    // With the MMU off data accesses are Device: unaligned ones fault.
    expect_exception after_unaligned
    mov64 x9, 0x80000001
    ldr x10, [x9]
    unreachable
after_unaligned:
    check x20, 0x96000021
#endif

    // A branch to a misaligned address: EC 0x22 with that address.
    expect_exception after_pc_alignment
    mov64 x9, 0x80080002
    br x9
    unreachable
after_pc_alignment:
    check x20, 0x8A000000
    check x22, 0x80080002

    // A fetch where nothing answers.
    expect_exception after_fetch
    mov64 x9, 0x0F000000
    br x9
    unreachable
after_fetch:
    check x20, 0x86000010

#ifndef REFERENCE_QEMU          // leaves this check out, for speed
    // SP alignment.
    mov x19, sp
    mrs x9, sctlr_el1
    orr x10, x9, #8
    msr sctlr_el1, x10
    isb
    expect_exception after_sp
    // The vector stores to the stack too, so run with SP_EL0 as the misaligned pointer.
    msr spsel, #0
    sub x10, x19, #0x1000
    sub x10, x10, #8
    mov sp, x10
    ldr x11, [sp]
    unreachable
after_sp:
    check x20, 0x9A000000
    check x23, 0x00
    msr sctlr_el1, x9
    isb
#endif

    // To EL0 and back: SVC from a lower EL, PSTATE as SPSR says.
    adr x9, at_el0
    msr elr_el1, x9
    mov64 x10, 0x600003C0       // Z and C set, all masked, EL0t
    msr spsr_el1, x10
    expect_exception back_at_el1
    eret
at_el0:
    svc #7
    unreachable
back_at_el1:
    check x20, 0x56000007
    check x23, 0x20
    check x24, 0x600003C0

    // EL0 may not touch EL1 registers, nor mask interrupts.
    adr x9, el0_mrs
    msr elr_el1, x9
    mov x10, #0x3C0
    msr spsr_el1, x10
    expect_exception el0_mrs_done
    eret
el0_mrs:
    mrs x0, ttbr0_el1
    unreachable
el0_mrs_done:
    check x20, 0x02000000
    adr x9, el0_daif
    msr elr_el1, x9
    mov x10, #0x3C0
    msr spsr_el1, x10
    expect_exception el0_daif_done
    eret
el0_daif:
    msr daifset, #2
    unreachable
el0_daif_done:
#ifdef REFERENCE_QEMU           // has Op1 and Op2 the wrong way round (7.2)
    check x20, 0x620793e4
#else
    check x20, 0x620cd3e4
#endif

    ldp x29, x30, [sp], #16
    ret
