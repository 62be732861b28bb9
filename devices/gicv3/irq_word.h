// The state of 32 interrupts and the registers that show it, which distributor and redistributors have in common.
#pragma once

#include <array>

#include "vmm/base/types.h"

namespace vmm::devices {

/// One bit per interrupt in each member.
struct IrqWord {
    u32 group = 0;     // IGROUPR: 1 = group 1
    u32 enabled = 0;   // ISENABLER
    u32 latch = 0;     // pending until acknowledged or cleared: edges, SGIs, writes to ISPENDR
    u32 level = 0;     // input wires
    u32 active = 0;    // ISACTIVER
    u32 edge = 0;      // ICFGR: 1 = edge-triggered
    std::array<u8, 32> priority{};  // IPRIORITYR

    /// ISPENDR: a level-sensitive interrupt is pending as long as its wire is high.
    u32 pending() const { return latch | (level & ~edge); }
    /// Pending, enabled and not active already.
    u32 deliverable() const { return pending() & enabled & ~active; }

    void set_level(unsigned n, bool high);

    /// Everything but the wires, and `fixed_edge` as the configuration.
    void reset(u32 fixed_edge);
};

/// Registers with one or more bits per interrupt, by where they stand in the distributor's and the SGI frame's map.
enum class IrqRegister : u8 {
    igroupr, isenabler, icenabler, ispendr, icpendr, isactiver, icactiver, ipriorityr, icfgr, none,
};

struct IrqRegisterPlace {
    IrqRegister which = IrqRegister::none;
    unsigned index = 0;  // 32-bit word within the register array
};

/// Which register array a 32-bit word at `offset` (a multiple of 4) belongs to.
IrqRegisterPlace irq_register_at(u64 offset);

/// The first INTID that a register shows.
constexpr unsigned first_intid(IrqRegisterPlace place) {
    switch (place.which) {
        case IrqRegister::ipriorityr: return place.index * 4;
        case IrqRegister::icfgr: return place.index * 16;
        default: return place.index * 32;
    }
}

/// `index` as in IrqRegisterPlace; `word` is the one that holds first_intid().
u32 read_irq_register(const IrqWord& word, IrqRegister which, unsigned index);
/// `fixed_config` has a bit for each interrupt whose configuration cannot be changed (SGIs).
void write_irq_register(IrqWord& word, IrqRegister which, unsigned index, u32 value, u32 fixed_config);

inline constexpr u8 kPriorityMask = 0xF8;  // 5 bits of priority

}  // namespace vmm::devices
