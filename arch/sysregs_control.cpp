// System control, translation, exception and PSTATE registers. Arm ARM D24.2, C5.2.
#include "arch/mmu.h"
#include "arch/pmu.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey key(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return sysreg_key(3, op1, crn, crm, op2);
}

// ── State that translation or decoding depends on ──────────────────────────────────────────────────────────

// RES1 of SCTLR_EL1 in a PE without AArch32: LSMAOE, nTLSMD, EIS, TSCXT, EOS, SED, ITD.
constexpr u64 kSctlrFixed = 0x30500980;
// DSSBS, UCI, SPAN, IESB, WXN, nTWE, nTWI, UCT, DZE, I, UMA, SA0, SA, C, A, M. EE and E0E are RES0: little-endian only.
constexpr u64 kSctlrWritable = u64{1} << 44 | 0x04ADD21F;
constexpr u64 kSctlrReset = u64{1} << 23;  // SPAN: entry does not set PAN, as before Armv8.1

// All but bits 6 and 35 and what later features add from bit 51 on.
constexpr u64 kTcrWritable = 0x0007FFF7FFFFFFBF;
constexpr u64 kCpacrWritable = u64{3} << 20;  // FPEN

template <u64 CpuState::*field, u64 writable, u64 fixed>
void write_context(void*, Vcpu& v, u64 value) {
    v.s.*field = (value & writable) | fixed;
    v.context_changed();
}

constexpr u64 kAll = ~u64{0};

/// A register of CpuState that changes the translation or decode context.
template <u64 CpuState::*field, u64 writable = kAll, u64 fixed = 0>
constexpr PeRow context_row(const char* name, SysregKey row_key, u64 reset = 0) {
    return {{.name = name,
             .key = row_key,
             .reset = reset,
             .writable = writable,
             .fixed = fixed,
             .write = write_context<field, writable, fixed>,
             .ends_block = true},
            field};
}

constexpr u16 kEventCidWriteRetired = pmu_event::kCidWriteRetired;
constexpr u16 kEventTtbrWriteRetired = pmu_event::kTtbrWriteRetired;

template <u64 CpuState::*field>
void write_ttbr(void*, Vcpu& v, u64 value) {
    v.s.*field = value;
    v.pmu().count(kEventTtbrWriteRetired, 1);
    v.context_changed();
}

void write_contextidr(void*, Vcpu& v, u64 value) {
    v.s.contextidr_el1 = value & 0xFFFFFFFF;
    v.pmu().count(kEventCidWriteRetired, 1);
}

// ── PSTATE as registers ────────────────────────────────────────────────────────────────────────────────────

u64 read_nzcv(void*, Vcpu& v) {
    return v.s.nzcv.pack();
}
void write_nzcv(void*, Vcpu& v, u64 value) {
    v.s.nzcv.unpack(value);
}

u64 read_daif(void*, Vcpu& v) {
    return u64{v.s.daif} << 6;
}
void write_daif(void*, Vcpu& v, u64 value) {
    v.s.daif = static_cast<u8>(bits(value, 9, 6));
}
SysregTrap check_daif(void*, Vcpu& v, bool) {
    constexpr unsigned kSctlrUma = 9;
    return v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrUma) ? SysregTrap::trap_el1 : SysregTrap::allow;
}

u64 read_spsel(void*, Vcpu& v) {
    return v.s.sp_sel;
}
void write_spsel(void*, Vcpu& v, u64 value) {
    v.switch_el(v.s.el, value & 1);
}

u64 read_current_el(void*, Vcpu& v) {
    return u64{v.s.el} << 2;
}

u64 read_pan(void*, Vcpu& v) {
    return u64{v.s.pan} << 22;
}
void write_pan(void*, Vcpu& v, u64 value) {
    v.s.pan = bit(value, 22);
    v.context_changed();
}

u64 read_uao(void*, Vcpu& v) {
    return u64{v.s.uao} << 23;
}
void write_uao(void*, Vcpu& v, u64 value) {
    v.s.uao = bit(value, 23);
    v.context_changed();
}

u64 read_ssbs(void*, Vcpu& v) {
    return u64{v.s.ssbs} << 12;
}
void write_ssbs(void*, Vcpu& v, u64 value) {
    v.s.ssbs = bit(value, 12);
}

