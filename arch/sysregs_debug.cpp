// Self-hosted debug registers (op0 = 2). Breakpoint and watchpoint registers hold their values. Arm ARM D24.3.
#include <array>
#include <utility>
#include <vector>

#include "arch/cpu_model.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey key(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return sysreg_key(2, op1, crn, crm, op2);
}

constexpr u64 kMdscrWritable = 0x00E0F001;  // INTdis, TDA, MDE, HDE, KDE, TDCC, SS

void write_mdscr(void*, Vcpu& v, u64 value) {
    v.s.mdscr_el1 = value & kMdscrWritable;
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
    {{.name = "OSDLR_EL1",         .key = key(0, 1, 3, 4), .writable = 1}, &CpuState::osdlr_el1},
    {{.name = "DBGPRCR_EL1",       .key = key(0, 1, 4, 4), .writable = 1}},
    {{.name = "DBGCLAIMSET_EL1",   .key = key(0, 7, 8, 6), .read = read_claim_set, .write = write_claim_set}},
    {{.name = "DBGCLAIMCLR_EL1",   .key = kClaimClear, .write = write_claim_clear}},
    {{.name = "DBGAUTHSTATUS_EL1", .key = key(0, 7, 14, 6), .access = ro_el1, .reset = kAuthStatus}},
    {{.name = "MDCCSR_EL0",        .key = key(3, 0, 1, 0), .access = ro_el0, .check = check_dcc}},
    {{.name = "DBGDTR_EL0",        .key = key(3, 0, 4, 0), .access = rw_el0, .write = ignore_write, .check = check_dcc}},
    {{.name = "DBGDTRRX_EL0",      .key = key(3, 0, 5, 0), .access = rw_el0, .write = ignore_write, .check = check_dcc}},
};

constexpr unsigned kBreakpoints = 6;
constexpr unsigned kWatchpoints = 4;
constexpr u64 kAddressMask = ~u64{3};
constexpr u64 kBcrWritable = 0x00FFE1E7;  // BT, LBN, SSC, HMC, BAS, PMC, E
constexpr u64 kWcrWritable = 0x1F1FFFFF;  // MASK, WT, LBN, SSC, HMC, BAS, LSC, PAC, E

constexpr std::array kBvrNames = {"DBGBVR0_EL1", "DBGBVR1_EL1", "DBGBVR2_EL1", "DBGBVR3_EL1", "DBGBVR4_EL1", "DBGBVR5_EL1"};
constexpr std::array kBcrNames = {"DBGBCR0_EL1", "DBGBCR1_EL1", "DBGBCR2_EL1", "DBGBCR3_EL1", "DBGBCR4_EL1", "DBGBCR5_EL1"};
constexpr std::array kWvrNames = {"DBGWVR0_EL1", "DBGWVR1_EL1", "DBGWVR2_EL1", "DBGWVR3_EL1"};
constexpr std::array kWcrNames = {"DBGWCR0_EL1", "DBGWCR1_EL1", "DBGWCR2_EL1", "DBGWCR3_EL1"};
// clang-format on
static_assert(kBvrNames.size() == kBreakpoints && kWvrNames.size() == kWatchpoints);

std::vector<PeRow> make_rows() {
    std::vector<PeRow> rows(std::begin(kFixedRows), std::end(kFixedRows));
    const auto add = [&rows](const char* name, unsigned n, unsigned op2, u64 writable) {
        rows.push_back({{.name = name, .key = key(0, 0, n, op2), .writable = writable}});
    };
    for (unsigned n = 0; n < kBreakpoints; ++n) {
        add(kBvrNames[n], n, 4, kAddressMask);
        add(kBcrNames[n], n, 5, kBcrWritable);
    }
    for (unsigned n = 0; n < kWatchpoints; ++n) {
        add(kWvrNames[n], n, 6, kAddressMask);
        add(kWcrNames[n], n, 7, kWcrWritable);
    }
    return rows;
}

}  // namespace

std::span<const PeRow> debug_rows() {
    static const std::vector<PeRow> rows = make_rows();
    return rows;
}

}  // namespace vmm::arch
