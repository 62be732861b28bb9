// Registers of the Statistical Profiling Extension, by encoding so that any assembler takes them, and fields.
#define PMSCR_EL1 s3_0_c9_c9_0
#define PMSNEVFR_EL1 s3_0_c9_c9_1
#define PMSICR_EL1 s3_0_c9_c9_2
#define PMSIRR_EL1 s3_0_c9_c9_3
#define PMSFCR_EL1 s3_0_c9_c9_4
#define PMSEVFR_EL1 s3_0_c9_c9_5
#define PMSLATFR_EL1 s3_0_c9_c9_6
#define PMSIDR_EL1 s3_0_c9_c9_7
#define PMBLIMITR_EL1 s3_0_c9_c10_0
#define PMBPTR_EL1 s3_0_c9_c10_1
#define PMBSR_EL1 s3_0_c9_c10_3
#define PMSDSFR_EL1 s3_0_c9_c10_4
#define PMBMAR_EL1 s3_0_c9_c10_5
#define PMBIDR_EL1 s3_0_c9_c10_7

#define PMSCR_E0SPE 0x01
#define PMSCR_E1SPE 0x02
#define PMSCR_CX 0x08
#define PMSCR_PA 0x10
#define PMSCR_TS 0x20
#define PMBLIMITR_E 1
#define PMBLIMITR_DISCARD 4
#define PMBSR_S 0x20000
#define PMBSR_FULL 0x20001
#define PMBSR_TOO_LARGE 0x20004
#define PMBSR_FAULT 0x90020000  // EC 0x24; FSC in the low bits
#define RECORD_BYTES 64
.macro psb_csync
    hint #17
.endm

// \name must not exist: read and, unless it could not be written anyway, write are UNDEFINED.
#define no_register no_register_at __LINE__,
.macro no_register_at line, name
    expect_exception 98f
    mrs x10, \name
    unreachable_at \line
98: check_at \line, x20, 0x02000000
    expect_exception 99f
    msr \name, x10
    unreachable_at \line
99: check_at \line, x20, 0x02000000
.endm
