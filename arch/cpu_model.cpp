#include "arch/cpu_model.h"

#include <algorithm>
#include <array>

namespace vmm::arch {

namespace {

constexpr SysregKey id_key(unsigned crm, unsigned op2) {
    return sysreg_key(3, 0, 0, crm, op2);
}

// CCSIDR_EL1: NumSets-1 [27:13], Associativity-1 [12:3], log2(line bytes)-4 [2:0].
constexpr u32 ccsidr(u32 kib, u32 ways, u32 line_bytes) {
    const u32 sets = kib * 1024 / ways / line_bytes;
    u32 line = 0;
    while ((16u << line) < line_bytes) {
        ++line;
    }
    return (sets - 1) << 13 | (ways - 1) << 3 | line;
}

constexpr std::array kNeoverseN1Caches = {
    CacheGeometry{0, ccsidr(64, 4, 64)},    // L1 data
    CacheGeometry{1, ccsidr(64, 4, 64)},    // L1 instruction
    CacheGeometry{2, ccsidr(1024, 8, 64)},  // L2 unified
};

// What the hardware says, less EL2, EL3, AArch32, big-endian data and trace. Field values in the Arm ARM's order, low
// bits first.
constexpr std::array kNeoverseN1Ids = {
    // EL0 = EL1 = AArch64 only, FP and AdvSIMD with half precision, GICv3 registers, RAS, CSV2, CSV3
    IdRegister{"ID_AA64PFR0_EL1", id_key(4, 0), 0x1100000011110011},
    IdRegister{"ID_AA64PFR1_EL1", id_key(4, 1), 0x20},  // SSBS with its own MSR/MRS
    // Armv8.2 debug, 6 breakpoints, 4 watchpoints, 2 context-aware
    IdRegister{"ID_AA64DFR0_EL1", id_key(5, 0), 0x10305008},
    // AES + PMULL, SHA1, SHA256, CRC32, LSE, RDM, DP
    IdRegister{"ID_AA64ISAR0_EL1", id_key(6, 0), 0x0000100010211120},
    IdRegister{"ID_AA64ISAR1_EL1", id_key(6, 1), 0x100001},  // DPB (DC CVAP), LRCPC
    // 48-bit PA, 16-bit ASIDs, SNSMem, granules 4, 16 and 64 KiB
    IdRegister{"ID_AA64MMFR0_EL1", id_key(7, 0), 0x101025},
    // HAFDBS with dirty state, HPDS2, LORegions, PAN with AT S1E1RP/WP
    IdRegister{"ID_AA64MMFR1_EL1", id_key(7, 1), 0x00212002},
    IdRegister{"ID_AA64MMFR2_EL1", id_key(7, 2), 0x1011},  // CnP, UAO, IESB
};

constexpr CpuModel kNeoverseN1 = {
    .name = "neoverse-n1",
    .midr = 0x414FD0C1,  // r4p1
    .revidr = 0,
    .ctr = 0x8444C004,
    .clidr = 0x82000023,
    .dczid = 4,
    .pmuver = kPmuV3p1,
    .pmcr_id = 0x410C3000,
    .caches = kNeoverseN1Caches,
    .id_registers = kNeoverseN1Ids,
};

/// All that is implemented.
constexpr CpuModel max_of(CpuModel model) {
    model.name = "max";
    model.pmuver = kPmuV3p7;
    model.pmcr_id = 0x3000;  // with PMUv3p7, IMP and IDCODE read as zero
    return model;
}

constexpr std::array kModels = {kNeoverseN1, max_of(kNeoverseN1)};

}  // namespace

std::span<const CpuModel> cpu_models() {
    return kModels;
}

const CpuModel* find_cpu_model(std::string_view name) {
    const auto found = std::find_if(kModels.begin(), kModels.end(), [&](const CpuModel& m) { return m.name == name; });
    return found == kModels.end() ? nullptr : &*found;
}

}  // namespace vmm::arch
