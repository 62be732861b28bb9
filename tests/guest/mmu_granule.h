// The tests of the MMU, for the granule that GRANULE_SHIFT says. With REFERENCE_QEMU defined they leave out what QEMU does
// not do: alignment of Device accesses and faults of cache maintenance.
#include "guest.h"
#include "paging.h"

// Entries of the test's table of pages.
#define S_READ_WRITE 0
#define S_READ_ONLY 1
#define S_UNMAPPED 2
#define S_FLAG 3                // AF = 0
#define S_DIRTY 4               // DBM
#define S_USER 5
#define S_NEVER_EL1 6           // PXN
#define S_USER_CODE 7
#define S_NEVER_EL0 8           // UXN
#define S_ASID 9                // nG, differs between two address spaces
#define S_CHANGING 10
#define S_LAST 11               // the next one stays unmapped
#define S_DEVICE 13
#define S_CODE 14
#define S_TOO_HIGH 15
#define S_USER_WRITABLE_CODE 16
#define S_OFF_BUS 17
#define S_CONTIGUOUS 128

// Frames behind the tables.
#define F_DATA FRAMES
#define F_CODE (FRAMES + 1)
#define F_OTHER (FRAMES + 2)
#define F_CODE1 (FRAMES + 3)
#define F_CODE2 (FRAMES + 4)

#define PERMISSION 0x0C
#define TRANSLATION 0x04
#define ACCESS_FLAG 0x08
#define ADDRESS_SIZE 0x00
#define WNR 0x40
#define DATA_ABORT 0x96000000
#define DATA_ABORT_EL0 0x92000000
#define FETCH_ABORT 0x86000000
#define FETCH_ABORT_EL0 0x82000000

// Reads X10 from the address in X9, which must fault with syndrome \esr and FAR = X9.
#define read_faults read_faults_at __LINE__,
.macro read_faults_at line, esr
    expect_exception 99f
    ldr x10, [x9]
    unreachable_at \line
99: check_at \line, x20, (\esr)
    sub x1, x22, x9
    check_at \line, x1, 0
.endm

#define write_faults write_faults_at __LINE__,
.macro write_faults_at line, esr
    expect_exception 99f
    str x10, [x9]
    unreachable_at \line
99: check_at \line, x20, (\esr)
    sub x1, x22, x9
    check_at \line, x1, 0
.endm

// Reads the address in X9 and compares.
#define reads reads_at __LINE__,
.macro reads_at line, value
    ldr x10, [x9]
    check_at \line, x10, (\value)
.endm

// Calls the address in X9, which must fault with syndrome \esr and FAR = ELR = X9.
#define fetch_faults fetch_faults_at __LINE__,
.macro fetch_faults_at line, esr
    expect_exception 99f
    blr x9
    unreachable_at \line
99: check_at \line, x20, (\esr)
    sub x1, x22, x9
    check_at \line, x1, 0
    sub x1, x21, x9
    check_at \line, x1, 0
.endm

// Runs the address in X9 at EL0 until an exception, which must have the syndrome \esr.
#define el0_takes el0_takes_at __LINE__,
.macro el0_takes_at line, esr
    expect_exception 99f
    enter_el0 x9
99: check_at \line, x23, 0x20
    check_at \line, x20, (\esr)
.endm

#define DATA_VALUE 0x1111222233334444
#define OTHER_VALUE 0x5555666677778888

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    // Values in two frames, code in another.
    frame x9, F_DATA
    mov64 x10, DATA_VALUE
    str x10, [x9]
    frame x9, F_OTHER
    mov64 x10, OTHER_VALUE
    str x10, [x9]
    frame x9, F_CODE
    adr x10, user_code
    adr x11, user_code_end
