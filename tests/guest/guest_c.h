// Bare-metal guests in C, several CPUs with the MMU on: guest_c.c starts them.
#pragma once
#include "litmus.h"

/// The guest's own: called on CPU 0 before all else, and then on every CPU with what CPU_ON was given. A CPU other than 0
/// that returns is switched off.
void guest_begin(void);
void guest_cpu(u32 self, u64 context);

/// Switches `cpu` on, which calls guest_cpu.
void start_cpu(u32 cpu);
/// The same; returns what PSCI does.
long long cpu_on(u32 cpu, u64 context);
_Noreturn void power_off(void);

/// The table of level 1, 1 GiB for each entry; the first four map themselves.
extern u64 level1[512];

/// What follows `name` in the kernel's parameters, up to a space or the end; 0 if it is not there.
const char* parameter(const char* name);
u32 parse_number(const char* text);
/// Whether `text` up to a space or the end is `word`.
int is_word(const char* text, const char* word);

u64 psci(u64 function, u64 argument1, u64 argument2, u64 argument3);

// System registers by their assembler names.
#define READ_SYSTEM(name)                                       \
    __extension__({                                             \
        u64 v_;                                                 \
        __asm__ volatile("mrs %0, " name : "=r"(v_)::"memory"); \
        v_;                                                     \
    })
#define WRITE_SYSTEM(name, value) __asm__ volatile("msr " name ", %0\n isb" ::"r"((u64)(value)) : "memory")

// The interrupt controller: its distributor, and the redistributor of a CPU.
#ifdef REFERENCE_QEMU
#define GICD 0x08000000ull
#define GICR(cpu) (0x080A0000ull + (cpu)*0x20000ull)
#else
#define GICD 0x3FFF0000ull
#define GICR(cpu) (GICD - (MAX_CPUS - (cpu)) * 0x20000ull)
#endif
#define SGI_FRAME 0x10000
#define ICC_PMR "s3_0_c4_c6_0"
#define ICC_SGI1R "s3_0_c12_c11_5"
#define ICC_IAR1 "s3_0_c12_c12_0"
#define ICC_EOIR1 "s3_0_c12_c12_1"

/// A line that is put together, at most 511 characters, and printed by end_line.
void put(const char* text);
/// A space and the number in hexadecimal.
void put_hex(u64 number);
void end_line(void);
/// How long the line is; takes back what was put since it was that long.
u32 line_mark(void);
void take_back(u32 mark);
