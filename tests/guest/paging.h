// Translation tables for the guests that turn the MMU on: the machine at its own addresses in blocks, and one table of
// pages of the guest's own at TEST_VA. GRANULE_SHIFT is 12 (default), 14 or 16; all three have a table of level 1 first.

#ifndef GRANULE_SHIFT
#define GRANULE_SHIFT 12
#endif
#define GRANULE (1 << GRANULE_SHIFT)
#define BLOCK_SHIFT (GRANULE_SHIFT + GRANULE_SHIFT - 3)
#define LEVEL1_SHIFT (BLOCK_SHIFT + GRANULE_SHIFT - 3)

#if GRANULE_SHIFT == 12
#define INPUT_BITS 39
#define TCR_TG0 (0 << 14)
#define TCR_TG1 (2 << 30)
#define CONTIGUOUS_PAGES 16
#elif GRANULE_SHIFT == 14
#define INPUT_BITS 47
#define TCR_TG0 (2 << 14)
#define TCR_TG1 (1 << 30)
#define CONTIGUOUS_PAGES 128
#else
#define INPUT_BITS 48
#define TCR_TG0 (1 << 14)
#define TCR_TG1 (3 << 30)
#define CONTIGUOUS_PAGES 32
#endif

#define TCR_HA (1 << 39)
#define TCR_HD (1 << 40)
#define TCR_HPD0 (1 << 41)
#define TCR_AS (1 << 36)
#define TCR_TBI0 (1 << 37)
#define TCR_EPD1 (1 << 23)
#define TCR_WALKS_CACHED ((1 << 8) | (1 << 10) | (3 << 12) | (1 << 24) | (1 << 26) | (3 << 28))
// 32-bit output addresses.
#define TCR_VALUE \
    ((64 - INPUT_BITS) | ((64 - INPUT_BITS) << 16) | TCR_WALKS_CACHED | TCR_TG0 | TCR_TG1 | TCR_EPD1)

#define SCTLR_M (1 << 0)
#define SCTLR_A (1 << 1)
#define SCTLR_C (1 << 2)
#define SCTLR_I (1 << 12)
#define SCTLR_SPAN (1 << 23)
#define SCTLR_RES1 ((1 << 29) | (1 << 28) | (1 << 22) | (1 << 20) | (1 << 11))

#define MAIR_VALUE 0x4404FF     // 0: Normal write-back, 1: Device-nGnRE, 2: Normal non-cacheable

#define DESC_BLOCK 1
#define DESC_TABLE 3
#define DESC_PAGE 3
#define DESC_DEVICE (1 << 2)
#define DESC_USER (1 << 6)
#define DESC_READ_ONLY (1 << 7)
#define DESC_SHARED (3 << 8)
#define DESC_AF (1 << 10)
#define DESC_NOT_GLOBAL (1 << 11)
#define DESC_DBM (1 << 51)
#define DESC_CONTIGUOUS (1 << 52)
#define DESC_PXN (1 << 53)
#define DESC_UXN (1 << 54)
#define DESC_TABLE_PXN (1 << 59)
#define DESC_TABLE_NO_USER (1 << 61)
#define DESC_TABLE_READ_ONLY (1 << 62)

#define NORMAL_PAGE (DESC_PAGE | DESC_AF | DESC_SHARED)

// Where the guest's own pages are, and the index of its entry at each level.
#define TEST_VA 0x100000000
#define TEST_LEVEL1_INDEX (TEST_VA >> LEVEL1_SHIFT)
#define TEST_LEVEL2_INDEX ((TEST_VA >> BLOCK_SHIFT) & ((1 << (GRANULE_SHIFT - 3)) - 1))
#define SLOT_VA(slot) (TEST_VA + (slot) * GRANULE)

// Tables from __free on, one granule each, and behind them what the guests use as page frames.
#define LEVEL1 0
#define LEVEL2_DEVICES 1
#define LEVEL2_RAM 2
#define LEVEL2_TEST 3
#define LEVEL3_TEST 4
#if GRANULE_SHIFT == 12
#define LEVEL2_OF_TEST LEVEL2_TEST
#else
#define LEVEL2_OF_TEST LEVEL2_DEVICES   // one table covers all
#endif
#define SPARE_TABLE 5           // four for the guest
#define TABLES 9
#define FRAMES 16

