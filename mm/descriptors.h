// VMSAv8-64 stage 1 translation-table descriptors. Arm ARM D8.3.
#pragma once

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::mm {

/// Size of a translation granule, as the number of address bits within it.
enum class Granule : u8 { k4 = 12, k16 = 14, k64 = 16 };

constexpr unsigned granule_shift(Granule granule) {
    return static_cast<unsigned>(granule);
}

namespace descriptor {

// Bits [1:0].
inline constexpr u64 kTypeMask = 3;
inline constexpr u64 kBlock = 1;  // levels 1 and 2; reserved at level 3
inline constexpr u64 kTable = 3;  // levels 0 to 2
inline constexpr u64 kPage = 3;   // level 3

// Block and page descriptors.
inline constexpr unsigned kAttrIndexShift = 2;         // [4:2]
inline constexpr u64 kApUser = u64{1} << 6;            // AP[1]: accessible at EL0
inline constexpr u64 kApReadOnly = u64{1} << 7;        // AP[2]
inline constexpr u64 kAccessFlag = u64{1} << 10;       // AF
inline constexpr u64 kNotGlobal = u64{1} << 11;        // nG
inline constexpr u64 kDirtyModifier = u64{1} << 51;    // DBM
inline constexpr u64 kContiguous = u64{1} << 52;
inline constexpr u64 kPrivilegedNever = u64{1} << 53;  // PXN
inline constexpr u64 kUserNever = u64{1} << 54;        // UXN

// Table descriptors: restrictions on everything below.
inline constexpr u64 kTablePrivilegedNever = u64{1} << 59;  // PXNTable
inline constexpr u64 kTableUserNever = u64{1} << 60;        // UXNTable
inline constexpr u64 kTableNoUser = u64{1} << 61;           // APTable[0]
inline constexpr u64 kTableReadOnly = u64{1} << 62;         // APTable[1]

/// Bits [47:low] of a descriptor.
constexpr u64 address(u64 value, unsigned low) {
    return bits(value, 47, low) << low;
}

}  // namespace descriptor
}  // namespace vmm::mm
