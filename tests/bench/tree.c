// A binary search tree: insertions and searches in random order.
#include "support.h"

enum { kNodes = 4096 };

struct Node {
    uint64_t key;
    struct Node* left;
    struct Node* right;
};

static struct Node nodes[kNodes];

static struct Node* insert(struct Node* root, struct Node* node) {
    struct Node** link = &root;
    while (*link) {
        link = node->key < (*link)->key ? &(*link)->left : &(*link)->right;
    }
    *link = node;
    return root;
}

static int depth_of(const struct Node* node, uint64_t key) {
    int depth = 0;
    while (node && node->key != key) {
        node = key < node->key ? node->left : node->right;
        ++depth;
    }
    return depth;
}

uint64_t tree(uint64_t count) {
    uint64_t state = 1234567;
    uint64_t result = 0;
    for (uint64_t round = 0; round < count; ++round) {
        struct Node* root = 0;
        for (int i = 0; i < kNodes; ++i) {
            nodes[i] = (struct Node){next_random(&state), 0, 0};
            root = insert(root, &nodes[i]);
        }
        for (int i = 0; i < kNodes; ++i) {
            result += (uint64_t)depth_of(root, nodes[i].key ^ ((i & 3) == 3));
        }
    }
    return result;
}
