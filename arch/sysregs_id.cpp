// Identification registers and cache geometry. Arm ARM D24.2 (ID_*), D24.2.24 (CCSIDR_EL1) and neighbours.
#include "arch/cpu_model.h"
#include "arch/pmu.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey kDfr0 = sysreg_key(3, 0, 0, 5, 0);
constexpr SysregKey kDfr1 = sysreg_key(3, 0, 0, 5, 1);
constexpr SysregKey kCcsidr = sysreg_key(3, 1, 0, 0, 0);
constexpr SysregKey kCsselr = sysreg_key(3, 2, 0, 0, 0);

// SCTLR_EL1.
constexpr unsigned kSctlrDze = 14;
constexpr unsigned kSctlrUct = 15;

SysregRow constant(const char* name, SysregKey key, u64 value) {
    return {.name = name, .key = key, .access = ro_el1, .reset = value, .writable = 0};
}

/// ID_AA64DFR0_EL1 with what the configuration adds: PMUVer [11:8], PMSVer [35:32].
u64 with_options(const VcpuConfig& config, u64 dfr0) {
    return deposit(deposit(dfr0, 11, 8, config.pmu ? config.model->pmuver : 0), 35, 32, config.pmsver);
}

u64 read_ccsidr(void*, Vcpu& v) {
    const u64 selected = *v.sysregs.find(kCsselr)->storage;
    for (const CacheGeometry& cache : v.config.model->caches) {
        if (cache.csselr == selected) {
            return cache.ccsidr;
        }
    }
    return 0;
}

/// DCZID_EL0: DZP says that DC ZVA is not permitted at this Exception level.
u64 read_dczid(void*, Vcpu& v) {
    constexpr u64 kDzp = 1 << 4;
    const bool prohibited = v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrDze);
    return v.config.model->dczid | (prohibited ? kDzp : 0);
}

u64 read_ctr(void*, Vcpu& v) {
    return v.config.model->ctr;
}

SysregTrap check_ctr(void*, Vcpu& v, bool) {
    return v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrUct) ? SysregTrap::trap_el1 : SysregTrap::allow;
}

/// The rest of the ID space reads as zero: registers of AArch32 and of features that are not implemented.
void add_reserved_id_space(Vcpu& v) {
    for (unsigned crm = 0; crm <= 7; ++crm) {
        for (unsigned op2 = 0; op2 <= 7; ++op2) {
            const SysregKey key = sysreg_key(3, 0, 0, crm, op2);
            if (v.sysregs.find(key) == nullptr) {
                const SysregRow row = constant("reserved ID register", key, 0);
                v.sysregs.add(std::span(&row, 1), nullptr);
            }
        }
    }
}

}  // namespace

void add_id_rows(Vcpu& v) {
    const CpuModel& model = *v.config.model;
    for (const IdRegister& id : model.id_registers) {
        const SysregRow row = constant(id.name, id.key, id.key == kDfr0 ? with_options(v.config, id.value) : id.value);
        v.sysregs.add(std::span(&row, 1), nullptr);
    }
    const SysregRow rows[] = {
        constant("ID_AA64DFR1_EL1", kDfr1, deposit(0, 55, 52, v.pmu().has_dpfzs())),
        constant("MIDR_EL1", sysreg_key(3, 0, 0, 0, 0), model.midr),
        constant("MPIDR_EL1", sysreg_key(3, 0, 0, 0, 5), v.config.mpidr),
        constant("REVIDR_EL1", sysreg_key(3, 0, 0, 0, 6), model.revidr),
        constant("CLIDR_EL1", sysreg_key(3, 1, 0, 0, 1), model.clidr),
        constant("AIDR_EL1", sysreg_key(3, 1, 0, 0, 7), 0),
        {.name = "CCSIDR_EL1", .key = kCcsidr, .access = ro_el1, .read = read_ccsidr},
        {.name = "CSSELR_EL1", .key = kCsselr, .writable = 0xF},
        {.name = "CTR_EL0", .key = sysreg_key(3, 3, 0, 0, 1), .access = ro_el0, .read = read_ctr, .check = check_ctr},
        {.name = "DCZID_EL0", .key = sysreg_key(3, 3, 0, 0, 7), .access = ro_el0, .read = read_dczid},
    };
    v.sysregs.add(rows, nullptr);
    add_reserved_id_space(v);
}

}  // namespace vmm::arch
