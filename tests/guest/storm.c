// Four CPUs that disturb one another: CPU_ON and CPU_OFF racing, SGIs from all to all, priorities and masks of SGIs, and
// translations that change (break-before-make) by every form of TLBI while other CPUs read and write through them.
//
// Kernel parameters: storm.cycles=N of CPU_ON and CPU_OFF for each CPU, storm.sgis=N from each CPU, storm.changes=N of the
// translation. CMakeLists.txt says how it runs. Ends with PASS, or FAIL after what was wrong.
#include "guest_c.h"

#define AFFINITY_INFO 0xC4000004
#define IS_ON 0
#define IS_OFF 1
#define IS_PENDING 2
#define ALREADY_ON (-4)
#define ON_PENDING (-5)

// What a CPU is switched on for.
enum { FOR_CYCLE = 1, FOR_RACE, FOR_DRIVING, FOR_SGIS, FOR_PRIORITIES, FOR_TRANSLATION };
#define CONTEXT(job, number) ((u64)(job) << 56 | (number))

struct counts {
    _Alignas(64) volatile u64 value;
};

static struct options { u32 cycles, sgis, changes; } options;
static volatile u32 wrong;
static struct meeting start, end;

static void require(u32 condition, const char* what) {
    if (!condition && __atomic_fetch_add(&wrong, 1, __ATOMIC_ACQ_REL) == 0) {
        print("WRONG: ");
        print(what);
        print("\n");
    }
}

static void say(const char* name, u64 count) {
    print_padded(name, 24);
    print_number(count);
    print("\n");
}

// ── Exceptions: a translation fault of level 3 is tried again and counted, SGIs are counted and answered ──

__asm__(
    ".text\n"
    ".balign 0x800\n"
    "storm_vectors:\n"
    ".skip 0x200\n"
    "stp x0, x1, [sp, #-16]!\n"
    "mrs x0, esr_el1\n"
    "and x0, x0, #~0x40\n"  // reads and writes alike
    "mov x1, #7\n movk x1, #0x9600, lsl #16\n"
    "b 1f\n"
    ".balign 0x80\n"
    "sub sp, sp, #176\n"
    "stp x0, x1, [sp]\n stp x2, x3, [sp, #16]\n stp x4, x5, [sp, #32]\n stp x6, x7, [sp, #48]\n"
    "stp x8, x9, [sp, #64]\n stp x10, x11, [sp, #80]\n stp x12, x13, [sp, #96]\n stp x14, x15, [sp, #112]\n"
    "stp x16, x17, [sp, #128]\n stp x18, x30, [sp, #144]\n"
    "bl take_sgi\n"
    "ldp x0, x1, [sp]\n ldp x2, x3, [sp, #16]\n ldp x4, x5, [sp, #32]\n ldp x6, x7, [sp, #48]\n"
    "ldp x8, x9, [sp, #64]\n ldp x10, x11, [sp, #80]\n ldp x12, x13, [sp, #96]\n ldp x14, x15, [sp, #112]\n"
    "ldp x16, x17, [sp, #128]\n ldp x18, x30, [sp, #144]\n"
    "add sp, sp, #176\n"
    "eret\n"
    ".balign 0x80\n"
    "1: cmp x0, x1\n"
    "b.ne 2f\n"
    "mrs x0, tpidr_el1\n add x0, x0, #1\n msr tpidr_el1, x0\n"
    "ldp x0, x1, [sp], #16\n"
    "eret\n"
    "2: b unexpected_fault\n"
    ".balign 0x800\n");
extern const char storm_vectors[];

__attribute__((used)) static void unexpected_fault(void) {
    require(0, "an unexpected exception");
    power_off();
}

static void mask_interrupts(void) {
    __asm__ volatile("msr daifset, #2" ::: "memory");
}
static void unmask_interrupts(void) {
    __asm__ volatile("msr daifclr, #2\n isb" ::: "memory");
}

static u32 this_cpu(void) {
    return READ_SYSTEM("mpidr_el1") & 0xFF;
}

// ── PSCI ──

