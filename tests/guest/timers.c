// The edges of the generic timers: what their registers hold and say, when the interrupt is there, and what EL0 may touch.
// Of the first of four CPUs. Runs on vmm and, as a check of the test, on QEMU. Ends with PASS, or FAIL after what was wrong.
#include "guest_c.h"

#define VIRTUAL_INTID 27u
#define PHYSICAL_INTID 30u
#define ENABLE 1u
#define IMASK 2u
#define ISTATUS 4u

// As it is now, not before what stands before it.
#define READ_NOW(name)                        \
    __extension__({                           \
        __asm__ volatile("isb" ::: "memory"); \
        READ_SYSTEM(name);                    \
    })

static u32 wrong;

static void require(u32 condition, const char* timer, const char* what) {
    if (!condition) {
        wrong = 1;
        print("WRONG: ");
        print(timer);
        print(what);
        print("\n");
    }
}

// One timer.
struct timer {
    const char* name;
    u32 intid;
    u64 (*count)(void);
    u64 (*control)(void);
    void (*set_control)(u64);
    u64 (*compare)(void);
    void (*set_compare)(u64);
    u64 (*value)(void);
    void (*set_value)(u64);
};

#define ACCESSORS(timer, counter)                \
    static u64 timer##_count(void) {             \
        return READ_NOW(#counter "_el0");        \
    }                                            \
    static u64 timer##_control(void) {           \
        return READ_NOW(#timer "_ctl_el0");      \
    }                                            \
    static void timer##_set_control(u64 value) { \
        WRITE_SYSTEM(#timer "_ctl_el0", value);  \
    }                                            \
    static u64 timer##_compare(void) {           \
        return READ_NOW(#timer "_cval_el0");     \
    }                                            \
    static void timer##_set_compare(u64 value) { \
        WRITE_SYSTEM(#timer "_cval_el0", value); \
    }                                            \
    static u64 timer##_value(void) {             \
        return READ_NOW(#timer "_tval_el0");     \
    }                                            \
    static void timer##_set_value(u64 value) {   \
        WRITE_SYSTEM(#timer "_tval_el0", value); \
    }
ACCESSORS(cntv, cntvct)
ACCESSORS(cntp, cntpct)

#define TIMER(timer, intid)                                                                       \
    {                                                                                             \
#timer ": ", intid, timer##_count, timer##_control, timer##_set_control, timer##_compare, \
            timer##_set_compare, timer##_value, timer##_set_value                                 \
    }
static const struct timer timers[] = {TIMER(cntv, VIRTUAL_INTID), TIMER(cntp, PHYSICAL_INTID)};

static u32 pending(const struct timer* timer) {
    return *(volatile u32*)(GICR(0) + SGI_FRAME + 0x200) >> timer->intid & 1;  // GICR_ISPENDR0, a level
}

// Whether the line comes to be `level` within a tenth of a second: a timer's output may take its time.
static u32 comes(const struct timer* timer, u32 level) {
    const u64 end = timer->count() + READ_NOW("cntfrq_el0") / 10;
    while (pending(timer) != level) {
        if (timer->count() > end) {
            return 0;
        }
    }
    return 1;
}

// ── Conditions and the interrupt ──

static void test_conditions(const struct timer* timer) {
    timer->set_compare(timer->count() - 1);
    timer->set_control(ENABLE);
    require(timer->control() == (ENABLE | ISTATUS), timer->name, "a compare value in the past has been met");
    require(comes(timer, 1), timer->name, "the interrupt comes");
    timer->set_control(ENABLE | IMASK);
    require(timer->control() == (ENABLE | IMASK | ISTATUS), timer->name, "IMASK does not change ISTATUS");
    require(comes(timer, 0), timer->name, "IMASK takes the interrupt away");
    timer->set_control(ENABLE);
    require(comes(timer, 1), timer->name, "without IMASK it is back");
    timer->set_compare(~0ull);
    require(timer->control() == ENABLE, timer->name, "a compare value of all ones is never met");
    require(comes(timer, 0), timer->name, "a later compare value takes the interrupt away");
    timer->set_compare(0);
    require(timer->control() == (ENABLE | ISTATUS), timer->name, "a compare value of zero is met");
    require(comes(timer, 1), timer->name, "the interrupt of a compare value of zero");
    timer->set_control(0);
    require(comes(timer, 0), timer->name, "a disabled timer has no interrupt");
    require((timer->control() & (ENABLE | IMASK)) == 0, timer->name, "a disabled timer");
    timer->set_compare(1ull << 63);  // compared without a sign
    timer->set_control(ENABLE);
    require(timer->control() == ENABLE, timer->name, "a compare value of 2^63");
    timer->set_control(~0ull);
    require(timer->control() == (ENABLE | IMASK), timer->name, "other bits of the control register are RES0");
    timer->set_control(0);
}

static void test_expiry(const struct timer* timer) {
    const u64 ticks = READ_NOW("cntfrq_el0") / 500;
    timer->set_compare(timer->count() + ticks);
    timer->set_control(ENABLE);
    const u64 end = timer->compare() + 50 * ticks;
    while ((timer->control() & ISTATUS) == 0 && timer->count() < end) {
    }
    require(timer->count() >= timer->compare() && timer->count() < end, timer->name,
            "a condition is met in time");
    require(comes(timer, 1), timer->name, "an interrupt later on");
    require((long long)(int)timer->value() <= 0, timer->name, "the timer value goes below zero");
    timer->set_compare(timer->count() + ticks);
    timer->set_control(ENABLE | IMASK);
    while ((timer->control() & ISTATUS) == 0 && timer->count() < end + 50 * ticks) {
    }
    require((timer->control() & ISTATUS) != 0, timer->name, "ISTATUS under IMASK");
    require(pending(timer) == 0, timer->name, "IMASK from the start");
    timer->set_control(0);
}

