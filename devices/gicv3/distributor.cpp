#include "devices/gicv3/frames.h"
#include "devices/gicv3/pe.h"

namespace vmm::devices {

namespace {

// (IHI 0069, 12.8)
enum Register : u64 { kCtlr = 0x000, kTyper = 0x004, kIidr_ = 0x008, kIrouter = 0x6000 };

// GICD_CTLR
constexpr u32 kEnableGroups = 0x3;
constexpr u32 kAre = 1 << 4;
constexpr u32 kDs = 1 << 6;
// GICD_TYPER
constexpr u32 kIdBits = 9 << 19;  // 10 bits of INTID
constexpr u32 kA3v = 1 << 24;
constexpr u32 kNo1n = 1 << 25;
constexpr u32 kRss = 1 << 26;     // SGIs reach Aff0 values up to 255

}  // namespace

u64 GicV3::Distributor::read(const Access& access) {
    const std::lock_guard lock(gic_.mutex_);
    return read_frame(access, [&](u64 offset) { return gic_.read_distributor(offset); });
}

void GicV3::Distributor::write(const Access& access, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    write_frame(
        access, value, [&](u64 offset) { return gic_.read_distributor(offset); },
        [&](u64 offset, u32 word) { gic_.write_distributor(offset, word); });
    gic_.update_all();
}

u32 GicV3::read_distributor(u64 offset) const {
    switch (offset) {
        case kCtlr: return group_enables_ | kAre | kDs;
        case kTyper: return static_cast<u32>(spis_.size()) | kIdBits | kA3v | kNo1n | kRss;
        case kIidr_: return kIidr;
        default: break;
    }
    if (offset >= kIrouter + 8 * kFirstSpi && offset < kIrouter + 8 * intid_count()) {
        const u64 route = routes_[(offset - kIrouter) / 8 - kFirstSpi];
        return static_cast<u32>(bit(offset, 2) ? route >> 32 : route);
    }
    const IrqRegisterPlace place = irq_register_at(offset);
    if (place.which == IrqRegister::none) {
        return read_gic_id(offset);
    }
    const unsigned intid = first_intid(place);
    // Interrupts 0..31 belong to the redistributors.
    if (intid < kFirstSpi || intid >= intid_count()) {
        return 0;
    }
    return read_irq_register(spis_[intid / 32 - 1], place.which, place.index);
}

void GicV3::write_distributor(u64 offset, u32 value) {
    if (offset == kCtlr) {
        group_enables_ = value & kEnableGroups;
        return;
    }
    if (offset >= kIrouter + 8 * kFirstSpi && offset < kIrouter + 8 * intid_count()) {
        const auto spi = static_cast<unsigned>((offset - kIrouter) / 8 - kFirstSpi);
        set_route(spi, bit(offset, 2) ? deposit(routes_[spi], 63, 32, value) : deposit(routes_[spi], 31, 0, value));
        return;
    }
    const IrqRegisterPlace place = irq_register_at(offset);
    if (place.which == IrqRegister::none) {
        return;
    }
    const unsigned intid = first_intid(place);
    if (intid >= kFirstSpi && intid < intid_count()) {
        write_irq_register(spis_[intid / 32 - 1], place.which, place.index, value, 0);
    }
}

}  // namespace vmm::devices
