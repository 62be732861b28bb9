// Start of the bare-metal guests in C, behind start.S: translation, further CPUs, kernel parameters.
#include "guest_c.h"

#define PSCI_CPU_ON 0xC4000003

#define NORMAL 0x701u  // block, AF, inner shareable, attribute 0
#define DEVICE 0x405u  // block, AF, attribute 1

// The first four GiB at their own addresses.
_Alignas(4096) u64 level1[512] = {0x00000000u | DEVICE | 3ull << 53, 0x40000000u | NORMAL,
                                  0x80000000u | NORMAL, 0xC0000000u | NORMAL};
static _Alignas(16) u8 stacks[MAX_CPUS][8192];
static const u8* device_tree;

// X28 has the device tree. A further CPU has what CPU_ON was given in X0, and finds its stack by its affinity.
__asm__(
    ".text\n"
    ".global guest_main\n"
    "guest_main: mov x0, x28\n"
    "b first_cpu\n"
    "secondary:\n"
    "mov x19, x0\n"
    "mrs x20, mpidr_el1\n"
    "and x20, x20, #0xFF\n"
    "adrp x1, stacks\n"
    "add x1, x1, :lo12:stacks\n"
    "add x2, x20, #1\n"
    "lsl x2, x2, #13\n"
    "add sp, x1, x2\n"
    "bl translation_on\n"
    "mov x0, x20\n"
    "mov x1, x19\n"
    "bl guest_cpu\n"
    "ldr w0, =0x84000002\n"  // CPU_OFF
    "hvc #0\n"
    "b .\n"
    ".ltorg\n");
extern const char secondary[];
extern void* const keep_stacks;
void* const keep_stacks = stacks;

__attribute__((used)) static void translation_on(void) {
    __asm__ volatile(
        "msr mair_el1, %0\n"
        "msr tcr_el1, %1\n"
        "msr ttbr0_el1, %2\n"
        "dsb ish\n"
        "isb\n"
        "tlbi vmalle1\n"
        "dsb ish\n"
        "isb\n"
        "mrs x9, sctlr_el1\n"
        "orr x9, x9, %3\n"
        "msr sctlr_el1, x9\n"
        "isb\n" ::"r"(0x04FFull),
        "r"(25ull | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23), "r"(level1), "r"(0x1005ull)
        : "x9", "memory");
}

u64 psci(u64 function, u64 argument1, u64 argument2, u64 argument3) {
    register u64 x0 __asm__("x0") = function;
    register u64 x1 __asm__("x1") = argument1;
    register u64 x2 __asm__("x2") = argument2;
    register u64 x3 __asm__("x3") = argument3;
    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
    return x0;
}

long long cpu_on(u32 cpu, u64 context) {
    return (long long)psci(PSCI_CPU_ON, cpu, (u64)secondary, context);
}

void start_cpu(u32 cpu) {
    if (cpu_on(cpu, 0) != 0) {
        print("FAIL: a CPU does not start\n");
        power_off();
    }
}

static u32 big_endian(const u8* p) {
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

const char* parameter(const char* name) {
    const u8* tree = device_tree;
    if (tree == 0 || big_endian(tree) != 0xD00DFEED) {
        tree = (const u8*)0x40000000;  // QEMU's RAM, where it leaves the tree for what is not Linux
        if (big_endian(tree) != 0xD00DFEED) {
            return 0;
        }
    }
    const u8* end = tree + big_endian(tree + 4);
    for (; tree < end; ++tree) {
        u32 length = 0;
        while (name[length] != 0 && tree + length < end && tree[length] == (u8)name[length]) {
            ++length;
        }
        if (name[length] == 0) {
            return (const char*)tree + length;
        }
    }
    return 0;
}

u32 parse_number(const char* text) {
    u32 number = 0;
    for (; *text >= '0' && *text <= '9'; ++text) {
        number = number * 10 + (u32)(*text - '0');
    }
    return number;
}

int is_word(const char* text, const char* word) {
    while (*word != 0 && *text == *word) {
        ++text;
        ++word;
    }
    return *word == 0 && (*text == 0 || *text == ' ');
}

__attribute__((used)) static void first_cpu(const u8* tree) {
    device_tree = tree;
    translation_on();
    guest_begin();
    guest_cpu(0, 0);
}

// The compiler copies structures with it.
void* memcpy(void* to, const void* from, unsigned long size) {
    for (unsigned long i = 0; i < size; ++i) {
        ((volatile u8*)to)[i] = ((const u8*)from)[i];
    }
    return to;
}

void meet(struct meeting* where, u32 cpus) {
    const u32 generation = where->generation.value;
    if (__atomic_add_fetch(&where->arrived.value, 1, __ATOMIC_ACQ_REL) == cpus) {
        where->arrived.value = 0;
        __atomic_store_n(&where->generation.value, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    // Two CPUs may both have a host CPU: whoever sleeps there gets it back late. More take it from one another.
    for (u32 patience = cpus == 2 ? 1000000 : 5000; patience != 0; --patience) {
        if (__atomic_load_n(&where->generation.value, __ATOMIC_ACQUIRE) != generation) {
            return;
        }
    }
    for (;;) {  // the store that ends it also ends WFE
        u32 now;
        __asm__ volatile("ldaxr %w0, [%1]" : "=r"(now) : "r"(&where->generation.value) : "memory");
        if (now != generation) {
            return;
        }
        __asm__ volatile("wfe" ::: "memory");
    }
}

void print_number(u64 number) {
    char text[21];
    char* p = text + sizeof(text) - 1;
    *p = 0;
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(p);
}

void print_padded(const char* text, u32 width) {
    print(text);
    for (; *text != 0 && width != 0; ++text, --width) {
    }
    for (; width != 0; --width) {
        print(" ");
    }
}

static char line[512];
static u32 line_length;

void put(const char* text) {
    while (*text != 0) {
        line[line_length++] = *text++;
    }
}

void put_hex(u64 number) {
    int shift = 60;
    while (shift > 0 && number >> shift == 0) {
        shift -= 4;
    }
    line[line_length++] = ' ';
    for (; shift >= 0; shift -= 4) {
        line[line_length++] = "0123456789abcdef"[number >> shift & 15];
    }
}

void end_line(void) {
    line[line_length++] = '\n';
    line[line_length] = 0;
    print(line);
    line_length = 0;
}

u32 line_mark(void) {
    return line_length;
}

void take_back(u32 mark) {
    line_length = mark;
}
