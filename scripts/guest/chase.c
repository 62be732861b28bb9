// Follows one random cycle of pointers, one a cache line, through as much memory as it is told: chase KIBIBYTES LOADS
// Where the loads are served from is then known: from DRAM when the memory exceeds every cache, from the L1 when it fits.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kLine = 64 };

struct node {
    struct node* next;
    char rest[kLine - sizeof(struct node*)];
};

static uint64_t seed = 88172645463325252u;

static uint64_t random_u64(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// Sattolo's shuffle: one cycle through all nodes.
__attribute__((noinline)) static void link_nodes(struct node* nodes, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        nodes[i].next = &nodes[i];
    }
    for (size_t i = count - 1; i > 0; --i) {
        const size_t j = random_u64() % i;
        struct node* const swapped = nodes[i].next;
        nodes[i].next = nodes[j].next;
        nodes[j].next = swapped;
    }
}

__attribute__((noinline)) static struct node* follow_pointers(struct node* node, uint64_t loads) {
    for (; loads != 0; --loads) {
        node = node->next;
    }
    return node;
}

int main(int argc, char** argv) {
    const size_t count = argc == 3 ? strtoul(argv[1], NULL, 10) * 1024 / kLine : 0;
    struct node* const nodes = aligned_alloc(4096, count * kLine);
    if (count < 2 || nodes == NULL) {
        fprintf(stderr, "usage: chase KIBIBYTES LOADS\n");
        return 2;
    }
    link_nodes(nodes, count);
    printf("chase: ends at node %td\n", follow_pointers(nodes, strtoull(argv[2], NULL, 10)) - nodes);
    return 0;
}
