// Translation outcomes: accesses under many states of the translation tables and registers, a line for each with what
// happened. translation.py runs this on vmm and on QEMU and compares; translation_cases.c has the cases.
//
// Built for granules of 4, 16 and 64 KiB. Kernel parameters: translation.seed=N and translation.count=N of the random cases.
//
// The guest runs in one half of the address space while the other is under test, in a table of blocks that maps RAM three
// times: as it is, read-only for the code that makes the access (WXN), and for EL0. That code keeps everything in registers
// from the time it changes the state until it has put it back, and invalidates the whole TLB at both ends.
#include "translation.h"

#define HOME 0x80300000ull
#define HOME_BITS 36
#define READ_ONLY_ALIAS 0x40000000ull
#define USER_ALIAS 0x80000000ull
#define UPPER (~0ull << HOME_BITS)

#if GRANULE_SHIFT == 12
#define HOME_SHIFT 30
#define TG0 0ull
#define TG1 2ull
#elif GRANULE_SHIFT == 14
#define HOME_SHIFT 25
#define TG0 2ull
#define TG1 1ull
#else
#define HOME_SHIFT 29
#define TG0 1ull
#define TG1 3ull
#endif

#define HALF_FIELDS(size) ((u64)(size) | 1 << 8 | 1 << 10 | 3 << 12)
#define HOME_TCR (HALF_FIELDS(64 - HOME_BITS) | HALF_FIELDS(64 - HOME_BITS) << 16 | TG0 << 14 | TG1 << 30)
#define HOME_SCTLR \
    0x34D0D985ull  // M, C, SA, I, DZE, UCT, nTWI, nTWE, EIS, SPAN, UCI and what is RES1 without AArch32
#define SCTLR_A (1ull << 1)
#define SCTLR_WXN (1ull << 19)

#define STORED 0x1122334455667788ull

// What `probe` takes and gives; the offsets are in its code.
struct probe {
    u64 tcr, ttbr, sctlr, spsr, entry, alias, half, unused;
    u64 va, value, compare, sp;
    u64 esr, far, elr, after_spsr, par, result;
};

static struct probe state;
void probe(struct probe* p);
extern const char op_code[];
#define OP_SIZE 32

#define OP_CODE(id, name, text) ".balign 32\n " text "\n svc #0xFFFF\n"

__asm__(
    ".text\n"
    ".arch armv8.2-a+rcpc+fp+simd\n"
    "probe:\n"
    "stp x29, x30, [sp, #-96]!\n"
    "stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n"
    "stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n"
    "mov x19, x0\n"
    "ldp x20, x21, [x19]\n ldp x22, x23, [x19, #16]\n ldp x24, x25, [x19, #32]\n ldr x26, [x19, #48]\n"
    "ldp x0, x1, [x19, #64]\n"
    "ldr x2, [x19, #80]\n mov x3, x2\n mov x4, x1\n mov x5, x1\n mov x6, x2\n mov x7, x2\n"
    "fmov d0, x1\n ins v0.d[1], x1\n mov v1.16b, v0.16b\n mov v2.16b, v0.16b\n mov v3.16b, v0.16b\n"
    "mrs x9, tcr_el1\n mrs x10, ttbr0_el1\n mrs x11, sctlr_el1\n mrs x12, vbar_el1\n"
    "adr x14, 1f\n add x14, x14, x25\n br x14\n"
    "1: adr x15, probe_vectors\n msr vbar_el1, x15\n"
    "msr tcr_el1, x20\n"
    "cbnz x26, 2f\n msr ttbr0_el1, x21\n b 3f\n"
    "2: msr ttbr1_el1, x21\n"
    "3: msr sctlr_el1, x22\n"
    "isb\n tlbi vmalle1\n dsb nsh\n isb\n"
    "msr elr_el1, x24\n msr spsr_el1, x23\n eret\n"
    "probe_taken:\n"
    "mrs x14, esr_el1\n mrs x15, far_el1\n mrs x16, elr_el1\n mrs x17, spsr_el1\n mrs x18, par_el1\n"
    "msr pan, #0\n msr uao, #0\n"
    "msr sctlr_el1, x11\n msr tcr_el1, x9\n msr ttbr0_el1, x10\n msr ttbr1_el1, x10\n"
    "isb\n tlbi vmalle1\n dsb nsh\n isb\n"
    "msr vbar_el1, x12\n"
    "adr x21, 4f\n sub x21, x21, x25\n br x21\n"
    "4: isb\n"
    "stp x14, x15, [x19, #96]\n stp x16, x17, [x19, #112]\n stp x18, x2, [x19, #128]\n"
    "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n"
    "ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n"
    "ldp x29, x30, [sp], #96\n"
    "ret\n"

    ".balign 0x800\n"
    "probe_vectors:\n"
    "b probe_taken\n .balign 0x200\n b probe_taken\n .balign 0x200\n b probe_taken\n .balign 0x200\n"

    ".balign 32\n"
    "op_code:\n" OPS(OP_CODE));

