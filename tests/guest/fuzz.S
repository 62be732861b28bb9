// The frame of the random guests that fuzz.py makes: it sets the machine up, runs the body that fuzz.py fills in, and on
// every exception repairs what the body may have broken and goes on behind it, until that has happened often enough.
//
// The body runs at two places: at its physical address while translation is off, at SLOT_VA(S_BODY) while it is on, there at
// EL0 and EL1. No register survives anything.
#include "guest.h"
#include "gic.h"
#include "paging.h"
#include "spe.h"

#define CHUNKS 64
#define CHUNK_BYTES 256
#define BODY_BYTES (CHUNKS * CHUNK_BYTES)
#define S_BODY 32
#define F_DATA FRAMES

// Of `config`.
#define C_EXCEPTIONS 0          // before the machine goes off
#define C_FLAGS 8
#define C_TIMER 16              // ticks before a chunk is left
#define C_CPUS 24
#define C_PMSCR 32
#define C_PMBPTR 40
#define C_PMBLIMITR 48
#define C_PMSIRR 56
#define C_TCR 64                // more bits of TCR_EL1
#define C_SCTLR 72              // more bits of SCTLR_EL1
#define FLAG_MMU 0              // bit numbers
#define FLAG_EL0 1
#define FLAG_SPE 2
#define FLAG_PMU 3

// Per PE, 64 bytes each.
#define P_REMAINING 0
#define P_CHUNK 8

.text
.global guest_main
guest_main:
    bl paging_build
    // Pages of all kinds, and the body.
    map_slot 0, F_DATA, NORMAL_PAGE
    map_slot 1, (F_DATA + 1), NORMAL_PAGE
    map_slot 2, (F_DATA + 2), (NORMAL_PAGE | DESC_NOT_GLOBAL)
    map_slot 3, (F_DATA + 3), NORMAL_PAGE
    map_slot 4, (F_DATA + 4), (NORMAL_PAGE | DESC_USER)
    map_slot 5, (F_DATA + 5), (NORMAL_PAGE | DESC_USER | DESC_NOT_GLOBAL)
    map_slot 6, (F_DATA + 6), (NORMAL_PAGE | DESC_READ_ONLY)
    map_slot 8, (F_DATA + 8), (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER | DESC_DBM)
    map_slot 9, (F_DATA + 9), (NORMAL_PAGE & ~DESC_AF)
    map_slot 10, F_DATA, (DESC_PAGE | DESC_AF | DESC_DEVICE)
    map_slot 11, (F_DATA + 11), (NORMAL_PAGE | DESC_USER)
    frame x3, LEVEL3_TEST
    add x3, x3, #(S_BODY * 8)
    adrp x4, body
    mov64 x1, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    orr x4, x4, x1
    mov x5, #((BODY_BYTES + GRANULE - 1) / GRANULE)
    mov64 x6, GRANULE
1:  str x4, [x3], #8
    add x4, x4, x6
    subs x5, x5, #1
    b.ne 1b
    dsb ish
    // Other PEs, if any.
    mov x19, #1
