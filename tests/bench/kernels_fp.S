// Small loops over floating point and Advanced SIMD. X0 = iterations.
#include "bench.h"

.text
.macro fp_result register
    subs x0, x0, #1
    b.ne 1b
    fmov x0, \register
    ret
.endm

kernel fadd_chain
    fmov d0, #1.0
    fmov d1, #0.125
1:  fadd d0, d0, d1
    fadd d0, d0, d1
    fsub d0, d0, d1
    fadd d0, d0, d1
    fp_result d0

kernel fmul_chain
    fmov d0, #1.0
    fmov d1, #1.5
    mov64 x1, 0x3FE5555555555556    // about 2/3
    fmov d2, x1
1:  fmul d0, d0, d1
    fmul d0, d0, d2
    fmul d0, d0, d1
    fmul d0, d0, d2
    fp_result d0

kernel fmadd_chain
    fmov d0, #1.0
    fmov d1, #0.5
    fmov d2, #0.75
1:  fmadd d0, d0, d1, d2
    fmadd d0, d0, d1, d2
    fp_result d0

kernel fmul_fadd
    fmov d0, #1.0
    fmov d1, #0.5
    fmov d2, #1.0
    fmov d3, #1.0
    fmov d4, #1.0
1:  fmul d0, d0, d1
    fadd d0, d0, d1
    fmul d2, d2, d1
    fadd d2, d2, d0
    fmul d3, d3, d1
    fadd d3, d3, d2
    fmul d4, d4, d1
    fadd d4, d4, d3
    fp_result d4

kernel fdiv_fsqrt
    mov64 x1, 0x400921FB54442D18
    fmov d1, x1
1:  scvtf d0, x0
    fdiv d0, d0, d1
    fsqrt d0, d0
    fcvtzs x2, d0
    add x3, x3, x2
    subs x0, x0, #1
    b.ne 1b
    mov x0, x3
    ret

kernel single_precision
    fmov s0, #1.0
    fmov s1, #0.5
    fmov s2, #1.25
    fmov s3, #3.0
1:  fmul s4, s0, s1
    fadd s0, s4, s2
    fmadd s5, s4, s1, s3
    fdiv s6, s5, s3
    fsqrt s6, s6
    fsub s3, s6, s0
    fmax s3, s3, s2
    fp_result d3

kernel conversions
    fmov d5, #0.75
1:  ucvtf d0, x0
    fmul d0, d0, d5
    fcvt s1, d0
    fcvt d2, s1
    frintn d2, d2
    fcvtas x2, d2
    fcmp d0, d2
    cset x4, gt
    add x3, x3, x4
    add x3, x3, x2
    subs x0, x0, #1
    b.ne 1b
    mov x0, x3
    ret

kernel neon_fmla
    fmov v0.4s, #1.0
    fmov v1.4s, #0.5
    fmov v2.4s, #0.25
    fmov v3.4s, #-0.5
    fmov v4.4s, #-0.25
    fmov v5.4s, #1.5
1:  fmla v0.4s, v2.4s, v1.4s
    fmla v3.4s, v2.4s, v5.4s
    fmls v4.4s, v2.4s, v1.4s
    fmls v6.4s, v2.4s, v5.4s
    fp_result d4

kernel neon_double
    fmov v0.2d, #1.0
    fmov v1.2d, #0.5
    fmov v2.2d, #1.0
    fmov v3.2d, #3.0
1:  fmul v4.2d, v0.2d, v1.2d
    fadd v0.2d, v4.2d, v2.2d
    fmul v5.2d, v3.2d, v1.2d
    fsub v3.2d, v5.2d, v4.2d
    fmax v3.2d, v3.2d, v1.2d
    fabs v3.2d, v3.2d
    fp_result d3

kernel neon_integer
    movi v0.16b, #1
    movi v1.8h, #3
    movi v2.4s, #5
    movi v7.16b, #0
1:  add v0.4s, v0.4s, v1.4s
    mul v3.8h, v0.8h, v1.8h
    uqadd v4.16b, v0.16b, v2.16b
    sshr v5.4s, v3.4s, #3
    zip1 v6.8h, v4.8h, v5.8h
    eor v0.16b, v0.16b, v6.16b
    fp_result d0

// As string functions look for a byte.
kernel neon_string
    ram x9, SCRATCH
    movi v1.16b, #0x55
    mov x3, #0
1:  and x2, x0, #0xFF0
    ldr q0, [x9, x2]
    cmeq v2.16b, v0.16b, v1.16b
    shrn v2.8b, v2.8h, #4
    fmov x4, d2
    cbnz x4, 2f
    add x3, x3, #1
2:  subs x0, x0, #1
    b.ne 1b
    mov x0, x3
    ret

kernel neon_table
    movi v0.16b, #3
    movi v1.8h, #0x0F, lsl #8
    movi v2.16b, #0x11
1:  tbl v3.16b, {v0.16b}, v1.16b
    ext v0.16b, v0.16b, v3.16b, #5
    rev64 v4.16b, v0.16b
    uaddlp v5.8h, v4.16b
    ushl v6.8h, v5.8h, v2.8h
    bit v0.16b, v6.16b, v2.16b
    add v1.16b, v1.16b, v2.16b
    fp_result d0
