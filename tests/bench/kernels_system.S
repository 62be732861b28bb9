// Exceptions, interrupts, masks, the counter, devices, translation and changing code. X0 = iterations.
#include "bench.h"
#include "gic.h"

.text
// EL0 calls EL1 and returns.
kernel svc_from_el0
    mov x19, x0
    mov x20, x30
    adr x0, svc_vectors
    msr vbar_el1, x0
    adr x0, el0_code
    mov x1, #(PAGE_NORMAL | PAGE_USER | PAGE_READ_ONLY)
    mov x2, #1
    bl map_user_pages
    mov64 x0, USER_VA
    msr elr_el1, x0
    mov x0, #0x3C0              // EL0, masked
    msr spsr_el1, x0
    mov x1, #0
    isb
    eret
svc_handler:
    add x1, x1, #1
    cmp x1, x19
    b.eq 1f
    eret
1:  mov x0, x1
    ret x20
vector_table svc_vectors, unexpected, unexpected, svc_handler
.balign 4096
el0_code:
    svc #0
    add x2, x2, #1
    b el0_code
.balign 4096

// EL1 calls itself, with the state that a kernel saves.
kernel svc_from_el1
    adr x1, el1_vectors
    msr vbar_el1, x1
    isb
    mov x1, #0
1:  svc #0
    loop_end 1b
el1_handler:
    stp x2, x3, [sp, #-32]!
    mrs x2, elr_el1
    mrs x3, spsr_el1
    stp x2, x3, [sp, #16]
    mrs x2, esr_el1
    lsr x2, x2, #26
    add x1, x1, x2
    ldp x2, x3, [sp, #16]
    msr elr_el1, x2
    msr spsr_el1, x3
    ldp x2, x3, [sp], #32
    eret
vector_table el1_vectors, el1_handler, unexpected, unexpected

// A load from an unmapped page.
kernel data_abort
    adr x1, abort_vectors
    msr vbar_el1, x1
    isb
    mov64 x9, USER_VA
    mov x1, #0
1:  ldr x2, [x9, #64]
    loop_end 1b
abort_handler:
    mrs x3, far_el1
    add x1, x1, x3
    mrs x3, elr_el1
    add x3, x3, #4
    msr elr_el1, x3
    eret
vector_table abort_vectors, abort_handler, unexpected, unexpected

// A software-generated interrupt to itself.
kernel interrupt_to_self
    mov x19, x0
    mov x20, x30
    adr x1, interrupt_vectors
    msr vbar_el1, x1
    bl gic_on
    msr daifclr, #2
    mov x1, #0
    mov x2, #1                  // SGI 0, PE 0.0.0.0
    mov x0, x19
1:  add x4, x1, #1
    msr ICC_SGI1R_EL1, x2
2:  cmp x1, x4
    b.ne 2b
    subs x0, x0, #1
    b.ne 1b
    msr daifset, #2
    mov x0, x1
    ret x20
interrupt_handler:
    mrs x3, ICC_IAR1_EL1
    msr ICC_EOIR1_EL1, x3
    add x1, x1, #1
    eret
vector_table interrupt_vectors, unexpected, interrupt_handler, unexpected

// Interrupts masked and unmasked as spin locks do.
kernel mask_interrupts
    mov x1, #0
    msr daifclr, #3
1:  mrs x2, daif
    msr daifset, #3
    add x1, x1, x2
    msr daif, x2
    loop_end 1b

kernel counter
1:  mrs x1, cntvct_el0
    subs x0, x0, #1
    b.ne 1b
    ret

kernel mmio_read_gic
    absolute x9, bench_gicd
    mov x1, #0
1:  ldr w2, [x9, #0x100]        // GICD_ISENABLER0, RAZ with affinity routing
    add x1, x1, x2
    subs x0, x0, #1
    b.ne 1b
    ret

kernel mmio_read_rtc
    absolute x9, bench_rtc
1:  ldr w2, [x9, #0x10]         // RTCIMSC
    add x1, x1, x2
    subs x0, x0, #1
    b.ne 1b
    ret

kernel mmio_write_gic
    absolute x9, bench_gicd
1:  str wzr, [x9, #0x184]       // GICD_ICENABLER1
    subs x0, x0, #1
    b.ne 1b
    ret

// One page invalidated, and used again.
kernel tlbi_page
    ram x9, SCRATCH
    lsr x2, x9, #12
1:  tlbi vaale1is, x2
    dsb ish
    isb
    ldr x1, [x9]
    loop_end 1b

// All translations invalidated, and 256 pages used.
kernel tlbi_all
    mov x1, #0
1:  tlbi vmalle1is
    dsb ish
    isb
    ram x9, SCRATCH
    mov x3, #256
2:  ldr x4, [x9]
    add x9, x9, #0x1000
    subs x3, x3, #1
    b.ne 2b
    add x1, x1, x4
    loop_end 1b

// The next of 16 address spaces, and 64 pages of it used.
kernel asid_switch
    mov x20, x30
    mov x19, x0
    ram x0, SCRATCH
    mov x1, #(PAGE_NORMAL)
    mov x2, #PAGE_NOT_GLOBAL
    orr x1, x1, x2
    mov x2, #64
    bl map_user_pages
    mov x0, x19
    ram x10, LEVEL1
    mov x1, #0
1:  and x2, x0, #15
    orr x2, x10, x2, lsl #48
    msr ttbr0_el1, x2
    isb
    mov64 x9, USER_VA
    mov x3, #64
2:  ldr x4, [x9]
    add x9, x9, #0x1000
    subs x3, x3, #1
    b.ne 2b
    add x1, x1, x4
    subs x0, x0, #1
    b.ne 1b
    mov x0, x1
    ret x20

// Code changed as the architecture demands, then executed.
kernel code_changed
    mov x20, x30
    adrp x9, patched
    add x9, x9, :lo12:patched
    mov64 x2, 0x91000421        // add x1, x1, #1
    mov64 x3, 0x91000C21        // add x1, x1, #3
    eor x3, x3, x2
    mov x1, #0
1:  eor x2, x2, x3
    str w2, [x9]
    dc cvau, x9
    dsb ish
    ic ivau, x9
    dsb ish
    isb
    blr x9
    subs x0, x0, #1
    b.ne 1b
    mov x0, x1
    ret x20

// Data changed in a page that holds running code.
kernel data_beside_code
    mov x20, x30
    adrp x9, patched
    add x9, x9, :lo12:patched
    mov x1, #0
1:  str x0, [x9, #256]
    blr x9
    subs x0, x0, #1
    b.ne 1b
    mov x0, x1
    ret x20

.balign 4096
patched:
    add x1, x1, #1
    ret
.balign 4096
