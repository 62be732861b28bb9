// Exclusives and LSE atomics under contention of four CPUs: sums must be exact, exchanged values must neither vanish nor
// appear twice, pairs must never be seen half written, and a lock must exclude.
#include "litmus.h"

#define EACH_SIZE(X) X(1, "b", u8, w) X(2, "h", u16, w) X(4, "", u32, w) X(8, "", u64, x)
#define WIDTH_w "w"
#define WIDTH_x ""

typedef unsigned short u16;
typedef unsigned __int128 u128;

// What a case works on: zero before it.
static union {
    _Alignas(64) volatile u64 words[64];
    volatile u8 bytes[512];
    u128 pair;
} shared;
static struct line errors[MAX_CPUS];
static u64 kept[MAX_CPUS];
static struct meeting start, end;

struct contended {
    const char* name;
    void (*work)(u32 self, u32 rounds);
    u32 (*check)(u32 rounds);  // on CPU 0 when all are done: what is wrong in the end
};

static void wrong_if(u32 self, u32 condition) {
    errors[self].value += condition;
}

// ── Sums: each CPU adds 1 to the location of every size, and CPU n in bytes to byte n of a word whose byte 7 all count ──

#define SIZE_WORD(size) (8 * (size))

#define SUM_EXCLUSIVE(size, suffix, type, width)                                         \
    __asm__ volatile("1: ldxr" suffix " %" #width "0, [%2]\n add %" #width "0, %" #width \
                     "0, #1\n stxr" suffix " %w1, %" #width "0, [%2]\n cbnz %w1, 1b"     \
                     : "=&r"(value), "=&r"(status)                                       \
                     : "r"(&shared.words[SIZE_WORD(size) % 64])                          \
                     : "memory");
static void sum_exclusive(u32 self, u32 rounds) {
    (void)self;
    for (; rounds != 0; --rounds) {
        u64 value;
        u32 status;
        EACH_SIZE(SUM_EXCLUSIVE)
    }
}

#define SUM_LDADD(size, suffix, type, width)                               \
    __asm__ volatile("ldadd" suffix " %" #width "1, %" #width "0, [%2]"    \
                     : "=r"(value)                                         \
                     : "r"(1ull), "r"(&shared.words[SIZE_WORD(size) % 64]) \
                     : "memory");
static void sum_ldadd(u32 self, u32 rounds) {
    (void)self;
    for (; rounds != 0; --rounds) {
        u64 value;
        EACH_SIZE(SUM_LDADD)
    }
}

#define SUM_CAS(size, suffix, type, width)                                                    \
    do {                                                                                      \
        type old = (type)shared.words[SIZE_WORD(size) % 64], found;                           \
        for (;; old = found) {                                                                \
            found = old;                                                                      \
            __asm__ volatile("cas" suffix " %" #width "0, %" #width "1, [%2]"                 \
                             : "+r"(found)                                                    \
                             : "r"((type)(old + 1)), "r"(&shared.words[SIZE_WORD(size) % 64]) \
                             : "memory");                                                     \
            if (found == old) {                                                               \
                break;                                                                        \
            }                                                                                 \
        }                                                                                     \
    } while (0);
static void sum_cas(u32 self, u32 rounds) {
    (void)self;
    for (; rounds != 0; --rounds) {
        EACH_SIZE(SUM_CAS)
    }
}

#define SUM_WRONG(size, suffix, type, width) \
    wrong += shared.words[SIZE_WORD(size) % 64] != (type)(rounds * (u64)MAX_CPUS);
static u32 check_sums(u32 rounds) {
    u32 wrong = 0;
    EACH_SIZE(SUM_WRONG)
    return wrong;
}

// Neighbouring bytes: CPU n alone counts in byte n, by exclusives, LDADD or plainly; byte 7 is everybody's.
static void neighbours(u32 self, u32 rounds) {
    volatile u8* mine = &shared.bytes[self];
    volatile u8* common = &shared.bytes[7];
    for (; rounds != 0; --rounds) {
        u32 value, status;
        if (self == 3) {
            *mine = (u8)(*mine + 1);
        } else if (self == 2) {
            __asm__ volatile("staddb %w0, [%1]" ::"r"(1), "r"(mine) : "memory");
        } else {
            __asm__ volatile("1: ldaxrb %w0, [%2]\n add %w0, %w0, #1\n stlxrb %w1, %w0, [%2]\n cbnz %w1, 1b"
                             : "=&r"(value), "=&r"(status)
                             : "r"(mine)
                             : "memory");
        }
        __asm__ volatile("ldaddb %w1, %w0, [%2]" : "=r"(value) : "r"(1), "r"(common) : "memory");
    }
}
static u32 check_neighbours(u32 rounds) {
    u32 wrong = shared.bytes[7] != (u8)(rounds * MAX_CPUS);
    for (u32 cpu = 0; cpu < 7; ++cpu) {
        wrong += shared.bytes[cpu] != (cpu < MAX_CPUS ? (u8)rounds : 0);
    }
    return wrong;
}

