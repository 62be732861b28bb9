// Which packets describe which instruction: every kind of operation, as the Arm ARM's "Operation Type packet" and the
// sections on what a record contains have it. Each row is one instruction that packets_test.cpp executes as the sampled
// operation; two independent decoders read its record.
//
//   class     header byte of the Operation Type packet, low half: 8 other, 9 load, store or atomic, A branch
//   payload   of that packet: in SPEv1p0; later; with call and return information (CRR); with FP and SIMD types (FPF)
//   parts     packets the record has besides PC, latencies, type and events:
//             T branch target, V data virtual address, P data physical address, S data source, X translation latency;
//             ? any of these (the manual leaves it open)
//   events    E exception, N condition failed, M misaligned (from SPEv1p1 on); plus for each access to memory L1D access and
//             TLB access (EV2, EV4), for one that faulted the TLB access only; F a store-exclusive that fails, likewise
//   setup     0 none; 1 executes at EL0
//
// X1 = 5, X2 = data (64-byte aligned), X3 = 1, X4 = 0, X5 and X30 = address of code, X6 = an unmapped address, PSTATE.Z = 1.

.macro op class, v1p0, later, crr, fpf, parts, events, setup, insn:vararg
    .pushsection .text
    \insn
    .popsection
    .pushsection .rows, "a"
    .byte 0x40 + 0x\class, 0x\v1p0, 0x\later, 0x\crr, 0x\fpf, \setup
1:  .asciz "\parts"
    .org 1b + 8
2:  .asciz "\events"
    .org 2b + 8
3:  .asciz "\insn"
    .org 3b + 42
    .popsection
.endm

.arch armv8.2-a+fp16+dotprod+crypto+profile+rcpc+lor
.text