// ── Lines ──

void print_perm_line(u32 leaf, u32 table, const char* outcomes) {
    put("perm");
    put_hex(leaf);
    put_hex(table);
    put(" -> ");
    put(outcomes);
    end_line();
}

// ── Tables ──

static u32 input_bits(u32 size) {
    return 64 - (size < FIRST_SIZE ? FIRST_SIZE : size > LAST_SIZE ? LAST_SIZE : size);
}

u32 first_level(u32 size) {
    u32 level = 3;
    while (level > 0 && LEVEL_SHIFT(level - 1) < input_bits(size)) {
        --level;
    }
    return level;
}

static volatile u64* entry(u64 va, u32 level, u32 size) {
    const u32 first = first_level(size);
    const u64 mask = (1ull << (level == first ? input_bits(size) - LEVEL_SHIFT(level) : STRIDE)) - 1;
    return (volatile u64*)TABLE(level) + (va >> LEVEL_SHIFT(level) & mask);
}

// The level that a walk comes to: of the first descriptor that is no table.
static u32 last_level(const struct test_case* test) {
    u32 level = first_level(test->size);
    while (level < 3 && (test->desc[level] & 3) == NEXT) {
        ++level;
    }
    return level;
}

// The entry behind the last one, if its table has another.
static volatile u64* next_entry(const struct test_case* test) {
    const u32 level = last_level(test);
    volatile u64* const next = entry(test->va + (1ull << LEVEL_SHIFT(level)), level, test->size);
    return next == entry(test->va, level, test->size) + 1 ? next : 0;
}

void end_at(struct test_case* test, u32 level, u64 attributes) {
    const u64 mask = (1ull << LEVEL_SHIFT(level)) - 1;
    test->desc[level] = (level == 3 ? FRAME(1) | PAGE : (FRAMES & ~mask) | BLOCK) | attributes;
}

struct test_case plain_case(u32 half, u32 size) {
    struct test_case test = {.half = half, .size = size, .el = 1, .ips = 5, .base = TABLE(first_level(size))};
    const u32 bits = input_bits(size);
    const u64 low = (FRAMES + GRANULE + 0x100) & ((1ull << (bits < 30 ? bits : 30)) - 1);
    test.va = (half != 0 ? ~0ull << bits : 0) | low;
    for (u32 level = 0; level < 3; ++level) {
        test.desc[level] = TABLE(level + 1) | NEXT;
    }
    end_at(&test, 3, AF | SHARED);
    test.next = (FRAME(2)) | PAGE | AF | SHARED;
    return test;
}

static void write_tables(const struct test_case* test, u32 clear) {
    volatile u64* const next = next_entry(test);
    if (next != 0) {
        *next = clear ? 0 : test->next;
    }
    for (u32 level = first_level(test->size); level <= 3; ++level) {
        *entry(test->va, level, test->size) = clear ? 0 : test->desc[level];
    }
    __asm__ volatile("dsb ish\n isb" ::: "memory");
}

// ── One access ──

