// A small program with three hot spots that a profiler should tell apart: dependent loads over a working set larger than
// the first cache levels, a data-dependent branch, and arithmetic that touches no memory.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kNodes = 1 << 16, kRounds = 4 };

static uint32_t next_node[kNodes];
static uint64_t seed = 88172645463325252u;

static uint64_t random_u64(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// One cycle through all nodes in random order.
__attribute__((noinline)) static void link_nodes(void) {
    static uint32_t order[kNodes];
    for (uint32_t i = 0; i < kNodes; ++i) {
        order[i] = i;
    }
    for (uint32_t i = kNodes - 1; i > 0; --i) {
        const uint32_t j = (uint32_t)(random_u64() % (i + 1));
        const uint32_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    for (uint32_t i = 0; i < kNodes; ++i) {
        next_node[order[i]] = order[(i + 1) % kNodes];
    }
}

__attribute__((noinline)) static uint32_t chase_pointers(void) {
    uint32_t node = 0;
    for (uint32_t i = 0; i < kNodes; ++i) {
        node = next_node[node];
    }
    return node;
}

__attribute__((noinline)) static uint32_t count_branches(void) {
    uint32_t taken = 0;
    for (uint32_t i = 0; i < kNodes; ++i) {
        if (random_u64() & 1) {
            __asm__ volatile("add %w0, %w0, #1" : "+r"(taken));
        }
    }
    return taken;
}

__attribute__((noinline)) static uint64_t multiply(void) {
    uint64_t product = 1;
    for (uint32_t i = 0; i < 4 * kNodes; ++i) {
        product = product * 6364136223846793005u + 1442695040888963407u;
    }
    return product;
}

int main(void) {
    uint64_t result = 0;
    link_nodes();
    for (int round = 0; round < kRounds; ++round) {
        result += chase_pointers() + count_branches() + multiply();
    }
    printf("workload: %016llx\n", (unsigned long long)result);
    return 0;
}