// ── Other ────────────────────────────────────────────────────────────────────────────────────────────────────────────
op 8, 00, 00, 00, 00, "", "", 0, add x0, x1, x3
op 8, 00, 00, 00, 00, "", "", 0, adds w0, w1, #3
op 8, 00, 00, 00, 00, "", "", 0, sub x0, x1, x3, lsl #3
op 8, 00, 00, 00, 00, "", "", 0, cmp x1, #5
op 8, 00, 00, 00, 00, "", "", 0, adc x0, x1, x3
op 8, 00, 00, 00, 00, "", "", 0, and x0, x1, #0xff
op 8, 00, 00, 00, 00, "", "", 0, bic w0, w1, w3
op 8, 00, 00, 00, 00, "", "", 0, movz x0, #0x1234
op 8, 00, 00, 00, 00, "", "", 0, ubfx x0, x1, #3, #7
op 8, 00, 00, 00, 00, "", "", 0, extr x0, x1, x3, #9
op 8, 00, 00, 00, 00, "", "", 0, lslv x0, x1, x3
op 8, 00, 00, 00, 00, "", "", 0, clz x0, x1
op 8, 00, 00, 00, 00, "", "", 0, rbit x0, x1
op 8, 00, 00, 00, 00, "", "", 0, madd x0, x1, x3, x1
op 8, 00, 00, 00, 00, "", "", 0, smulh x0, x1, x3
op 8, 00, 00, 00, 00, "", "", 0, umaddl x0, w1, w3, x1
op 8, 00, 00, 00, 00, "", "", 0, sdiv x0, x1, x3
op 8, 00, 00, 00, 00, "", "", 0, udiv w0, w1, w3
op 8, 00, 00, 00, 00, "", "", 0, crc32x w0, w1, x3
op 8, 00, 00, 00, 00, "", "", 0, adr x0, .
op 8, 00, 00, 00, 00, "", "", 0, adrp x0, .
op 8, 00, 00, 00, 00, "", "", 0, nop
op 8, 00, 00, 00, 00, "", "", 0, yield
op 8, 00, 00, 00, 00, "", "", 0, hint #17
op 8, 00, 00, 00, 00, "", "", 0, dmb ish
op 8, 00, 00, 00, 00, "", "", 0, dsb nsh
op 8, 00, 00, 00, 00, "", "", 0, isb
op 8, 00, 00, 00, 00, "", "", 0, clrex
op 8, 00, 00, 00, 00, "", "", 0, mrs x0, tpidr_el1
op 8, 00, 00, 00, 00, "", "", 0, mrs x0, nzcv
op 8, 00, 00, 00, 00, "", "", 0, msr tpidr_el1, x1
op 8, 00, 00, 00, 00, "", "", 0, msr daifset, #2
op 8, 00, 00, 00, 00, "", "", 0, tlbi vmalle1
op 8, 00, 00, 00, 00, "", "", 0, ic iallu
op 8, 00, 00, 00, 00, "?", "", 0, prfm pldl1keep, [x2]
op 8, 00, 00, 00, 00, "?", "", 0, prfm pstl2strm, [x2, x1]
op 8, 00, 00, 00, 00, "?", "", 0, dc cvac, x2
op 8, 00, 00, 00, 00, "?", "", 0, dc civac, x2
op 8, 00, 00, 00, 00, "?", "", 0, ic ivau, x2
op 8, 00, 00, 00, 00, "?", "", 0, at s1e1r, x2
// Exceptions of their own.
op 8, 00, 00, 00, 00, "", "E", 0, svc #0
op 8, 00, 00, 00, 00, "", "E", 1, svc #1
op 8, 00, 00, 00, 00, "", "E", 1, eret
op 8, 00, 00, 00, 00, "", "E", 0, brk #1
op 8, 00, 00, 00, 00, "", "E", 0, udf #1
op 8, 00, 00, 00, 00, "", "E", 1, mrs x0, tpidr_el1
// Selects and compares by condition.
op 8, 01, 01, 01, 01, "", "", 0, csel x0, x1, x3, eq
op 8, 01, 01, 01, 01, "", "N", 0, csel x0, x1, x3, ne
op 8, 01, 01, 01, 01, "", "", 0, csinc w0, w1, w3, eq
op 8, 01, 01, 01, 01, "", "N", 0, cset x0, eq
op 8, 01, 01, 01, 01, "", "N", 0, csinv x0, x1, x3, ne
op 8, 01, 01, 01, 01, "", "", 0, csneg x0, x1, x3, eq
op 8, 01, 01, 01, 01, "", "", 0, ccmp x1, x3, #0, eq
op 8, 01, 01, 01, 01, "", "N", 0, ccmn w1, #3, #4, ne
op 8, 01, 01, 01, 03, "", "", 0, fcsel d0, d1, d2, eq
op 8, 01, 01, 01, 03, "", "N", 0, fcsel s0, s1, s2, ne
op 8, 01, 01, 01, 03, "", "", 0, fccmp d1, d2, #0, eq
op 8, 01, 01, 01, 03, "", "N", 0, fccmpe s1, s2, #0, ne
// Scalar floating point.
op 8, 00, 00, 00, 02, "", "", 0, fadd d0, d1, d2
op 8, 00, 00, 00, 02, "", "", 0, fmul h0, h1, h2
op 8, 00, 00, 00, 02, "", "", 0, fmadd s0, s1, s2, s3
op 8, 00, 00, 00, 02, "", "", 0, fdiv d0, d1, d2
op 8, 00, 00, 00, 02, "", "", 0, fsqrt s0, s1
op 8, 00, 00, 00, 02, "", "", 0, fcmp d1, d2
op 8, 00, 00, 00, 02, "", "", 0, fabs d0, d1
op 8, 00, 00, 00, 02, "", "", 0, fcvt s0, d1
op 8, 00, 00, 00, 02, "", "", 0, frintn d0, d1
op 8, 00, 00, 00, 02, "", "", 0, fcvtzs x0, d1
op 8, 00, 00, 00, 02, "", "", 0, scvtf d0, x1
op 8, 00, 00, 00, 02, "", "", 0, fmov d0, x1
op 8, 00, 00, 00, 02, "", "", 0, fmov d0, #1.0
// Advanced SIMD, integer and floating point.
op 8, 00, 00, 00, 04, "", "", 0, add v0.4s, v1.4s, v2.4s
op 8, 00, 00, 00, 04, "", "", 0, mla v0.8h, v1.8h, v2.8h
op 8, 00, 00, 00, 04, "", "", 0, sshr v0.2d, v1.2d, #7
op 8, 00, 00, 00, 04, "", "", 0, movi v0.16b, #1
op 8, 00, 00, 00, 04, "", "", 0, dup v0.4s, w1
op 8, 00, 00, 00, 04, "", "", 0, umov w0, v1.s[1]
op 8, 00, 00, 00, 04, "", "", 0, tbl v0.16b, {v1.16b}, v2.16b
op 8, 00, 00, 00, 04, "", "", 0, zip1 v0.8b, v1.8b, v2.8b
op 8, 00, 00, 00, 04, "", "", 0, addv s0, v1.4s
op 8, 00, 00, 00, 04, "", "", 0, udot v0.4s, v1.16b, v2.16b
op 8, 00, 00, 00, 04, "", "", 0, aese v0.16b, v1.16b
op 8, 00, 00, 00, 04, "", "", 0, sha256h q0, q1, v2.4s
op 8, 00, 00, 00, 04, "", "", 0, pmull v0.1q, v1.1d, v2.1d
op 8, 00, 00, 00, 06, "", "", 0, fadd v0.4s, v1.4s, v2.4s
op 8, 00, 00, 00, 06, "", "", 0, frecpe v0.4s, v1.4s
op 8, 00, 00, 00, 04, "", "", 0, urecpe v0.4s, v1.4s
op 8, 00, 00, 00, 06, "", "", 0, fmla v0.2d, v1.2d, v2.2d
op 8, 00, 00, 00, 06, "", "", 0, fdiv v0.4s, v1.4s, v2.4s
op 8, 00, 00, 00, 06, "", "", 0, fsqrt v0.2d, v1.2d
op 8, 00, 00, 00, 06, "", "", 0, fcmgt v0.4s, v1.4s, v2.4s
op 8, 00, 00, 00, 06, "", "", 0, fcvtzs v0.4s, v1.4s

