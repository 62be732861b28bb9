// Litmus tests of the memory model, and atomics under contention, on four CPUs. Run by litmus.py.
//
// Kernel parameters: litmus.runs=N and litmus.ms=N, at most so many runs or milliseconds of each test; litmus.rounds=N of the
// atomics; litmus.only=NAME, that test alone; litmus.stride=N, a power of two: CPUs wait for one another only before each
// Nth run; litmus.patience=N, and for how many polls; and litmus.wrong: outcomes that the architecture allows count as
// forbidden, and end the test that shows them, to see that the guest can fail.
//
// One line for each test: name, verdict, how often the outcome was seen, and the number of times for every combination of
// what its condition looks at. Runs come in batches, each run with variables of its own, so that CPUs need not wait for
// counting between them; before each the CPUs wait for one another, though never for long: one may not have a host CPU.
#include "litmus.h"

#include "guest_c.h"
#include "litmus_tests.h"

#define BATCH 2048u

// Fields of an outcome, two bits each: registers a and b of the CPUs, the variables in the end.
#define A(cpu) (4 * (cpu))
#define B(cpu) (4 * (cpu) + 2)
#define FINAL_X 16
#define FINAL_Y 18
#define FIELDS 10
// A condition: which fields, in the upper half, and their values.
#define IS(field, value) (3ull << (32 + (field)) | (u64)(value) << (field))

enum verdict { ALLOWED, FORBIDDEN };

struct run {
    _Alignas(64) volatile u32 x;
    _Alignas(64) volatile u32 y;
};

struct test {
    const char* name;
    enum verdict verdict;
    u64 condition;
    u32 cpus;
    void (*thread[MAX_CPUS])(u32 first, u32 delay_mask);
};

struct options {
    u32 runs, rounds, milliseconds;
    u32 stride_mask, patience;
    u32 wrong;
    const char* only;
};

static struct run runs[BATCH];
static u8 registers[MAX_CPUS][BATCH];
static struct line positions[MAX_CPUS];
static u32 histogram[1u << (2 * FIELDS)];
static u32 seen[1u << 12], seen_count;
static struct meeting all_cpus, batch_start, batch_end;
static struct options options;
static volatile u32 test_over;

// How long a CPU waits for others before a run, in polls. One whose host CPU is taken away for a while costs some runs then;
// two that wait for each other on one host CPU are so busy that the host separates them.
#define PATIENCE(cpus) (options.patience != 0 ? options.patience : (cpus) == 2 ? 3000u : 500u)

// Waits until the others have come to run `number`, then for some steps, which differ between CPUs and from run to run.
ALWAYS_INLINE void start_run(u32 self, u32 cpus, u32 number, u32 delay_mask) {
    if ((number & options.stride_mask) == 0) {
        positions[self].value = number;
        u32 patience = PATIENCE(cpus);
        for (u32 other = 0; other < cpus; ++other) {
            while (other != self && positions[other].value < number && patience != 0) {
                --patience;
            }
        }
    }
    for (u32 delay = number * (2654435761u + 97612u * self) >> 20 & delay_mask; delay != 0; --delay) {
        __asm__ volatile("");
    }
}

#define THREAD(id, self, cpus, body)                                                                \
    static void id##_##self(u32 first, u32 delay_mask) {                                            \
        for (u32 i = 0; i < BATCH; ++i) {                                                           \
            u32 a = 0, b = 0, t;                                                                    \
            start_run(self, cpus, first + i, delay_mask);                                           \
            __asm__ volatile(body                                                                   \
                             : [a] "+&r"(a), [b] "+&r"(b), [t] "=&r"(t)                             \
                             : [x] "r"(&runs[i].x), [y] "r"(&runs[i].y), [one] "r"(1), [two] "r"(2) \
                             : "memory", "cc");                                                     \
            registers[self][i] = (u8)(a | b << 2);                                                  \
        }                                                                                           \
    }
#define THREADS_2(id, name, verdict, condition, body0, body1) THREAD(id, 0, 2, body0) THREAD(id, 1, 2, body1)
#define THREADS_3(id, name, verdict, condition, body0, body1, body2) \
    THREAD(id, 0, 3, body0) THREAD(id, 1, 3, body1) THREAD(id, 2, 3, body2)
#define THREADS_4(id, name, verdict, condition, body0, body1, body2, body3) \
    THREAD(id, 0, 4, body0) THREAD(id, 1, 4, body1) THREAD(id, 2, 4, body2) THREAD(id, 3, 4, body3)
LITMUS_TESTS(THREADS_2, THREADS_3, THREADS_4)