1:  ldr x12, [x10], #8
    str x12, [x9], #8
    cmp x10, x11
    b.lo 1b
    mov64 x10, 0xD65F03C052800020       // MOV W0, #1 ; RET
    frame x9, F_CODE1
    str x10, [x9]
    mov64 x10, 0xD65F03C052800040       // MOV W0, #2 ; RET
    frame x9, F_CODE2
    str x10, [x9]
    dsb ish
    ic iallu
    dsb ish
    isb

    bl paging_build
    map_slot S_READ_WRITE, F_DATA, NORMAL_PAGE
    map_slot S_READ_ONLY, F_DATA, (NORMAL_PAGE | DESC_READ_ONLY)
    map_slot S_FLAG, F_DATA, (NORMAL_PAGE & ~DESC_AF)
    map_slot S_DIRTY, F_DATA, (NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM)
    map_slot S_USER, F_DATA, (NORMAL_PAGE | DESC_USER | DESC_UXN)
    map_slot S_NEVER_EL1, F_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_PXN)
    map_slot S_USER_CODE, F_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER)
    map_slot S_NEVER_EL0, F_CODE, (NORMAL_PAGE | DESC_READ_ONLY | DESC_USER | DESC_UXN)
    map_slot S_USER_WRITABLE_CODE, F_CODE, (NORMAL_PAGE | DESC_USER)
    map_slot S_LAST, F_DATA, NORMAL_PAGE
    map_slot S_DEVICE, F_DATA, (DESC_PAGE | DESC_AF | DESC_DEVICE | DESC_PXN | DESC_UXN)
    map_slot S_TOO_HIGH, F_DATA, (NORMAL_PAGE | (1 << 40))
    bl test_translation_off
    bl paging_on

    bl test_faults
    bl test_flags
    bl test_el0
    bl test_fetch
    bl test_crossing
    bl test_contiguous
    bl test_maintenance
    bl test_changing_code
    bl test_block
    bl test_at
    bl test_hierarchy
    bl test_asids
    ldp x29, x30, [sp], #16
    ret

// Code that runs from user pages: an entry every 16 bytes.
.balign 16
user_code:
    svc #1
    .balign 16
    ldr x5, [x6]                // +0x10
    svc #2
    .balign 16
    ret                         // +0x20
    .balign 16
    str x5, [x6]                // +0x30
    svc #3
    .balign 16
user_code_end:
#define USER_LOAD 0x10
#define USER_RET 0x20
#define USER_STORE 0x30

// Without translation a tag is part of the address, unless the top byte is ignored.
test_translation_off:
    stp x29, x30, [sp, #-16]!
    msr tcr_el1, xzr
    isb
    frame x9, F_DATA
    reads DATA_VALUE
    movk x9, #0x5A00, lsl #48
    read_faults (DATA_ABORT | ADDRESS_SIZE)
    mov64 x10, TCR_TBI0
    msr tcr_el1, x10
    isb
    reads DATA_VALUE
    at s1e1r, x9
    isb
    mrs x10, par_el1
    frame x11, F_DATA
    sub x10, x10, x11
    check_bits x10, ((1 << 48) - (1 << 12) + 1), 0      // PA and F
    movk x9, #0x5A40, lsl #48
    read_faults (DATA_ABORT | ADDRESS_SIZE)
    movk x9, #0x5A80, lsl #48                           // a matter of TBI1
    read_faults (DATA_ABORT | ADDRESS_SIZE)
    msr tcr_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

// Permissions and translation faults, their levels and addresses.
test_faults:
    stp x29, x30, [sp, #-16]!
    mov64 x9, SLOT_VA(S_READ_WRITE)
    reads DATA_VALUE
    str x10, [x9]
    mov64 x9, SLOT_VA(S_READ_ONLY)
    reads DATA_VALUE
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)
    mov64 x9, (SLOT_VA(S_READ_ONLY) + 8)
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)

    mov64 x9, SLOT_VA(S_UNMAPPED)
    read_faults (DATA_ABORT | TRANSLATION | 3)
    write_faults (DATA_ABORT | WNR | TRANSLATION | 3)
    mov64 x9, (TEST_VA + (1 << BLOCK_SHIFT) + 0x128)
    read_faults (DATA_ABORT | TRANSLATION | 2)
    mov64 x9, (5 << LEVEL1_SHIFT)
    read_faults (DATA_ABORT | TRANSLATION | 1)
#if INPUT_BITS < 48
    mov64 x9, (1 << INPUT_BITS)
    read_faults (DATA_ABORT | TRANSLATION | 0)