// ── Loads ────────────────────────────────────────────────────────────────────────────────────────────────────────────
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldr x0, [x2]
op 9, 00, 00, 00, 00, "VPSX", "", 1, ldr x0, [x2]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldr w0, [x2, x1, lsl #2]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldrb w0, [x2, #3]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldrsh x0, [x2, #6]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldrsw x0, [x2], #4
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldr x0, [x2, #8]!
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldur x0, [x2, #-8]
op 9, 00, 00, 00, 00, "VPSX", "M", 0, ldur x0, [x2, #1]
op 9, 00, 00, 00, 00, "VPSX", "M", 0, ldr w0, [x2, x3]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldtr x0, [x2]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldr x0, literal
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldrsw x0, literal
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldp x0, x7, [x2]
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldpsw x0, x7, [x2], #8
op 9, 00, 00, 00, 00, "VPSX", "", 0, ldnp w0, w7, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr b0, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr h0, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr s0, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr d0, [x2], #8
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr q0, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldur q0, [x2, #-16]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldr d0, literal
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldp d0, d1, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldp q0, q1, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ldnp s0, s1, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ld1 {v0.16b}, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ld1 {v0.s}[1], [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ld1r {v0.4s}, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ld2 {v0.8h, v1.8h}, [x2]
op 9, 04, 04, 04, 04, "VPSX", "", 0, ld4 {v0.4s-v3.4s}, [x2], #64
op 9, 12, 12, 12, 12, "VPSX", "", 0, ldar x0, [x2]
op 9, 12, 12, 12, 12, "VPSX", "", 0, ldarb w0, [x2]
op 9, 12, 12, 12, 12, "VPSX", "", 0, ldapr x0, [x2]
op 9, 12, 12, 12, 12, "VPSX", "", 0, ldlar w0, [x2]
op 9, 0a, 0a, 0a, 0a, "VPSX", "", 0, ldxr x0, [x2]
op 9, 0a, 0a, 0a, 0a, "VPSX", "", 0, ldxrh w0, [x2]
op 9, 0a, 0a, 0a, 0a, "VPSX", "", 0, ldxp x0, x7, [x2]
op 9, 1a, 1a, 1a, 1a, "VPSX", "", 0, ldaxr w0, [x2]
op 9, 1a, 1a, 1a, 1a, "VPSX", "", 0, ldaxp x0, x7, [x2]
// Faults: the address is known, the memory is not.
op 9, 00, 00, 00, 00, "VX", "E", 0, ldr x0, [x6]
op 9, 04, 04, 04, 04, "VX", "E", 0, ldr q0, [x6]
op 9, 1a, 1a, 1a, 1a, "VX", "E", 0, ldaxr x0, [x6]

// ── Stores ───────────────────────────────────────────────────────────────────────────────────────────────────────────
op 9, 01, 01, 01, 01, "VPX", "", 0, str x0, [x2]
op 9, 01, 01, 01, 01, "VPX", "", 1, str x0, [x2]
op 9, 01, 01, 01, 01, "VPX", "", 0, strb w0, [x2, x1]
op 9, 01, 01, 01, 01, "VPX", "", 0, strh w0, [x2], #2
op 9, 01, 01, 01, 01, "VPX", "", 0, stur w0, [x2, #-4]
op 9, 01, 01, 01, 01, "VPX", "M", 0, stur x0, [x2, #-9]
op 9, 01, 01, 01, 01, "VPX", "", 0, sttr x0, [x2]
op 9, 01, 01, 01, 01, "VPX", "", 0, stp x0, x7, [x2, #-16]!
op 9, 01, 01, 01, 01, "VPX", "", 0, stnp w0, w7, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, str b0, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, str s0, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, str q0, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, stp d0, d1, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, stp q0, q1, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, st1 {v0.16b}, [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, st1 {v0.h}[3], [x2]
op 9, 05, 05, 05, 05, "VPX", "", 0, st3 {v0.4s-v2.4s}, [x2]
op 9, 13, 13, 13, 13, "VPX", "", 0, stlr x0, [x2]
op 9, 13, 13, 13, 13, "VPX", "", 0, stlrb w0, [x2]
op 9, 13, 13, 13, 13, "VPX", "", 0, stllr w0, [x2]
op 9, 01, 11, 11, 11, "VPX", "", 0, dc zva, x2
op 9, 01, 01, 01, 01, "VX", "E", 0, str x0, [x6]
op 9, 05, 05, 05, 05, "VX", "E", 0, stp q0, q1, [x6]
// The monitor is not armed: the address is known, nothing is stored.
op 9, 0b, 0b, 0b, 0b, "VX?", "F", 0, stxr w0, x1, [x2]
op 9, 0b, 0b, 0b, 0b, "VX?", "F", 0, stxp w0, x1, x3, [x2]
op 9, 1b, 1b, 1b, 1b, "VX?", "F", 0, stlxr w0, w1, [x2]
op 9, 1b, 1b, 1b, 1b, "VX?", "F", 0, stlxp w0, x1, x3, [x2]

// ── Atomics ──────────────────────────────────────────────────────────────────────────────────────────────────────────
op 9, 06, 06, 06, 06, "VPSX", "", 0, ldadd x1, x0, [x2]
op 9, 06, 06, 06, 06, "VPSX", "", 0, ldclrb w1, w0, [x2]
op 9, 06, 06, 06, 06, "VPSX", "", 0, ldsmax w1, w0, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, ldeora x1, x0, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, ldsetl x1, x0, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, lduminal x1, x0, [x2]
op 9, 06, 06, 06, 06, "VPSX", "", 0, swp x1, x0, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, swpal w1, w0, [x2]
op 9, 06, 06, 06, 06, "VPSX", "", 0, cas x1, x0, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, casa w1, w0, [x2]
op 9, 06, 06, 06, 06, "VPSX", "", 0, casp x8, x9, x10, x11, [x2]
op 9, 16, 16, 16, 16, "VPSX", "", 0, caspal x8, x9, x10, x11, [x2]
op 9, 07, 07, 07, 07, "VPX", "", 0, stadd x1, [x2]
op 9, 07, 07, 07, 07, "VPX", "", 0, stclrh w1, [x2]
op 9, 17, 17, 17, 17, "VPX", "", 0, steorl x1, [x2]
op 9, 07, 07, 07, 07, "VPX", "", 0, ldadda x1, xzr, [x2]
op 9, 17, 17, 17, 17, "VPX", "", 0, ldaddal x1, xzr, [x2]
op 9, 06, 06, 06, 06, "VPSX?", "", 0, swp x1, xzr, [x2]

// ── Branches ─────────────────────────────────────────────────────────────────────────────────────────────────────────
op A, 00, 00, 18, 00, "T", "", 0, b .+8
op A, 00, 00, 18, 00, "T", "", 0, b .-64
op A, 00, 00, 18, 00, "T", "", 1, b .+8
op A, 01, 01, 19, 01, "T", "", 0, b.eq .+8
op A, 01, 01, 19, 01, "", "N", 0, b.ne .+8
op A, 01, 01, 19, 01, "T", "", 0, b.al .+8
op A, 01, 01, 19, 01, "T", "", 0, cbz x4, .+8
op A, 01, 01, 19, 01, "", "N", 0, cbz w1, .+8
op A, 01, 01, 19, 01, "T", "", 0, cbnz w1, .+8
op A, 01, 01, 19, 01, "", "N", 0, cbnz x4, .+8
op A, 01, 01, 19, 01, "T", "", 0, tbz x1, #1, .+8
op A, 01, 01, 19, 01, "", "N", 0, tbz x1, #0, .+8
op A, 01, 01, 19, 01, "T", "", 0, tbnz x1, #2, .+8
op A, 01, 01, 19, 01, "", "N", 1, tbnz x1, #3, .+8
op A, 00, 00, 08, 00, "T", "", 0, bl .+8
op A, 02, 02, 1a, 02, "T", "", 0, br x5
op A, 02, 02, 0a, 02, "T", "", 0, blr x5
op A, 02, 02, 12, 02, "T", "", 0, ret
op A, 02, 02, 12, 02, "T", "", 1, ret
op A, 02, 02, 12, 02, "T", "", 0, ret x5
op A, 02, 02, 1a, 02, "T", "", 0, eret

.text
.balign 8
literal: .quad 0
