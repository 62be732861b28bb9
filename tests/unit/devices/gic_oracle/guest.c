// Bare-metal program for QEMU's "virt" machine: runs a list of GIC operations found in memory and prints each result as
// a line of hexadecimal digits. Entered at EL1 with the MMU off.
#include "operations.h"

#define GICD 0x08000000ul
#define GICR 0x080A0000ul
#define UART 0x09000000ul
#define STEPS 0x48000000ul

static void write32(uint64_t address, uint32_t value) { *(volatile uint32_t*)address = value; }
static uint32_t read32(uint64_t address) { return *(volatile uint32_t*)address; }

static void print_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4) {
        write32(UART, "0123456789abcdef"[(value >> shift) & 15]);
    }
    write32(UART, '\n');
}

#define READ(encoding) ({ uint64_t v; __asm__ volatile("mrs %0, " encoding "\n dsb sy\n isb" : "=r"(v)); v; })
#define WRITE(encoding, value) __asm__ volatile("msr " encoding ", %0\n dsb sy\n isb" : : "r"((uint64_t)(value)))
#define READ_0(encoding) 0
#define READ_1(encoding) READ(encoding)
#define WRITE_0(encoding, value) (void)0
#define WRITE_1(encoding, value) WRITE(encoding, value)

static uint64_t read_icc(uint32_t which) {
    switch (which) {
#define GIC_CASE(name, encoding, readable, writable) case GIC_##name: return READ_##readable(encoding);
        GIC_REGISTERS(GIC_CASE)
#undef GIC_CASE
    }
    return 0;
}

static void write_icc(uint32_t which, uint64_t value) {
    switch (which) {
#define GIC_CASE(name, encoding, readable, writable) case GIC_##name: WRITE_##writable(encoding, value); break;
        GIC_REGISTERS(GIC_CASE)
#undef GIC_CASE
    }
}

void guest_main(void) {
    __asm__ volatile("msr cntv_cval_el0, xzr");
    for (const struct GicStep* step = (const struct GicStep*)STEPS; step->operation != GIC_END; ++step) {
        switch (step->operation) {
            case GIC_WRITE_GICD: write32(GICD + step->where, step->value); break;
            case GIC_READ_GICD: print_hex(read32(GICD + step->where)); break;
            case GIC_WRITE_GICR: write32(GICR + step->where, step->value); break;
            case GIC_READ_GICR: print_hex(read32(GICR + step->where)); break;
            case GIC_WRITE_ICC: write_icc(step->where, step->value); break;
            case GIC_READ_ICC: print_hex(read_icc(step->where)); break;
            case GIC_READ_IRQ: print_hex((READ("isr_el1") >> 7) & 1); break;
            case GIC_TIMER_WIRE: WRITE("cntv_ctl_el0", step->value); break;
        }
    }
    register uint64_t x0 __asm__("x0") = 0x84000008;
    __asm__ volatile("hvc #0" : "+r"(x0));
    for (;;) {
    }
}

__asm__(
    ".section .text.start, \"ax\"\n"
    ".global _start\n"
    "_start: ldr x0, =0x47000000\n"
    "        mov sp, x0\n"
    "        bl guest_main\n");
