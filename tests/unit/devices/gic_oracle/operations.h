// What the guest program and the comparison agree on: a list of operations on the GIC, each with one result or none.
#pragma once

#include <stdint.h>

enum GicOperation {
    GIC_END = 0,
    GIC_WRITE_GICD = 1,  // where: offset
    GIC_READ_GICD = 2,
    GIC_WRITE_GICR = 3,  // where: offset from the first redistributor
    GIC_READ_GICR = 4,
    GIC_WRITE_ICC = 5,   // where: GicRegister
    GIC_READ_ICC = 6,
    GIC_READ_IRQ = 7,    // whether IRQ is pending at the PE
    GIC_TIMER_WIRE = 8,  // PPI 27 high or low
};

// Order of the ICC registers in both programs: name, encoding for the assembler, readable, writable.
#define GIC_REGISTERS(X)              \
    X(PMR, "S3_0_C4_C6_0", 1, 1)      \
    X(IAR0, "S3_0_C12_C8_0", 1, 0)    \
    X(EOIR0, "S3_0_C12_C8_1", 0, 1)   \
    X(HPPIR0, "S3_0_C12_C8_2", 1, 0)  \
    X(BPR0, "S3_0_C12_C8_3", 1, 1)    \
    X(AP0R0, "S3_0_C12_C8_4", 1, 0)   \
    X(AP1R0, "S3_0_C12_C9_0", 1, 0)   \
    X(DIR, "S3_0_C12_C11_1", 0, 1)    \
    X(RPR, "S3_0_C12_C11_3", 1, 0)    \
    X(SGI1R, "S3_0_C12_C11_5", 0, 1)  \
    X(ASGI1R, "S3_0_C12_C11_6", 0, 1) \
    X(SGI0R, "S3_0_C12_C11_7", 0, 1)  \
    X(IAR1, "S3_0_C12_C12_0", 1, 0)   \
    X(EOIR1, "S3_0_C12_C12_1", 0, 1)  \
    X(HPPIR1, "S3_0_C12_C12_2", 1, 0) \
    X(BPR1, "S3_0_C12_C12_3", 1, 1)   \
    X(CTLR, "S3_0_C12_C12_4", 1, 1)   \
    X(SRE, "S3_0_C12_C12_5", 1, 1)    \
    X(IGRPEN0, "S3_0_C12_C12_6", 1, 1) \
    X(IGRPEN1, "S3_0_C12_C12_7", 1, 1)

enum GicRegister {
#define GIC_ENUM(name, encoding, readable, writable) GIC_##name,
    GIC_REGISTERS(GIC_ENUM)
#undef GIC_ENUM
};

struct GicStep {
    uint32_t operation;
    uint32_t where;
    uint64_t value;
};
