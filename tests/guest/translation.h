// What translation.c and translation_cases.c share: one access under one state of the translation registers and tables.
#pragma once

#include "guest_c.h"

#ifndef GRANULE_SHIFT
#define GRANULE_SHIFT 12
#endif
#define STRIDE (GRANULE_SHIFT - 3)
#define LEVEL_SHIFT(level) (GRANULE_SHIFT + STRIDE * (3 - (level)))
#define GRANULE (1ull << GRANULE_SHIFT)
#define BLOCK_LEVEL 2  // blocks exist here with every granule

// Tables under test, one for each level, and behind them the frames that they map. Every word of a frame is SVC #n, n being
// the number of its 4 KiB: so a load tells where it came from, and so does a fetch.
#define TABLES 0x80400000ull
#define TABLE(level) (TABLES + (level)*0x10000ull)
#define FRAMES 0x80800000ull
#define FRAME_COUNT 16ull
#define FRAME(n) (FRAMES + (n)*GRANULE)
#define NOWHERE 0x0F000000ull  // neither RAM nor device, on both machines

// Sizes that TCR_EL1.TnSZ may have without FEAT_TTST; those outside behave as the nearest here.
#define FIRST_SIZE 16u
#define LAST_SIZE 39u

// Descriptors.
#define BLOCK 1ull
#define PAGE 3ull
#define NEXT 3ull
#define ATTR(n) ((u64)(n) << 2)  // of MAIR: 0 Normal, 1 Device, 2 Normal non-cacheable
#define USER (1ull << 6)
#define READ_ONLY (1ull << 7)
#define SHARED (3ull << 8)
#define AF (1ull << 10)
#define NOT_GLOBAL (1ull << 11)
#define DBM (1ull << 51)
#define CONTIGUOUS (1ull << 52)
#define PXN (1ull << 53)
#define UXN (1ull << 54)
#define TABLE_PXN (1ull << 59)
#define TABLE_UXN (1ull << 60)
#define TABLE_NO_USER (1ull << 61)
#define TABLE_READ_ONLY (1ull << 62)

// Flags of a case.
enum {
    EPD = 1 << 0,
    TBI = 1 << 1,
    HPD = 1 << 2,
    HA = 1 << 3,
    HD = 1 << 4,
    WXN = 1 << 5,
    PAN = 1 << 6,
    UAO = 1 << 7,
    ALIGN = 1 << 8,  // SCTLR_EL1.A
};

struct test_case {
    u32 op;  // index of ops[]
    u32 el;
    u32 half;  // 0: TTBR0_EL1, 1: TTBR1_EL1
    u32 size;  // TCR_EL1.TnSZ
    u32 flags;
    u32 ips;  // TCR_EL1.IPS
    u64 va;
    u64 base;     // of the first table
    u64 desc[4];  // the descriptor of each level from the first on, written into the level's table
    u64 next;     // that of the following page or block
};

