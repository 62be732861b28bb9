// Dependent loads in random order over 2 MiB.
#include "support.h"

enum { kNodes = 32768 };

struct Node {
    struct Node* next;
    uint64_t value;
    uint64_t rest[6];
};

static struct Node nodes[kNodes];

uint64_t pointer_chase(uint64_t count) {
    uint64_t state = 42;
    for (uint32_t i = 0; i < kNodes; ++i) {
        nodes[i] = (struct Node){&nodes[i], i, {0}};
    }
    // Sattolo's algorithm: a single cycle.
    for (uint32_t i = kNodes - 1; i > 0; --i) {
        struct Node* const other = &nodes[next_random(&state) % i];
        struct Node* const swapped = nodes[i].next;
        nodes[i].next = other->next;
        other->next = swapped;
    }
    const struct Node* node = nodes;
    for (uint64_t i = 0; i < count; ++i) {
        node = node->next;
    }
    return node->value;
}
