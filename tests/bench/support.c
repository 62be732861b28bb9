// What compilers call without being asked to.
#include <stddef.h>
#include <stdint.h>

void* memcpy(void* to, const void* from, size_t bytes) {
    uint8_t* t = to;
    const uint8_t* f = from;
    for (; bytes >= 8; bytes -= 8, t += 8, f += 8) {
        __builtin_memcpy(t, f, 8);
    }
    for (; bytes > 0; --bytes) {
        *t++ = *f++;
    }
    return to;
}

void* memset(void* to, int value, size_t bytes) {
    uint8_t* t = to;
    const uint64_t word = (uint8_t)value * 0x0101010101010101u;
    for (; bytes >= 8; bytes -= 8, t += 8) {
        __builtin_memcpy(t, &word, 8);
    }
    for (; bytes > 0; --bytes) {
        *t++ = (uint8_t)value;
    }
    return to;
}
