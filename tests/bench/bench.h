// What the programs of scripts/bench share. The machine they run on is given to the linker (--defsym), not to the compiler:
//
//   bench_ram, bench_uart, bench_rtc, bench_gicd, bench_gicr    addresses
//   bench_main          the case: bench_main(count) returns what it computed
//   bench_count         how often the case shall do its work
//   bench_spe_period    profiling with this many operations between samples; 0: none
//
// RAM is mapped at its own address in pages of 4 KiB, so are the devices of the first GiB. The first 16 MiB of RAM are the
// program's, tables and stacks lie above.
#pragma once
#include "guest.h"

// What a linker symbol below 2^32 stands for.
.macro absolute reg, symbol
    movz \reg, #:abs_g1:\symbol
    movk \reg, #:abs_g0_nc:\symbol
.endm

#define RAM_PAGES 16384         // 64 MiB
#define TABLES 0x1000000        // from bench_ram: level 1, level 2 of RAM, levels 2 and 3 of USER_VA, level 3 of RAM
#define LEVEL1 TABLES
#define LEVEL2_RAM (TABLES + 0x1000)
#define LEVEL2_USER (TABLES + 0x2000)
#define LEVEL3_USER (TABLES + 0x3000)
#define LEVEL3_RAM (TABLES + 0x4000)
#define TABLES_END (LEVEL3_RAM + RAM_PAGES * 8)
#define STACK_END 0x1100000     // of 128 KiB
#define SCRATCH 0x2000000       // 32 MiB for the case
#define USER_VA 0x100000000     // 512 pages, mapped by the case

#define PAGE_NORMAL 0x703       // page, AF, inner shareable, write-back; EL1 only
#define PAGE_USER 0x40
#define PAGE_READ_ONLY 0x80
#define PAGE_NOT_GLOBAL 0x800

// \reg = bench_ram + \offset.
.macro ram reg, offset
    absolute \reg, (bench_ram + (\offset))
.endm

// Begins a case.
.macro kernel name
    .balign 64
    .global \name
\name:
.endm

// Ends a loop over X0, and the case if it is done: the result is in X1.
.macro loop_end label
    subs x0, x0, #1
    b.ne \label
    mov x0, x1
    ret
.endm

// A vector table with handlers for what is taken from EL1 (synchronous, IRQ) and from EL0 (synchronous).
.macro vector_table name, el1_sync, el1_irq, el0_sync
    .balign 0x800
    \name:
    .rept 4
    vector unexpected
    .endr
    vector \el1_sync
    vector \el1_irq
    vector unexpected
    vector unexpected
    vector \el0_sync
    .rept 7
    vector unexpected
    .endr
.endm
.macro vector target
    .balign 0x80
    b \target
.endm
