// The cases of translation.c: those that somebody thought of, and random ones.
#include "translation.h"

static void run(struct test_case test, u32 op) {
    test.op = op;
    run_case(&test);
}

static const u32 few_ops[] = {OP_LDR,  OP_STR,  OP_LDTR, OP_STTR,  OP_LDADD, OP_CAS,    OP_STXR, OP_ZVA,
                              OP_CVAC, OP_IVAC, OP_IVAU, OP_S1E1R, OP_S1E0W, OP_S1E1WP, OP_FETCH};
#define FEW (sizeof(few_ops) / sizeof(few_ops[0]))

// ── Every fault at every level ──

enum fault_kind { INVALID, RESERVED, NO_FLAG, TOO_HIGH, NO_TABLE, NO_MEMORY, NO_PERMISSION, NO_FAULT, KINDS };

// Whether `kind` exists at `level`; changes the case so that it happens there.
static u32 make_fault(struct test_case* test, enum fault_kind kind, u32 level) {
    const u32 may_end = level >= BLOCK_LEVEL || (level == 1 && GRANULE_SHIFT == 12);
    const u64 attributes = AF | SHARED | USER;
    switch (kind) {
        case INVALID: test->desc[level] &= ~1ull; return 1;
        case RESERVED:  // a block where there is none, or what would be one at the last level
            end_at(test, level, attributes);
            test->desc[level] &= ~2ull;
            return !may_end || level == 3;
        case NO_FLAG: end_at(test, level, attributes & ~AF); return may_end;
        case TOO_HIGH:
            if (may_end) {
                end_at(test, level, attributes);
            }
            test->desc[level] |= 1ull << 40;
            test->ips = 1;
            return 1;
        case NO_TABLE: test->desc[level] = (NOWHERE & ~(GRANULE - 1)) | NEXT; return level < 3;
        case NO_MEMORY: test->desc[level] = (NOWHERE & ~(GRANULE - 1)) | PAGE | attributes; return level == 3;
        case NO_PERMISSION: end_at(test, level, AF | SHARED | READ_ONLY | PXN); return may_end;
        case NO_FAULT: end_at(test, level, attributes | READ_ONLY); return may_end;
        default: return 0;
    }
}

static void faults_at(u32 half, u32 el, u32 level, const struct test_case* plain) {
    for (u32 kind = 0; kind < KINDS; ++kind) {
        struct test_case test = *plain;
        test.el = el;
        end_at(&test, 3, AF | SHARED | USER);
        if (!make_fault(&test, (enum fault_kind)kind, level)) {
            continue;
        }
        if (half == 0 && (kind != NO_FAULT || el == 1)) {
            for (u32 op = 0; op < OP_COUNT; ++op) {
                run(test, op);
            }
        } else {
            for (u32 i = 0; i < FEW; ++i) {
                run(test, few_ops[i]);
            }
        }
    }
}

static void every_fault(void) {
    for (u32 half = 0; half < 2; ++half) {
        const struct test_case plain = plain_case(half, FIRST_SIZE);
        for (u32 level = first_level(FIRST_SIZE); level <= 3; ++level) {
            faults_at(half, 1, level, &plain);
            faults_at(half, 0, level, &plain);
        }
        struct test_case test = plain;
        test.base |= 1ull << 44;
        test.ips = 2;
        run(test, OP_LDR);
        run(test, OP_S1E1R);
        run(test, OP_FETCH);
        test.base = NOWHERE & ~(GRANULE - 1);
        run(test, OP_LDR);
        run(test, OP_S1E1R);
        run(test, OP_FETCH);
    }
}

// ── Sizes of the address space, its edges, tags ──

static void at_address(const struct test_case* plain, u64 va) {
    static const u32 flags[] = {0, TBI, EPD, EPD | TBI};
    for (u32 i = 0; i < 4; ++i) {
        struct test_case test = *plain;
        test.va = va;
        test.flags = flags[i];
        run(test, OP_LDRB);
        run(test, i == 1 ? OP_S1E1R : OP_FETCH);
    }
}

