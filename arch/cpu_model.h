// CPU models: frozen tables of what a PE says about itself. A named model advertises only what is implemented.
#pragma once

#include <span>
#include <string_view>

#include "arch/sysreg.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// One identification register of a model.
struct IdRegister {
    const char* name = "";
    SysregKey key = 0;
    u64 value = 0;
};

/// Geometry of one cache level as CCSIDR_EL1 shows it.
struct CacheGeometry {
    u8 csselr = 0;    // CSSELR_EL1.{Level, InD}
    u32 ccsidr = 0;   // CCSIDR_EL1, 32-bit format
};

/// ID_AA64DFR0_EL1.PMUVer.
enum PmuVer : u8 { kPmuV3p1 = 4, kPmuV3p4 = 5, kPmuV3p5 = 6, kPmuV3p7 = 7 };

struct CpuModel {
    std::string_view name;
    u64 midr = 0;
    u64 revidr = 0;
    u64 ctr = 0;         // CTR_EL0
    u64 clidr = 0;       // CLIDR_EL1
    u64 dczid = 0;       // DCZID_EL0
    u8 pmuver = 0;       // ID_AA64DFR0_EL1.PMUVer of a PE with a PMU: see Pmu
    u64 pmcr_id = 0;     // PMCR_EL0.{IMP, IDCODE, N}, in place
    std::span<const CacheGeometry> caches;
    /// The ID space op0=3, op1=0, CRn=0. ID_AA64DFR0_EL1 is without PMUVer and PMSVer, which depend on the configuration.
    std::span<const IdRegister> id_registers;
};

/// All models; the first is the default.
std::span<const CpuModel> cpu_models();

/// nullptr: no such model.
const CpuModel* find_cpu_model(std::string_view name);

}  // namespace vmm::arch
