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