// ── Bits: each CPU sets, clears and flips its own bit, and is told how it was ──

static void bits(u32 self, u32 rounds) {
    const u64 mine = 0x100000001ull << (7 * self);
    for (; rounds != 0; --rounds) {
        u64 found;
        __asm__ volatile("ldset %1, %0, [%2]" : "=r"(found) : "r"(mine), "r"(shared.words) : "memory");
        wrong_if(self, (found & mine) != 0);
        __asm__ volatile("ldeoral %1, %0, [%2]" : "=r"(found) : "r"(mine), "r"(shared.words) : "memory");
        wrong_if(self, (found & mine) != mine);
        __asm__ volatile("steor %0, [%1]" ::"r"(mine), "r"(shared.words) : "memory");
        __asm__ volatile("ldclrl %1, %0, [%2]" : "=r"(found) : "r"(mine), "r"(shared.words) : "memory");
        wrong_if(self, (found & mine) != mine);
    }
}
static u32 check_zero(u32 rounds) {
    (void)rounds;
    return shared.words[0] != 0;
}

// ── Maxima and minima: of one's own values in both directions; what is returned only moves one way ──

static void extremes(u32 self, u32 rounds) {
    u64 highest = 0, lowest = 0, found;
    for (u64 i = 1; i <= rounds; ++i) {
        const u64 value = i * MAX_CPUS + self;
        __asm__ volatile("ldumax %1, %0, [%2]" : "=r"(found) : "r"(value), "r"(&shared.words[0]) : "memory");
        wrong_if(self, found < highest);
        highest = found > value ? found : value;
        __asm__ volatile("ldsmin %1, %0, [%2]"
                         : "=r"(found)
                         : "r"(0 - value), "r"(&shared.words[8])
                         : "memory");
        wrong_if(self, (long long)found > (long long)lowest);
        lowest = (long long)found < -(long long)value ? found : 0 - value;
    }
}
static u32 check_extremes(u32 rounds) {
    const u64 last = rounds == 0 ? 0 : (u64)rounds * MAX_CPUS + MAX_CPUS - 1;
    return (shared.words[0] != last) + (shared.words[8] != 0 - last);
}

// ── SWP: every value is in one place ──

static void swaps(u32 self, u32 rounds) {
    u64 token = 1ull << (8 * self);
    for (; rounds != 0; --rounds) {
        __asm__ volatile("swp %0, %0, [%1]" : "+r"(token) : "r"(&shared.words[rounds & 1]) : "memory");
        wrong_if(self, (token & (token - 1)) != 0);
    }
    kept[self] = token;
}
static u32 check_swaps(u32 rounds) {
    (void)rounds;
    u64 sum = shared.words[0] + shared.words[1], expected = 0;
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        sum += kept[cpu];
        expected += 1ull << (8 * cpu);
    }
    return sum != expected;
}

// ── Pairs: the second half is the first one inverted, but for the zeros of the beginning ──

static void pair_cas(u32 self, u32 rounds) {
    register u64 low __asm__("x4") = shared.words[0];
    register u64 high __asm__("x5") = shared.words[1];
    for (; rounds != 0; --rounds) {
        for (;;) {
            const u64 old_low = low, old_high = high;
            register u64 new_low __asm__("x6") = low + 1;
            register u64 new_high __asm__("x7") = ~(low + 1);
            __asm__ volatile("caspal x4, x5, x6, x7, [%4]"
                             : "+r"(low), "+r"(high)
                             : "r"(new_low), "r"(new_high), "r"(&shared.pair)
                             : "memory");
            if (low == old_low && high == old_high) {
                low = new_low;
                high = new_high;
                break;
            }
            // What CASP found was there at one time.
            wrong_if(self, low != ~high && (low | high) != 0);
        }
    }
}
static void pair_exclusive(u32 self, u32 rounds) {
    for (; rounds != 0; --rounds) {
        u64 low, high;
        u32 status;
        __asm__ volatile(
            "1: ldaxp %0, %1, [%3]\n add %0, %0, #1\n mvn %1, %0\n stlxp %w2, %0, %1, [%3]\n cbnz %w2, 1b"
            : "=&r"(low), "=&r"(high), "=&r"(status)
            : "r"(&shared.pair)
            : "memory");
    }
    (void)self;
}
static u32 check_pair(u32 rounds) {
    const u64 sum = (u64)rounds * MAX_CPUS;
    return (shared.words[0] != sum) + (sum != 0 && shared.words[1] != ~sum);
}