#endif
    mov64 x9, 0x0001000080000000
    read_faults (DATA_ABORT | TRANSLATION | 0)

    // The upper half is off, until it shares the tables.
    mov64 x9, (SLOT_VA(S_READ_ONLY) | (-1 << INPUT_BITS))
    read_faults (DATA_ABORT | TRANSLATION | 0)
    mrs x11, tcr_el1
    bic x12, x11, #TCR_EPD1
    msr tcr_el1, x12
    isb
    reads DATA_VALUE
    msr tcr_el1, x11
    flush_tlb
    read_faults (DATA_ABORT | TRANSLATION | 0)

    // A tagged address is no address, unless the top byte is ignored.
    mov64 x9, (SLOT_VA(S_READ_ONLY) | (0xA5 << 56))
    read_faults (DATA_ABORT | TRANSLATION | 0)
    mov64 x12, TCR_TBI0
    orr x12, x11, x12
    msr tcr_el1, x12
    isb
    flush_tlb
    reads DATA_VALUE
    msr tcr_el1, x11
    isb
    flush_tlb
    read_faults (DATA_ABORT | TRANSLATION | 0)

    // An output address beyond TCR_EL1.IPS.
    mov64 x9, SLOT_VA(S_TOO_HIGH)
    read_faults (DATA_ABORT | ADDRESS_SIZE | 3)

    // A page and a table where no memory is.
    frame x12, LEVEL3_TEST
    mov64 x13, ((0x0F000000 & ~(GRANULE - 1)) | NORMAL_PAGE)
    str x13, [x12, #(S_OFF_BUS * 8)]
    dsb ishst
    isb
    mov64 x9, SLOT_VA(S_OFF_BUS)
    read_faults (DATA_ABORT | 0x10)
    frame x12, LEVEL2_OF_TEST
    mov64 x13, ((0x0F000000 & ~(GRANULE - 1)) | DESC_TABLE)
    str x13, [x12, #((TEST_LEVEL2_INDEX + 3) * 8)]
    dsb ishst
    isb
    mov64 x9, (TEST_VA + (3 << BLOCK_SHIFT))
    read_faults (DATA_ABORT | 0x17)
    str xzr, [x12, #((TEST_LEVEL2_INDEX + 3) * 8)]
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// The access flag and the dirty state, by faults and by hardware.
test_flags:
    stp x29, x30, [sp, #-16]!
    mov64 x9, SLOT_VA(S_FLAG)
    read_faults (DATA_ABORT | ACCESS_FLAG | 3)
    mov64 x9, SLOT_VA(S_DIRTY)
    reads DATA_VALUE
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)

    mrs x11, tcr_el1
    mov64 x12, TCR_HA
    orr x11, x11, x12
    msr tcr_el1, x11
    isb
    flush_tlb
    mov64 x9, SLOT_VA(S_FLAG)
    reads DATA_VALUE
    read_slot x12, S_FLAG
    check_bits x12, DESC_AF, DESC_AF
    mov64 x9, SLOT_VA(S_DIRTY)
    mov64 x10, DATA_VALUE
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)

    mov64 x12, TCR_HD
    orr x11, x11, x12
    msr tcr_el1, x11
    isb
    flush_tlb
    reads DATA_VALUE
    read_slot x12, S_DIRTY
    check_bits x12, DESC_READ_ONLY, DESC_READ_ONLY      // a read leaves it clean
    mov64 x10, DATA_VALUE
    str x10, [x9]
    read_slot x12, S_DIRTY
    check_bits x12, DESC_READ_ONLY, 0
    mov64 x9, SLOT_VA(S_READ_ONLY)                      // without DBM nothing changes
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)

    // Cleaned again, and with the TLB told, the next write is noticed again; by an atomic too.
    map_slot S_DIRTY, F_DATA, (NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM)
    mov64 x9, SLOT_VA(S_DIRTY)
    lsr x12, x9, #12
    tlbi vae1, x12
    dsb ish
    isb
    ldadd xzr, x10, [x9]
    check x10, DATA_VALUE
    read_slot x12, S_DIRTY
    check_bits x12, DESC_READ_ONLY, 0

    // A store that faults for another reason dirties nothing: EL0 on an EL1 page.
    map_slot S_DIRTY, F_DATA, (NORMAL_PAGE | DESC_READ_ONLY | DESC_DBM)
    flush_tlb
    mov64 x6, SLOT_VA(S_DIRTY)
    mov64 x9, (SLOT_VA(S_USER_CODE) + USER_STORE)
    el0_takes (DATA_ABORT_EL0 | WNR | PERMISSION | 3)
    read_slot x12, S_DIRTY
    check_bits x12, DESC_READ_ONLY, DESC_READ_ONLY
    mov64 x12, TCR_VALUE
    msr tcr_el1, x12
    isb
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// Pages of EL0, of EL1, and PSTATE.PAN.
test_el0:
    stp x29, x30, [sp, #-16]!
    mov64 x9, SLOT_VA(S_USER_CODE)
    el0_takes 0x56000001
    mov64 x9, (SLOT_VA(S_USER_CODE) + USER_LOAD)
    mov64 x6, SLOT_VA(S_USER)
    el0_takes 0x56000002
    check x5, DATA_VALUE
    mov64 x6, SLOT_VA(S_READ_WRITE)
    el0_takes (DATA_ABORT_EL0 | PERMISSION | 3)
    sub x1, x22, x6
    check x1, 0
    mov64 x6, SLOT_VA(S_UNMAPPED)
    el0_takes (DATA_ABORT_EL0 | TRANSLATION | 3)
    mov64 x6, SLOT_VA(S_USER_CODE)
    mov64 x9, (SLOT_VA(S_USER_CODE) + USER_STORE)
    el0_takes (DATA_ABORT_EL0 | WNR | PERMISSION | 3)

    // EL1 and PAN. An exception here returns with PAN clear.
    mov64 x9, SLOT_VA(S_USER)
    reads DATA_VALUE
    msr pan, #1
    read_faults (DATA_ABORT | PERMISSION | 3)
    check_bits x24, (1 << 22), (1 << 22)
    reads DATA_VALUE
    msr pan, #1
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)
    msr pan, #1
    ldtr x10, [x9]              // as EL0: PAN does not matter
    check x10, DATA_VALUE
    mov64 x11, SLOT_VA(S_READ_WRITE)
    ldr x10, [x11]
    check x10, DATA_VALUE
    mrs x12, s3_0_c4_c2_3       // PAN
    check x12, (1 << 22)
    msr pan, #0
    ldr x10, [x9]
    expect_exception 1f
    ldtr x10, [x11]             // an EL1 page, as EL0
    unreachable
1:  check x20, (DATA_ABORT | PERMISSION | 3)
    // With UAO the unprivileged load is an ordinary one.
    msr uao, #1
    ldtr x10, [x11]
    check x10, DATA_VALUE
    msr uao, #0
    ldp x29, x30, [sp], #16
    ret

// Fetches that are refused.
test_fetch:
    stp x29, x30, [sp, #-16]!
    mov64 x9, (SLOT_VA(S_USER_CODE) + USER_RET)
    blr x9                      // read-only at EL0: EL1 may
    mov64 x9, (SLOT_VA(S_NEVER_EL0) + USER_RET)
    blr x9
    mov64 x9, (SLOT_VA(S_NEVER_EL1) + USER_RET)
    fetch_faults (FETCH_ABORT | PERMISSION | 3)
    mov64 x9, (SLOT_VA(S_USER_WRITABLE_CODE) + USER_RET)
    fetch_faults (FETCH_ABORT | PERMISSION | 3)
    mov64 x9, SLOT_VA(S_UNMAPPED)
    fetch_faults (FETCH_ABORT | TRANSLATION | 3)
    mov64 x9, (TEST_VA + (1 << BLOCK_SHIFT))
    fetch_faults (FETCH_ABORT | TRANSLATION | 2)
    mov64 x9, SLOT_VA(S_USER_WRITABLE_CODE)
    el0_takes 0x56000001
    mov64 x9, SLOT_VA(S_NEVER_EL0)
    el0_takes (FETCH_ABORT_EL0 | PERMISSION | 3)
    sub x1, x22, x9
    check x1, 0
    mov64 x9, SLOT_VA(S_UNMAPPED)
    el0_takes (FETCH_ABORT_EL0 | TRANSLATION | 3)
    ldp x29, x30, [sp], #16
    ret

// Accesses over the end of a page: the fault is the second page's, and its address is reported.
test_crossing:
    stp x29, x30, [sp, #-16]!
    mov64 x9, (SLOT_VA(S_LAST + 1) - 4)
    mov64 x11, SLOT_VA(S_LAST + 1)
    expect_exception 1f
    ldr x10, [x9]
    unreachable
1:  check x20, (DATA_ABORT | TRANSLATION | 3)
    sub x1, x22, x11
    check x1, 0
    expect_exception 2f
    str x10, [x9]
    unreachable
2:  check x20, (DATA_ABORT | WNR | TRANSLATION | 3)
    sub x1, x22, x11
    check x1, 0
    // Writing stops at a read-only second page, and the bytes before it stay as they are.
    mov64 x9, (SLOT_VA(S_READ_ONLY) - 4)
    str wzr, [x9]
    mov x10, #-1
    expect_exception 3f
    str x10, [x9]
    unreachable
3:  check x20, (DATA_ABORT | WNR | PERMISSION | 3)
    mov64 x11, SLOT_VA(S_READ_ONLY)
    sub x1, x22, x11
    check x1, 0
    ldr w10, [x9]
    check x10, 0
    // Across two mapped pages: the end of one and the start of the other, which are one frame.
    mov64 x11, 0x0102030405060708
    mov64 x9, (SLOT_VA(S_READ_WRITE) + GRANULE - 8)
    str x11, [x9]
    mov64 x9, (SLOT_VA(S_READ_ONLY) - 3)
    ldr x10, [x9]
    check x10, ((DATA_VALUE << 24) | 0x010203)
    mov64 x9, SLOT_VA(S_READ_WRITE)
    mov64 x11, DATA_VALUE
    str x11, [x9]

    // Alignment: Normal memory does not care, unless SCTLR_EL1.A says so; ordered accesses always do.
    add x9, x9, #1
    ldr x10, [x9]
    check x10, (DATA_VALUE >> 8)
    expect_exception 4f
    ldar x10, [x9]
    unreachable
4:  check x20, (DATA_ABORT | 0x21)
    sub x1, x22, x9
    check x1, 0
    expect_exception 5f
    ldxr x10, [x9]
    unreachable
5:  check x20, (DATA_ABORT | 0x21)
    mrs x11, sctlr_el1
    orr x12, x11, #SCTLR_A
    msr sctlr_el1, x12
    isb
    read_faults (DATA_ABORT | 0x21)
    ldrb w10, [x9]
    check x10, ((DATA_VALUE >> 8) & 0xFF)
    msr sctlr_el1, x11
    isb
    ldr x10, [x9]
#ifndef REFERENCE_QEMU
    mov64 x9, (SLOT_VA(S_DEVICE) + 1)
    read_faults (DATA_ABORT | 0x21)
    write_faults (DATA_ABORT | WNR | 0x21)
    ldrb w10, [x9]
    check x10, ((DATA_VALUE >> 8) & 0xFF)
    // An unmapped page beats alignment of memory types, a cache clean reports itself as a write.
    mov64 x9, (SLOT_VA(S_UNMAPPED) + 1)
    read_faults (DATA_ABORT | TRANSLATION | 3)
    expect_exception 6f
    dc cvac, x9
    unreachable
6:  check x20, (DATA_ABORT | 0x100 | WNR | TRANSLATION | 3)
#endif
    mov64 x9, SLOT_VA(S_READ_ONLY)
    expect_exception 7f
    dc zva, x9
    unreachable
7:  check x20, (DATA_ABORT | WNR | PERMISSION | 3)
    ldp x29, x30, [sp], #16
    ret

// The contiguous hint changes nothing that can be seen.
test_contiguous:
    stp x29, x30, [sp, #-16]!
    mov64 x10, (RAM + (1 << 25) + NORMAL_PAGE)
    mov64 x11, DESC_CONTIGUOUS
    orr x10, x10, x11
    frame x12, LEVEL3_TEST
    add x12, x12, #(S_CONTIGUOUS * 8)
    mov x13, #CONTIGUOUS_PAGES
    mov64 x14, GRANULE
    mov64 x15, (RAM + (1 << 25))
1:  str x10, [x12], #8
    str x15, [x15]              // each page holds its physical address
    add x10, x10, x14
    add x15, x15, x14
    subs x13, x13, #1
    b.ne 1b
    dsb ish
    isb
    mov x13, #CONTIGUOUS_PAGES
    mov64 x15, (RAM + (1 << 25))
    mov64 x9, SLOT_VA(S_CONTIGUOUS)
2:  ldr x10, [x9]
    sub x10, x10, x15
    check x10, 0
    add x9, x9, x14
    add x15, x15, x14
    subs x13, x13, #1
    b.ne 2b
    read_faults (DATA_ABORT | TRANSLATION | 3)
    ldp x29, x30, [sp], #16
    ret

// Break, invalidate, look; make, look. X9 = address, X12 = value for the TLBI. Clobbers X10..X15.
#define remapped_by remapped_by_at __LINE__,
.macro remapped_by_at line, operation:vararg
    map_slot S_CHANGING, F_DATA, (NORMAL_PAGE | DESC_NOT_GLOBAL)
    reads_at \line, DATA_VALUE
    unmap_slot S_CHANGING
    tlbi \operation
    dsb ish
    isb
    read_faults_at \line, (DATA_ABORT | TRANSLATION | 3)
    map_slot S_CHANGING, F_OTHER, (NORMAL_PAGE | DESC_NOT_GLOBAL | DESC_READ_ONLY)
    reads_at \line, OTHER_VALUE
    write_faults_at \line, (DATA_ABORT | WNR | PERMISSION | 3)
    unmap_slot S_CHANGING
    tlbi \operation
    dsb ish
    isb
    read_faults_at \line, (DATA_ABORT | TRANSLATION | 3)
.endm

test_maintenance:
    stp x29, x30, [sp, #-16]!
    mov64 x9, SLOT_VA(S_CHANGING)
    lsr x12, x9, #12            // ASID 0 in the upper bits
    mov x15, #0                 // ASID 0 for ASIDE1
    mov x16, #3                 // and again, by then with addresses cached
1:  remapped_by vae1, x12
    remapped_by vale1, x12
    remapped_by vaae1, x12
    remapped_by vaale1, x12
    remapped_by aside1, x15
    remapped_by vmalle1
    remapped_by vae1is, x12
    remapped_by vale1is, x12
    remapped_by vaae1is, x12
    remapped_by vaale1is, x12
    remapped_by aside1is, x15
    remapped_by vmalle1is
    subs x16, x16, #1
    b.ne 1b

    // An invalid entry is never cached: making it valid needs no maintenance.
    mov x16, #3
2:  read_faults (DATA_ABORT | TRANSLATION | 3)
    map_slot S_CHANGING, F_DATA, NORMAL_PAGE
    reads DATA_VALUE
    unmap_slot S_CHANGING
    flush_tlb
    subs x16, x16, #1
    b.ne 2b
    ldp x29, x30, [sp], #16
    ret

// A page of code that is mapped elsewhere: the same call runs the other code, without maintenance of caches.
test_changing_code:
    stp x29, x30, [sp, #-16]!
    mov64 x9, SLOT_VA(S_CODE)
    lsr x12, x9, #12
    mov x16, #200
1:  map_slot S_CODE, F_CODE1, (NORMAL_PAGE | DESC_READ_ONLY)
    mov x17, #1
    bl call_changing
    map_slot S_CODE, F_CODE2, (NORMAL_PAGE | DESC_READ_ONLY)
    mov x17, #2
    bl call_changing
    subs x16, x16, #1
    b.ne 1b
    ldp x29, x30, [sp], #16
    ret

// Calls X9 three times, which must return X17, and unmaps it.
call_changing:
    mov x19, x30
    mov x13, #3
1:  blr x9
    sub x1, x0, x17
    check x1, 0
    subs x13, x13, #1
    b.ne 1b
    unmap_slot S_CODE
    tlbi vae1, x12
    dsb ish
    isb
    fetch_faults (FETCH_ABORT | TRANSLATION | 3)
    ret x19

// A block is one entry: maintenance at any address in it removes all of it, as Linux relies on for huge pages.
test_block:
    stp x29, x30, [sp, #-16]!
    mov64 x10, (RAM | DESC_BLOCK | DESC_AF | DESC_SHARED | DESC_NOT_GLOBAL)
    frame x12, LEVEL2_OF_TEST
    add x12, x12, #((TEST_LEVEL2_INDEX + 2) * 8)
    str x10, [x12]
    dsb ishst
    isb
    // __free's frame, seen through the block, from four pages.
    frame x11, F_DATA
    mov64 x10, ((1 << BLOCK_SHIFT) - 1)
    and x11, x11, x10
    mov64 x9, (TEST_VA + (2 << BLOCK_SHIFT))
    mov x13, x9
    add x9, x9, x11
#if GRANULE_SHIFT == 12
    // F_DATA lies in the first block of RAM, or this would look elsewhere.
    frame x11, F_DATA
    mov64 x10, (RAM + (1 << BLOCK_SHIFT))
    cmp x11, x10
    b.hs .
#endif
    reads DATA_VALUE
    ldr x10, [x13, #0x10]
    ldr x10, [x13, #0x2000]
    mov64 x11, 0x140000
    ldr x10, [x13, x11]
    str xzr, [x12]
    dsb ishst
    add x10, x13, #0x9000
    lsr x10, x10, #12
    tlbi vae1, x10
    dsb ish
    isb
    read_faults (DATA_ABORT | TRANSLATION | 2)
    add x9, x13, #0x10
    read_faults (DATA_ABORT | TRANSLATION | 2)
    add x9, x13, #0x2000
    read_faults (DATA_ABORT | TRANSLATION | 2)
    mov64 x11, 0x140000
    add x9, x13, x11
    read_faults (DATA_ABORT | TRANSLATION | 2)
    // Now a table where the block was.
    frame x10, LEVEL3_TEST
    orr x10, x10, #DESC_TABLE
    str x10, [x12]
    dsb ishst
    isb
    mov x9, x13
    reads DATA_VALUE
    str xzr, [x12]
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// Address translation instructions.
#define PAR_FAULT(code) (((code) << 1) | 1)
#define translates translates_at __LINE__,
.macro translates_at line, operation, slot, index, attribute
    mov64 x9, (SLOT_VA(\slot) + 0x120)
    at \operation, x9
    isb
    mrs x10, par_el1
    check_bits_at \line, x10, 1, 0
    lsr x11, x10, #56
    check_at \line, x11, (\attribute)
    ubfx x10, x10, #12, #36
    frame x11, \index
    sub x10, x10, x11, lsr #12
    check_at \line, x10, 0
.endm
#define refuses refuses_at __LINE__,
.macro refuses_at line, operation, slot, code
    mov64 x9, SLOT_VA(\slot)
    at \operation, x9
    isb
    mrs x10, par_el1
    check_bits_at \line, x10, 0x7F, PAR_FAULT(\code)
.endm

test_at:
    stp x29, x30, [sp, #-16]!
    translates s1e1r, S_READ_WRITE, F_DATA, 0xFF
    translates s1e1w, S_READ_WRITE, F_DATA, 0xFF
    translates s1e1r, S_DEVICE, F_DATA, 0x04
    translates s1e1r, S_READ_ONLY, F_DATA, 0xFF
    translates s1e0r, S_USER, F_DATA, 0xFF
    translates s1e1r, S_USER, F_DATA, 0xFF
    refuses s1e1w, S_READ_ONLY, (PERMISSION | 3)
    refuses s1e1r, S_UNMAPPED, (TRANSLATION | 3)
    refuses s1e0r, S_READ_WRITE, (PERMISSION | 3)
    refuses s1e0w, S_USER_CODE, (PERMISSION | 3)
    refuses s1e1r, S_TOO_HIGH, (ADDRESS_SIZE | 3)
    msr pan, #1
    translates s1e1r, S_USER, F_DATA, 0xFF
    mov64 x9, SLOT_VA(S_USER)
    sys #0, c7, c9, #0, x9      // AT S1E1RP
    isb
    mrs x10, par_el1
    check_bits x10, 0x7F, PAR_FAULT(PERMISSION | 3)
    sys #0, c7, c9, #1, x9      // AT S1E1WP
    isb
    mrs x10, par_el1
    check_bits x10, 0x7F, PAR_FAULT(PERMISSION | 3)
    msr pan, #0
    sys #0, c7, c9, #0, x9
    isb
    mrs x10, par_el1
    check_bits x10, 1, 0
    ldp x29, x30, [sp], #16
    ret

// Restrictions in table descriptors, and TCR_EL1.HPD0 that lifts them.
test_hierarchy:
    stp x29, x30, [sp, #-16]!
    frame x10, LEVEL3_TEST
    mov64 x11, (DESC_TABLE | DESC_TABLE_READ_ONLY | DESC_TABLE_NO_USER | DESC_TABLE_PXN)
    orr x10, x10, x11
    frame x12, LEVEL2_OF_TEST
    str x10, [x12, #((TEST_LEVEL2_INDEX + 2) * 8)]
    dsb ishst
    isb
    mov64 x9, (SLOT_VA(S_READ_WRITE) + (2 << BLOCK_SHIFT))
    reads DATA_VALUE
    write_faults (DATA_ABORT | WNR | PERMISSION | 3)
    mov64 x9, (SLOT_VA(S_USER_CODE) + (2 << BLOCK_SHIFT) + USER_RET)
    fetch_faults (FETCH_ABORT | PERMISSION | 3)
    mov64 x9, (SLOT_VA(S_USER_CODE) + USER_LOAD)
    mov64 x6, (SLOT_VA(S_USER) + (2 << BLOCK_SHIFT))
    el0_takes (DATA_ABORT_EL0 | PERMISSION | 3)
    mrs x13, tcr_el1
    mov64 x11, TCR_HPD0
    orr x11, x11, x13
    msr tcr_el1, x11
    isb
    flush_tlb
    el0_takes 0x56000002
    mov64 x9, (SLOT_VA(S_READ_WRITE) + (2 << BLOCK_SHIFT))
    mov64 x10, DATA_VALUE
    str x10, [x9]
    mov64 x9, (SLOT_VA(S_USER_CODE) + (2 << BLOCK_SHIFT) + USER_RET)
    blr x9
    msr tcr_el1, x13
    isb
    frame x12, LEVEL2_OF_TEST
    str xzr, [x12, #((TEST_LEVEL2_INDEX + 2) * 8)]
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// Copies granule \from to granule \to.
.macro copy_granule from, to
    frame x10, \from
    frame x11, \to
    mov64 x12, GRANULE
1:  ldp x13, x14, [x10], #16
    stp x13, x14, [x11], #16
    subs x12, x12, #16
    b.ne 1b
.endm

// Two address spaces with their own idea of one page, switched by TTBR0_EL1 alone.
test_asids:
    stp x29, x30, [sp, #-16]!
    map_slot S_ASID, F_DATA, (NORMAL_PAGE | DESC_NOT_GLOBAL)
    map_slot S_CODE, F_CODE1, (NORMAL_PAGE | DESC_READ_ONLY | DESC_NOT_GLOBAL)
    copy_granule LEVEL1, SPARE_TABLE
    copy_granule LEVEL2_OF_TEST, (SPARE_TABLE + 1)
    copy_granule LEVEL3_TEST, (SPARE_TABLE + 2)
    frame x10, SPARE_TABLE
    frame x11, (SPARE_TABLE + 1)
    orr x12, x11, #DESC_TABLE
    str x12, [x10, #(TEST_LEVEL1_INDEX * 8)]
    frame x12, (SPARE_TABLE + 2)
    orr x13, x12, #DESC_TABLE
    str x13, [x11, #(TEST_LEVEL2_INDEX * 8)]
    frame x13, F_OTHER
    mov64 x14, (NORMAL_PAGE | DESC_NOT_GLOBAL)
    orr x13, x13, x14
    str x13, [x12, #(S_ASID * 8)]
    frame x13, F_CODE2
    mov64 x14, (NORMAL_PAGE | DESC_READ_ONLY | DESC_NOT_GLOBAL)
    orr x13, x13, x14
    str x13, [x12, #(S_CODE * 8)]
    dsb ish
    isb

    mov64 x17, (1 << 48)                // ASID 1
    mov64 x18, (2 << 48)                // ASID 2
    bl alternate
    // With 16-bit ASIDs the upper byte counts.
    mov64 x11, (TCR_VALUE | TCR_AS)
    msr tcr_el1, x11
    isb
    flush_tlb
    mov64 x17, (0x0105 << 48)
    mov64 x18, (0x0205 << 48)
    bl alternate

    // Maintenance by ASID and by address takes what it names and nothing else, as far as can be seen: both still answer.
    tlbi aside1, x17
    dsb ish
    isb
    bl alternate
    mov64 x9, SLOT_VA(S_ASID)
    lsr x9, x9, #12
    orr x9, x9, x18
    tlbi vae1, x9
    dsb ish
    isb
    bl alternate

    // After unmapping the page in one space and telling the TLB of that space only, the other still has it.
    frame x12, (SPARE_TABLE + 2)
    str xzr, [x12, #(S_ASID * 8)]
    dsb ishst
    mov64 x9, SLOT_VA(S_ASID)
    lsr x9, x9, #12
    orr x9, x9, x18
    tlbi vae1, x9
    dsb ish
    isb
    mov64 x9, SLOT_VA(S_ASID)
    orr x10, x26, x17
    msr ttbr0_el1, x10
    isb
    reads DATA_VALUE
    orr x10, x27, x18
    msr ttbr0_el1, x10
    isb
    read_faults (DATA_ABORT | TRANSLATION | 3)
    msr ttbr0_el1, x26
    isb
    mov64 x11, TCR_VALUE
    msr tcr_el1, x11
    isb
    flush_tlb
    ldp x29, x30, [sp], #16
    ret

// Goes from one to the other and back, looking each time. X17, X18: ASIDs. Leaves the tables in X26, X27.
alternate:
    stp x29, x30, [sp, #-16]!
    frame x26, LEVEL1
    frame x27, SPARE_TABLE
    mov x16, #50
1:  orr x10, x26, x17
    msr ttbr0_el1, x10
    isb
    mov64 x9, SLOT_VA(S_ASID)
    reads DATA_VALUE
    mov64 x9, SLOT_VA(S_CODE)
    blr x9
    check x0, 1
    orr x10, x27, x18
    msr ttbr0_el1, x10
    isb
    mov64 x9, SLOT_VA(S_ASID)
    reads OTHER_VALUE
    mov64 x9, SLOT_VA(S_READ_ONLY)      // global
    reads DATA_VALUE
    mov64 x9, SLOT_VA(S_CODE)
    blr x9
    check x0, 2
    subs x16, x16, #1
    b.ne 1b
    ldp x29, x30, [sp], #16
    ret
