// The optional parts of the extension: what can be chosen, and what a unit has after its version is taken into account.
// Arm ARM, "PMSIDR_EL1" and "PMBIDR_EL1".
#pragma once

#include <optional>
#include <string>

#include "vmm/base/types.h"

namespace vmm::spe {

/// ID_AA64DFR0_EL1.PMSVer.
enum PmsVer : u8 { kSpeV1p0 = 1, kSpeV1p1 = 2, kSpeV1p2 = 3, kSpeV1p3 = 4, kSpeV1p4 = 5 };

/// What a user may choose. The defaults are those of every version.
struct FeatureOptions {
    bool ernd = false;            // PMSIDR_EL1.ERnd: random operations run after the interval, in PMSICR_EL1.ECOUNT
    bool pbt = false;             // PMSIDR_EL1.PBT: previous branch target packet of taken branches; SPEv1p2. Slower
    bool lds = true;              // PMSIDR_EL1.LDS: data source packet of loads
    std::optional<bool> fds;      // PMSIDR_EL1.FDS: PMSDSFR_EL1; SPEv1p4 and LDS, and there unless switched off
    std::optional<bool> crr;      // PMSIDR_EL1.CRR: calls and returns in the branch packet; SPEv1p4, unless switched off
    bool eft = false;             // PMSIDR_EL1.{EFT, FPF}: FP and SIMD types, and exact matching; SPEv1p4
    bool arch_inst = true;        // PMSIDR_EL1.ArchInst; clear, each instruction counts as one micro-operation
    unsigned min_interval = 1024; // PMSIDR_EL1.Interval, a recommendation: one that has an encoding
    unsigned counter_bits = 12;   // PMSIDR_EL1.CountSize: 12 or 16
    unsigned record_bytes = 64;   // PMSIDR_EL1.MaxSize: 64..2048, a power of two
    unsigned align_bytes = 64;    // PMBIDR_EL1.Align: 1..2048, a power of two, at most record_bytes
    bool strict_writes = false;   // buffer registers ignore writes while the buffer is enabled and not stopped
    bool collisions = false;      // samples chosen before the modelled end of the one before collide with it
    bool eager_faults = false;    // all pages of the buffer are looked at when it becomes enabled, as a hypervisor must
    bool higher_owner = false;    // PMBIDR_EL1.P: the buffer belongs to a higher Exception level; EL1 cannot profile
};

/// What one unit has.
struct Features {
    u8 pmsver = kSpeV1p2;
    bool ernd = false;
    bool pbt = false;
    bool lds = true;
    bool fds = false;
    bool crr = false;
    bool eft = false;
    bool arch_inst = true;
    unsigned min_interval = 1024;
    unsigned counter_bits = 12;
    unsigned record_bytes = 64;
    unsigned align_bytes = 64;
    bool strict_writes = false;
    bool collisions = false;
    bool eager_faults = false;
    bool higher_owner = false;
};

constexpr Features resolve(u8 pmsver, const FeatureOptions& options = {}) {
    const bool v1p4 = pmsver >= kSpeV1p4;
    return {.pmsver = pmsver,
            .ernd = options.ernd,
            .pbt = options.pbt,
            .lds = options.lds,
            .fds = options.fds.value_or(v1p4 && options.lds),
            .crr = options.crr.value_or(v1p4),
            .eft = options.eft,
            .arch_inst = options.arch_inst,
            .min_interval = options.min_interval,
            .counter_bits = options.counter_bits,
            .record_bytes = options.record_bytes,
            .align_bytes = options.align_bytes,
            .strict_writes = options.strict_writes,
            .collisions = options.collisions,
            .eager_faults = options.eager_faults,
            .higher_owner = options.higher_owner};
}

/// nullopt, or why the architecture does not allow this combination.
std::optional<std::string> invalid_features(const Features& features);

}  // namespace vmm::spe
