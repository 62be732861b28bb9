#include "vmm/guest_init/sys.h"

#include <linux/time.h>

uint64_t boot_nanoseconds(void) {
    struct {
        int64_t seconds, nanoseconds;
    } now = {0, 0};
    SYS(clock_gettime, CLOCK_BOOTTIME, &now, 0, 0, 0);
    return (uint64_t)now.seconds * 1000000000u + (uint64_t)now.nanoseconds;
}

size_t text_length(const char* text) {
    size_t length = 0;
    while (text[length] != 0) {
        ++length;
    }
    return length;
}

int text_begins(const char* text, const char* prefix) {
    while (*prefix != 0 && *text == *prefix) {
        ++text;
        ++prefix;
    }
    return *prefix == 0;
}

int text_equal(const char* a, const char* b) {
    return text_begins(a, b) && text_length(a) == text_length(b);
}

void text_append(char* to, size_t size, const char* text) {
    size_t at = text_length(to);
    while (*text != 0 && at + 1 < size) {
        to[at++] = *text++;
    }
    to[at] = 0;
}

// What the compiler may call.
void* memcpy(void* to, const void* from, size_t size) {
    unsigned char* out = to;
    const unsigned char* in = from;
    while (size-- != 0) {
        *out++ = *in++;
    }
    return to;
}

void* memset(void* to, int value, size_t size) {
    unsigned char* out = to;
    while (size-- != 0) {
        *out++ = (unsigned char)value;
    }
    return to;
}
