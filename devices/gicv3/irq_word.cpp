#include "devices/gicv3/irq_word.h"

#include "vmm/base/bits.h"

namespace vmm::devices {

namespace {

/// A register array: GICD_x<n> and GICR_x0 share offsets. (IHI 0069, 12.8 and 12.10)
struct RegisterArray {
    u64 offset;
    u64 size;  // bytes
    IrqRegister which;
};
constexpr RegisterArray kArrays[] = {
    {0x080, 0x80, IrqRegister::igroupr},    {0x100, 0x80, IrqRegister::isenabler},
    {0x180, 0x80, IrqRegister::icenabler},  {0x200, 0x80, IrqRegister::ispendr},
    {0x280, 0x80, IrqRegister::icpendr},    {0x300, 0x80, IrqRegister::isactiver},
    {0x380, 0x80, IrqRegister::icactiver},  {0x400, 0x400, IrqRegister::ipriorityr},
    {0xC00, 0x100, IrqRegister::icfgr},
};

/// ICFGR has two bits per interrupt; the upper one says edge-triggered.
u32 spread_config(u32 edge, unsigned half) {
    u32 value = 0;
    for (unsigned n = 0; n < 16; ++n) {
        value |= ((edge >> (half * 16 + n)) & 1) << (2 * n + 1);
    }
    return value;
}

u32 gather_config(u32 value) {
    u32 edge = 0;
    for (unsigned n = 0; n < 16; ++n) {
        edge |= ((value >> (2 * n + 1)) & 1) << n;
    }
    return edge;
}

}  // namespace

void IrqWord::set_level(unsigned n, bool high) {
    const u32 mask = u32{1} << n;
    if (high && (level & mask) == 0) {
        latch |= edge & mask;
    }
    level = high ? level | mask : level & ~mask;
}

void IrqWord::reset(u32 fixed_edge) {
    const u32 wires = level;
    *this = IrqWord{};
    level = wires;
    edge = fixed_edge;
}

IrqRegisterPlace irq_register_at(u64 offset) {
    for (const RegisterArray& array : kArrays) {
        if (offset >= array.offset && offset - array.offset < array.size) {
            return {array.which, static_cast<unsigned>((offset - array.offset) / 4)};
        }
    }
    return {};
}

u32 read_irq_register(const IrqWord& word, IrqRegister which, unsigned index) {
    switch (which) {
        case IrqRegister::igroupr: return word.group;
        case IrqRegister::isenabler:
        case IrqRegister::icenabler: return word.enabled;
        case IrqRegister::ispendr:
        case IrqRegister::icpendr: return word.pending();
        case IrqRegister::isactiver:
        case IrqRegister::icactiver: return word.active;
        case IrqRegister::ipriorityr: {
            const u8* p = &word.priority[(index & 7) * 4];
            return u32{p[0]} | u32{p[1]} << 8 | u32{p[2]} << 16 | u32{p[3]} << 24;
        }
        case IrqRegister::icfgr: return spread_config(word.edge, index & 1);
        case IrqRegister::none: break;
    }
    return 0;
}

void write_irq_register(IrqWord& word, IrqRegister which, unsigned index, u32 value, u32 fixed_config) {
    switch (which) {
        case IrqRegister::igroupr: word.group = value; break;
        case IrqRegister::isenabler: word.enabled |= value; break;
        case IrqRegister::icenabler: word.enabled &= ~value; break;
        case IrqRegister::ispendr: word.latch |= value; break;
        case IrqRegister::icpendr: word.latch &= ~value; break;
        case IrqRegister::isactiver: word.active |= value; break;
        case IrqRegister::icactiver: word.active &= ~value; break;
        case IrqRegister::ipriorityr:
            for (unsigned n = 0; n < 4; ++n) {
                word.priority[(index & 7) * 4 + n] = static_cast<u8>(bits(value, n * 8 + 7, n * 8)) & kPriorityMask;
            }
            break;
        case IrqRegister::icfgr: {
            const unsigned shift = (index & 1) * 16;
            const u32 changeable = (u32{0xFFFF} << shift) & ~fixed_config;
            word.edge = (word.edge & ~changeable) | ((gather_config(value) << shift) & changeable);
            break;
        }
        case IrqRegister::none: break;
    }
}

}  // namespace vmm::devices
