// The sieve of Eratosthenes, a byte for each number.
#include "support.h"

enum { kNumbers = 65536 };
static uint8_t composite[kNumbers];

uint64_t sieve(uint64_t count) {
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
        uint64_t primes = 0;
        for (uint32_t i = 2; i < kNumbers; ++i) {
            primes += !composite[i];
        }
        result = mix(result, primes);
    }
    return result;
}
