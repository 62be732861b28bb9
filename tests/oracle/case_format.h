/* The file that oracle_test and state_runner share: a header, then `count` cases, each with its input and its outcome.
 * Both map it; the runner writes outcomes in place and counts them in `done`. Little-endian. C and C++. */
#pragma once

#include <stdint.h>

/* Guest-virtual addresses, the same on both sides. The data window is two pages, unmapped memory around it; an image of
 * kImageSize bytes straddles the page boundary in its middle, the rest holds window_fill(). */
#define ORACLE_WINDOW_BASE 0x10000000u
#define ORACLE_WINDOW_SIZE 0x2000u
#define ORACLE_IMAGE_SIZE 512u
#define ORACLE_IMAGE_OFFSET ((ORACLE_WINDOW_SIZE - ORACLE_IMAGE_SIZE) / 2u)

/* Code: case i runs at CODE_BASE + i * SLOT_SIZE. The rest of the region is filled with ORACLE_BRK. */
#define ORACLE_CODE_BASE 0x10010000u
#define ORACLE_SLOT_SIZE 64u
#define ORACLE_MAX_CASES 12000u
#define ORACLE_CODE_SIZE (ORACLE_MAX_CASES * ORACLE_SLOT_SIZE)
#define ORACLE_MAX_INSNS 8u
#define ORACLE_BRK 0xD4207D00u /* BRK #0x3E8 */

/* OracleOutcome::signal of a case that the reference does not know how to execute. */
#define ORACLE_REFUSED 0xFFFFFFFEu

/* What a case starts from and ends in. */
struct OracleState {
    uint64_t x[31];
    uint64_t sp;
    uint64_t v[32][2]; /* low half first */
    uint32_t nzcv;     /* bits 31:28 */
    uint32_t fpcr;
    uint32_t fpsr;
    uint32_t reserved;
    uint8_t image[ORACLE_IMAGE_SIZE];
};

struct OracleOutcome {
    struct OracleState state;
    uint64_t pc;           /* of the instruction that would run next, or that faulted */
    uint64_t outside_hash; /* window_hash() of the window outside the image; 0: untouched */
    uint32_t signal;       /* 0: ran to its end (or branched to an address that can be fetched or not) */
    uint32_t reserved;
};

struct OracleCase {
    uint32_t insn_count;
    uint32_t insns[ORACLE_MAX_INSNS];
    uint32_t reserved;
    struct OracleState input;
    struct OracleOutcome outcome;
};

__extension__ struct OracleFile { /* C++ has no flexible array */
    uint32_t count;
    uint32_t done;
    struct OracleCase cases[];
};

/* Content of the window outside the image, by byte offset: no two nearby bytes alike. */
static inline uint8_t window_fill(uint32_t offset) {
    return (uint8_t)(offset * 37u + (offset >> 8) * 11u + 5u);
}

/* FNV-1a over the window without its image. */
static inline uint64_t window_hash(const uint8_t* window) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (uint32_t i = 0; i < ORACLE_WINDOW_SIZE; ++i) {
        if (i - ORACLE_IMAGE_OFFSET >= ORACLE_IMAGE_SIZE) {
            hash = (hash ^ window[i]) * 0x100000001B3u;
        }
    }
    return hash;
}
