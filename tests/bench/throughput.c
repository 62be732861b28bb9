// Work on data of each CPU's own: a sieve, a hash table and arithmetic. throughput.S runs it on one CPU or on two at once.
#include "support.h"

enum { kNumbers = 32768, kSlots = 4096 };

static struct {
    uint8_t composite[kNumbers];
    uint64_t table[kSlots];
} data[2] __attribute__((aligned(4096)));

uint64_t busy_work(uint64_t count, uint64_t cpu) {
    uint8_t* const composite = data[cpu].composite;
    uint64_t* const table = data[cpu].table;
    uint64_t state = 77;
    uint64_t result = 0;
    for (uint64_t round = 0; round < count; ++round) {
        for (int i = 0; i < kNumbers; ++i) {
            composite[i] = 0;
        }
        for (uint32_t i = 2; i * i < kNumbers; ++i) {
            if (!composite[i]) {
                for (uint32_t j = i * i; j < kNumbers; j += i) {
                    composite[j] = 1;
                }
            }
        }
        for (int i = 0; i < 20000; ++i) {
            const uint64_t key = next_random(&state);
            uint64_t* const slot = &table[key % kSlots];
            if (*slot < key) {
                *slot = key >> 3;
                result += composite[key % kNumbers];
            }
        }
    }
    return result;
}