// ── A lock by LDAXR, STXR and STLR around plain data ──

static void lock(u32 self, u32 rounds) {
    volatile u64* data = &shared.words[8];
    for (; rounds != 0; --rounds) {
        u32 found, status;
        __asm__ volatile(
            "sevl\n"
            "1: wfe\n"
            "2: ldaxr %w0, [%2]\n cbnz %w0, 1b\n stxr %w1, %w3, [%2]\n cbnz %w1, 2b"
            : "=&r"(found), "=&r"(status)
            : "r"(shared.words), "r"(1)
            : "memory");
        const u64 value = data[0];
        for (u32 i = 0; i < 32; i += 4) {
            wrong_if(self, data[i] != value);
            data[i] = value + 1;
        }
        __asm__ volatile("stlr wzr, [%0]" ::"r"(shared.words) : "memory");
    }
}
static u32 check_lock(u32 rounds) {
    u32 wrong = 0;
    for (u32 i = 0; i < 32; i += 4) {
        wrong += shared.words[8 + i] != (u64)rounds * MAX_CPUS;
    }
    return wrong;
}

// ── Aligned accesses are not torn: the parts of every value are equal ──

static void aligned(u32 self, u32 rounds) {
    for (; rounds != 0; --rounds) {
        const u64 value = (rounds * 4 + self) * 0x100000001ull;
        u64 low, high;
        u32 half;
        shared.words[0] = value;
        __asm__ volatile("stp %0, %0, [%1]" ::"r"(value), "r"(&shared.words[2]) : "memory");
        __asm__ volatile("strh %w0, [%1]" ::"r"((rounds & 255) * 0x101), "r"(&shared.words[4]) : "memory");
        low = shared.words[0];
        wrong_if(self, (u32)low != low >> 32);
        __asm__ volatile("ldp %0, %1, [%2]" : "=r"(low), "=r"(high) : "r"(&shared.words[2]) : "memory");
        wrong_if(self, (u32)low != low >> 32 || (u32)high != high >> 32);
        __asm__ volatile("ldrh %w0, [%1]" : "=r"(half) : "r"(&shared.words[4]) : "memory");
        wrong_if(self, (half & 255) != half >> 8);
    }
}
static u32 check_nothing(u32 rounds) {
    (void)rounds;
    return 0;
}

static const struct contended cases[] = {
    {"sum by LDXR/STXR", sum_exclusive, check_sums},
    {"sum by LDADD", sum_ldadd, check_sums},
    {"sum by CAS", sum_cas, check_sums},
    {"bytes of a word", neighbours, check_neighbours},
    {"bits", bits, check_zero},
    {"extremes", extremes, check_extremes},
    {"SWP", swaps, check_swaps},
    {"CASP", pair_cas, check_pair},
    {"LDAXP/STLXP", pair_exclusive, check_pair},
    {"lock", lock, check_lock},
    {"aligned", aligned, check_nothing},
};

// Prints the line of a case; whether it went wrong.
static u32 report(const struct contended* each, u32 rounds) {
    u32 wrong = each->check(rounds);
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        wrong += errors[cpu].value;
        errors[cpu].value = 0;
    }
    for (u32 i = 0; i < 64; ++i) {
        shared.words[i] = 0;
    }
    print_padded(each->name, 20);
    print(" exact     ");
    print_number(wrong);
    print(" | :");
    print_number(rounds * (u64)MAX_CPUS);
    print(wrong != 0 ? "  WRONG\n" : "\n");
    return wrong != 0;
}

u32 contend(u32 self, u32 rounds) {
    u32 wrong = 0;
    for (u32 i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        meet(&start, MAX_CPUS);
        cases[i].work(self, rounds);
        meet(&end, MAX_CPUS);
        if (self == 0) {
            wrong += report(&cases[i], rounds);
        }
    }
    return wrong;
}