/// SP_EL0 cannot be named while it is the current stack pointer.
SysregTrap check_sp_el0(void*, Vcpu& v, bool) {
    return v.s.sp_sel == 0 ? SysregTrap::undefined : SysregTrap::allow;
}

// ── SIMD&FP ────────────────────────────────────────────────────────────────────────────────────────────────

constexpr u32 kFpcrWritable = 0x07C80000;  // AHP, DN, FZ, RMode, FZ16
constexpr u32 kFpsrWritable = 0x0800009F;  // QC, IDC, IXC, UFC, OFC, DZC, IOC

SysregTrap check_fp(void*, Vcpu& v, bool) {
    const u64 fpen = bits(v.s.cpacr_el1, 21, 20);
    const bool allowed = fpen == 3 || (fpen == 1 && v.s.el == 1);
    return allowed ? SysregTrap::allow : SysregTrap::trap_fp;
}

u64 read_fpcr(void*, Vcpu& v) {
    return v.s.fpcr;
}
void write_fpcr(void*, Vcpu& v, u64 value) {
    v.s.fpcr = static_cast<u32>(value) & kFpcrWritable;
}
u64 read_fpsr(void*, Vcpu& v) {
    return v.s.fpsr;
}
void write_fpsr(void*, Vcpu& v, u64 value) {
    v.s.fpsr = static_cast<u32>(value) & kFpsrWritable;
}

// ── Interrupts ─────────────────────────────────────────────────────────────────────────────────────────────

u64 read_isr(void*, Vcpu& v) {
    return u64{v.pins.irq()} << 7;
}

// ── The tables ─────────────────────────────────────────────────────────────────────────────────────────────

