#include "devices/bus.h"

#include <algorithm>

#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::devices {

Result<> Bus::attach(Device& device, Window window) {
    if (window.size == 0 || window.base + window.size - 1 < window.base) {
        return fail("{}: window {:#x} + {:#x} is empty or wraps around", device.name(), window.base, window.size);
    }
    const auto after = std::upper_bound(slots_.begin(), slots_.end(), window.base,
                                        [](u64 base, const Slot& slot) { return base < slot.window.base; });
    const auto overlaps = [&](const Slot& slot) {
        return window.base <= slot.window.base + (slot.window.size - 1) &&
               slot.window.base <= window.base + (window.size - 1);
    };
    for (const auto neighbour : {after, after == slots_.begin() ? after : after - 1}) {
        if (neighbour != slots_.end() && overlaps(*neighbour)) {
            return fail("{}: window {:#x} + {:#x} overlaps that of {} at {:#x}", device.name(), window.base, window.size,
                        neighbour->device->name(), neighbour->window.base);
        }
    }
    Slot slot{window, &device, nullptr};
    const auto known = std::find(attached_.begin(), attached_.end(), &device);
    const auto index = static_cast<std::size_t>(known - attached_.begin());
    if (known == attached_.end()) {
        attached_.push_back(&device);
        mutexes_.push_back(std::make_unique<std::mutex>());
    }
    if (!device.locks_itself()) {
        slot.mutex = mutexes_[index].get();
    }
    slots_.insert(after, slot);
    return {};
}

void Bus::reset() {
    for (std::size_t i = 0; i < attached_.size(); ++i) {
        if (attached_[i]->locks_itself()) {
            attached_[i]->reset();
        } else {
            const std::lock_guard lock(*mutexes_[i]);
            attached_[i]->reset();
        }
    }
}

const Bus::Slot* Bus::find(u64 pa, unsigned size) const {
    const auto holds = [&](const Slot& slot) {
        return pa >= slot.window.base && size <= slot.window.size && pa - slot.window.base <= slot.window.size - size;
    };
    const u32 hint = last_hit_.load(std::memory_order_relaxed);
    if (hint < slots_.size() && holds(slots_[hint])) [[likely]] {
        return &slots_[hint];
    }
    const auto after = std::upper_bound(slots_.begin(), slots_.end(), pa,
                                        [](u64 address, const Slot& slot) { return address < slot.window.base; });
    if (after == slots_.begin() || !holds(*(after - 1))) {
        return nullptr;
    }
    last_hit_.store(static_cast<u32>(after - 1 - slots_.begin()), std::memory_order_relaxed);
    return &*(after - 1);
}

bool Bus::read(u64 pa, unsigned size, u64& value, unsigned cpu) {
    const Slot* slot = find(pa, size);
    if (slot == nullptr) {
        return false;
    }
    const Access access{pa - slot->window.base, size, cpu};
    if (slot->mutex == nullptr) {
        value = slot->device->read(access);
    } else {
        const std::lock_guard lock(*slot->mutex);
        value = slot->device->read(access);
    }
    value &= ones(8 * size);  // a register of 32 bits does not care how much of it is read
    return true;
}

bool Bus::write(u64 pa, unsigned size, u64 value, unsigned cpu) {
    const Slot* slot = find(pa, size);
    if (slot == nullptr) {
        return false;
    }
    const Access access{pa - slot->window.base, size, cpu};
    if (slot->mutex == nullptr) {
        slot->device->write(access, value);
    } else {
        const std::lock_guard lock(*slot->mutex);
        slot->device->write(access, value);
    }
    return true;
}

}  // namespace vmm::devices