// ── TVAL: 32 bits with a sign, relative to now ──

static void test_values(const struct timer* timer) {
    static const u32 values[] = {0, 1, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF0000};
    timer->set_control(ENABLE | IMASK);
    for (u32 i = 0; i < sizeof(values) / sizeof(values[0]); ++i) {
        const u64 extended = (u64)(long long)(int)values[i];
        const u64 before = timer->count();
        timer->set_value(0xABCD000000000000ull | values[i]);  // the upper half is ignored
        const u64 after = timer->count();
        const u64 compare = timer->compare();
        require(compare - (before + extended) <= after - before, timer->name,
                "CVAL is the counter plus TVAL, signed");
        const u64 early = timer->count();
        const u64 value = timer->value();
        const u64 late = timer->count();
        require(value >> 32 == 0, timer->name, "the upper half of TVAL is zero");
        require((u32)(compare - early) - (u32)value <= (u32)(late - early), timer->name,
                "TVAL is CVAL minus the counter");
        const u32 met_before = timer->count() >= compare;  // CVAL below zero is far away
        const u32 status = (timer->control() & ISTATUS) != 0;
        const u32 met_after = timer->count() >= compare;
        require(status >= met_before && status <= met_after, timer->name, "ISTATUS after TVAL");
    }
    timer->set_control(0);
}

// ── EL0 and CNTKCTL_EL1 ──

__asm__(
    ".text\n"
    ".macro access text:vararg\n \\text\n svc #0\n .endm\n"
    ".balign 8\n"
    "timer_accesses:\n"
    "access mrs x0, cntfrq_el0\n"
    "access mrs x0, cntvct_el0\n"
    "access mrs x0, cntpct_el0\n"
    "access mrs x0, cntv_ctl_el0\n"
    "access mrs x0, cntv_cval_el0\n"
    "access mrs x0, cntv_tval_el0\n"
    "access mrs x0, cntp_ctl_el0\n"
    "access mrs x0, cntp_cval_el0\n"
    "access mrs x0, cntp_tval_el0\n"
    "access msr cntv_ctl_el0, xzr\n"
    "access msr cntp_ctl_el0, xzr\n"
    "access msr cntfrq_el0, x0\n"
    "access msr s3_3_c14_c0_2, x0\n"  // CNTVCT_EL0
    // X0: where to go at EL0. Returns ESR_EL1.
    "at_el0:\n"
    "stp x29, x30, [sp, #-16]!\n"
    "msr elr_el1, x0\n mov x1, #0x3C0\n msr spsr_el1, x1\n"
    "eret\n"
    ".balign 0x800\n"
    "timer_vectors:\n"
    ".skip 0x400\n"
    "mrs x0, esr_el1\n"
    "ldp x29, x30, [sp], #16\n"
    "ret\n"
    ".balign 0x800\n");
extern const u32 timer_accesses[];
extern const char timer_vectors[];
u64 at_el0(u64 pc);

#define EL0PCTEN 1u
#define EL0VCTEN 2u
#define EL0VTEN (1u << 8)
#define EL0PTEN (1u << 9)
#define NEVER 0u

static void test_el0(void) {
    static const struct {
        const char* name;
        u32 needs;  // any of these
        u32 trap;   // EC 0x18 if it may not; UNDEFINED otherwise
    } accesses[] = {{"CNTFRQ", EL0PCTEN | EL0VCTEN, 1},
                    {"CNTVCT", EL0VCTEN, 1},
                    {"CNTPCT", EL0PCTEN, 1},
                    {"CNTV_CTL", EL0VTEN, 1},
                    {"CNTV_CVAL", EL0VTEN, 1},
                    {"CNTV_TVAL", EL0VTEN, 1},
                    {"CNTP_CTL", EL0PTEN, 1},
                    {"CNTP_CVAL", EL0PTEN, 1},
                    {"CNTP_TVAL", EL0PTEN, 1},
                    {"MSR CNTV_CTL", EL0VTEN, 1},
                    {"MSR CNTP_CTL", EL0PTEN, 1},
                    {"MSR CNTFRQ", NEVER, 0},
                    {"MSR CNTVCT", NEVER, 0}};
    WRITE_SYSTEM("vbar_el1", timer_vectors);
    for (u32 n = 0; n < 16; ++n) {
        const u32 allowed = (n & 3) | (n >> 2) << 8;
        WRITE_SYSTEM("cntkctl_el1", allowed);
        for (u32 i = 0; i < sizeof(accesses) / sizeof(accesses[0]); ++i) {
            const u64 class = at_el0((u64)timer_accesses + 8 * i) >> 26;
            const u32 may = (allowed & accesses[i].needs) != 0;
            require(class == (may ? 0x15 : accesses[i].trap ? 0x18 : 0), "EL0: ", accesses[i].name);
        }
    }
    WRITE_SYSTEM("cntkctl_el1", 0);
}

void guest_begin(void) {}

void guest_cpu(u32 self, u64 context) {
    (void)self;
    (void)context;
    *(volatile u32*)(GICR(0) + 0x14) &= ~2u;  // GICR_WAKER
    for (u32 i = 0; i < 2; ++i) {
        test_conditions(&timers[i]);
        test_expiry(&timers[i]);
        test_values(&timers[i]);
    }
    test_el0();
    print(wrong ? "FAIL\n" : "PASS\n");
    power_off();
}
