// Which exception an instruction takes that has reason for several: a line for each combination of reasons. priority.py knows
// the order of the Arm ARM (D1.3.5.5) and judges; it also runs on QEMU, as a check of the test.
//
// An instruction is entered by ERET with PC, PSTATE and registers as the combination asks for. The one behind it is SVC.
#include "guest_c.h"

#define WINDOW 0x200000000ull  // pages of the test, behind an entry of level 1 of their own
#define PAGE_VA(page) (WINDOW + (u64)(page)*4096)
#define NOWHERE 0x0F000000ull
#define USER_PAGE 0x743ull  // Normal, AF, inner shareable, read and write from EL0 and EL1
#define READ_ONLY (1ull << 7)
#define DEVICE (1ull << 2)
#define AF (1ull << 10)
#define PXN (1ull << 53)
#define UXN (1ull << 54)

enum code_page { CODE_FINE, CODE_NEVER, CODE_UNMAPPED, CODE_NOWHERE, CODE_PAGES };
enum data_page {
    DATA_FINE = 8,
    DATA_UNMAPPED,
    DATA_NO_FLAG,
    DATA_READ_ONLY,
    DATA_DEVICE,
    DATA_READ_ONLY_DEVICE,
    DATA_NOWHERE,
    DATA_END
};
enum step { NO_STEP, STEP_ACTIVE, STEP_PENDING, STEPS };

// How an operation uses X0 or SP.
enum { PLAIN, BY_X0, BY_SP };

// The instructions.
// clang-format off
#define OPS(X)                                               \
    X(NOP, "nop", PLAIN, "nop")                              \
    X(UNDEFINED, "undefined", PLAIN, ".inst 0")              \
    X(FMOV, "fmov", PLAIN, "fmov d0, x1")                    \
    X(BRK, "brk", PLAIN, "brk #5")                           \
    X(SVC, "svc", PLAIN, "svc #7")                           \
    X(MRS_TTBR0, "mrs_ttbr0", PLAIN, "mrs x2, ttbr0_el1")    \
    X(MSR_DAIF, "msr_daif", PLAIN, "msr daifset, #15")       \
    X(MRS_CNTVCT, "mrs_cntvct", PLAIN, "mrs x2, cntvct_el0") \
    X(MRS_CTR, "mrs_ctr", PLAIN, "mrs x2, ctr_el0")          \
    X(WFI, "wfi", PLAIN, "wfi")                              \
    X(LDR, "ldr", BY_X0, "ldr x2, [x0]")                     \
    X(STR, "str", BY_X0, "str x1, [x0]")                     \
    X(LDAR, "ldar", BY_X0, "ldar x2, [x0]")                  \
    X(LDADD, "ldadd", BY_X0, "ldadd x1, x2, [x0]")           \
    X(LDXR, "ldxr", BY_X0, "ldxr x2, [x0]")                  \
    X(LDTR, "ldtr", BY_X0, "ldtr x2, [x0]")                  \
    X(LDR_Q, "ldr_q", BY_X0, "ldr q0, [x0]")                 \
    X(ZVA, "zva", BY_X0, "dc zva, x0")                       \
    X(CIVAC, "civac", BY_X0, "dc civac, x0")                 \
    X(LDR_SP, "ldr_sp", BY_SP, "ldr x2, [sp]")               \
    X(STR_SP, "str_sp", BY_SP, "str x1, [sp]")               \
    X(LDR_Q_SP, "ldr_q_sp", BY_SP, "ldr q0, [sp]")           \
    X(LDADD_SP, "ldadd_sp", BY_SP, "ldadd x1, x2, [sp]")
// clang-format on
#define OP_NUMBER(id, name, use, text) OP_##id,
enum { OPS(OP_NUMBER) OP_COUNT };
#define OP_SIZE 8
#define OP_CODE(id, name, use, text) text "\n svc #0xFFF\n"