// \reg = address of granule \index from __free on.
.macro frame reg, index
    adrp \reg, __free
    mov64 x0, ((\index) << GRANULE_SHIFT)
    add \reg, \reg, x0
.endm

// Makes entry \slot of the test's pages map granule \index with \attributes (0: invalid). Clobbers X0, X1, X2.
.macro map_slot slot, index, attributes
    frame x2, \index
    mov64 x1, (\attributes)
    orr x2, x2, x1
    frame x1, LEVEL3_TEST
    str x2, [x1, #((\slot) * 8)]
    dsb ishst
    isb
.endm

.macro unmap_slot slot
    frame x1, LEVEL3_TEST
    str xzr, [x1, #((\slot) * 8)]
    dsb ishst
    isb
.endm

// \reg = the descriptor of \slot. Clobbers X0.
.macro read_slot reg, slot
    frame \reg, LEVEL3_TEST
    ldr \reg, [\reg, #((\slot) * 8)]
.endm

// Invalidates all of the TLB. Clobbers nothing.
.macro flush_tlb
    dsb ishst
    tlbi vmalle1
    dsb ish
    isb
.endm

.text
// Builds the tables. Clobbers X0..X6.
paging_build:
    frame x3, LEVEL1
    mov64 x1, (TABLES << (GRANULE_SHIFT - 4))
    mov x2, x3
1:  stp xzr, xzr, [x2], #16
    subs x1, x1, #1
    b.ne 1b

    // With 4 KiB granules a table of level 2 covers 1 GiB, with larger ones all that is used here.
    frame x4, LEVEL2_DEVICES
    orr x1, x4, #DESC_TABLE
    str x1, [x3]
#if GRANULE_SHIFT == 12
    frame x5, LEVEL2_RAM
    orr x1, x5, #DESC_TABLE
    str x1, [x3, #((RAM >> LEVEL1_SHIFT) * 8)]
    frame x6, LEVEL2_TEST
    orr x1, x6, #DESC_TABLE
    str x1, [x3, #(TEST_LEVEL1_INDEX * 8)]
#else
    mov x5, x4
    mov x6, x4
#endif
    // Devices below 1 GiB.
    mov64 x1, (DESC_BLOCK | DESC_AF | DESC_DEVICE | DESC_PXN | DESC_UXN)
    mov64 x0, (1 << BLOCK_SHIFT)
    mov x2, #((1 << 30) >> BLOCK_SHIFT)
2:  str x1, [x4], #8
    add x1, x1, x0
    subs x2, x2, #1
    b.ne 2b
    // RAM: 64 MiB, or one block if that is more.
    mov64 x1, (RAM | DESC_BLOCK | DESC_AF | DESC_SHARED | DESC_UXN)
    add x5, x5, #(((RAM >> BLOCK_SHIFT) & ((1 << (GRANULE_SHIFT - 3)) - 1)) * 8)
    mov x2, #((((1 << 26) - 1) >> BLOCK_SHIFT) + 1)
3:  str x1, [x5], #8
    add x1, x1, x0
    subs x2, x2, #1
    b.ne 3b
    frame x1, LEVEL3_TEST
    orr x1, x1, #DESC_TABLE
    str x1, [x6, #(TEST_LEVEL2_INDEX * 8)]
    dsb ish
    ret

// Turns the MMU on. Clobbers X0, X1.
paging_on:
    mov64 x1, MAIR_VALUE
    msr mair_el1, x1
    mov64 x1, TCR_VALUE
    msr tcr_el1, x1
    frame x1, LEVEL1
    msr ttbr0_el1, x1
    msr ttbr1_el1, x1
    isb
    tlbi vmalle1
    dsb ish
    isb
    mov64 x1, (SCTLR_RES1 | SCTLR_SPAN | SCTLR_M | SCTLR_C | SCTLR_I)
    msr sctlr_el1, x1
    isb
    ret
