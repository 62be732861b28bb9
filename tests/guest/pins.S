// A profiling buffer of 256 MiB in pages of 4 KiB that is enabled when the console says so. tests/guest/pin_guest.py talks to
// it: every key is answered by a line with a number, the ticks of the counter that it took unless said otherwise.
//   e  enables the buffer         d  disables it              b  prints PMBSR_EL1
//   h  99 times: disables and enables it                      k  the same 1000 times
//   w  writes a descriptor of its tables as it was, then disables and enables the buffer
//   s  makes it 4 MiB from now on, and enables it                q  ends
#include "guest.h"
#include "spe.h"
#include "paging.h"

#define L3_TABLES (RAM + (128 << 20))
#define BUFFER (RAM + (256 << 20))
#define BUFFER_BYTES (256 << 20)
#define SMALL_BYTES (4 << 20)
#define BUFFER_PAGES (BUFFER_BYTES >> 12)
#define BUFFER_PAGE (NORMAL_PAGE | DESC_PXN | DESC_UXN)

.macro on_key key, label
    cmp w19, #\key
    b.eq \label
.endm

.text
// Maps the buffer at TEST_VA and writes to all of it, with the MMU off.
map_buffer:
    mov64 x1, L3_TABLES
    mov64 x2, (BUFFER | BUFFER_PAGE)
    mov64 x3, BUFFER_PAGES
1:  str x2, [x1], #8
    add x2, x2, #GRANULE
    subs x3, x3, #1
    b.ne 1b
    frame x4, LEVEL2_TEST
    mov64 x1, (L3_TABLES | DESC_TABLE)
    mov x3, #(BUFFER_PAGES / 512)
2:  str x1, [x4], #8
    add x1, x1, #GRANULE
    subs x3, x3, #1
    b.ne 2b
    mov64 x1, BUFFER
    mov64 x3, BUFFER_PAGES
3:  str xzr, [x1]
    add x1, x1, #GRANULE
    subs x3, x3, #1
    b.ne 3b
    dsb ish
    ret

// X0 as a line.
answer:
    stp x29, x30, [sp, #-16]!
    bl print_hex
    adr x0, end_of_line
    bl print
    ldp x29, x30, [sp], #16
    ret

.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    bl paging_build
    bl map_buffer
    bl paging_on
    mov64 x22, (TEST_VA + BUFFER_BYTES)
    orr x21, x22, #PMBLIMITR_E
    mov64 x0, TEST_VA
    msr PMBPTR_EL1, x0
    msr PMBSR_EL1, xzr
    isb
    mrs x0, cntfrq_el0
    bl answer

next_key:
    mov x1, #UART
    ldrb w2, [x1, #5]
    tbz w2, #0, next_key
    ldrb w19, [x1]
    isb
    mrs x23, cntvct_el0
    mov x20, #99
    on_key 'e', enable
    on_key 's', small
    on_key 'd', disable
    on_key 'b', status
    on_key 'h', again
    mov x20, #1000
    on_key 'k', again
    mov x20, #1
    on_key 'w', rewrite
    on_key 'q', quit
    b next_key

enable:
    msr PMBLIMITR_EL1, x21
    b tell_time
small:
    mov64 x22, (TEST_VA + SMALL_BYTES)
    orr x21, x22, #PMBLIMITR_E
    b enable
disable:
    msr PMBLIMITR_EL1, x22
    b tell_time
rewrite:
    frame x2, LEVEL2_TEST
    ldr x1, [x2]
    str x1, [x2]
    dsb ishst
again:
    msr PMBLIMITR_EL1, x22
    msr PMBLIMITR_EL1, x21
    isb
    subs x20, x20, #1
    b.ne again
tell_time:
    isb
    mrs x0, cntvct_el0
    sub x0, x0, x23
    bl answer
    b next_key
status:
    mrs x0, PMBSR_EL1
    bl answer
    b next_key
quit:
    ldp x29, x30, [sp], #16
    ret

.balign 4
end_of_line: .asciz "\n"