static void sizes(void) {
    for (u32 half = 0; half < 2; ++half) {
        for (u32 size = 0; size < 64; size += size == 5 || size == 45 ? 10 : 1) {
            struct test_case test = plain_case(half, size);
            if (size < FIRST_SIZE || size > LAST_SIZE) {
                run(test, OP_LDR);
                continue;
            }
            const u32 bits = 64 - size;
            const u64 low = half != 0 ? ~0ull << bits : 0, high = low + ((1ull << bits) - 1);
            at_address(&test, low + 0x123);
            at_address(&test, high & ~3ull);
            at_address(&test, half != 0 ? low - 4 : high + 1);
            at_address(&test, test.va ^ 1ull << 54);
            at_address(&test, test.va ^ 0xA5ull << 56);
        }
    }
}

// ── Permissions ──

static u64 leaf_permissions(u32 n) {
    return (n & 1 ? USER : 0) | (n & 2 ? READ_ONLY : 0) | (n & 4 ? PXN : 0) | (n & 8 ? UXN : 0);
}

static u64 table_permissions(u32 n) {
    return (n & 1 ? TABLE_NO_USER : 0) | (n & 2 ? TABLE_READ_ONLY : 0) | (n & 4 ? TABLE_PXN : 0) |
           (n & 8 ? TABLE_UXN : 0);
}

// All ways to access under WXN, PAN, UAO and HPD, from both Exception levels: one character each.
static void permissions_of(struct test_case test, u32 leaf, u32 table) {
    static const u32 el1_ops[] = {OP_LDR, OP_STR, OP_LDADD, OP_LDTR, OP_STTR, OP_FETCH};
    static const u32 el0_ops[] = {OP_LDR, OP_STR, OP_FETCH};
    char text[100];
    u32 length = 0;
    for (u32 flags = 0; flags < 16; ++flags) {
        test.flags =
            (flags & 1 ? WXN : 0) | (flags & 2 ? PAN : 0) | (flags & 4 ? UAO : 0) | (flags & 8 ? HPD : 0);
        test.el = 1;
        for (u32 i = 0; i < 6 && (flags < 8 || flags == 8); ++i) {
            test.op = el1_ops[i];
            text[length++] = outcome_of(&test);
        }
        test.el = 0;
        for (u32 i = 0; i < 3 && (flags & 6) == 0; ++i) {
            test.op = el0_ops[i];
            text[length++] = outcome_of(&test);
        }
        text[length++] = ' ';
    }
    text[length] = 0;
    print_perm_line(leaf, table, text);
}

static void permissions(void) {
    struct test_case test = plain_case(1, 25);
    for (u32 table = 0; table < 16; ++table) {
        for (u32 leaf = 0; leaf < 16; ++leaf) {
            end_at(&test, 3, AF | SHARED | leaf_permissions(leaf));
            // The restrictions of several tables add up.
            test.desc[first_level(25)] =
                (test.desc[first_level(25)] & ~(15ull << 59)) | table_permissions(table & 5);
            test.desc[2] = (test.desc[2] & ~(15ull << 59)) |
                           table_permissions(first_level(25) == 2 ? table : table & 10);
            permissions_of(test, leaf, table);
        }
    }
}

// ── Access flag and dirty state by hardware ──

