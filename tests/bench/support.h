// For the C programs of scripts/bench, which have no library.
#pragma once
#include <stdint.h>

// Marsaglia's xorshift64.
static inline uint64_t next_random(uint64_t* state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29);
}

static inline uint64_t bits_of(double value) {
    union {
        double value;
        uint64_t bits;
    } both = {value};
    return both.bits;
}
