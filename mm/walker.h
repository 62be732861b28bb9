// The stage 1 translation-table walk of VMSAv8-64 as a function of its parameters and the tables. It knows no system
// registers and no permissions checks: those are the caller's. Arm ARM D8.2 to D8.5.
#pragma once

#include <optional>

#include "mm/descriptors.h"
#include "vmm/base/types.h"

namespace vmm::mm {

/// Where the walk finds descriptors.
class DescriptorPort {
  public:
    DescriptorPort() = default;
    DescriptorPort(const DescriptorPort&) = delete;
    DescriptorPort& operator=(const DescriptorPort&) = delete;

    /// The descriptor at guest-physical `pa` (8-byte aligned); false: nothing there (external abort).
    virtual bool read(u64 pa, u64& value) = 0;
    /// Replaces `expected` with `desired` atomically; false when something else was found.
    virtual bool compare_exchange(u64 pa, u64 expected, u64 desired) = 0;

  protected:
    ~DescriptorPort() = default;
};

/// What one half of the address space (TTBR0 or TTBR1) is translated by.
struct WalkParams {
    u64 table = 0;                 // TTBRn_EL1.BADDR, as programmed (bits [47:1] in place)
    Granule granule = Granule::k4;
    u8 input_bits = 48;            // 64 - TCR_EL1.TnSZ, 25..48
    u8 output_bits = 48;           // physical address size in force, 32..48
    bool disabled = false;         // TCR_EL1.EPDn
    bool top_byte_ignored = false; // TCR_EL1.TBIn
    bool upper = false;            // addresses with bit 55 set (TTBR1)
    bool ignore_hierarchy = false; // TCR_EL1.HPDn
    bool set_access_flag = false;  // TCR_EL1.HA

    friend bool operator==(const WalkParams&, const WalkParams&) = default;
};

/// The tag of `va`: what is no part of the address where the top byte is ignored. Arm ARM D8.8.
constexpr u64 tag_of(const WalkParams& params, u64 va) {
    return params.top_byte_ignored ? va & u64{0xFF} << 56 : 0;
}

/// ID_AA64MMFR0_EL1.PARange.
inline constexpr unsigned kPhysicalBits = 48;

/// The physical address of `va` where translation is off; nullopt: there is none, an Address size fault.
constexpr std::optional<u64> flat_address(const WalkParams& params, u64 va) {
    const u64 pa = va - tag_of(params, va);
    return (pa >> kPhysicalBits) == 0 ? std::optional(pa) : std::nullopt;
}

enum class WalkFault : u8 {
    none,
    translation,
    address_size,
    access_flag,
    external_abort,  // a descriptor could not be read
};

/// The walk's result. On a fault only `fault` and `level` are meaningful.
struct WalkResult {
    WalkFault fault = WalkFault::none;
    u8 level = 0;             // of the last lookup
    u8 block_shift = 12;      // log2 of the bytes mapped by the descriptor
    u8 attr_index = 0;        // into MAIR_EL1
    bool user = false;        // EL0 may access (after APTable)
    bool read_only = false;   // after APTable; may be dirtied when `dirty_modifier`
    bool table_read_only = false;  // some APTable forbids writing: dirtying would not help
    bool dirty_modifier = false;   // DBM
    bool privileged_never = false; // PXN
    bool user_never = false;       // UXN
    bool global = false;
    bool contiguous = false;
    u64 pa = 0;               // of the address asked for
    u64 descriptor_pa = 0;
    u64 descriptor = 0;       // as it is in memory now
};

/// Guest-physical addresses of the tables a walk has read.
struct WalkTrail {
    u8 count = 0;
    u64 table[4] = {};  // address of the descriptor read at each step
};

/// Walks the tables for `va`. With set_access_flag, a descriptor with AF = 0 is updated in memory.
WalkResult walk(const WalkParams& params, u64 va, DescriptorPort& port, WalkTrail* trail = nullptr);

/// Hardware dirty state: makes the descriptor of a walk writable in memory (AP[2] = 0). False when it has changed since:
/// walk again.
bool mark_dirty(WalkResult& result, DescriptorPort& port);

}  // namespace vmm::mm