static u64 own_tcr(const struct test_case* test) {
    const u32 at = test->half != 0 ? 16 : 0;
    u64 tcr = (HOME_TCR & ~(63ull << at)) | (u64)test->size << at | (u64)test->ips << 32;
    tcr |= test->flags & EPD ? 1ull << (7 + at) : 0;
    tcr |= test->flags & TBI ? 1ull << (37 + test->half) : 0;
    tcr |= test->flags & HPD ? 1ull << (41 + test->half) : 0;
    tcr |= test->flags & HA ? 1ull << 39 : 0;
    tcr |= test->flags & HD ? 1ull << 40 : 0;
    return tcr;
}

static void access(const struct test_case* test, u32 op) {
    const u64 guest = test->half != 0 ? 0 : UPPER;  // the half where this code is meanwhile
    state.tcr = own_tcr(test);
    state.ttbr = test->base;
    state.sctlr = HOME_SCTLR | (test->flags & ALIGN ? SCTLR_A : 0) | (test->flags & WXN ? SCTLR_WXN : 0);
    state.spsr = 0x3C0 | (test->el != 0 ? 5 : 0) | (test->flags & PAN ? 1 << 22 : 0) |
                 (test->flags & UAO ? 1 << 23 : 0);
    state.alias = guest + READ_ONLY_ALIAS;
    state.entry = (u64)op_code + op * OP_SIZE + guest + (test->el != 0 ? READ_ONLY_ALIAS : USER_ALIAS);
    state.half = test->half;
    state.va = test->va;
    state.value = STORED;
    state.compare = 0;
    probe(&state);
}

static u32 frame_word(u32 number) {
    return 0xD4000001u | number << 5;
}

// What has been stored, around every place that the address may mean; and puts it back.
static void put_stores(u64 va) {
    for (u32 number = 0; number < FRAME_COUNT << (GRANULE_SHIFT - 12); ++number) {
        volatile u32* const words = (volatile u32*)(FRAMES + number * 4096ull);
        const u32 expected = frame_word(number);
        const u32 around[2] = {(u32)((va & 0xFC0) / 4), (u32)(((va + 64) & 0xFC0) / 4)};
        for (u32 i = 0; i < 2; ++i) {
            u64 sum = 0;
            for (u32 word = around[i]; word < around[i] + 16; ++word) {
                sum = sum * 31 + (words[word] ^ expected);
                words[word] = expected;
            }
            if (sum != 0) {
                put(" stored");
                put_hex(number);
                put_hex(sum);
            }
        }
    }
}

// Puts back what an aligned store of eight bytes has changed.
static void restore(u64 pa) {
    const u32 word = frame_word((u32)((pa - FRAMES) >> 12));
    *(volatile u64*)pa = (u64)word << 32 | word;
}

static void put_changes(const struct test_case* test) {
    for (u32 level = first_level(test->size); level <= 3; ++level) {
        const u64 now = *entry(test->va, level, test->size);
        if (now != test->desc[level]) {
            put(" changed");
            put_hex(level);
            put_hex(now);
        }
    }
    volatile u64* const next = next_entry(test);
    if (next != 0 && *next != test->next) {
        put(" next");
        put_hex(*next);
    }
}

static void put_case(const struct test_case* test) {
#define OP_NAME(id, name, text) name,
    static const char names[][8] = {OPS(OP_NAME)};
    put(names[test->op]);
    put_hex(test->el);
    put_hex(test->half);
    put_hex(test->size);
    put_hex(test->flags);
    put_hex(test->ips);
    put_hex(test->va);
    put_hex(test->base);
    for (u32 level = 0; level <= 3; ++level) {
        put_hex(level < first_level(test->size) ? 0 : test->desc[level]);
    }
    put_hex(next_entry(test) != 0 ? test->next : 0);
    put(" ->");
}

// What the access ended with. SVC #0xFFFF is behind every operation.
static void put_outcome(u32 op) {
    const u64 class = state.esr >> 26;
    if (state.esr == 0x5600FFFF) {
        put(" ok");
        put_hex(op >= OP_S1E1R && op <= OP_S1E1WP ? state.par & ~(1ull << 9) : state.result);  // NS: UNKNOWN
    } else {
        put(" esr");
        put_hex(state.esr);
        if (class >= 0x20 && class <= 0x25) {
            put(" far");
            put_hex(state.far);
        }
        if (op == OP_FETCH) {
            put(" elr");
            put_hex(state.elr);
        } else {
            put(" at");
            put_hex(state.elr - state.entry);
        }
    }
    if (((state.after_spsr ^ state.spsr) & 0x0FFFFFFF) != 0) {
        put(" spsr");
        put_hex(state.after_spsr);
    }
}

