// An interpreter of a small register machine, running a program that counts Collatz steps.
#include "support.h"

enum Operation { kLoad, kAdd, kMultiplyAdd, kHalve, kJumpOdd, kJumpNotOne, kIncrement, kJumpBelow, kEnd };

struct Instruction {
    uint8_t operation, a, b, c;
    int32_t value;
};

// r0 number, r1 current value, r2 steps, r3 limit.
static const struct Instruction program[] = {
    {kLoad, 0, 0, 0, 1},
    {kIncrement, 0, 0, 0, 1},
    {kLoad, 1, 0, 0, 0},
    {kAdd, 1, 1, 0, 0},
    {kJumpOdd, 1, 0, 0, 7},
    {kHalve, 1, 0, 0, 0},
    {kJumpOdd, 4, 0, 0, 8},     // r4 is odd: always
    {kMultiplyAdd, 1, 1, 1, 3},
    {kIncrement, 2, 0, 0, 1},
    {kJumpNotOne, 1, 0, 0, 4},
    {kJumpBelow, 0, 3, 0, 1},
    {kEnd, 0, 0, 0, 0},
};

static uint64_t run(const struct Instruction* code, uint64_t limit) {
    uint64_t registers[8] = {0, 0, 0, limit, 1};
    const struct Instruction* next = code;
    for (;;) {
        const struct Instruction i = *next++;
        switch (i.operation) {
            case kLoad: registers[i.a] = (uint64_t)i.value; break;
            case kAdd: registers[i.a] = registers[i.b] + registers[i.c]; break;
            case kMultiplyAdd: registers[i.a] = registers[i.b] * (uint64_t)i.value + 1; break;
            case kHalve: registers[i.a] >>= 1; break;
            case kJumpOdd: next = (registers[i.a] & 1) ? code + i.value : next; break;
            case kJumpNotOne: next = registers[i.a] != 1 ? code + i.value : next; break;
            case kIncrement: registers[i.a] += (uint64_t)i.value; break;
            case kJumpBelow: next = registers[i.a] < registers[i.b] ? code + i.value : next; break;
            default: return registers[2];
        }
    }
}

uint64_t bytecode(uint64_t count) {
    return run(program, count);
}