static struct counts started[MAX_CPUS], started_sum[MAX_CPUS], running[MAX_CPUS], may_end[MAX_CPUS];
static struct counts driven[2], driven_sum[2];

// Switched on by one CPU: AFFINITY_INFO must follow.
static void cycle(u32 cpu, u32 number) {
    require(psci(AFFINITY_INFO, cpu, 0, 0) == IS_OFF, "AFFINITY_INFO before CPU_ON");
    require(cpu_on(cpu, CONTEXT(FOR_CYCLE, number)) == 0, "CPU_ON of a CPU that is off");
    while (running[cpu].value != number) {
        const u64 state = psci(AFFINITY_INFO, cpu, 0, 0);
#ifdef REFERENCE_QEMU  // says OFF until the CPU has begun (7.2)
        require(state <= IS_PENDING, "AFFINITY_INFO after CPU_ON");
#else
        require(state == IS_ON || state == IS_PENDING, "AFFINITY_INFO after CPU_ON");
#endif
    }
    require(psci(AFFINITY_INFO, cpu, 0, 0) == IS_ON, "AFFINITY_INFO of a running CPU");
    require(cpu_on(cpu, 0) == ALREADY_ON, "CPU_ON of a running CPU");
    may_end[cpu].value = number;
    for (u64 state = IS_ON; state != IS_OFF; state = psci(AFFINITY_INFO, cpu, 0, 0)) {
        require(state == IS_ON, "AFFINITY_INFO during CPU_OFF");
    }
}

// Two CPUs switch on two others: just one may succeed each time, and its context arrives.
static void drive(u32 self) {
    u64 sum = 0, count = 0;
    for (u32 i = 0; started[2].value + started[3].value < options.cycles; ++i) {
        const u64 number = (u64)i * 2 + self;
        const long long status = cpu_on(2 + (i & 1), CONTEXT(FOR_RACE, number));
        require(status == 0 || status == ALREADY_ON || status == ON_PENDING, "CPU_ON in a race");
        require(psci(AFFINITY_INFO, 2 + (i & 1), 0, 0) <= IS_PENDING, "AFFINITY_INFO in a race");
        if (status == 0) {
            sum += number;
            ++count;
        }
    }
    driven[self].value = count;
    driven_sum[self].value = sum;
}

static void wait_until_off(u32 cpu) {
    while (psci(AFFINITY_INFO, cpu, 0, 0) != IS_OFF) {
    }
}

static void test_psci(void) {
    for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
        for (u32 i = 1; i <= options.cycles; ++i) {
            cycle(cpu, i);
        }
    }
    say("CPU_ON, CPU_OFF", 3ull * options.cycles);
    require(cpu_on(1, CONTEXT(FOR_DRIVING, 0)) == 0, "CPU_ON of CPU 1");
    meet(&start, 2);
    drive(0);
    meet(&end, 2);
    for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
        wait_until_off(cpu);
    }
    const u64 count = started[2].value + started[3].value;
#ifndef REFERENCE_QEMU  // lets two succeed before the CPU has begun (7.2)
    require(count == driven[0].value + driven[1].value, "CPUs start as often as CPU_ON succeeds");
    require(started_sum[2].value + started_sum[3].value == driven_sum[0].value + driven_sum[1].value,
            "contexts of CPU_ON");
#endif
    say("CPU_ON in a race", count);
}

// ── SGIs: number = sender, answered by number 8 + receiver ──

static struct counts received[MAX_CPUS][MAX_CPUS], answered[MAX_CPUS][MAX_CPUS];

static void gic_on(u32 self) {
    volatile u32* distributor = (volatile u32*)GICD;
    volatile u32* redistributor = (volatile u32*)GICR(self);
    if (self == 0) {
        distributor[0] = 0x12;  // GICD_CTLR: affinity routing, group 1
    }
    redistributor[0x14 / 4] &= ~2u;  // GICR_WAKER
    while ((redistributor[0x14 / 4] & 4) != 0) {
    }
    redistributor[0x10080 / 4] = ~0u;     // GICR_IGROUPR0
    redistributor[0x10100 / 4] = 0xFFFF;  // GICR_ISENABLER0: SGIs
    for (u32 i = 0; i < 4; ++i) {
        redistributor[0x10400 / 4 + i] = 0x80808080;  // GICR_IPRIORITYR
    }
    WRITE_SYSTEM("s3_0_c12_c12_5", 7);  // ICC_SRE_EL1
    WRITE_SYSTEM(ICC_PMR, 0xF0);
    WRITE_SYSTEM("s3_0_c12_c12_7", 1);  // ICC_IGRPEN1_EL1
}

