// Start-up, vectors and reporting shared by all bare-metal guests.
#include "guest.h"

.section .text.start
.global _start
_start:
    mov x28, x0                 // device tree
    adr x1, vectors
    msr vbar_el1, x1
    mov x1, #(3 << 20)          // SIMD&FP usable
    msr cpacr_el1, x1
    isb
    adrp x1, boot_stack_end
    mov sp, x1
    bl guest_main
    b pass

// Prints PASS and ends the machine.
.global pass
pass:
    adr x0, pass_text
    bl print
    b power_off

.global power_off
power_off:
    ldr w0, =PSCI_SYSTEM_OFF
    hvc #0
    b .

// x0: zero-terminated text. Clobbers X0..X2.
.global print
print:
    mov x1, #UART
1:  ldrb w2, [x0], #1
    cbz w2, 2f
    strb w2, [x1]
    b 1b
2:  ret

// x0: number, printed as 16 hexadecimal digits. Clobbers X0..X4.
.global print_hex
print_hex:
    mov x1, #UART
    mov x2, #60
1:  lsr x3, x0, x2
    and x3, x3, #15
    cmp x3, #10
    add x4, x3, #'0'
    add x3, x3, #('a' - 10)
    csel x3, x4, x3, lo
    strb w3, [x1]
    subs x2, x2, #4
    b.pl 1b
    ret

// x0: line, x1: found, x2: expected.
.global check_equal
check_equal:
    cmp x1, x2
    b.ne 1f
    ret
1:  mov x10, x0
    mov x11, x1
    mov x12, x2
    adr x0, fail_text
    bl print
    mov x0, x10
    bl print_hex
    adr x0, found_text
    bl print
    mov x0, x11
    bl print_hex
    adr x0, expected_text
    bl print
    mov x0, x12
    bl print_hex
    adr x0, newline
    bl print
    b power_off

// Every vector: note what happened, and resume where the guest asked to. Interrupts call irq_handler, which a guest may
// define.
.macro vector kind
    .balign 0x80
    stp x0, x1, [sp, #-16]!
    mov x0, #\kind
    b common_exception
.endm

.balign 0x800
vectors:
    vector 0x00
    vector 0x01
    vector 0x02
    vector 0x03
    vector 0x10
    vector 0x11
    vector 0x12
    vector 0x13
    vector 0x20
    vector 0x21
    vector 0x22
    vector 0x23
    vector 0x30
    vector 0x31
    vector 0x32
    vector 0x33

common_exception:
    and x1, x0, #0xF
    cmp x1, #1
    b.eq interrupt
    mov x23, x0                 // which vector
    mrs x20, esr_el1
    mrs x21, elr_el1
    mrs x22, far_el1
    adr x0, exception_resume
    ldr x1, [x0]
    cbz x1, unexpected
    str xzr, [x0]
    msr elr_el1, x1
    mrs x24, spsr_el1
    mov x1, #0x3C5              // resume at EL1h, masked
    msr spsr_el1, x1
    ldp x0, x1, [sp], #16
    eret

interrupt:
    stp x2, x3, [sp, #-16]!
    stp x4, x5, [sp, #-16]!
    stp x29, x30, [sp, #-16]!
    bl irq_handler
    ldp x29, x30, [sp], #16
    ldp x4, x5, [sp], #16
    ldp x2, x3, [sp], #16
    ldp x0, x1, [sp], #16
    eret

unexpected:
    adr x0, unexpected_text
    bl print
    mov x0, x20
    bl print_hex
    adr x0, elr_text
    bl print
    mov x0, x21
    bl print_hex
    adr x0, far_text
    bl print
    mov x0, x22
    bl print_hex
    adr x0, newline
    bl print
    b power_off

.weak irq_handler
irq_handler:
    adr x0, irq_text
    bl print
    b power_off

.balign 8
.global exception_resume
exception_resume: .quad 0
pass_text: .asciz "PASS\n"
fail_text: .asciz "FAIL line "
found_text: .asciz " found "
expected_text: .asciz " expected "
unexpected_text: .asciz "UNEXPECTED exception ESR "
elr_text: .asciz " ELR "
far_text: .asciz " FAR "
irq_text: .asciz "UNEXPECTED interrupt\n"
newline: .asciz "\n"

.bss
.balign 4096
boot_stack: .skip 16384
boot_stack_end:
