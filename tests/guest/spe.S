// The profiling unit as a driver programs it: registers, sampling to the operation, records, filters, and every management
// event with its interrupt.
// vmm: --spe
// vmm: --spe --clock insn
// vmm: --spe --pmu --spe-pin off
// expect: PASS
#include "guest.h"
#include "gic.h"
#include "paging.h"
#include "spe.h"

#define PPI 21
#define GICR_ISPENDR0 0x200

#define S_DATA 0
#define S_USER_CODE 1
#define S_USER_DATA 2
#define S_BUFFER 16             // four pages
#define S_BEHIND 20             // one that the buffer does not reach
#define S_MISSING 24            // the one before it exists
#define F_DATA FRAMES
#define F_USER_CODE (FRAMES + 1)
#define F_BUFFER (FRAMES + 2)
#define F_BEHIND (FRAMES + 6)

#define BUFFER SLOT_VA(S_BUFFER)
#define CONTEXT 0x1234ABCD
#define PERIOD 257              // operations between samples with PMSIRR_EL1 = 256

// Loop passes of four operations such that \records samples are taken, and the operations that remain then.
#define PASSES(records) ((records) * PERIOD / 4 + 1)
#define REMAINDER(records) (PASSES(records) * 4 + 2 - (records) * PERIOD)

.macro set_register name, value
    mov64 x0, (\value)
    msr \name, x0
.endm

// A buffer of \bytes from \start, empty, with its status cleared. Clobbers X0.
.macro buffer start, bytes, mode=0
    msr PMBLIMITR_EL1, xzr
    isb
    set_register PMBPTR_EL1, (\start)
    msr PMBSR_EL1, xzr
    set_register PMSICR_EL1, 0
    set_register PMBLIMITR_EL1, ((\start) + (\bytes) + PMBLIMITR_E + (\mode))
    isb
.endm

// Checks that the buffer from \start holds \records and no event is pending.
#define check_records check_records_at __LINE__,
.macro check_records_at line, start, records
    check_sysreg_at \line, PMBSR_EL1, 0
    check_sysreg_at \line, PMBPTR_EL1, ((\start) + (\records) * RECORD_BYTES)
.endm

// X10 = whether the interrupt is pending at the GIC.
.macro interrupt_pending
    mov64 x10, (GICR(1) + GICR_SGI_BASE + GICR_ISPENDR0)
    ldr w10, [x10]
    ubfx x10, x10, #PPI, #1
.endm

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    mov64 x25, GICR(1)
    gic_setup x25
    bl paging_build
    map_slot S_DATA, F_DATA, NORMAL_PAGE
    map_slot S_USER_CODE, F_USER_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    map_slot S_USER_DATA, F_DATA, (NORMAL_PAGE | DESC_USER)
    map_slot S_BUFFER, F_BUFFER, NORMAL_PAGE
    map_slot (S_BUFFER + 1), (F_BUFFER + 1), NORMAL_PAGE
    map_slot (S_BUFFER + 2), (F_BUFFER + 2), NORMAL_PAGE
    map_slot (S_BUFFER + 3), (F_BUFFER + 3), NORMAL_PAGE
    map_slot S_BEHIND, F_BEHIND, NORMAL_PAGE
    map_slot (S_MISSING - 1), (F_BUFFER + 3), NORMAL_PAGE
    frame x9, F_USER_CODE
    adr x10, user_loop
    adr x11, user_loop_end
1:  ldr w12, [x10], #4
    str w12, [x9], #4
    cmp x10, x11
    b.lo 1b
    dsb ish
    ic iallu
    dsb ish
    isb
    bl paging_on
    set_register contextidr_el1, CONTEXT
    isb

    bl test_identity
    bl test_registers
    bl test_interval
    bl test_records
    bl test_full
    bl test_interrupts
    bl test_faults
    bl test_mistakes
    bl test_discard
    bl test_levels
    bl test_filters
    ldp x29, x30, [sp], #16
    ret

test_identity:
    stp x29, x30, [sp, #-16]!
    mrs x9, id_aa64dfr0_el1
    ubfx x9, x9, #32, #4
    check x9, 3
    check_sysreg PMSIDR_EL1, 0x2645F
    check_sysreg PMBIDR_EL1, 0x0000040000000126
    // Read-only registers, and those of later versions.
    expect_exception 1f
    msr PMSIDR_EL1, xzr
    unreachable
1:  check x20, 0x02000000
    expect_exception 2f
    msr PMBIDR_EL1, xzr
    unreachable
2:  check x20, 0x02000000
    no_register s3_0_c9_c10_2
    no_register PMSDSFR_EL1
    no_register PMBMAR_EL1
    no_register s3_0_c9_c10_6
    ldp x29, x30, [sp], #16
    ret

// What each register keeps of all ones, and of zero.
#define keeps keeps_at __LINE__,
.macro keeps_at line, name, ones, zero=0
    mov x9, #-1
    msr \name, x9
    isb
    check_sysreg_at \line, \name, (\ones)
    msr \name, xzr
    isb
    check_sysreg_at \line, \name, (\zero)
.endm

test_registers:
    stp x29, x30, [sp, #-16]!
    mrs x9, PMBLIMITR_EL1
    check_bits x9, PMBLIMITR_E, 0           // the one defined reset value
    keeps PMSCR_EL1, 0x7B, 0x40             // PCT reads 0b01
    keeps PMSICR_EL1, 0xFFFFFFFF
    keeps PMSIRR_EL1, 0xFFFFFF01
    keeps PMSFCR_EL1, 0x7000F
    keeps PMSEVFR_EL1, 0x8EA
    keeps PMSNEVFR_EL1, 0x8EA
    keeps PMSLATFR_EL1, 0xFFF
    keeps PMBPTR_EL1, -1
    keeps PMBSR_EL1, 0xFC0FFFFF
    keeps PMBLIMITR_EL1, 0xFFFFFFFFFFFFF027
    ldp x29, x30, [sp], #16
    ret

// Samples \passes passes of the loop at EL1. What else is executed while profiling: ISB, and the MSR that ends it.
.macro sample passes, collect=0
    mov64 x0, (PMSCR_E1SPE | (\collect))
    mov64 x1, (\passes)
    bl loop_at_el1
.endm

loop_at_el1:
    mov64 x4, SLOT_VA(S_DATA)
    msr PMSCR_EL1, x0
    isb
el1_loop:
    ldr x3, [x4]
    str x3, [x4, #8]
    subs x1, x1, #1
    b.ne el1_loop
    msr PMSCR_EL1, xzr
    isb
    psb_csync
    dsb nsh
    ret

// How many samples: exactly one per interval, whatever it is, across enables.
test_interval:
    stp x29, x30, [sp, #-16]!
    set_register PMSIRR_EL1, 256
    buffer BUFFER, 0x4000
    sample PASSES(100)
    check_records BUFFER, 100
    check_sysreg PMSICR_EL1, (PERIOD - REMAINDER(100))
    // The count goes on where it was: 64 passes are a sample but one operation.
    sample 64
    check_records BUFFER, 101
    check_sysreg PMSICR_EL1, (PERIOD - REMAINDER(100) - 1)
    // From a count that software chose: 9 of the 10 operations to the sample, and the next one reloads.
    set_register PMSICR_EL1, 9
    sample 2
    check_records BUFFER, 102
    check_sysreg PMSICR_EL1, 256
    // Longer.
    set_register PMSIRR_EL1, 1024
    set_register PMSICR_EL1, 0
    sample 5000
    check_records BUFFER, (102 + 20002 / 1025)
    // Random: between the interval and the interval plus 255, and not all the same.
    set_register PMSIRR_EL1, 257
    buffer BUFFER, 0x4000
    sample 10000
    mrs x9, PMBPTR_EL1
    mov64 x10, BUFFER
    sub x9, x9, x10
    lsr x9, x9, #6
    cmp x9, #(40002 / 512)
    cset x10, hs
    check x10, 1
    cmp x9, #(40002 / 300)
    cset x10, lo
    check x10, 1
    // Not enabled in the buffer: nothing happens.
    set_register PMSIRR_EL1, 256
    buffer BUFFER, 0x4000
    msr PMBLIMITR_EL1, xzr
    sample 1000
    check_records BUFFER, 0
    check_sysreg PMSICR_EL1, 0
    ldp x29, x30, [sp], #16
    ret

// Takes the record at X9 apart: X10 PC, X8 target, X13 VA, X14 PA, X11 operation type with its header in [15:8],
// X12 events, X15 data source, X16 timestamp, X17 context, X18 total latency, X19 issue latency, X26 translation latency;
// X7 says which are there, a bit each. Clobbers X0..X6.
#define P_PC 0
#define P_TARGET 1
#define P_VA 2
#define P_PA 3
#define P_TYPE 4
#define P_EVENTS 5
#define P_SOURCE 6
#define P_TIME 7
#define P_CONTEXT 8
#define P_TOTAL 9
#define P_ISSUE 10
#define P_TRANSLATION 11
.macro packet header, register, number
    cmp w0, #\header
    b.ne 88f
    tbnz x7, #\number, bad_record
    mov \register, x3
    orr x7, x7, #(1 << \number)
    b next_packet
88:
.endm

parse_record:
    mov x5, x9
    add x6, x9, #RECORD_BYTES
    mov x7, #0
next_packet:
    cmp x5, x6
    b.hs bad_record
    ldrb w0, [x5], #1
    cmp w0, #0x01
    b.eq record_end
    cmp w0, #0x40
    b.lo bad_record
    ubfx w1, w0, #4, #2
    mov w2, #1
    lsl w1, w2, w1              // bytes of payload
    add x2, x5, x1
    cmp x2, x6
    b.hi bad_record
    mov x3, #0
1:  ldrb w4, [x2, #-1]!
    orr x3, x4, x3, lsl #8
    cmp x2, x5
    b.hi 1b
    add x5, x5, x1
    packet 0xB0, x10, P_PC
    packet 0xB1, x8, P_TARGET
    packet 0xB2, x13, P_VA
    packet 0xB3, x14, P_PA
    packet 0x52, x12, P_EVENTS
    packet 0x43, x15, P_SOURCE
    packet 0x64, x17, P_CONTEXT
    packet 0x98, x18, P_TOTAL
    packet 0x99, x19, P_ISSUE
    packet 0x9A, x26, P_TRANSLATION
    sub w4, w0, #0x48
    cmp w4, #2
    b.hi 2f
    tbnz x7, #P_TYPE, bad_record
    orr x11, x3, x0, lsl #8
    orr x7, x7, #(1 << P_TYPE)
    b next_packet
2:  cmp w0, #0x71
    b.ne bad_record
    mov x16, x3
    orr x7, x7, #(1 << P_TIME)
record_end:
    cmp x5, x6
    b.hs 3f
    ldrb w0, [x5], #1
    cbz w0, record_end
bad_record:
    mov x1, x5
    mov x2, #0
    mov x0, #0xBADD
    b check_equal
3:  ret

// \register lies in [\low, \high].
#define check_range check_range_at __LINE__,
.macro check_range_at line, register, low, high
    mov x1, \register
    mov x2, #\low
    cmp x1, x2
    b.lo 88f
    mov x2, #\high
    cmp x1, x2
    b.ls 89f
88: mov x0, #\line
    bl check_equal
89:
.endm

// Every record of the loop, whose four operations are sampled in turn.
test_records:
    stp x29, x30, [sp, #-16]!
    buffer BUFFER, 0x4000
    mrs x27, cntvct_el0         // no timestamp is less than the one before
    sample PASSES(200), (PMSCR_CX | PMSCR_PA | PMSCR_TS)
    check_records BUFFER, 200
    mov64 x9, BUFFER
    mov x25, #0                 // number of the record
1:  bl parse_record
    // Sample n is operation 257 * (n + 1), the first of which is an ISB.
    add x1, x25, #1
    mov x2, #PERIOD
    mul x1, x1, x2
    sub x1, x1, #2
    and x1, x1, #3
    adr x2, el1_loop
    add x1, x2, x1, lsl #2
    mov64 x2, (0xA0 << 56)      // Non-secure, EL1
    orr x1, x1, x2
    sub x1, x1, x10
    check x1, 0
    check x17, CONTEXT
    cmp x16, x27
    cset x1, hs
    check x1, 1
    mov x27, x16
    check_range x18, 1, 0xFFF
    check_range x19, 1, 0xFFF
    cmp x19, x18
    cset x1, ls
    check x1, 1
    check_bits x12, 0x0803, 0x0002          // retired, no exception, aligned
    and x1, x25, #3
    cbz x1, 2f                  // 255 = 3 mod 4: B.NE
    cmp x1, #2
    b.lo 3f                     // LDR
    b.eq 4f                     // STR
    // SUBS
    check x11, 0x4800
    check x7, 0x7B1             // no addresses but the PC
    b 5f
2:  check x11, 0x4A01
    check x7, 0x7B3
    check_bits x12, 0x40, 0     // taken
    adr x2, el1_loop
    mov64 x1, (0xA0 << 56)
    orr x2, x2, x1
    sub x1, x8, x2
    check x1, 0
    b 5f
3:  check x11, 0x4900
    check x7, 0xFFD
    check x13, SLOT_VA(S_DATA)
    bl check_physical
    check_bits x12, 0x14, 0x14  // first-level cache and TLB accessed
    b 5f
4:  check x11, 0x4901
    check x7, 0xFBD             // no data source
    check x13, (SLOT_VA(S_DATA) + 8)
    sub x14, x14, #8
    bl check_physical
5:  add x9, x9, #RECORD_BYTES
    add x25, x25, #1
    cmp x25, #200
    b.lo 1b
    mrs x1, cntvct_el0
    cmp x1, x27
    cset x1, hs
    check x1, 1

    // With nothing collected a record has no context, time and physical address, and ends all the same.
    buffer BUFFER, 0x4000
    sample PASSES(4)
    mov64 x9, BUFFER
    bl parse_record
    check x7, 0x633
    mov64 x9, (BUFFER + RECORD_BYTES)
    bl parse_record
    check x7, 0xE75
    ldp x29, x30, [sp], #16
    ret

check_physical:
    mov x4, x30
    frame x2, F_DATA
    mov64 x1, (0x80 << 56)
    orr x2, x2, x1
    sub x1, x14, x2
    check x1, 0
    ret x4

// The buffer fills: event, interrupt, nothing behind the limit, everything stands still until software has been there.
test_full:
    stp x29, x30, [sp, #-16]!
    mov64 x9, (BUFFER + 0x1000)
    mov64 x10, 0x0123456789ABCDEF
    str x10, [x9]
    buffer BUFFER, 0x1000
    interrupt_pending
    check x10, 0
    sample PASSES(63)
    check_records BUFFER, 63
    interrupt_pending
    check x10, 0
    sample 400
    check_sysreg PMBSR_EL1, PMBSR_FULL
    check_sysreg PMBPTR_EL1, (BUFFER + 0x1000)
    interrupt_pending
    check x10, 1
    mrs x9, isr_el1
    check x9, 0x80
    mrs x25, PMSICR_EL1
    sample 1000                 // stopped
    mrs x9, PMSICR_EL1
    sub x9, x9, x25
    check x9, 0
    check_sysreg PMBPTR_EL1, (BUFFER + 0x1000)
    mov64 x9, (BUFFER + 0x1000)
    ldr x10, [x9]
    check x10, 0x0123456789ABCDEF

    // A level: acknowledged and ended it is pending again, until the status is cleared.
    mrs x19, ICC_IAR1_EL1
    check x19, PPI
    msr ICC_EOIR1_EL1, x19
    isb
    interrupt_pending
    check x10, 1
    // Clearing the status alone does not make room.
    msr PMBSR_EL1, xzr
    isb
    interrupt_pending
    check x10, 0
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_FULL
    set_register PMBPTR_EL1, BUFFER
    msr PMBSR_EL1, xzr
    isb
    interrupt_pending
    check x10, 0
    sample PASSES(5)
    mrs x9, PMBPTR_EL1
    mov64 x10, (BUFFER + 5 * RECORD_BYTES)
    sub x9, x9, x10
    check_bits x9, ~RECORD_BYTES, 0         // one more if the old count was short
    check_sysreg PMBSR_EL1, 0
    // Software can raise and lower the interrupt itself.
    set_register PMBSR_EL1, PMBSR_S
    isb
    interrupt_pending
    check x10, 1
    msr PMBSR_EL1, xzr
    isb
    interrupt_pending
    check x10, 0
    ldp x29, x30, [sp], #16
    ret

// As a driver runs: each interrupt empties the buffer and lets profiling go on. X27 counts.
.global irq_handler
irq_handler:
    mrs x19, ICC_IAR1_EL1
    cmp x19, #PPI
    b.ne 2f
    mrs x0, PMBSR_EL1
    mov64 x1, PMBSR_FULL
    cmp x0, x1
    b.ne 2f
    mrs x0, PMBPTR_EL1
    mov64 x1, (BUFFER + 0x1000)
    cmp x0, x1
    b.ne 2f
    set_register PMBPTR_EL1, BUFFER
    msr PMBSR_EL1, xzr
    isb
    add x27, x27, #1
    msr ICC_EOIR1_EL1, x19
    isb
    ret
2:  mov x1, x19
    mov x2, #PPI
    mov x0, #__LINE__
    b check_equal

test_interrupts:
    stp x29, x30, [sp, #-16]!
    buffer BUFFER, 0x1000
    mov x27, #0
    msr daifclr, #2
    sample 41200                // 641 samples and what the handler adds
    msr daifset, #2
    check_range x27, 10, 11
    check_sysreg PMBSR_EL1, 0
    ldp x29, x30, [sp], #16
    ret

// The buffer's pages are not what they should be.
test_faults:
    stp x29, x30, [sp, #-16]!
    // The second page is missing: the first is used, the fault names the second.
    buffer SLOT_VA(S_MISSING - 1), 0x2000
    sample 5000
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 7)
    check_sysreg PMBPTR_EL1, SLOT_VA(S_MISSING)
    interrupt_pending
    check x10, 1
    sample 1000
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 7)
    check_sysreg PMBPTR_EL1, SLOT_VA(S_MISSING)
    // Mapped and cleared, it goes on from there.
    map_slot S_MISSING, F_BUFFER, NORMAL_PAGE
    msr PMBSR_EL1, xzr
    set_register PMSICR_EL1, 0
    sample PASSES(3)
    check_records SLOT_VA(S_MISSING), 3

    // Read-only; then without access flag; then with too large an address; a read-only one with dirty state managed works.
    map_slot S_BEHIND, F_BEHIND, (NORMAL_PAGE | DESC_READ_ONLY)
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 0xF)
    check_sysreg PMBPTR_EL1, SLOT_VA(S_BEHIND)
    map_slot S_BEHIND, F_BEHIND, (NORMAL_PAGE & ~DESC_AF)
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 0xB)
    map_slot S_BEHIND, F_BEHIND, (NORMAL_PAGE | (1 << 40))
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 3)
    buffer (SLOT_VA(S_BEHIND) + (1 << BLOCK_SHIFT)), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 6)
    buffer (5 << LEVEL1_SHIFT), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 5)
    buffer (1 << INPUT_BITS), 0x1000
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 4)

    mrs x25, tcr_el1
    mov64 x9, (TCR_HA | TCR_HD)
    orr x9, x9, x25
    msr tcr_el1, x9
    isb
    map_slot S_BEHIND, F_BEHIND, ((NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM) & ~DESC_AF)
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    sample PASSES(1)
    check_records SLOT_VA(S_BEHIND), 1
    read_slot x9, S_BEHIND
    check_bits x9, (DESC_AF | DESC_READ_ONLY), DESC_AF
    msr tcr_el1, x25
    isb

    // A page of EL0, while PAN keeps EL1 from it.
    map_slot S_BEHIND, F_BEHIND, (NORMAL_PAGE | DESC_USER)
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    msr pan, #1
    sample PASSES(2)
    msr pan, #0
    check_records SLOT_VA(S_BEHIND), 2
    // Where nothing answers the writes are lost (PMBIDR_EL1.EA).
    frame x9, LEVEL3_TEST
    mov64 x10, (0x0F000000 | NORMAL_PAGE)
    str x10, [x9, #(S_BEHIND * 8)]
    flush_tlb
    buffer SLOT_VA(S_BEHIND), 0x1000
    sample PASSES(2)
    check_records SLOT_VA(S_BEHIND), 2
    map_slot S_BEHIND, F_BEHIND, NORMAL_PAGE
    flush_tlb
    // With translation off addresses are physical.
    mrs x25, sctlr_el1
    bic x9, x25, #SCTLR_M
    msr sctlr_el1, x9
    isb
    frame x9, F_BEHIND
    msr PMBLIMITR_EL1, xzr
    msr PMBPTR_EL1, x9
    add x10, x9, #0x1000
    orr x10, x10, #PMBLIMITR_E
    msr PMBLIMITR_EL1, x10
    set_register PMSICR_EL1, 2
    set_register PMSCR_EL1, PMSCR_E1SPE
    nop
    nop
    msr PMSCR_EL1, xzr
    msr sctlr_el1, x25
    isb
    mrs x10, PMBPTR_EL1
    sub x10, x10, x9
    check x10, RECORD_BYTES
    ldp x29, x30, [sp], #16
    ret

// Programs that cannot work.
test_mistakes:
    stp x29, x30, [sp, #-16]!
    // More than PMBIDR_EL1.MaxBuffSize, and exactly that.
    buffer BUFFER, 0x401000
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_TOO_LARGE
    check_sysreg PMBPTR_EL1, BUFFER
    interrupt_pending
    check x10, 1
    buffer BUFFER, 0x400000
    sample PASSES(3)
    check_records BUFFER, 3
    buffer (BUFFER + RECORD_BYTES), 0x400FC0
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_TOO_LARGE
    // The pointer at and behind the limit.
    buffer BUFFER, 0
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_FULL
    check_sysreg PMBPTR_EL1, BUFFER
    buffer (BUFFER + 0x1000), -0x1000
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_FULL
    // A pointer between records.
    buffer (BUFFER + 8), 0xFF8
    sample 1
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 0x21)
    check_sysreg PMBPTR_EL1, (BUFFER + 8)
    // The largest addresses.
    set_register PMBLIMITR_EL1, 0
    set_register PMBPTR_EL1, -64
    msr PMBSR_EL1, xzr
    set_register PMBLIMITR_EL1, (-0x1000 + PMBLIMITR_E)
    sample 1
    check_sysreg PMBSR_EL1, PMBSR_FULL
    set_register PMBLIMITR_EL1, 0
    set_register PMBPTR_EL1, -0x1040
    msr PMBSR_EL1, xzr
    set_register PMBLIMITR_EL1, (-0x1000 + PMBLIMITR_E)
    sample PASSES(1)
    check_sysreg PMBSR_EL1, (PMBSR_FAULT | 4)
    msr PMBLIMITR_EL1, xzr
    msr PMBSR_EL1, xzr
    ldp x29, x30, [sp], #16
    ret

// Samples that go nowhere: the counter runs, the pointer stands.
test_discard:
    stp x29, x30, [sp, #-16]!
    buffer BUFFER, 0x1000, PMBLIMITR_DISCARD
    sample PASSES(100)
    check_records BUFFER, 0
    check_sysreg PMSICR_EL1, (PERIOD - REMAINDER(100))
    // The buffer need not even be one.
    buffer 0, 0, PMBLIMITR_DISCARD
    sample PASSES(100)
    check_records 0, 0
    check_sysreg PMSICR_EL1, (PERIOD - REMAINDER(100))
    msr PMBLIMITR_EL1, xzr
    ldp x29, x30, [sp], #16
    ret

// The loop of EL0: X1 passes, X4 data.
user_loop:
    ldr x3, [x4]
    str x3, [x4, #8]
    subs x1, x1, #1
    b.ne user_loop
    svc #0
user_loop_end:

// Runs it with PMSCR_EL1 = \control.
.macro sample_user control, passes
    expect_exception 88f
    mov64 x9, SLOT_VA(S_USER_CODE)
    mov64 x4, SLOT_VA(S_USER_DATA)
    msr elr_el1, x9
    mov x0, #0x3C0
    msr spsr_el1, x0
    mov64 x1, (\passes)
    set_register PMSCR_EL1, (\control)
    isb
    eret
88: msr PMSCR_EL1, xzr
    isb
.endm

// Only the Exception levels asked for.
test_levels:
    stp x29, x30, [sp, #-16]!
    buffer BUFFER, 0x4000
    mov x0, #PMSCR_E0SPE
    mov x1, #5000
    bl loop_at_el1
    check_records BUFFER, 0
    check_sysreg PMSICR_EL1, 0
    // EL0 counts 4 operations a pass and the SVC.
    sample_user PMSCR_E0SPE, PASSES(100)
    check x20, 0x56000000
    check_records BUFFER, 100
    check_sysreg PMSICR_EL1, (PERIOD - REMAINDER(100) + 1)
    mov64 x9, BUFFER
    mov x25, #100
1:  bl parse_record
    lsr x1, x10, #56
    check x1, 0x80              // Non-secure, EL0
    ubfx x1, x10, #4, #52
    check x1, (SLOT_VA(S_USER_CODE) >> 4)
    add x9, x9, #RECORD_BYTES
    subs x25, x25, #1
    b.ne 1b
    // EL1 only: what EL0 does is not counted. ISB and ERET are, and the way to MSR: five operations of the vector's path
    // up to it, give or take none.
    buffer BUFFER, 0x4000
    set_register PMSICR_EL1, 1000
    sample_user PMSCR_E1SPE, 5000
    check_records BUFFER, 0
    mrs x9, PMSICR_EL1
    mov x10, #1000
    sub x9, x10, x9
    check_range x9, 5, 40
    // Both.
    buffer BUFFER, 0x4000
    sample_user (PMSCR_E0SPE | PMSCR_E1SPE), PASSES(50)
    check_records BUFFER, 50
    // EL0 cannot reach the registers.
    map_slot S_USER_CODE, F_USER_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    ldp x29, x30, [sp], #16
    ret

// Checks that \count records from BUFFER have operation type \type, and that there are \count.
#define check_types check_types_at __LINE__,
.macro check_types_at line, count, type
    check_records_at \line, BUFFER, (\count)
    mov64 x9, BUFFER
    mov x25, #(\count)
87: bl parse_record
    check_at \line, x11, (\type)
    add x9, x9, #RECORD_BYTES
    subs x25, x25, #1
    b.ne 87b
.endm

test_filters:
    stp x29, x30, [sp, #-16]!
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 0x20002        // loads
    sample PASSES(200)
    check_types 50, 0x4900
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 0x40002        // stores
    sample PASSES(200)
    check_types 50, 0x4901
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 0x10002        // branches
    sample PASSES(200)
    check_types 50, 0x4A01
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 0x60002        // loads and stores
    sample PASSES(200)
    check_records BUFFER, 100
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 4              // latency, which nothing reaches
    set_register PMSLATFR_EL1, 0xFFF
    sample PASSES(200)
    check_records BUFFER, 0
    msr PMSLATFR_EL1, xzr
    sample PASSES(10)
    mrs x9, PMBPTR_EL1
    mov64 x10, BUFFER
    sub x9, x9, x10
    lsr x9, x9, #6
    check_range x9, 10, 11
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 1              // events: misaligned, of which there are none
    set_register PMSEVFR_EL1, 0x800
    sample PASSES(200)
    check_records BUFFER, 0
    set_register PMSEVFR_EL1, 0x2           // retired: all
    buffer BUFFER, 0x4000
    sample PASSES(200)
    check_records BUFFER, 200
    buffer BUFFER, 0x4000
    set_register PMSFCR_EL1, 8              // not these events: retired
    set_register PMSNEVFR_EL1, 0x2
    sample PASSES(200)
    check_records BUFFER, 0
    msr PMSFCR_EL1, xzr
    msr PMSEVFR_EL1, xzr
    msr PMSNEVFR_EL1, xzr
    msr PMBLIMITR_EL1, xzr
    ldp x29, x30, [sp], #16
    ret