static void send_sgi(u32 number, u32 targets) {
    __asm__ volatile("dsb ish" ::: "memory");
    WRITE_SYSTEM(ICC_SGI1R, (u64)number << 24 | targets);
}

__attribute__((used)) static void take_sgi(void) {
    const u32 self = this_cpu();
    const u64 number = READ_SYSTEM(ICC_IAR1);
    if (number == 1023) {
        return;  // withdrawn
    }
    if (number < 8) {
        received[self][number].value++;
        send_sgi(8 + self, 1u << number);
    } else {
        answered[self][number - 8].value++;
    }
    WRITE_SYSTEM(ICC_EOIR1, number);
}

// Sends and waits for all answers, asleep: an SGI that is lost, or does not end WFI, stops the test.
static void exchange(u32 self, u32 targets, u64* sent) {
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        sent[cpu] += targets >> cpu & 1;
    }
    send_sgi(self, targets);
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        for (;;) {
            mask_interrupts();
            if (answered[self][cpu].value == sent[cpu]) {
                break;
            }
            __asm__ volatile("wfi");
            unmask_interrupts();
        }
        unmask_interrupts();
    }
}

static void storm_of_sgis(u32 self) {
    u64 sent[MAX_CPUS] = {0};
    gic_on(self);
    meet(&start, MAX_CPUS);
    unmask_interrupts();
    u32 random = self;
    for (u32 i = 0; i < options.sgis; ++i) {
        random = random * 1664525 + 1013904223;
        exchange(self, random >> 28 == 0 ? 1u << self : random >> 28 & ~(1u << self), sent);
    }
    meet(&end, MAX_CPUS);
    mask_interrupts();
    for (u32 cpu = 0; cpu < MAX_CPUS; ++cpu) {
        require(received[cpu][self].value == sent[cpu], "every SGI arrives once");
    }
    meet(&start, MAX_CPUS);
}

// Numbers 4, 5 and 6 have priorities 0x40, 0xA0 and 0x60: in what order, and under what mask, they are there.
static void take_in_order(const u32* expected) {
    for (; *expected != 0; ++expected) {
        const u64 number = READ_SYSTEM(ICC_IAR1);
        require(number == *expected, "SGIs by priority and mask");
        if (number < 16) {
            WRITE_SYSTEM(ICC_EOIR1, number);
        }
    }
}

static void priorities(u32 self) {
    static const u32 unmasked[] = {4, 6, 5, 1023, 0}, masked[] = {4, 6, 1023, 0}, rest[] = {5, 1023, 0};
    volatile u32* redistributor = (volatile u32*)GICR(0);
    gic_on(self);
    if (self == 0) {
        redistributor[0x10404 / 4] = 0x8060A040;
    }
    for (u32 i = 0; i < options.sgis / 10; ++i) {
        if (self == 0) {
            WRITE_SYSTEM(ICC_PMR, (i & 1) != 0 ? 0x80 : 0xF0);
        }
        meet(&start, 2);
        if (self == 1) {
            send_sgi(5, 1);
            send_sgi(6, 1);
            send_sgi(4, 1);
            send_sgi(5, 1);
        }
        meet(&end, 2);
        if (self != 0) {
            continue;
        }
        while ((redistributor[0x10200 / 4] & 0x70) != 0x70) {  // GICR_ISPENDR0
        }
        take_in_order((i & 1) != 0 ? masked : unmasked);
        if ((i & 1) != 0) {
            WRITE_SYSTEM(ICC_PMR, 0xF0);
            take_in_order(rest);
        }
    }
}