__asm__(
    ".text\n"
    ".arch armv8.2-a+fp+simd\n"
    ".balign 8\n"
    "op_code:\n" OPS(OP_CODE)

    // X0: struct probe.
    "probe:\n"
    "stp x29, x30, [sp, #-32]!\n"
    "stp x19, x20, [sp, #16]\n"
    "mov x19, x0\n"
    "ldp x1, x2, [x19]\n msr elr_el1, x1\n msr spsr_el1, x2\n"
    "ldp x0, x1, [x19, #16]\n msr sp_el0, x1\n"
    "ldp x1, x2, [x19, #32]\n"
    "ldr x3, [x19, #48]\n"
    "mrs x4, sctlr_el1\n"
    "msr cpacr_el1, x1\n msr mdscr_el1, x2\n msr sctlr_el1, x3\n isb\n"
    "mov x1, #0\n"
    "eret\n"
    "probe_taken:\n"
    "msr sctlr_el1, x4\n mov x1, #(3 << 20)\n msr cpacr_el1, x1\n msr mdscr_el1, xzr\n isb\n"
    "msr spsel, #1\n"
    "mrs x1, esr_el1\n mrs x2, far_el1\n stp x1, x2, [x19, #56]\n"
    "mrs x1, elr_el1\n mrs x2, spsr_el1\n stp x1, x2, [x19, #72]\n"
    "ldp x19, x20, [sp, #16]\n"
    "ldp x29, x30, [sp], #32\n"
    "ret\n"
    ".balign 0x800\n"
    "priority_vectors:\n"
    "b probe_taken\n .balign 0x200\n b probe_taken\n .balign 0x200\n b probe_taken\n .balign 0x200\n");

struct probe {
    u64 pc, spsr, x0, sp, cpacr, mdscr, sctlr;
    u64 esr, far, elr, after_spsr;
};
static struct probe state;
void probe(struct probe* p);
extern const u32 op_code[];
extern const char priority_vectors[];

// One combination.
struct reasons {
    u32 op, el, code, misaligned_pc, illegal, step, fp_trapped, data, offset, check;
};

static const u8 uses[] = {
#define OP_USE(id, name, use, text) use,
    OPS(OP_USE)};
static const char names[][12] = {
#define OP_NAME(id, name, use, text) name,
    OPS(OP_NAME)};

static _Alignas(4096) u64 level2[512], level3[512];
static _Alignas(4096) u32 code_frame[1024];
static _Alignas(4096) u64 data_frame[512];
static u64 sctlr;

static void map(u32 page, u64 descriptor) {
    level3[page] = descriptor;
}

static void map_all(void) {
    const u64 code = (u64)code_frame, data = (u64)data_frame;
    level1[WINDOW >> 30] = (u64)level2 | 3;
    level2[0] = (u64)level3 | 3;
    map(CODE_FINE, code | USER_PAGE | READ_ONLY);
    map(CODE_NEVER, code | USER_PAGE | READ_ONLY | PXN | UXN);
    map(CODE_NOWHERE, NOWHERE | USER_PAGE | READ_ONLY);
    map(DATA_FINE, data | USER_PAGE);
    map(DATA_NO_FLAG, data | (USER_PAGE & ~AF));
    map(DATA_READ_ONLY, data | USER_PAGE | READ_ONLY);
    map(DATA_DEVICE, data | USER_PAGE | DEVICE);
    map(DATA_READ_ONLY_DEVICE, data | USER_PAGE | READ_ONLY | DEVICE);
    map(DATA_NOWHERE, NOWHERE | USER_PAGE);
    __asm__ volatile("dsb ish\n isb" ::: "memory");
}

