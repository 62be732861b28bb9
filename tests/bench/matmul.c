// Products of square matrices: of 32-bit integers and of doubles.
#include "support.h"

enum { kSize = 48 };

#define MATMUL(name, type, result_bits)                                 \
    uint64_t name(uint64_t count) {                                     \
        static type a[kSize][kSize], b[kSize][kSize], c[kSize][kSize];  \
        uint64_t state = 7;                                             \
        for (int i = 0; i < kSize; ++i) {                               \
            for (int j = 0; j < kSize; ++j) {                           \
                a[i][j] = (type)(next_random(&state) % 1000) - 500;     \
                b[i][j] = (type)(next_random(&state) % 1000) - 500;     \
            }                                                           \
        }                                                               \
        uint64_t result = 0;                                            \
        for (uint64_t round = 0; round < count; ++round) {              \
            for (int i = 0; i < kSize; ++i) {                           \
                for (int j = 0; j < kSize; ++j) {                       \
                    type sum = 0;                                       \
                    for (int k = 0; k < kSize; ++k) {                   \
                        sum += a[i][k] * b[k][j];                       \
                    }                                                   \
                    c[i][j] = sum;                                      \
                }                                                       \
            }                                                           \
            a[round % kSize][0] = c[0][round % kSize] / 1024;           \
            result = mix(result, result_bits(c[kSize - 1][kSize / 2])); \
        }                                                               \
        return result;                                                  \
    }

MATMUL(matmul_integer, int32_t, (uint64_t))
MATMUL(matmul_double, double, bits_of)
