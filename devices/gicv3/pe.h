// State of one PE inside the GIC. For the GIC's own files only.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <memory>

#include "devices/gicv3/gicv3.h"
#include "vmm/base/bits.h"

namespace vmm::devices {

inline constexpr unsigned kSpurious = 1023;
inline constexpr u8 kIdlePriority = 0xFF;
inline constexpr u32 kSgiMask = 0xFFFF;   // SGIs are always edge-triggered
inline constexpr u64 kAffinityMask = 0xFF'00FF'FFFF;
inline constexpr unsigned kSpiWords = GicV3::kMaxSpis / 32;

/// Lowest binary points with 5 bits of priority: ICC_BPR0_EL1 and ICC_BPR1_EL1.
inline constexpr u8 kMinBpr[2] = {2, 3};

struct GicV3::Pe {
    unsigned index = 0;
    u64 affinity = 0;  // as in MPIDR_EL1, other bits zero
    arch::Pins* pins = nullptr;
    IrqWord local;     // SGIs and PPIs
    std::array<u32, kSpiWords> targeted{};  // SPIs routed here
    bool asleep = true;                     // GICR_WAKER.ProcessorSleep

    // CPU interface, by group.
    std::array<bool, 2> group_enable{};
    std::array<u8, 2> bpr{kMinBpr[0], kMinBpr[1]};
    std::array<u32, 2> active_priorities{};  // one bit for each of 32 preemption levels
    u8 pmr = 0;
    bool cbpr = false;
    bool eoi_mode = false;

    std::unique_ptr<GicCpuInterface> interface;
    std::array<std::unique_ptr<Line>, 16> ppi_lines;

    /// The bits of a priority that decide about preemption.
    u8 group_priority_mask(unsigned group) const {
        const unsigned shift = group == 1 && !cbpr ? bpr[1] : bpr[0] + 1u;
        return static_cast<u8>(0xFFu << shift);
    }

    u8 running_priority() const {
        const u32 all = active_priorities[0] | active_priorities[1];
        return all == 0 ? kIdlePriority : static_cast<u8>(std::countr_zero(all) << 3);
    }
};

/// One wire into the GIC.
class GicV3::Line final : public arch::IrqLine {
  public:
    Line(GicV3& gic, unsigned cpu, unsigned intid) : gic_(gic), cpu_(cpu), intid_(intid) {}

    void set(bool level) override {
        if (level_.exchange(level, std::memory_order_acq_rel) != level) {
            gic_.line_changed(cpu_, intid_, level_);
        }
    }

  private:
    GicV3& gic_;
    const unsigned cpu_;
    const unsigned intid_;
    std::atomic<bool> level_{false};
};

/// Reads a register frame through `read32(offset)`. Registers are words; two neighbours make a doubleword; bytes and
/// halfwords are for the priority registers only (IHI 0069, 12.1.3). Anything else reads as zero.
template <class Read32>
u64 read_frame(const Access& access, Read32 read32) {
    if (!is_aligned(access.offset, access.size)) {
        return 0;
    }
    switch (access.size) {
        case 4: return read32(access.offset);
        case 8: return read32(access.offset) | u64{read32(access.offset + 4)} << 32;
        default:
            if (irq_register_at(access.offset & 0xFFFF).which != IrqRegister::ipriorityr) {
                return 0;
            }
            return (read32(align_down(access.offset, 4)) >> (8 * (access.offset & 3))) & ones(8 * access.size);
    }
}

template <class Read32, class Write32>
void write_frame(const Access& access, u64 value, Read32 read32, Write32 write32) {
    if (!is_aligned(access.offset, access.size)) {
        return;
    }
    switch (access.size) {
        case 4: write32(access.offset, static_cast<u32>(value)); break;
        case 8:
            write32(access.offset, static_cast<u32>(value));
            write32(access.offset + 4, static_cast<u32>(value >> 32));
            break;
        default: {
            if (irq_register_at(access.offset & 0xFFFF).which != IrqRegister::ipriorityr) {
                return;
            }
            const u64 word = align_down(access.offset, 4);
            const unsigned shift = 8 * (access.offset & 3);
            write32(word, static_cast<u32>(deposit(read32(word), shift + 8 * access.size - 1, shift, value)));
        }
    }
}

/// Identification registers at the end of each frame: an Arm GICv3 (IHI 0069, 12.1.2).
inline u32 read_gic_id(u64 offset) {
    constexpr u8 kIds[12] = {0x44, 0, 0, 0, 0x92, 0xB4, 0x3B, 0, 0x0D, 0xF0, 0x05, 0xB1};  // PIDR4-7, PIDR0-3, CIDR0-3
    return offset >= 0xFFD0 && offset < 0x1'0000 ? kIds[(offset - 0xFFD0) / 4] : 0;
}

/// GICD_IIDR and GICR_IIDR: implementer Arm, a product number of our own.
inline constexpr u32 kIidr = 0x5600'043B;

}  // namespace vmm::devices
