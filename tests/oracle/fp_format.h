/* The file that fp_oracle_test and fp_runner share: jobs, each one instruction in a loop over a list of operands. Both map
 * it; offsets are in bytes from the start of the file. Little-endian. C and C++. */
#pragma once

#include <stdint.h>

/* One turn of the loop reads this and writes FpResult. V0 (also an accumulator) and V3 start with `c`, V1 and X1 with `a`,
 * V2 with `b`, FPSR and NZCV with 0. */
struct FpOperands {
    uint64_t a[2];
    uint64_t b[2];
    uint64_t c[2];
};

struct FpResult {
    uint64_t v[2];  /* V0 */
    uint64_t x;     /* X0 */
    uint64_t flags; /* FPSR and, in bits 31:28, NZCV */
};

/* The loop: X20 operands, X21 results, X22 how many, X23 FPCR. Its instruction under test uses registers 0 to 3. */
#define FP_LOOP_INSN 9
static const uint32_t kFpLoop[] = {
    0xD51B4417, /*     msr  fpcr, x23      */
    0xF9400281, /* 1:  ldr  x1, [x20]      */
    0x3CC10681, /*     ldr  q1, [x20], #16 */
    0x3CC10682, /*     ldr  q2, [x20], #16 */
    0x3DC00280, /*     ldr  q0, [x20]      */
    0x3CC10683, /*     ldr  q3, [x20], #16 */
    0xAA1F03E0, /*     mov  x0, xzr        */
    0xD51B421F, /*     msr  nzcv, xzr      */
    0xD51B443F, /*     msr  fpsr, xzr      */
    0xD503201F, /*     the instruction under test */
    0xD53B4425, /*     mrs  x5, fpsr       */
    0xD53B4206, /*     mrs  x6, nzcv       */
    0xAA0600A5, /*     orr  x5, x5, x6     */
    0x3C8106A0, /*     str  q0, [x21], #16 */
    0xA88116A0, /*     stp  x0, x5, [x21], #16 */
    0xD10006D6, /*     sub  x22, x22, #1   */
    0xB5FFFE36, /*     cbnz x22, 1b        */
    0xD65F03C0, /*     ret                 */
};

struct FpJob {
    uint32_t insn;
    uint32_t fpcr;
    uint64_t count;
    uint64_t operands;
    uint64_t results;
};

__extension__ struct FpFile { /* as in case_format.h */
    uint32_t count;
    uint32_t done;
    struct FpJob jobs[];
};
