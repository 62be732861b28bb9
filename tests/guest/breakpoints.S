// Breakpoints and watchpoints in the guest's own debug registers: what they match, when, and what the exception says.
// vmm:
// vmm: --engine interpreter
// expect: PASS
#include "guest.h"
#include "paging.h"

#define ROUNDS 1000             // enough that code runs as host code
#define SLOT_DATA 2             // and its neighbours
#define SLOT_CODE 4
#define SLOT_READ_ONLY 5
#define DATA SLOT_VA(SLOT_DATA)
#define USER_CODE SLOT_VA(SLOT_CODE)

// MDSCR_EL1
#define KDE (1 << 13)
#define MDE (1 << 15)
// DBGBCR<n>_EL1, DBGWCR<n>_EL1
#define ENABLE 1
#define EL1_ONLY (1 << 1)
#define EL0_ONLY (2 << 1)
#define EL1_AND_EL0 (3 << 1)
#define LINKED_TO(n) ((n) << 16)
#define BT_LINKED (1 << 20)
#define BT_CONTEXT (2 << 20)
#define BT_CONTEXT_LINKED (3 << 20)
#define LOADS (1 << 3)
#define STORES (2 << 3)
#define LOADS_AND_STORES (3 << 3)
#define BYTES(mask) ((mask) << 5)
#define WT_LINKED (1 << 20)
#define RANGE(shift) (((shift) << 24) | BYTES(0xFF))
#define AT_EL1 (ENABLE | EL1_ONLY | BYTES(0xF))
#define AT_EL0 (ENABLE | EL0_ONLY | BYTES(0xF))

#define BREAKPOINT_SAME 0xC6000022
#define BREAKPOINT_LOWER 0xC2000022
#define WATCH_LOAD_SAME 0xD6000022
#define WATCH_STORE_SAME 0xD6000062
#define WATCH_STORE_LOWER 0xD2000062
#define CACHE_MAINTENANCE 0x100

.macro debug_control bits
    mov64 x0, (\bits)
    msr mdscr_el1, x0
    isb
.endm

// Breakpoint \n at the address in \where. Clobbers X0.
.macro set_breakpoint n, where, control
    msr dbgbvr\n\()_el1, \where
    mov64 x0, (\control)
    msr dbgbcr\n\()_el1, x0
    isb
.endm

.macro clear_breakpoint n
    msr dbgbcr\n\()_el1, xzr
    isb
.endm

// Watchpoint 1 at DATA + \offset. Clobbers X0.
.macro set_watchpoint offset, control
    mov64 x0, (DATA + \offset)
    msr dbgwvr1_el1, x0
    mov64 x0, (\control)
    msr dbgwcr1_el1, x0
    isb
.endm

// The instruction takes an exception with syndrome \esr and does nothing; X10 is where the watched data is.
#define hits hits_at __LINE__,
.macro hits_at line, esr, insn:vararg
    mov64 x10, DATA
    expect_exception after\@
    msr daifclr, #8
at\@:
    \insn
    unreachable_at \line
after\@:
    check_at \line, x20, \esr
    adr x9, at\@
    sub x9, x21, x9
    check_at \line, x9, 0
.endm

// FAR_EL1 of the last exception is between DATA + \first and DATA + \last.
#define check_far check_far_at __LINE__,
.macro check_far_at line, first, last
    mov64 x9, (DATA + \first)
    sub x9, x22, x9
    cmp x9, #(\last - \first)
    cset x9, hi
    check_at \line, x9, 0
.endm

// The instruction takes none.
.macro passes insn:vararg
    mov64 x10, DATA
    msr daifclr, #8
    \insn
    msr daifset, #8
.endm

// X19 calls of `target` since the last time.
#define check_calls check_calls_at __LINE__,
.macro check_calls_at line, count
    check_at \line, x19, \count
    mov x19, #0
.endm

