// Start of every program of scripts/bench: MMU on, vectors, stack, profiling if asked for; then the case; then its result
// on the UART and PSCI SYSTEM_OFF. The same objects serve both machines, see bench.h.
#include "bench.h"
#include "gic.h"
#include "spe.h"

#define SPE_BUFFER SCRATCH      // no profiled case uses it
#define SPE_BUFFER_BYTES 0x80000

.section .text.start, "ax"
.global _start
_start:
    adr x0, vectors
    msr vbar_el1, x0
    mov x0, #(3 << 20)          // SIMD&FP usable
    msr cpacr_el1, x0
    isb
    ram x0, STACK_END
    mov sp, x0
    bl build_tables
    bl mmu_on
    bl grow_tlb
    absolute x0, bench_spe_period
    cbz x0, 1f
    bl profile
1:  absolute x0, bench_count
    bl bench_main
    mov x5, x0
    bl profiled_bytes
    mov x6, x0
    mov x0, x5
    bl print_hex
    mov x0, x6
    bl print_hex
    adr x0, pass_text
    bl print
    b power_off

// Devices of the first GiB, RAM in pages, USER_VA empty.
build_tables:
    ram x0, TABLES
    ram x1, TABLES_END
1:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.ne 1b
    ram x0, LEVEL1
    mov64 x1, 0x60000000000405  // block, AF, Device-nGnRE (attribute 1), never executed
    str x1, [x0]
    ram x1, (LEVEL2_RAM + 3)
    absolute x2, bench_ram
    lsr x2, x2, #30
    str x1, [x0, x2, lsl #3]
    ram x1, (LEVEL2_USER + 3)
    str x1, [x0, #(USER_VA >> 30 << 3)]
    ram x0, LEVEL2_USER
    ram x1, (LEVEL3_USER + 3)
    str x1, [x0]
    ram x0, LEVEL2_RAM
    ram x1, (LEVEL3_RAM + 3)
    mov x2, #(RAM_PAGES / 512)
2:  str x1, [x0], #8
    add x1, x1, #0x1000
    subs x2, x2, #1
    b.ne 2b
    ram x0, LEVEL3_RAM
    ram x1, PAGE_NORMAL
    mov x2, #RAM_PAGES
3:  str x1, [x0], #8
    add x1, x1, #0x1000
    subs x2, x2, #1
    b.ne 3b
    ret

.global mmu_on
mmu_on:
    mov x0, #0x04FF             // MAIR: 0 Normal write-back, 1 Device-nGnRE
    msr mair_el1, x0
    mov64 x0, 0x1000803519      // 39 bits, cached walks, 4 KiB, 16-bit ASIDs, TTBR1 unused
    msr tcr_el1, x0
    ram x0, LEVEL1
    msr ttbr0_el1, x0
    msr ttbr1_el1, x0
    dsb ish
    isb
    tlbi vmalle1
    dsb ish
    ic iallu
    dsb ish
    isb
    mov64 x0, 0x30D0198D        // M, C, I, SA, SPAN and RES1
    msr sctlr_el1, x0
    isb
    ret

// QEMU gives a PE a larger TLB when it is invalidated while full, which happens soon under an operating system but never in
// most of these programs: 16 MiB used and invalidated 8 times.
grow_tlb:
    mov x0, #8
1:  ram x1, SCRATCH
    mov x2, #4096
2:  ldr x3, [x1]
    add x1, x1, #0x1000
    subs x2, x2, #1
    b.ne 2b
    tlbi vmalle1
    dsb ish
    isb
    subs x0, x0, #1
    b.ne 1b
    ret

// Maps X2 pages of USER_VA to X0 and up, with attributes X1. Clobbers X0..X3.
.global map_user_pages
map_user_pages:
    orr x0, x0, x1
    ram x3, LEVEL3_USER
1:  str x0, [x3], #8
    add x0, x0, #0x1000
    subs x2, x2, #1
    b.ne 1b
    dsb ish
    isb
    ret

// Enables group 1, all PPIs and SGIs of this PE, the only one. Clobbers X0, X1.
.global gic_on
gic_on:
    absolute x0, bench_gicd
    mov w1, #0x12               // ARE, EnableGrp1
    str w1, [x0, #GICD_CTLR]
    absolute x0, bench_gicr
    ldr w1, [x0, #GICR_WAKER]
    and w1, w1, #~2             // wake up
    str w1, [x0, #GICR_WAKER]
1:  ldr w1, [x0, #GICR_WAKER]
    tbnz w1, #2, 1b
    add x0, x0, #GICR_SGI_BASE
    mov w1, #-1
    str w1, [x0, #GICR_IGROUPR0]
    str w1, [x0, #GICR_ISENABLER0]
    mov x1, #7
    msr s3_0_c12_c12_5, x1      // ICC_SRE_EL1
    isb
    mov x1, #0xF0
    msr s3_0_c4_c6_0, x1        // ICC_PMR_EL1
    mov x1, #1
    msr s3_0_c12_c12_7, x1      // ICC_IGRPEN1_EL1
    isb
    ret

// Profiles EL1 from here on, with X0 operations between samples. Full buffers are thrown away. Clobbers X0..X3.
profile:
    mov x3, x30
    mov x2, x0
    bl gic_on
    msr PMSIRR_EL1, x2
    msr PMSICR_EL1, xzr
    bl empty_buffer
    mov x0, #(PMSCR_E1SPE | PMSCR_TS | PMSCR_PA | PMSCR_CX)
    msr PMSCR_EL1, x0
    isb
    msr daifclr, #2
    ret x3

// X0: bytes that the profiling unit wrote, and none from here on. Clobbers X1, X2.
profiled_bytes:
    absolute x0, bench_spe_period
    cbz x0, 1f
    msr daifset, #2
    msr PMSCR_EL1, xzr
    isb
    psb_csync
    dsb sy
    mrs x0, PMBPTR_EL1
    ram x1, SPE_BUFFER
    sub x0, x0, x1
    adr x1, full_buffers_bytes
    ldr x1, [x1]
    add x0, x0, x1
1:  ret

// Clobbers X0.
empty_buffer:
    msr PMBLIMITR_EL1, xzr
    isb
    ram x0, SPE_BUFFER
    msr PMBPTR_EL1, x0
    msr PMBSR_EL1, xzr
    ram x0, (SPE_BUFFER + SPE_BUFFER_BYTES + PMBLIMITR_E)
    msr PMBLIMITR_EL1, x0
    isb
    ret

// The only interrupt is the profiling unit's.
interrupt:
    stp x0, x1, [sp, #-32]!
    stp x2, x30, [sp, #16]
    mrs x1, ICC_IAR1_EL1
    bl empty_buffer
    adr x0, full_buffers_bytes
    ldr x2, [x0]
    add x2, x2, #SPE_BUFFER_BYTES
    str x2, [x0]
    msr ICC_EOIR1_EL1, x1
    ldp x2, x30, [sp, #16]
    ldp x0, x1, [sp], #32
    eret

vector_table vectors, unexpected, interrupt, unexpected

.global unexpected
unexpected:
    adr x0, unexpected_text
    bl print
    mrs x0, esr_el1
    bl print_hex
    mrs x0, elr_el1
    bl print_hex
    mrs x0, far_el1
    bl print_hex
power_off:
    ldr w0, =PSCI_SYSTEM_OFF
    hvc #0
    b .

// X0: zero-terminated text. Clobbers X0..X2.
print:
    absolute x1, bench_uart
1:  ldrb w2, [x0], #1
    cbz w2, 2f
    strb w2, [x1]
    b 1b
2:  ret

// X0: number, printed as 16 hexadecimal digits and a space. Clobbers X0..X4.
print_hex:
    absolute x1, bench_uart
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
    mov x3, #' '
    strb w3, [x1]
    ret

.balign 8
full_buffers_bytes: .quad 0
pass_text: .asciz "PASS\n"
unexpected_text: .asciz "UNEXPECTED exception "
