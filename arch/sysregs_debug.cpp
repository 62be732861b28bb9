// Self-hosted debug registers (op0 = 2). Arm ARM D24.3.
#include <utility>

#include "arch/cpu_model.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey key(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return sysreg_key(2, op1, crn, crm, op2);
}

constexpr u64 kMdscrControls = 0xB001;   // MDE, KDE, TDCC, SS
constexpr u64 kMdscrSaved = 0x6CE04040;  // RXfull, TXfull, RXO, TXU, INTdis, TDA, HDE, ERR: while the OS lock is locked

void write_mdscr(void*, Vcpu& v, u64 value) {
    const u64 writable = v.s.oslar_oslk != 0 ? kMdscrControls | kMdscrSaved : kMdscrControls;
    v.s.mdscr_el1 = (v.s.mdscr_el1 & kMdscrSaved & ~writable) | (value & writable);
    v.debug_registers_changed();
    v.context_changed();
}

/// OSLSR_EL1: OSLM = 0b10, the OS lock is implemented.
u64 read_oslsr(void*, Vcpu& v) {
    constexpr u64 kOslm = 1 << 3;
    return kOslm | v.s.oslar_oslk << 1;
}
void write_oslar(void*, Vcpu& v, u64 value) {
    v.s.oslar_oslk = value & 1;
    v.context_changed();
}

/// OSDLR_EL1.DLK and DBGPRCR_EL1.CORENPDRQ: the OS Double Lock.
template <u64 CpuState::*reg>
void write_double_lock(void*, Vcpu& v, u64 value) {
    v.s.*reg = value & 1;
    v.context_changed();
}

/// The claim tags, kept in DBGCLAIMCLR_EL1's storage; DBGCLAIMSET_EL1 reads as all tags implemented.
constexpr SysregKey kClaimClear = key(0, 7, 9, 6);
constexpr u64 kClaimTags = 0xFF;

u64 read_claim_set(void*, Vcpu&) {
    return kClaimTags;
}
void write_claim_set(void*, Vcpu& v, u64 value) {
    *v.sysregs.find(kClaimClear)->storage |= value & kClaimTags;
}
void write_claim_clear(void*, Vcpu& v, u64 value) {
    *v.sysregs.find(kClaimClear)->storage &= ~value;
}

/// MDSCR_EL1.TDCC traps the Debug Communications Channel of EL0.
SysregTrap check_dcc(void*, Vcpu& v, bool) {
    return v.s.el == 0 && bit(v.s.mdscr_el1, 12) ? SysregTrap::trap_el1 : SysregTrap::allow;
}

void ignore_write(void*, Vcpu&, u64) {}

// DBGAUTHSTATUS_EL1: non-secure invasive and non-invasive debug implemented and enabled, nothing secure.
constexpr u64 kAuthStatus = 0xF << 0;

// clang-format off
constexpr PeRow kFixedRows[] = {
    {{.name = "OSDTRRX_EL1",       .key = key(0, 0, 0, 2), .writable = 0xFFFFFFFF}},
    {{.name = "MDCCINT_EL1",       .key = key(0, 0, 2, 0), .writable = 0x60000000}},
    {{.name = "MDSCR_EL1",         .key = key(0, 0, 2, 2), .write = write_mdscr, .ends_block = true},
     &CpuState::mdscr_el1},
    {{.name = "OSDTRTX_EL1",       .key = key(0, 0, 3, 2), .writable = 0xFFFFFFFF}},
    {{.name = "OSECCR_EL1",        .key = key(0, 0, 6, 2), .writable = 0}},
    {{.name = "MDRAR_EL1",         .key = key(0, 1, 0, 0), .access = ro_el1}},
    {{.name = "OSLAR_EL1",         .key = key(0, 1, 0, 4), .access = wo_el1, .write = write_oslar, .ends_block = true}},
    {{.name = "OSLSR_EL1",         .key = key(0, 1, 1, 4), .access = ro_el1, .read = read_oslsr}},
    {{.name = "OSDLR_EL1",         .key = key(0, 1, 3, 4), .write = write_double_lock<&CpuState::osdlr_el1>,
      .ends_block = true},
     &CpuState::osdlr_el1},
    {{.name = "DBGPRCR_EL1",       .key = key(0, 1, 4, 4), .write = write_double_lock<&CpuState::dbgprcr_el1>,
      .ends_block = true},
     &CpuState::dbgprcr_el1},
    {{.name = "DBGCLAIMSET_EL1",   .key = key(0, 7, 8, 6), .read = read_claim_set, .write = write_claim_set}},
    {{.name = "DBGCLAIMCLR_EL1",   .key = kClaimClear, .write = write_claim_clear}},
    {{.name = "DBGAUTHSTATUS_EL1", .key = key(0, 7, 14, 6), .access = ro_el1, .reset = kAuthStatus}},
    {{.name = "MDCCSR_EL0",        .key = key(3, 0, 1, 0), .access = ro_el0, .check = check_dcc}},
    {{.name = "DBGDTR_EL0",        .key = key(3, 0, 4, 0), .access = rw_el0, .write = ignore_write, .check = check_dcc}},
    {{.name = "DBGDTRRX_EL0",      .key = key(3, 0, 5, 0), .access = rw_el0, .write = ignore_write, .check = check_dcc}},
};

