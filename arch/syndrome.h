// Exception syndromes (ESR_EL1) and fault status codes. Arm ARM D24.2.40 (ESR_EL1).
#pragma once

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// ESR_EL1.EC. Where an exception has two classes by origin, the `_lower` one is for exceptions from EL0.
enum class Ec : u8 {
    unknown = 0x00,
    wfx = 0x01,
    fp_access = 0x07,
    illegal_state = 0x0E,
    svc64 = 0x15,
    system_access = 0x18,
    instruction_abort_lower = 0x20,
    instruction_abort_same = 0x21,
    pc_alignment = 0x22,
    data_abort_lower = 0x24,
    data_abort_same = 0x25,
    sp_alignment = 0x26,
    breakpoint_lower = 0x30,
    breakpoint_same = 0x31,
    software_step_lower = 0x32,
    software_step_same = 0x33,
    watchpoint_lower = 0x34,
    watchpoint_same = 0x35,
    brk64 = 0x3C,
};

/// Fault status codes (DFSC/IFSC). Those of translation-table walks have the level in bits [1:0].
namespace fsc {
inline constexpr u8 kAddressSize = 0x00;
inline constexpr u8 kTranslation = 0x04;
inline constexpr u8 kAccessFlag = 0x08;
inline constexpr u8 kPermission = 0x0C;
inline constexpr u8 kExternalAbort = 0x10;
inline constexpr u8 kExternalAbortOnWalk = 0x14;
inline constexpr u8 kAlignment = 0x21;
inline constexpr u8 kDebug = 0x22;
inline constexpr u8 kUnsupportedAtomic = 0x35;
}  // namespace fsc

/// ESR_EL1 of an exception from A64 code: IL is set, instructions are 32 bits long.
constexpr u64 make_esr(Ec ec, u32 iss) {
    return u64{static_cast<u8>(ec)} << 26 | u64{1} << 25 | (iss & 0x1FFFFFF);
}

/// ISS of traps of conditional encodings: CV = 1, COND = always.
inline constexpr u32 kIssAlways = 1u << 24 | 0xEu << 20;

/// ISS of a trapped MRS, MSR or SYS, from its instruction word.
constexpr u32 iss_system_access(u32 insn) {
    const auto field = [insn](unsigned hi, unsigned lo) { return static_cast<u32>(bits(insn, hi, lo)); };
    return field(20, 19) << 20 | field(7, 5) << 17 | field(18, 16) << 14 | field(15, 12) << 10 | field(4, 0) << 5 |
           field(11, 8) << 1 | field(21, 21);
}

/// ISS of a data abort without a valid instruction syndrome (ISV = 0).
constexpr u32 iss_data_abort(u8 fault, bool is_write, bool cache_maintenance) {
    return (cache_maintenance ? 1u << 8 : 0u) | (is_write || cache_maintenance ? 1u << 6 : 0u) | (fault & 0x3Fu);
}

}  // namespace vmm::arch