// What another operation does there: AT for the memory type, and an access for what maintenance of the caches must do.
static void put_other(const struct test_case* test, u32 op, u32 flags) {
    struct test_case other = *test;
    other.flags = flags;
    other.el = op == OP_S1E1R ? 1 : test->el;
    write_tables(test, 0);
    access(&other, op);
    put_outcome(op);
    const u32 mark = line_mark();
    put_stores(test->va);  // for the frames' sake
    take_back(mark);
}

void run_case(const struct test_case* test) {
    write_tables(test, 0);
    put_case(test);
    access(test, test->op);
    put_outcome(test->op);
    put(" |");
    put_stores(test->va);
    put_changes(test);
    put(" |");
    put_other(test, OP_S1E1R, test->flags);
    if (test->op >= OP_CVAC && test->op <= OP_IVAU) {
        put_other(test, test->op == OP_IVAC ? OP_STRB : OP_LDRB, test->flags & ~(u32)(PAN | ALIGN));
    }
    end_line();
    write_tables(test, 1);
}

char outcome_of(const struct test_case* test) {
    write_tables(test, 0);
    access(test, test->op);
    restore((test->desc[3] & 0xFFFFFFFFF000ull) + (test->va & (GRANULE - 1)));
    const u64 class = state.esr >> 26;
    if (class == 0x15) {
        return '.';
    }
    return (state.esr & 63) == 15 && class >= 0x20 && class <= 0x25 ? 'P' : '?';
}

// ── Set-up ──

static void map_home(u64 va, u64 pa, u64 attributes) {
    for (u64 offset = 0; offset < 1ull << 30; offset += 1ull << HOME_SHIFT) {
        ((volatile u64*)HOME)[(va + offset) >> HOME_SHIFT] = (pa + offset) | BLOCK | AF | attributes;
    }
}

static void go_home(void) {
    map_home(0, 0, ATTR(1) | PXN | UXN);
    map_home(0x80000000, 0x80000000, SHARED | UXN);
    map_home(0x80000000 + READ_ONLY_ALIAS, 0x80000000, SHARED | UXN | READ_ONLY);
    map_home(0x80000000 + USER_ALIAS, 0x80000000, SHARED | PXN | READ_ONLY | USER);
    __asm__ volatile(
        "dsb ish\n isb\n"
        "mrs x9, sctlr_el1\n bic x9, x9, #1\n msr sctlr_el1, x9\n isb\n"
        "msr mair_el1, %0\n msr tcr_el1, %1\n msr ttbr0_el1, %2\n msr ttbr1_el1, %2\n"
        "isb\n tlbi vmalle1\n dsb ish\n isb\n"
        "msr sctlr_el1, %3\n isb\n" ::"r"(0x4404FFull),
        "r"(HOME_TCR), "r"(HOME), "r"(HOME_SCTLR)
        : "x9", "memory");
}

static void fill(void) {
    for (u64 pa = TABLES; pa < TABLE(4); pa += 8) {
        *(volatile u64*)pa = 0;
    }
    for (u32 number = 0; number < FRAME_COUNT << (GRANULE_SHIFT - 12); ++number) {
        for (u32 i = 0; i < 1024; ++i) {
            ((volatile u32*)(FRAMES + number * 4096ull))[i] = frame_word(number);
        }
    }
}

void guest_begin(void) {}

void guest_cpu(u32 self, u64 context) {
    (void)self;
    (void)context;
    const char* const seed = parameter("translation.seed=");
    const char* const count = parameter("translation.count=");
    const u64 number = seed != 0 ? parse_number(seed) : 1;
    const u32 cases = count != 0 ? parse_number(count) : 2000;
    go_home();
    fill();
    directed_cases();
    random_cases(number, cases);
    print("END\n");
    power_off();
}