2:  adr x9, config
    ldr x9, [x9, #C_CPUS]
    cmp x19, x9
    b.hs each
    ldr x0, =PSCI_CPU_ON
    mov x1, x19
    adr x2, each
    mov x3, #0
    hvc #0
    add x19, x19, #1
    b 2b

// Every PE starts here.
each:
    adr x20, config
    mrs x1, mpidr_el1
    and x1, x1, #0xFF
    ldr x2, [x20, #C_CPUS]
    sub x2, x2, x1
    mov64 x25, GICD
    sub x25, x25, x2, lsl #17   // redistributors of 128 KiB, the last one below the distributor
    gic_setup x25
    adr x9, fuzz_vectors
    msr vbar_el1, x9
    bl paging_on
    mrs x1, mpidr_el1
    and x1, x1, #0xFF
    adrp x29, per_pe
    add x29, x29, :lo12:per_pe
    add x29, x29, x1, lsl #6
    ldr x9, [x20, #C_EXCEPTIONS]
    str x9, [x29, #P_REMAINING]
    lsl x9, x1, #4              // PEs begin at different chunks
    str x9, [x29, #P_CHUNK]
    b next_chunk

// ── Exceptions. X28 to X30 are the handler's. ────────────────────────────────────────────────────────────────────────

// X28 = address of the body as translation is to be.
.macro body_address
    adr x28, config
    ldr x28, [x28, #C_FLAGS]
    tbnz x28, #FLAG_MMU, 88f
    adrp x28, body
    b 89f
88: mov64 x28, SLOT_VA(S_BODY)
89:
.endm

.balign 0x800
fuzz_vectors:
.rept 4
    b synchronous
    .balign 0x80
    b fuzz_interrupt
    .balign 0x80
    b fuzz_interrupt
    .balign 0x80
    b synchronous
    .balign 0x80
.endr

// X29 = this PE's variables; goes off when its exceptions are used up.
.macro count_exception
    mrs x28, mpidr_el1
    and x28, x28, #0xFF
    adrp x29, per_pe
    add x29, x29, :lo12:per_pe
    add x29, x29, x28, lsl #6
    ldr x30, [x29, #P_REMAINING]
    subs x30, x30, #1
    str x30, [x29, #P_REMAINING]
    b.le finished
.endm

synchronous:
    count_exception
    // Behind the instruction, if that is in the body.
    mrs x30, elr_el1
    add x30, x30, #4
    body_address
    sub x28, x30, x28
    cmp x28, #BODY_BYTES
    b.hs next_chunk
    tst x28, #3
    b.ne next_chunk
    b go_on

fuzz_interrupt:
    count_exception
    mrs x30, ICC_IAR1_EL1
    msr ICC_EOIR1_EL1, x30
next_chunk:
    ldr x30, [x29, #P_CHUNK]
    add x30, x30, #1
    and x30, x30, #(CHUNKS - 1)
    str x30, [x29, #P_CHUNK]
    lsl x30, x30, #8
    body_address
    add x30, x28, x30

// Resumes at X30 with everything in order.
go_on:
    msr elr_el1, x30
    ldr x28, [x29, #P_REMAINING]
    adr x30, config
    ldr x29, [x30, #C_FLAGS]
    tbnz x28, #4, 1f
    and x29, x29, #~(1 << FLAG_EL0)
1:  tbnz x29, #FLAG_EL0, 2f
    mov x28, #0x345             // EL1h, interrupts unmasked
    b 3f
2:  mov x28, #0x340
3:  msr spsr_el1, x28
    mov64 x28, MAIR_VALUE
    msr mair_el1, x28
    adrp x28, __free            // LEVEL1
    msr ttbr0_el1, x28
    msr ttbr1_el1, x28
    mov64 x28, (TCR_VALUE & ~TCR_EPD1)
    ldr x30, [x30, #C_TCR]
    orr x28, x28, x30
    msr tcr_el1, x28
    adr x30, config
    mov64 x28, (SCTLR_RES1 | SCTLR_C | SCTLR_I | SCTLR_SPAN)
    ldr x30, [x30, #C_SCTLR]
    orr x28, x28, x30
    tbz x29, #FLAG_MMU, 4f
    orr x28, x28, #SCTLR_M
4:  msr sctlr_el1, x28
    isb
    mrs x28, cntvct_el0
    tst x28, #0x30
    b.ne 5f
    tlbi vmalle1
    dsb nsh
5:  mov x28, #(3 << 20)
    msr cpacr_el1, x28
    adr x30, config
    mov x28, #0xF0
    msr s3_0_c4_c6_0, x28       // ICC_PMR_EL1
    mov x28, #1
    msr s3_0_c12_c12_7, x28     // ICC_IGRPEN1_EL1
    ldr x28, [x30, #C_TIMER]
    msr cntv_tval_el0, x28
    mov x28, #1
    msr cntv_ctl_el0, x28
    tbz x29, #FLAG_PMU, 6f
    mov64 x28, 0x8000003F
    msr pmcntenset_el0, x28
    mov x28, #0x41
    msr pmcr_el0, x28
6:  tbz x29, #FLAG_SPE, 7f
    mrs x28, PMBSR_EL1
    tbnz x28, #17, 8f
    mrs x28, PMBLIMITR_EL1
    tbnz x28, #0, 7f            // still running: leave it alone
8:  msr PMBLIMITR_EL1, xzr
    ldr x28, [x30, #C_PMSIRR]
    msr PMSIRR_EL1, x28
    ldr x28, [x30, #C_PMBPTR]
    msr PMBPTR_EL1, x28
    msr PMBSR_EL1, xzr
    ldr x28, [x30, #C_PMSCR]
    msr PMSCR_EL1, x28
    ldr x28, [x30, #C_PMBLIMITR]
    msr PMBLIMITR_EL1, x28
7:  isb
    eret

finished:
    cmp x28, #0
    b.ne 1f
    ldr w0, =PSCI_SYSTEM_OFF
    hvc #0
1:  wfi
    b 1b

.balign 8
.ascii "vmm fuzz config."
config: .quad 1, 0, 1000, 1, 0, 0, 0, 0, 0, 0
    .quad __free                // for fuzz.py: where the tables begin
.ltorg

.balign 65536
body:
.ascii "vmm fuzz body..."
.skip BODY_BYTES - 16
.balign 65536

.bss
.balign 64
per_pe: .skip 64 * 64