// ── Translations: one page whose frame changes; the old frame is poisoned as soon as DSB says that nobody uses it ──

#define PAGE_VA 0x100000000ull
#define POISON (~0ull)
#define NOT_GLOBAL (1ull << 11)
static _Alignas(4096) u64 level2[512], level3[512];
static _Alignas(4096) volatile u64 frames[2][512];
static struct counts reads[MAX_CPUS], faults[MAX_CPUS];
static volatile u32 changes_over;

static u64 page_of(const volatile void* frame, u32 global) {
    return (u64)frame | 0x703 | 3ull << 53 | (global ? 0 : NOT_GLOBAL);
}

// Each CPU has the ASID of its number. What an operation is told besides: page, or page and ASID, or ASID.
#define OTHER_ASID (7ull << 48)  // a global page goes whatever ASID is named
#define TLBI(operation, value) __asm__ volatile("tlbi " operation ", %0" ::"r"((u64)(value)) : "memory")
enum { BY_PAGE_AND_ASID, LAST_LEVEL, BY_PAGE, LAST_LEVEL_BY_PAGE, BY_ASID, EVERYTHING, FORMS };

// Every form twice in a row: once for a global page, if it takes those, and once for one that is not.
static u32 form_of(u64 number) {
    return (u32)(number / 2 % FORMS);
}
static u32 is_global(u64 number) {
    return number % 2 == 0 && form_of(number) != BY_ASID;
}

// The entry of `page` goes from the TLBs of this CPU, or of all: the page is global, or belongs to `asid`.
#define INVALIDATE(name, shared)                                               \
    static void name(u32 form, u64 page, u64 asid, u32 global) {               \
        const u64 number = page >> 12, tag = global ? OTHER_ASID : asid << 48; \
        switch (form) {                                                        \
            case BY_PAGE_AND_ASID: TLBI("vae1" shared, number | tag); break;   \
            case LAST_LEVEL: TLBI("vale1" shared, number | tag); break;        \
            case BY_PAGE: TLBI("vaae1" shared, number); break;                 \
            case LAST_LEVEL_BY_PAGE: TLBI("vaale1" shared, number); break;     \
            case BY_ASID: TLBI("aside1" shared, tag); break;                   \
            default: __asm__ volatile("tlbi vmalle1" shared ::: "memory");     \
        }                                                                      \
    }
INVALIDATE(invalidate_here, "")
INVALIDATE(invalidate_everywhere, "is")

static void take_asid(u64 asid) {
    WRITE_SYSTEM("ttbr0_el1", (u64)level1 | asid << 48);
}

// Reads the number of the change, which must not go back, and writes to a word of its own.
static void use_page(u32 self) {
    volatile u64* page = (volatile u64*)PAGE_VA;
    u64 last = 0, count = 0;
    WRITE_SYSTEM("tpidr_el1", 0);
    while (!changes_over) {
        const u64 value = page[0];
        require(value != POISON, "a read through a translation that is no more");
        require(value >= last || value == POISON, "translations follow one another");
        last = value;
        page[8 * self] = ++count;
    }
    reads[self].value = count;
    faults[self].value = READ_SYSTEM("tpidr_el1");
}

static void change_page(u64 number) {
    volatile u64* old = frames[number & 1];
    volatile u64* fresh = frames[~number & 1];
    u64 words[MAX_CPUS];
    *(volatile u64*)&level3[0] = 0;
    __asm__ volatile("dsb ishst" ::: "memory");
    for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
        invalidate_everywhere(form_of(number), PAGE_VA, cpu, is_global(number));
    }
    __asm__ volatile("dsb ish\n isb" ::: "memory");
    old[0] = POISON;
    for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
        words[cpu] = old[8 * cpu];
    }
    fresh[0] = number;
    __asm__ volatile("dsb ishst" ::: "memory");
    *(volatile u64*)&level3[0] = page_of(fresh, is_global(number + 1));
    __asm__ volatile("dsb ishst\n isb" ::: "memory");
    for (u32 i = 0; i < 64; ++i) {
        for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
            require(old[8 * cpu] == words[cpu], "a write through a translation that is no more");
        }
    }
}