static void enter(const struct reasons* r) {
    const u64 sp_bit = r->el != 0 ? 3 : 4;  // SA or SA0
    const u64 address = PAGE_VA(r->data) + 0x100 + r->offset;
    state.pc = PAGE_VA(r->code) + r->op * OP_SIZE + (r->misaligned_pc ? 2 : 0);
    state.spsr = (r->el != 0 ? 4 : 0) | 0x1C0 | (u64)r->illegal << 20 | (u64)(r->step == STEP_ACTIVE) << 21;
    state.x0 = address;
    state.sp = address;
    state.cpacr = r->fp_trapped ? 0 : 3 << 20;
    state.mdscr = r->step != NO_STEP ? 1 | 1 << 13 : 0;
    state.sctlr = sctlr | (uses[r->op] == BY_SP ? (u64)r->check << sp_bit : (u64)r->check << 1);
    probe(&state);
}

// ── Lines ──

static void run(const struct reasons* r) {
    enter(r);
    put(names[r->op]);
    const u32 fields[] = {r->el,         r->code, r->misaligned_pc, r->illegal, r->step,
                          r->fp_trapped, r->data, r->offset,        r->check};
    for (u32 i = 0; i < sizeof(fields) / sizeof(fields[0]); ++i) {
        put_hex(fields[i]);
    }
    put_hex(state.esr);
    const u64 class = state.esr >> 26;
    put_hex(class >= 0x20 && class <= 0x25 ? state.far : 0);
    put_hex(state.elr - state.pc);
    put_hex(state.after_spsr >> 20 & 3);
    end_line();
}

// All that data accesses may run into; where the instruction is not reached anyway, only the least and the most.
static void data_reasons(struct reasons r, u32 reached) {
    const u32 use = uses[r.op];
    if (use == PLAIN) {
        r.data = DATA_FINE;
        run(&r);
        return;
    }
    for (r.data = DATA_FINE; r.data < DATA_END; ++r.data) {
        for (u32 n = 0; n < 4; ++n) {
            r.offset = (n & 1) * (use == BY_SP ? 8 : 1);
            r.check = n >> 1;
            if (reached || (r.data == DATA_FINE && n == 0) || (r.data == DATA_UNMAPPED && n == 3)) {
                run(&r);
            }
        }
    }
}

static void all_reasons(u32 op, u32 el) {
    for (u32 n = 0; n < CODE_PAGES * 2 * 2 * STEPS * 2; ++n) {
        struct reasons r = {.op = op, .el = el};
        r.code = n % CODE_PAGES;
        r.misaligned_pc = n / CODE_PAGES & 1;
        r.illegal = n / CODE_PAGES / 2 & 1;
        r.fp_trapped = n / CODE_PAGES / 4 & 1;
        r.step = n / CODE_PAGES / 8;
        data_reasons(r, r.code == CODE_FINE && !r.misaligned_pc && !r.illegal && r.step != STEP_PENDING);
    }
}

void guest_begin(void) {}

void guest_cpu(u32 self, u64 context) {
    (void)self;
    (void)context;
    for (u32 i = 0; i < OP_COUNT * OP_SIZE / 4; ++i) {
        code_frame[i] = op_code[i];
    }
    map_all();
    // EL0 may do nothing special: UCI, UCT, UMA, DZE, nTWI and nTWE are 0, CNTKCTL_EL1 and the OS lock too.
    __asm__ volatile("mrs %0, sctlr_el1" : "=r"(sctlr));
    sctlr &= ~(1ull << 26 | 1ull << 15 | 1ull << 9 | 1ull << 14 | 1ull << 16 | 1ull << 18 | 1ull << 4 |
               1ull << 3 | 2);
    __asm__ volatile(
        "msr vbar_el1, %0\n msr cntkctl_el1, xzr\n msr oslar_el1, xzr\n isb\n ic iallu\n dsb ish\n isb" ::"r"(
            priority_vectors)
        : "memory");
    for (u32 op = 0; op < OP_COUNT; ++op) {
        all_reasons(op, 0);
        if (op != OP_WFI) {  // waits
            all_reasons(op, 1);
        }
    }
    print("END\n");
    power_off();
}
