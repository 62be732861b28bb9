// What the parts of the litmus guest share. Every CPU runs `litmus_cpu`; CPU 0 counts and reports.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MAX_CPUS 4
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// A counter on a cache line of its own.
struct line {
    _Alignas(64) volatile u32 value;
};

// A point that `cpus` CPUs pass together. What was written before it is seen behind it.
struct meeting {
    struct line arrived, generation;
};
void meet(struct meeting* where, u32 cpus);

// start.S
void print(const char* text);

void print_number(u64 number);
void print_padded(const char* text, u32 width);

// litmus_atomics.c: atomics under contention. Returns how many of the cases went wrong, on CPU 0.
u32 contend(u32 self, u32 rounds);
