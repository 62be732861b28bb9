// What every bare-metal guest is made of: a start that reaches `guest_main` with a stack and vectors, and a few macros.
//
// A guest reports by the UART and ends by PSCI SYSTEM_OFF. `check` compares a register with a value and, when they differ,
// prints the line and both and ends the machine; a guest that gets through prints PASS. tests/guest/run.py judges.

#ifdef REFERENCE_QEMU           // -M virt with at least 1100 MiB, which has RAM at the same addresses
#define UART 0x09000000
#else
#define UART 0x01000000
#endif
#define RAM 0x80000000
#define PSCI_SYSTEM_OFF 0x84000008
#define PSCI_SYSTEM_RESET 0x84000009
#define PSCI_CPU_ON 0xC4000003
#define PSCI_VERSION 0x84000000

.macro mov64 reg, value
    movz \reg, #((\value) & 0xFFFF)
    movk \reg, #(((\value) >> 16) & 0xFFFF), lsl #16
    movk \reg, #(((\value) >> 32) & 0xFFFF), lsl #32
    movk \reg, #(((\value) >> 48) & 0xFFFF), lsl #48
.endm

// Ends the machine with a report unless \reg == \value (a 64-bit constant). Clobbers X0..X3.
#define check check_at __LINE__,
.macro check_at line, reg, value
    mov x1, \reg
    mov64 x2, (\value)
    mov x0, #\line
    bl check_equal
.endm

// The same for the value of a system register.
#define check_sysreg check_sysreg_at __LINE__,
.macro check_sysreg_at line, name, value
    mrs x1, \name
    mov64 x2, (\value)
    mov x0, #\line
    bl check_equal
.endm

// Ends the machine with a report: the guest came where it must not.
#define unreachable unreachable_at __LINE__
.macro unreachable_at line
    mov x1, #0xBAD
    mov x2, #0
    mov x0, #\line
    bl check_equal
.endm

// The same for a value under a mask of bits. Clobbers X0..X3.
#define check_bits check_bits_at __LINE__,
.macro check_bits_at line, reg, mask, value
    mov x1, \reg
    mov64 x2, (\mask)
    and x1, x1, x2
    mov64 x2, (\value)
    mov x0, #\line
    bl check_equal
.endm

// Arranges that the next synchronous exception to EL1 resumes at \label with its syndrome in X20, ELR in X21, FAR in X22.
.macro expect_exception label
    adr x1, \label
    adr x2, exception_resume
    str x1, [x2]
.endm

// Goes to EL0 at the address in \reg, everything masked. Clobbers X0.
.macro enter_el0 reg
    msr elr_el1, \reg
    mov x0, #0x3C0
    msr spsr_el1, x0
    eret
.endm