.text
.global guest_main
guest_main:
    stp x29, x30, [sp, #-16]!
    bl paging_build
    map_slot (SLOT_DATA - 1), (FRAMES + 3), (NORMAL_PAGE | DESC_PXN | DESC_UXN)
    map_slot SLOT_DATA, FRAMES, (NORMAL_PAGE | DESC_USER | DESC_PXN | DESC_UXN)
    map_slot (SLOT_DATA + 1), (FRAMES + 1), (NORMAL_PAGE | DESC_USER | DESC_PXN | DESC_UXN)
    map_slot SLOT_CODE, (FRAMES + 2), (NORMAL_PAGE | DESC_USER | DESC_PXN)
    map_slot SLOT_READ_ONLY, FRAMES, (NORMAL_PAGE | DESC_READ_ONLY | DESC_PXN | DESC_UXN)
    bl paging_on
    msr oslar_el1, xzr
    mov x19, #0
    bl breakpoints
    bl breakpoints_at_el0
    bl contexts
    bl watched_bytes
    bl watched_ranges
    bl watched_kinds
    bl watched_privileges
    bl priorities
    bl hot_watch
    ldp x29, x30, [sp], #16
    ret

.balign 64
target:
    add x19, x19, #1
    ret

breakpoints:
    stp x29, x30, [sp, #-16]!
    mov x11, #ROUNDS
1:  bl target
    subs x11, x11, #1
    b.ne 1b
    check_calls ROUNDS

    debug_control (MDE | KDE)
    adr x11, target
    set_breakpoint 0, x11, AT_EL1
    expect_exception 2f
    msr daifclr, #8
    bl target
    unreachable
2:  check x20, BREAKPOINT_SAME
    check x23, 0x10
    adr x9, target
    sub x9, x21, x9
    check x9, 0
    check_calls 0

    // PSTATE.D, MDE, KDE, the OS lock, the OS Double Lock and E each keep it from that.
    bl target
    debug_control KDE
    passes bl target
    debug_control MDE
    passes bl target
    debug_control (MDE | KDE)
    mov x0, #1
    msr oslar_el1, x0
    isb
    passes bl target
    msr oslar_el1, xzr
    msr osdlr_el1, x0
    isb
    passes bl target
    msr osdlr_el1, xzr
    isb
    adr x11, target
    set_breakpoint 0, x11, (AT_EL1 & ~ENABLE)
    passes bl target
    set_breakpoint 0, x11, AT_EL0
    passes bl target
    check_calls 7

    // Each of the others, on the next instruction.
.irp n, 1, 2, 3, 4, 5
    adr x11, next\n
    expect_exception after\n
    msr daifclr, #8
    set_breakpoint \n, x11, AT_EL1
next\n:
    nop
    unreachable
after\n:
    check x20, BREAKPOINT_SAME
    clear_breakpoint \n
.endr
    clear_breakpoint 0
    ldp x29, x30, [sp], #16
    ret

// Two instructions and a call of EL1, in the page that EL0 may execute.
user_code:
    add x19, x19, #1
    add x19, x19, #1
    svc #0
user_code_end:

breakpoints_at_el0:
    stp x29, x30, [sp, #-16]!
    frame x9, (FRAMES + 2)
    adr x10, user_code
    adr x11, user_code_end
1:  ldr w12, [x10], #4
    str w12, [x9]
    dc cvau, x9
    dsb ish
    ic ivau, x9
    add x9, x9, #4
    cmp x10, x11
    b.lo 1b
    dsb ish
    isb

    debug_control MDE
    mov64 x11, (USER_CODE + 4)
    set_breakpoint 2, x11, AT_EL0
    expect_exception 2f
    mov64 x12, USER_CODE
    enter_el0 x12               // PSTATE.D masks nothing there
2:  check x20, BREAKPOINT_LOWER
    check x23, 0x20
    mov64 x9, (USER_CODE + 4)
    sub x9, x21, x9
    check x9, 0
    check_calls 1

    set_breakpoint 2, x11, AT_EL1
    expect_exception 3f
    mov64 x12, USER_CODE
    enter_el0 x12
3:  check x20, 0x56000000
    check_calls 2
    clear_breakpoint 2
    ldp x29, x30, [sp], #16
    ret

// CONTEXTIDR_EL1 decides: as what an address breakpoint and a watchpoint are linked to, and by itself.
contexts:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    mov x11, #0x1235
    set_breakpoint 4, x11, (ENABLE | BT_CONTEXT_LINKED | BYTES(0xF))
    adr x11, target
    set_breakpoint 0, x11, (AT_EL1 | BT_LINKED | LINKED_TO(4))
    mov x11, #0x1234
    msr contextidr_el1, x11
    isb
    passes bl target
    check_calls 1
    mov x11, #0x1235
    msr contextidr_el1, x11
    isb
    expect_exception 1f
    msr daifclr, #8
    bl target
    unreachable
1:  check x20, BREAKPOINT_SAME
    check_calls 0
    clear_breakpoint 0

    set_watchpoint 0, (ENABLE | EL1_ONLY | LOADS | BYTES(0xFF) | WT_LINKED | LINKED_TO(4))
    hits WATCH_LOAD_SAME, ldr x9, [x10]
    msr contextidr_el1, xzr
    isb
    passes ldr x9, [x10]
    msr dbgwcr1_el1, xzr
    clear_breakpoint 4

    mov x11, #0x77
    set_breakpoint 5, x11, (AT_EL0 | BT_CONTEXT)
    expect_exception 2f
    mov64 x12, USER_CODE
    enter_el0 x12
2:  check x20, 0x56000000
    check_calls 2
    mov x11, #0x77
    msr contextidr_el1, x11
    isb
    expect_exception 3f
    mov64 x12, USER_CODE
    enter_el0 x12
3:  check x20, BREAKPOINT_LOWER
    mov64 x9, USER_CODE
    sub x9, x21, x9
    check x9, 0
    check_calls 0
    clear_breakpoint 5
    msr contextidr_el1, xzr
    ldp x29, x30, [sp], #16
    ret

#define BYTE_3 (ENABLE | EL1_ONLY | LOADS_AND_STORES | BYTES(1 << 3))

watched_bytes:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    mov64 x10, DATA
    str xzr, [x10]
    str xzr, [x10, #8]
    mov x11, #-1
    set_watchpoint 0, BYTE_3
    hits WATCH_STORE_SAME, strb w11, [x10, #3]
    check_far 3, 3
    hits WATCH_LOAD_SAME, ldrb w9, [x10, #3]
    hits WATCH_LOAD_SAME, ldr x9, [x10]
    check_far 0, 3
    hits WATCH_STORE_SAME, stur w11, [x10, #1]
    check_far 1, 3
    hits WATCH_STORE_SAME, stp x11, x11, [x10]
    hits WATCH_LOAD_SAME, ldp x9, x13, [x10, #-8]
    hits WATCH_LOAD_SAME, ldr q0, [x10]
    hits WATCH_LOAD_SAME, ldxr x9, [x10]
    hits WATCH_LOAD_SAME, ldar w9, [x10]
    hits WATCH_STORE_SAME, stlr w11, [x10]
    hits WATCH_STORE_SAME, st1 {v0.16b, v1.16b}, [x10]
    hits WATCH_STORE_SAME, dc zva, x10
    hits (WATCH_STORE_SAME | CACHE_MAINTENANCE), dc ivac, x10
    check_far 0, 63
    passes strb wzr, [x10, #2]
    passes strb wzr, [x10, #4]
    passes ldrh w9, [x10, #4]
    passes ldr x9, [x10, #8]
    passes ldur x9, [x10, #-8]
    passes prfm pldl1keep, [x10]
    passes dc cvau, x10
    passes dc civac, x10
    msr daifset, #8
    ldr x9, [x10]
    check x9, 0

    // The upper word, by an address of which bit 2 is set: four bytes of the mask count.
    set_watchpoint 4, (ENABLE | EL1_ONLY | LOADS_AND_STORES | BYTES(0x2))
    hits WATCH_LOAD_SAME, ldrb w9, [x10, #5]
    passes ldrb w9, [x10, #4]
    passes ldrb w9, [x10, #1]

    // The first byte of the next page, by accesses that begin in this one.
    set_watchpoint GRANULE, (ENABLE | EL1_ONLY | LOADS_AND_STORES | BYTES(0x1))
    mov64 x12, (DATA + GRANULE)
    stur xzr, [x12, #-8]
    hits WATCH_STORE_SAME, stur x11, [x12, #-7]
    check_far GRANULE, GRANULE
    hits WATCH_LOAD_SAME, ldur w9, [x12, #-3]
    hits WATCH_STORE_SAME, stp x11, x11, [x12, #-8]
    passes stur x11, [x12, #-8]
    passes ldur x9, [x12, #1]
    msr dbgwcr1_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

watched_ranges:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    set_watchpoint 128, (ENABLE | EL1_ONLY | LOADS_AND_STORES | RANGE(7))
    hits WATCH_LOAD_SAME, ldrb w9, [x10, #128]
    hits WATCH_STORE_SAME, strb w9, [x10, #255]
    hits WATCH_STORE_SAME, stur x9, [x10, #121]
    check_far 128, 128
    passes ldrb w9, [x10, #127]
    passes ldrb w9, [x10, #256]
    passes str x9, [x10, #120]
    // More than a page.
    set_watchpoint 0, (ENABLE | EL1_ONLY | LOADS_AND_STORES | RANGE(GRANULE_SHIFT + 1))
    hits WATCH_LOAD_SAME, ldr x9, [x10]
    mov64 x12, (DATA + GRANULE)
    hits WATCH_STORE_SAME, str x9, [x12, #8]
    msr dbgwcr1_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

watched_kinds:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    mov x11, #1
    set_watchpoint 0, (ENABLE | EL1_ONLY | LOADS | BYTES(0xFF))
    passes str x11, [x10]
    hits WATCH_LOAD_SAME, ldr x9, [x10]
    hits WATCH_LOAD_SAME, ldadd x11, x9, [x10]
    hits WATCH_LOAD_SAME, cas x11, x9, [x10]
    set_watchpoint 0, (ENABLE | EL1_ONLY | STORES | BYTES(0xFF))
    passes ldr x9, [x10]
    check x9, 1
    hits WATCH_STORE_SAME, str x11, [x10]
    hits WATCH_STORE_SAME, swp x11, x9, [x10]
    msr daifset, #8
    ldr x9, [x10]
    check x9, 1
    msr dbgwcr1_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

watched_privileges:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    set_watchpoint 0, (ENABLE | EL0_ONLY | LOADS_AND_STORES | BYTES(0xFF))
    passes ldr x9, [x10]
    hits WATCH_LOAD_SAME, ldtr x9, [x10]
    hits WATCH_STORE_SAME, sttr x9, [x10]
    set_watchpoint 0, (ENABLE | EL1_ONLY | LOADS_AND_STORES | BYTES(0xFF))
    passes ldtr x9, [x10]
    hits WATCH_LOAD_SAME, ldr x9, [x10]
    // EL0 itself, with KDE clear.
    debug_control MDE
    set_watchpoint 0, (ENABLE | EL1_AND_EL0 | LOADS_AND_STORES | BYTES(0xFF))
    passes ldr x9, [x10]
    frame x9, (FRAMES + 2)
    mov64 x12, 0xF9000149       // str x9, [x10]
    str w12, [x9]
    dc cvau, x9
    dsb ish
    ic ivau, x9
    dsb ish
    isb
    expect_exception 1f
    mov64 x12, USER_CODE
    mov64 x10, DATA
    enter_el0 x12
1:  check x20, WATCH_STORE_LOWER
    check_far 0, 0
    msr dbgwcr1_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

// A fault of the translation comes first; a breakpoint comes before what the instruction would do.
priorities:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    mov64 x0, SLOT_VA(SLOT_READ_ONLY)
    msr dbgwvr0_el1, x0
    mov64 x0, (ENABLE | EL1_ONLY | LOADS_AND_STORES | BYTES(0xFF))
    msr dbgwcr0_el1, x0
    isb
    mov64 x12, SLOT_VA(SLOT_READ_ONLY)
    hits WATCH_LOAD_SAME, ldr x9, [x12]
    hits 0x9600004F, str x9, [x12]
    adr x11, 1f
    set_breakpoint 0, x11, AT_EL1
    expect_exception 2f
    msr daifclr, #8
1:  ldr x9, [x12]
    unreachable
2:  check x20, BREAKPOINT_SAME
    clear_breakpoint 0
    msr dbgwcr0_el1, xzr
    isb
    ldp x29, x30, [sp], #16
    ret

// A watchpoint that is set while a loop stores to its page, from inside the loop.
hot_watch:
    stp x29, x30, [sp, #-16]!
    debug_control (MDE | KDE)
    set_watchpoint 64, 0
    mov64 x14, (ENABLE | EL1_ONLY | STORES | BYTES(0xFF))
    mov64 x10, DATA
    mov x11, #(2 * ROUNDS)
    expect_exception 3f
    msr daifclr, #8
1:  str x11, [x10, #64]
    ldr x9, [x10, #64]
    cmp x11, #ROUNDS
    b.ne 2f
    msr dbgwcr1_el1, x14
    isb
2:  subs x11, x11, #1
    b.ne 1b
    unreachable
3:  check x20, WATCH_STORE_SAME
    check_far 64, 64
    check x11, (ROUNDS - 1)
    msr dbgwcr1_el1, xzr
    isb
    mov64 x10, DATA
    ldr x9, [x10, #64]
    check x9, ROUNDS
    ldp x29, x30, [sp], #16
    ret