// Operations. X0: address; X1 and V0 to V3: what to store; X2 and X3: what CAS expects. The result goes to X2.
// clang-format off
#define OPS(X)                                                                                             \
    X(LDR, "ldr", "ldr x2, [x0]")                                                                          \
    X(LDRW, "ldrw", "ldr w2, [x0]")                                                                        \
    X(LDRH, "ldrh", "ldrh w2, [x0]")                                                                       \
    X(LDRB, "ldrb", "ldrb w2, [x0]")                                                                       \
    X(STR, "str", "str x1, [x0]")                                                                          \
    X(STRW, "strw", "str w1, [x0]")                                                                        \
    X(STRH, "strh", "strh w1, [x0]")                                                                       \
    X(STRB, "strb", "strb w1, [x0]")                                                                       \
    X(LDP, "ldp", "ldp x2, x3, [x0]\n eor x2, x2, x3, ror #8")                                             \
    X(STP, "stp", "stp x1, x1, [x0]")                                                                      \
    X(STPW, "stpw", "stp w1, w1, [x0]")                                                                \
    X(LDRQ, "ldrq", "ldr q0, [x0]\n fmov x2, d0\n umov x3, v0.d[1]\n eor x2, x2, x3, ror #8")              \
    X(STRQ, "strq", "str q0, [x0]")                                                                        \
    X(LDPQ, "ldpq", "ldp q0, q1, [x0]\n fmov x2, d0\n umov x3, v1.d[1]\n eor x2, x2, x3, ror #8")          \
    X(STPQ, "stpq", "stp q0, q1, [x0]")                                                                    \
    X(LD4, "ld4", "ld4 {v0.16b - v3.16b}, [x0]\n fmov x2, d0\n umov x3, v3.d[1]\n eor x2, x2, x3, ror #8") \
    X(ST4, "st4", "st4 {v0.16b - v3.16b}, [x0]")                                                           \
    X(ST4S, "st4s", "st4 {v0.4s - v3.4s}, [x0]")                                                       \
    X(LD1R, "ld1r", "ld1r {v0.2d}, [x0]\n fmov x2, d0")                                                    \
    X(LDTR, "ldtr", "ldtr x2, [x0]")                                                                       \
    X(STTR, "sttr", "sttr x1, [x0]")                                                                       \
    X(LDTRB, "ldtrb", "ldtrb w2, [x0]")                                                                    \
    X(STTRB, "sttrb", "sttrb w1, [x0]")                                                                    \
    X(LDAR, "ldar", "ldar x2, [x0]")                                                                       \
    X(LDAPR, "ldapr", "ldapr x2, [x0]")                                                                    \
    X(STLR, "stlr", "stlr x1, [x0]")                                                                       \
    X(LDXR, "ldxr", "ldxr x2, [x0]")                                                                       \
    X(STXR, "stxr", "ldxr x2, [x0]\n stxr w3, x1, [x0]\n eor x2, x2, x3, ror #8")                          \
    X(LDXP, "ldxp", "ldxp x2, x3, [x0]\n eor x2, x2, x3, ror #8")                                          \
    X(STXP, "stxp", "ldxp x2, x3, [x0]\n stxp w4, x1, x1, [x0]\n eor x2, x2, x4, ror #8")                  \
    X(SWP, "swp", "swp x1, x2, [x0]")                                                                      \
    X(LDADD, "ldadd", "ldadd x1, x2, [x0]")                                                                \
    X(LDADDB, "ldaddb", "ldaddb w1, w2, [x0]")                                                             \
    X(STADD, "stadd", "stadd x1, [x0]")                                                                    \
    X(CAS, "cas", "cas x2, x1, [x0]")                                                                      \
    X(CASFAIL, "casfail", "mov x2, #1\n cas x2, x1, [x0]")                                                 \
    X(CASP, "casp", "casp x2, x3, x4, x5, [x0]\n eor x2, x2, x3, ror #8")                                  \
    X(PRFM, "prfm", "prfm pldl1keep, [x0]")                                                                \
    X(ZVA, "zva", "dc zva, x0")                                                                            \
    X(CVAC, "cvac", "dc cvac, x0")                                                                         \
    X(CVAU, "cvau", "dc cvau, x0")                                                                         \
    X(CVAP, "cvap", "dc cvap, x0")                                                                         \
    X(CIVAC, "civac", "dc civac, x0")                                                                      \
    X(IVAC, "ivac", "dc ivac, x0")                                                                         \
    X(IVAU, "ivau", "ic ivau, x0")                                                                         \
    X(S1E1R, "s1e1r", "at s1e1r, x0")                                                                      \
    X(S1E1W, "s1e1w", "at s1e1w, x0")                                                                      \
    X(S1E0R, "s1e0r", "at s1e0r, x0")                                                                      \
    X(S1E0W, "s1e0w", "at s1e0w, x0")                                                                      \
    X(S1E1RP, "s1e1rp", "at s1e1rp, x0")                                                                   \
    X(S1E1WP, "s1e1wp", "at s1e1wp, x0")                                                                   \
    X(FETCH, "fetch", "br x0")
// clang-format on
#define OP_NUMBER(id, name, text) OP_##id,
enum { OPS(OP_NUMBER) OP_COUNT };

// Makes the access and prints a line of it.
void run_case(const struct test_case* test);

// The same without a line: '.' no fault, 'P' a permission fault of level 3, '?' anything else.
char outcome_of(const struct test_case* test);

// A case with a whole chain of tables: a page of frame 1, readable, writable and executable at EL1. `op` is to be chosen.
struct test_case plain_case(u32 half, u32 size);

// The level of the first lookup.
u32 first_level(u32 size);
// Makes the descriptor of `level` a block or page.
void end_at(struct test_case* test, u32 level, u64 attributes);

void print_perm_line(u32 leaf, u32 table, const char* outcomes);

// translation_cases.c
void directed_cases(void);
void random_cases(u64 seed, u32 count);