// A page of this CPU alone, by operations that only this CPU hears of, while the others do the same.
static void change_own_page(u32 self, u64 number) {
    static _Alignas(4096) volatile u64 own[MAX_CPUS][2][512];
    const u64 va = PAGE_VA + 4096ull * (1 + self);
    volatile u64* const entry = (volatile u64*)&level3[1 + self];
    volatile u64* const fresh = own[self][number & 1];
    *entry = 0;
    __asm__ volatile("dsb nshst" ::: "memory");
    invalidate_here(form_of(number), va, self, is_global(number));
    __asm__ volatile("dsb nsh\n isb" ::: "memory");
    fresh[0] = number;
    *entry = page_of(fresh, is_global(number + 1));
    __asm__ volatile("dsb nshst\n isb" ::: "memory");
    require(*(volatile u64*)va == number, "a translation of one CPU that is no more");
    *(volatile u64*)(va + 8) = ~number;
    require(fresh[1] == ~number, "a write through a translation of one CPU that is no more");
}

static void test_translations(u32 self) {
    take_asid(self);
    if (self == 0) {
        level3[0] = page_of(frames[0], is_global(1));
        level2[0] = (u64)level3 | 3;
        level1[PAGE_VA >> 30] = (u64)level2 | 3;
        __asm__ volatile("dsb ish\n isb" ::: "memory");
    }
    meet(&start, MAX_CPUS);
    if (self != 0) {
        use_page(self);
    }
    for (u64 number = 1; self == 0 && number <= options.changes; ++number) {
        change_page(number);
    }
    changes_over = self == 0 ? 1 : changes_over;
    meet(&end, MAX_CPUS);
    for (u64 number = 0; number < 2ull * options.changes; ++number) {
        change_own_page(self, number);
    }
    meet(&start, MAX_CPUS);
}

// ── All of it ──

static void start_for(u32 job, u32 cpus) {
    for (u32 cpu = 1; cpu < cpus; ++cpu) {
        wait_until_off(cpu);
        require(cpu_on(cpu, CONTEXT(job, 0)) == 0, "CPU_ON for the next test");
    }
}

static void first_cpu_tests(void) {
    test_psci();
    start_for(FOR_SGIS, MAX_CPUS);
    storm_of_sgis(0);
    say("SGIs sent by each CPU", options.sgis);
    start_for(FOR_PRIORITIES, 2);
    priorities(0);
    say("SGIs by priority", options.sgis / 10);
    for (u32 cpu = 1; cpu < MAX_CPUS; ++cpu) {
        wait_until_off(cpu);
    }
    start_for(FOR_TRANSLATION, MAX_CPUS);
    test_translations(0);
    say("changes of translation", options.changes);
    print(wrong == 0 ? "PASS\n" : "FAIL\n");
    power_off();
}

void guest_cpu(u32 self, u64 context) {
    WRITE_SYSTEM("vbar_el1", storm_vectors);
    const u64 number = context & ((1ull << 56) - 1);
    switch (context >> 56) {
        case FOR_CYCLE:
            running[self].value = number;
            while (may_end[self].value != number) {
            }
            break;
        case FOR_RACE:
            started[self].value++;
            started_sum[self].value += number;
            break;
        case FOR_DRIVING:
            meet(&start, 2);
            drive(1);
            meet(&end, 2);
            break;
        case FOR_SGIS: storm_of_sgis(self); break;
        case FOR_PRIORITIES: priorities(self); break;
        case FOR_TRANSLATION: test_translations(self); break;
        default: first_cpu_tests();
    }
}

void guest_begin(void) {
    const char* cycles = parameter("storm.cycles=");
    const char* sgis = parameter("storm.sgis=");
    const char* changes = parameter("storm.changes=");
    options.cycles = cycles != 0 ? parse_number(cycles) : 200;
    options.sgis = sgis != 0 ? parse_number(sgis) : 500;
    options.changes = changes != 0 ? parse_number(changes) : 300;
}