// clang-format on

// ── Breakpoints and watchpoints ────────────────────────────────────────────────────────────────────────────

using Unit = SelfHostedDebug::Unit;

constexpr u64 kAddress = ~u64{3};             // of DBGBVR<n>_EL1 and DBGWVR<n>_EL1
constexpr u64 kAddressOrContext = ~u64{0};    // of DBGBVR<n>_EL1 where the breakpoint is context-aware
constexpr u64 kBcrWritable = 0x00FFE007;      // BT, LBN, SSC, HMC, PMC, E
constexpr u64 kBcrFixed = 0x000001E0;         // BAS is RES1 without AArch32
constexpr u64 kWcrWritable = 0x1F1FFFFF;      // MASK, WT, LBN, SSC, HMC, BAS, LSC, PAC, E

/// One of the four registers that units have, for all units: their number is CRm.
struct UnitRegister {
    const char* names[SelfHostedDebug::kBreakpoints];
    unsigned op2;
    u64 Unit::*field;
    u64 fixed;
};

// clang-format off
constexpr UnitRegister kBvr = {{"DBGBVR0_EL1", "DBGBVR1_EL1", "DBGBVR2_EL1", "DBGBVR3_EL1", "DBGBVR4_EL1", "DBGBVR5_EL1"},
                               4, &Unit::value, 0};
constexpr UnitRegister kBcr = {{"DBGBCR0_EL1", "DBGBCR1_EL1", "DBGBCR2_EL1", "DBGBCR3_EL1", "DBGBCR4_EL1", "DBGBCR5_EL1"},
                               5, &Unit::control, kBcrFixed};
constexpr UnitRegister kWvr = {{"DBGWVR0_EL1", "DBGWVR1_EL1", "DBGWVR2_EL1", "DBGWVR3_EL1"}, 6, &Unit::value, 0};
constexpr UnitRegister kWcr = {{"DBGWCR0_EL1", "DBGWCR1_EL1", "DBGWCR2_EL1", "DBGWCR3_EL1"}, 7, &Unit::control, 0};
// clang-format on

template <const UnitRegister& reg, u64 writable, auto units, unsigned n>
void add_unit_row(Vcpu& v) {
    const auto write = [](void*, Vcpu& vcpu, u64 value) {
        (vcpu.debug.*units)[n].*reg.field = (value & writable) | reg.fixed;
        vcpu.debug_registers_changed();
    };
    const SysregRow row{.name = reg.names[n],
                        .key = key(0, 0, n, reg.op2),
                        .reset = reg.fixed,
                        .write = write,
                        .ends_block = true,
                        .storage = &((v.debug.*units)[n].*reg.field)};
    v.sysregs.add(std::span(&row, 1), nullptr);
}

template <unsigned... n>
void add_breakpoint_rows(Vcpu& v, std::integer_sequence<unsigned, n...>) {
    constexpr auto kUnits = &SelfHostedDebug::breakpoints;
    (add_unit_row<kBvr, n < SelfHostedDebug::kFirstContextAware ? kAddress : kAddressOrContext, kUnits, n>(v), ...);
    (add_unit_row<kBcr, kBcrWritable, kUnits, n>(v), ...);
}

template <unsigned... n>
void add_watchpoint_rows(Vcpu& v, std::integer_sequence<unsigned, n...>) {
    constexpr auto kUnits = &SelfHostedDebug::watchpoints;
    (add_unit_row<kWvr, kAddress, kUnits, n>(v), ...);
    (add_unit_row<kWcr, kWcrWritable, kUnits, n>(v), ...);
}

}  // namespace

std::span<const PeRow> debug_rows() {
    return kFixedRows;
}

void add_debug_unit_rows(Vcpu& v) {
    add_breakpoint_rows(v, std::make_integer_sequence<unsigned, SelfHostedDebug::kBreakpoints>());
    add_watchpoint_rows(v, std::make_integer_sequence<unsigned, SelfHostedDebug::kWatchpoints>());
}

}  // namespace vmm::arch