static void flags_and_dirty(void) {
    static const u32 ops[] = {OP_LDR,  OP_STR,  OP_LDADD, OP_CASFAIL, OP_LDXR,  OP_STXR,  OP_STTR, OP_ZVA,
                              OP_CVAC, OP_IVAC, OP_S1E1R, OP_S1E1W,   OP_S1E0W, OP_FETCH, OP_PRFM, OP_STP};
    for (u32 n = 0; n < 128; ++n) {
        struct test_case test = plain_case(0, FIRST_SIZE);
        const u64 attributes =
            SHARED | (n & 1 ? USER : 0) | (n & 2 ? READ_ONLY : 0) | (n & 4 ? AF : 0) | (n & 8 ? DBM : 0);
        end_at(&test, n & 64 ? BLOCK_LEVEL : 3, attributes);
        test.flags = (n & 16 ? HA : 0) | (n & 32 ? HD : 0);
        for (u32 i = 0; i < sizeof(ops) / sizeof(ops[0]); ++i) {
            test.el = i % 2 == 0 || ops[i] == OP_S1E1W || ops[i] == OP_FETCH ? 1 : n & 1;
            run(test, ops[i]);
        }
        test.desc[2] |= n & 64 ? 0 : TABLE_READ_ONLY;  // then there is nothing to dirty
        run(test, OP_STR);
    }
}

// ── Alignment, and accesses that cross into another page ──

static void alignment(void) {
    static const u32 offsets[] = {1, 2, 4, 8, 12, 15};
    for (u32 op = 0; op < OP_S1E1R; ++op) {
        for (u32 i = 0; i < sizeof(offsets) / sizeof(offsets[0]); ++i) {
            for (u32 n = 0; n < 6; ++n) {  // three types of memory, with and without SCTLR_EL1.A
                struct test_case test = plain_case(0, FIRST_SIZE);
                end_at(&test, 3, AF | SHARED | ATTR(n % 3));
                test.va += offsets[i];
                test.flags = n >= 3 ? ALIGN : 0;
                run(test, op);
            }
        }
    }
}

static void crossings(void) {
    static const u64 leaves[] = {0,
                                 FRAME(5) | PAGE | AF | SHARED,
                                 FRAME(5) | PAGE | AF | SHARED | READ_ONLY,
                                 FRAME(5) | PAGE | SHARED,
                                 FRAME(5) | PAGE | AF | SHARED | 1ull << 40,
                                 (NOWHERE & ~(GRANULE - 1)) | PAGE | AF | SHARED,
                                 FRAME(5) | PAGE | AF | SHARED | ATTR(1),
                                 FRAME(5) | PAGE | AF | SHARED | READ_ONLY | DBM};
    const u32 count = sizeof(leaves) / sizeof(leaves[0]);
    for (u32 op = 0; op < OP_S1E1R; ++op) {
        for (u32 n = 0; n < 2 * count; ++n) {
            struct test_case test = plain_case(0, FIRST_SIZE);
            test.ips = 1;
            test.va = (test.va & ~(GRANULE - 1)) + GRANULE -
                      (op % 2 != 0                      ? 3
                       : op >= OP_LDAR && op <= OP_CASP ? 8
                                                        : 1);
            test.desc[3] = n < count ? leaves[1] : leaves[n - count];
            test.next = n < count ? leaves[n] : leaves[(n + 3) % count];
            test.flags = n % 2 != 0 ? HA | HD : 0;
            run(test, op);
        }
    }
}

void directed_cases(void) {
    every_fault();
    sizes();
    permissions();
    flags_and_dirty();
    alignment();
    crossings();
}

// ── Random ──

static u64 random_state;

static u64 random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x9E3779B97F4A7C15ull >> 7;
}

static u32 below(u32 limit) {
    return (u32)(random() % limit);
}

static u32 one_in(u32 n) {
    return below(n) == 0;
}

// An address bit that leads to nothing. QEMU has PCI devices at 1 << 39.
static u64 far_away(void) {
    const u32 bit = 32 + below(16);
    return 1ull << (bit == 39 ? 40 : bit);
}

// What any leaf may have. Bits that are ignored or that software owns are set at random.
static u64 random_attributes(void) {
    u64 attributes = random() & (0xFull << 55 | CONTIGUOUS | 3ull << 8);
    attributes |= one_in(6) ? 0 : AF;
    attributes |= below(4) << 6 | (one_in(3) ? ATTR(below(3)) : 0);
    attributes |=
        (one_in(4) ? PXN : 0) | (one_in(4) ? UXN : 0) | (one_in(3) ? DBM : 0) | (one_in(2) ? NOT_GLOBAL : 0);
    return attributes;
}

