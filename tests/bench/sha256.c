// SHA-256 (FIPS 180-4) without the instructions made for it.
#include "support.h"

enum { kBytes = 16384 };
static uint8_t data[kBytes];

static uint32_t round_constants[64];
static uint32_t initial[8];

// The first 32 bits of the fractional part of the square or cube root of a number below 312.
static uint32_t root_fraction(uint64_t number, int cube) {
    // The largest r with r^k <= number * 2^(32k), by bits; r < 2^37, so a cube needs 128 bits.
    unsigned __int128 target = (unsigned __int128)number << (cube ? 96 : 64);
    uint64_t root = 0;
    for (int bit = 36; bit >= 0; --bit) {
        const unsigned __int128 r = root | (uint64_t)1 << bit;
        if ((cube ? r * r * r : r * r) <= target) {
            root = (uint64_t)r;
        }
    }
    return (uint32_t)root;
}

static void make_constants(void) {
    int found = 0;
    for (uint32_t n = 2; found < 64; ++n) {
        uint32_t divisor = 2;
        while (n % divisor != 0) {
            ++divisor;
        }
        if (divisor == n) {
            if (found < 8) {
                initial[found] = root_fraction(n, 0);
            }
            round_constants[found++] = root_fraction(n, 1);
        }
    }
}

static uint32_t rotate(uint32_t value, int by) {
    return value >> by | value << (32 - by);
}

static void compress(uint32_t hash[8], const uint8_t* block) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    }
    for (int i = 16; i < 64; ++i) {
        const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
    uint32_t e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (int i = 0; i < 64; ++i) {
        const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d;
    hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

uint64_t sha256(uint64_t count) {
    make_constants();
    uint64_t state = 99;
    for (int i = 0; i < kBytes; ++i) {
        data[i] = (uint8_t)next_random(&state);
    }
    uint32_t hash[8];
    for (int i = 0; i < 8; ++i) {
        hash[i] = initial[i];
    }
    for (uint64_t round = 0; round < count; ++round) {
        for (int i = 0; i < kBytes; i += 64) {
            compress(hash, data + i);
        }
    }
    return (uint64_t)hash[0] << 32 | hash[7];
}
