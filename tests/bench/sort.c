// Quicksort with insertion sort below 12 elements.
#include "support.h"

enum { kElements = 16384 };
static uint32_t data[kElements];

static void insertion_sort(uint32_t* first, uint32_t* last) {
    for (uint32_t* i = first + 1; i <= last; ++i) {
        const uint32_t value = *i;
        uint32_t* j = i;
        for (; j > first && j[-1] > value; --j) {
            *j = j[-1];
        }
        *j = value;
    }
}

static void quicksort(uint32_t* first, uint32_t* last) {
    while (last - first >= 12) {
        const uint32_t pivot = first[(last - first) / 2];
        uint32_t* low = first;
        uint32_t* high = last;
        while (low <= high) {
            while (*low < pivot) {
                ++low;
            }
            while (*high > pivot) {
                --high;
            }
            if (low <= high) {
                const uint32_t swapped = *low;
                *low++ = *high;
                *high-- = swapped;
            }
        }
        quicksort(first, high);
        first = low;
    }
    insertion_sort(first, last);
}

uint64_t sort(uint64_t count) {
    uint64_t state = 88172645463325252u;
    uint64_t result = 0;
    for (uint64_t round = 0; round < count; ++round) {
        for (int i = 0; i < kElements; ++i) {
            data[i] = (uint32_t)next_random(&state);
        }
        quicksort(data, data + kElements - 1);
        for (int i = 0; i < kElements; i += 64) {
            result = mix(result, data[i]);
        }
    }
    return result;
}