static u64 random_leaf(u32 level) {
    const u64 mask = (1ull << LEVEL_SHIFT(level)) - 1;
    u64 leaf = level == 3 ? FRAME(below(FRAME_COUNT)) | PAGE : (FRAMES & ~mask) | BLOCK;
    leaf |= random_attributes();
    switch (below(24)) {
        case 0: return 0;
        case 1: return leaf & ~1ull;
        case 2:
            return level == 3   ? leaf ^ 2
                   : level == 2 ? FRAMES | NEXT | random_attributes()
                                : 0;  // no table there
        case 3: return leaf | far_away();
        case 4: return level == 3 ? (leaf & ~0xFFFFFFFFF000ull) | (NOWHERE & ~mask) : leaf;
        default: return leaf;
    }
}

static u64 random_table(u32 level) {
    const u64 ignored = random() & (0x7Full << 52 | 0x3FFull << 2);
    u64 table = TABLE(level + 1) | NEXT | ignored | (one_in(3) ? (u64)below(32) << 59 : 0);
    switch (below(30)) {
        case 0: return table & ~1ull;
        case 1: return table | far_away();
        case 2: return (NOWHERE & ~(GRANULE - 1)) | NEXT;
        default: return table;
    }
}

static u64 random_address(u32 half, u32 bits) {
    const u64 within = (1ull << bits) - 1;
    // Its low bits are those of a frame, for whatever a block or page maps.
    // Accesses reach into the last frame, not beyond: what lies there is not filled.
    u64 offset = (FRAMES + below((u32)((FRAME_COUNT - 1) * GRANULE))) & ((1ull << 30) - 1);
    switch (below(6)) {
        case 0: offset = (offset | 0xFFF) - below(20); break;  // may cross into the next page
        case 1: offset = (offset | (GRANULE - 1)) - below(20); break;
        case 2: break;
        default: offset &= ~(u64)(below(2) != 0 ? 15 : 7);
    }
    u64 va = ((random() & ~((1ull << 30) - 1)) | offset) & within;
    va |= half != 0 ? ~within : 0;
    switch (below(20)) {
        case 0: return va ^ (u64)below(256) << 56;
        case 1: return bits < 55 ? va ^ 1ull << (bits + below(55 - bits)) : va;
        default: return va;
    }
}

static u32 random_flags(void) {
    u32 flags = (u32)random() & (TBI | HPD | HA | HD | PAN | UAO);
    flags &= one_in(2) ? ~0u : ~(u32)(HPD | HA | HD | PAN | UAO);
    return flags | (one_in(30) ? EPD : 0) | (one_in(6) ? WXN : 0) | (one_in(12) ? ALIGN : 0);
}

void random_cases(u64 seed, u32 count) {
    random_state = seed * 0xD1342543DE82EF95ull + 1;
    for (u32 i = 0; i < count; ++i) {
        struct test_case test = {
            .op = below(OP_COUNT), .el = !one_in(3), .half = below(2), .flags = random_flags()};
        test.size = FIRST_SIZE + below(LAST_SIZE - FIRST_SIZE + 1);
        test.ips = one_in(4) ? below(8) : 5;
        test.va = random_address(test.half, 64 - test.size);
        test.base = TABLE(first_level(test.size)) | one_in(2) | random() << 48;
        if (one_in(60)) {
            test.base |= far_away();
        }
        const u32 end = one_in(3) ? 1 + below(2) : 3;
        for (u32 level = 0; level <= 3; ++level) {
            test.desc[level] = level < end ? random_table(level) : random_leaf(level);
        }
        test.next = random_leaf(3);
        run_case(&test);
    }
}