#define ROW_2(id, name, verdict, condition, ...) {name, verdict, condition, 2, {id##_0, id##_1}},
#define ROW_3(id, name, verdict, condition, ...) {name, verdict, condition, 3, {id##_0, id##_1, id##_2}},
#define ROW_4(id, name, verdict, condition, ...) \
    {name, verdict, condition, 4, {id##_0, id##_1, id##_2, id##_3}},
static const struct test tests[] = {LITMUS_TESTS(ROW_2, ROW_3, ROW_4)};

// Adds the batch to the histogram and clears the variables.
static void count_batch(const struct test* test) {
    const u32 mask = (u32)(test->condition >> 32);
    for (u32 i = 0; i < BATCH; ++i) {
        u32 outcome = 0;
        for (u32 cpu = 0; cpu < test->cpus; ++cpu) {
            outcome |= (u32)registers[cpu][i] << A(cpu);
        }
        outcome = (outcome | runs[i].x << FINAL_X | runs[i].y << FINAL_Y) & mask;
        runs[i].x = 0;
        runs[i].y = 0;
        if (histogram[outcome]++ == 0) {
            seen[seen_count++] = outcome;
        }
    }
}

static void print_outcome(u32 mask, u32 outcome) {
    print(" ");
    for (u32 field = 0; field < FIELDS; ++field) {
        if ((mask >> (2 * field) & 3) != 0) {
            print_number(outcome >> (2 * field) & 3);
        }
    }
    print(":");
    print_number(histogram[outcome]);
}

// Prints the line of a test and clears the histogram; whether the outcome was seen and must not be.
static u32 report(const struct test* test) {
    const u32 mask = (u32)(test->condition >> 32);
    const u32 weak = histogram[(u32)test->condition];
    const u32 forbidden = test->verdict == FORBIDDEN || options.wrong;
    print_padded(test->name, 20);
    print(forbidden ? " forbidden " : " allowed   ");
    print_number(weak);
    print(" |");
    for (u32 i = 0; i < seen_count; ++i) {
        print_outcome(mask, seen[i]);
        histogram[seen[i]] = 0;
    }
    print(forbidden && weak != 0 ? "  WRONG\n" : "\n");
    seen_count = 0;
    return forbidden && weak != 0;
}

static u64 counter(void) {
    u64 value;
    __asm__ volatile("isb\n mrs %0, cntvct_el0" : "=r"(value)::"memory");
    return value;
}

static u64 milliseconds_to_ticks(u32 milliseconds) {
    u64 frequency;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
    return milliseconds * frequency / 1000;
}

// Whether to end the test; CPU 0 decides.
static u32 enough(const struct test* test, u32 done, u64 begin) {
    return done >= options.runs || counter() - begin >= milliseconds_to_ticks(options.milliseconds) ||
           (options.wrong && histogram[(u32)test->condition] != 0);
}

// One CPU's part of a test.
static void run_test(const struct test* test, u32 self) {
    static const u32 delay_masks[] = {127, 0, 63, 15};
    const u64 begin = counter();
    for (u32 done = 0;; done += BATCH) {
        if (self == 0) {
            test_over = enough(test, done, begin);
        }
        meet(&batch_start, test->cpus);
        if (test_over) {
            return;
        }
        test->thread[self](done + 1, delay_masks[done / BATCH % 4]);  // positions are 0 at first
        meet(&batch_end, test->cpus);
        if (self == 0) {
            count_batch(test);
        }
    }
}

// CPUs are switched on when a test first needs them: until then they would take time from the others.
static u32 switch_on(u32 self, u32 running, u32 needed) {
    for (u32 cpu = running; self == 0 && cpu < needed; ++cpu) {
        start_cpu(cpu);
    }
    return needed > running ? needed : running;
}

// Every CPU comes here, and leaves out what was before its time.
static u32 run_tests(u32 self, u32* running) {
    u32 wrong = 0;
    for (u32 i = 0; i < sizeof(tests) / sizeof(tests[0]); ++i) {
        if (options.only != 0 && !is_word(options.only, tests[i].name)) {
            continue;
        }
        *running = switch_on(self, *running, tests[i].cpus);
        if (self >= *running) {
            continue;
        }
        meet(&all_cpus, *running);
        if (self < tests[i].cpus) {
            run_test(&tests[i], self);
        }
        meet(&all_cpus, *running);
        positions[self].value = 0;
        if (self == 0) {
            wrong += report(&tests[i]);
        }
    }
    return wrong;
}

void guest_cpu(u32 self, u64 context) {
    (void)context;
    u32 running = 1;
    u32 wrong = run_tests(self, &running);
    if (options.only == 0) {
        switch_on(self, running, MAX_CPUS);
        wrong += contend(self, options.rounds);
    }
    if (self == 0) {
        print(wrong == 0 ? "PASS\n" : "FAIL\n");
        power_off();
    }
}

static u32 number_of(const char* name, u32 otherwise) {
    const char* text = parameter(name);
    return text != 0 ? parse_number(text) : otherwise;
}

void guest_begin(void) {
    options.runs = number_of("litmus.runs=", 100000);
    options.milliseconds = number_of("litmus.ms=", 1000);
    options.rounds = number_of("litmus.rounds=", 10000);
    options.stride_mask = number_of("litmus.stride=", 1) - 1;
    options.patience = number_of("litmus.patience=", 0);
    options.only = parameter("litmus.only=");
    options.wrong = parameter("litmus.wrong") != 0;
}
