#include "devices/gicv3/frames.h"
#include "devices/gicv3/pe.h"

namespace vmm::devices {

namespace {

// RD frame (IHI 0069, 12.10); the SGI frame follows at +64 KiB.
enum Register : u64 { kIidr_ = 0x0004, kTyperLow = 0x0008, kTyperHigh = 0x000C, kWaker = 0x0014 };
constexpr u64 kSgiFrame = 0x1'0000;

// GICR_WAKER
constexpr u32 kProcessorSleep = 1 << 1;
constexpr u32 kChildrenAsleep = 1 << 2;

}  // namespace

GicV3::Pe* GicV3::Redistributors::pe_at(u64 offset) const {
    const u64 index = offset / kRedistributorSize;
    return index < gic_.pes_.size() ? gic_.pes_[index].get() : nullptr;
}

u64 GicV3::Redistributors::read(const Access& access) {
    const std::lock_guard lock(gic_.mutex_);
    const Pe* pe = pe_at(access.offset);
    if (pe == nullptr) {
        return 0;
    }
    return read_frame(access, [&](u64 offset) { return gic_.read_redistributor(*pe, offset % kRedistributorSize); });
}

void GicV3::Redistributors::write(const Access& access, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    Pe* pe = pe_at(access.offset);
    if (pe == nullptr) {
        return;
    }
    write_frame(
        access, value, [&](u64 offset) { return gic_.read_redistributor(*pe, offset % kRedistributorSize); },
        [&](u64 offset, u32 word) { gic_.write_redistributor(*pe, offset % kRedistributorSize, word); });
    gic_.update_pe(*pe);
}

u32 GicV3::read_redistributor(const Pe& pe, u64 offset) const {
    if (offset >= kSgiFrame) {
        const IrqRegisterPlace place = irq_register_at(offset - kSgiFrame);
        if (place.which == IrqRegister::none) {
            return read_gic_id(offset - kSgiFrame);
        }
        return first_intid(place) < kFirstSpi ? read_irq_register(pe.local, place.which, place.index) : 0;
    }
    switch (offset) {
        case kIidr_: return kIidr;
        case kTyperLow: {
            const bool last = pe.index + 1 == pes_.size();
            return pe.index << 8 | u32{last} << 4;
        }
        case kTyperHigh: return static_cast<u32>(bits(pe.affinity, 39, 32) << 24 | bits(pe.affinity, 23, 0));
        case kWaker: return pe.asleep ? kProcessorSleep | kChildrenAsleep : 0;
        default: return read_gic_id(offset);
    }
}

void GicV3::write_redistributor(Pe& pe, u64 offset, u32 value) {
    if (offset == kWaker) {
        pe.asleep = (value & kProcessorSleep) != 0;
    }
    if (offset < kSgiFrame) {
        return;
    }
    const IrqRegisterPlace place = irq_register_at(offset - kSgiFrame);
    if (place.which != IrqRegister::none && first_intid(place) < kFirstSpi) {
        write_irq_register(pe.local, place.which, place.index, value, kSgiMask);
    }
}

}  // namespace vmm::devices