// clang-format off
constexpr PeRow kRows[] = {
    // System control and translation
    context_row<&CpuState::sctlr_el1, kSctlrWritable, kSctlrFixed>("SCTLR_EL1", key(0, 1, 0, 0), kSctlrReset),
    {{.name = "ACTLR_EL1", .key = key(0, 1, 0, 1), .writable = 0}},
    context_row<&CpuState::cpacr_el1, kCpacrWritable>("CPACR_EL1", key(0, 1, 0, 2)),
    {{.name = "TTBR0_EL1", .key = key(0, 2, 0, 0), .write = write_ttbr<&CpuState::ttbr0_el1>, .ends_block = true},
     &CpuState::ttbr0_el1},
    {{.name = "TTBR1_EL1", .key = key(0, 2, 0, 1), .write = write_ttbr<&CpuState::ttbr1_el1>, .ends_block = true},
     &CpuState::ttbr1_el1},
    context_row<&CpuState::tcr_el1, kTcrWritable>("TCR_EL1", key(0, 2, 0, 2)),
    {{.name = "PAR_EL1", .key = key(0, 7, 4, 0)}, &CpuState::par_el1},
    context_row<&CpuState::mair_el1>("MAIR_EL1", key(0, 10, 2, 0)),
    {{.name = "AMAIR_EL1", .key = key(0, 10, 3, 0), .writable = 0}, &CpuState::amair_el1},
    {{.name = "CONTEXTIDR_EL1", .key = key(0, 13, 0, 1), .write = write_contextidr}, &CpuState::contextidr_el1},

    // Limited ordering regions: 4 regions, 4 descriptors; ordering is always stronger than they ask for
    {{.name = "LORSA_EL1", .key = key(0, 10, 4, 0), .writable = 0x0000FFFFFFFF0001}},
    {{.name = "LOREA_EL1", .key = key(0, 10, 4, 1), .writable = 0x0000FFFFFFFF0000}},
    {{.name = "LORN_EL1",  .key = key(0, 10, 4, 2), .writable = 0x3}},
    {{.name = "LORC_EL1",  .key = key(0, 10, 4, 3), .writable = 0xD}},
    {{.name = "LORID_EL1", .key = key(0, 10, 4, 7), .access = ro_el1, .reset = 0x00040004}},

    // Exceptions
    {{.name = "SPSR_EL1",  .key = key(0, 4, 0, 0), .writable = 0xF0F013DF}, &CpuState::spsr_el1},
    {{.name = "ELR_EL1",   .key = key(0, 4, 0, 1)}, &CpuState::elr_el1},
    {{.name = "AFSR0_EL1", .key = key(0, 5, 1, 0), .writable = 0}},
    {{.name = "AFSR1_EL1", .key = key(0, 5, 1, 1), .writable = 0}},
    {{.name = "ESR_EL1",   .key = key(0, 5, 2, 0), .writable = 0xFFFFFFFF}, &CpuState::esr_el1},
    {{.name = "FAR_EL1",   .key = key(0, 6, 0, 0)}, &CpuState::far_el1},
    {{.name = "VBAR_EL1",  .key = key(0, 12, 0, 0), .writable = ~u64{0x7FF}}, &CpuState::vbar_el1},
    {{.name = "RVBAR_EL1", .key = key(0, 12, 0, 1), .access = ro_el1, .reset = 0}},
    {{.name = "ISR_EL1",   .key = key(0, 12, 1, 0), .access = ro_el1, .read = read_isr}},
    {{.name = "DISR_EL1",  .key = key(0, 12, 1, 1), .writable = 0x81FFFFFF}},

    // RAS: no error records
    {{.name = "ERRIDR_EL1",    .key = key(0, 5, 3, 0), .access = ro_el1}},
    {{.name = "ERRSELR_EL1",   .key = key(0, 5, 3, 1), .writable = 0}},
    {{.name = "ERXFR_EL1",     .key = key(0, 5, 4, 0), .access = ro_el1}},
    {{.name = "ERXCTLR_EL1",   .key = key(0, 5, 4, 1), .writable = 0}},
    {{.name = "ERXSTATUS_EL1", .key = key(0, 5, 4, 2), .writable = 0}},
    {{.name = "ERXADDR_EL1",   .key = key(0, 5, 4, 3), .writable = 0}},
    {{.name = "ERXMISC0_EL1",  .key = key(0, 5, 5, 0), .writable = 0}},
    {{.name = "ERXMISC1_EL1",  .key = key(0, 5, 5, 1), .writable = 0}},

    // Thread identification, timer access control
    {{.name = "TPIDR_EL1",   .key = key(0, 13, 0, 4)}, &CpuState::tpidr_el1},
    {{.name = "TPIDR_EL0",   .key = key(3, 13, 0, 2), .access = rw_el0}, &CpuState::tpidr_el0},
    {{.name = "TPIDRRO_EL0", .key = key(3, 13, 0, 3), .access = el0_reads}, &CpuState::tpidrro_el0},
    {{.name = "CNTKCTL_EL1", .key = key(0, 14, 1, 0), .writable = 0x3FF}, &CpuState::cntkctl_el1},

    // PSTATE
    {{.name = "SP_EL0",    .key = key(0, 4, 1, 0), .check = check_sp_el0}, &CpuState::sp_el0},
    {{.name = "SPSel",     .key = key(0, 4, 2, 0), .read = read_spsel, .write = write_spsel}},
    {{.name = "CurrentEL", .key = key(0, 4, 2, 2), .access = ro_el1, .read = read_current_el}},
    {{.name = "PAN",       .key = key(0, 4, 2, 3), .read = read_pan, .write = write_pan, .ends_block = true}},
    {{.name = "UAO",       .key = key(0, 4, 2, 4), .read = read_uao, .write = write_uao, .ends_block = true}},
    {{.name = "NZCV",      .key = key(3, 4, 2, 0), .access = rw_el0, .read = read_nzcv, .write = write_nzcv}},
    {{.name = "DAIF",      .key = key(3, 4, 2, 1), .access = rw_el0, .read = read_daif, .write = write_daif,
      .check = check_daif, .ends_block = true}},
    {{.name = "SSBS",      .key = key(3, 4, 2, 6), .access = rw_el0, .read = read_ssbs, .write = write_ssbs}},
    {{.name = "FPCR",      .key = key(3, 4, 4, 0), .access = rw_el0, .read = read_fpcr, .write = write_fpcr,
      .check = check_fp, .ends_block = true}},
    {{.name = "FPSR",      .key = key(3, 4, 4, 1), .access = rw_el0, .read = read_fpsr, .write = write_fpsr,
      .check = check_fp}},
};
// clang-format on

}  // namespace

std::span<const PeRow> control_rows() {
    return kRows;
}

}  // namespace vmm::arch
