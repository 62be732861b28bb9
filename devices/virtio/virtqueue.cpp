#include "devices/virtio/virtqueue.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "devices/virtio/device.h"
#include "mm/guest_access.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

namespace vmm::devices::virtio {

namespace {

// Descriptor flags (virtio 1.2, 2.7.5).
constexpr u16 kNext = 1;
constexpr u16 kWrite = 2;
constexpr u16 kIndirect = 4;

// Available and used ring flags.
constexpr u16 kNoInterrupt = 1;
constexpr u16 kNoNotify = 1;

constexpr u64 kDescriptorSize = 16;
constexpr u64 kRingHeader = 4;  // flags, idx
constexpr u64 kUsedElement = 8;

/// idx of a ring, with the order that what it covers is read later.
u16 load_index(const u8* guest_ring) {
    return __atomic_load_n(reinterpret_cast<const u16*>(guest_ring + 2), __ATOMIC_ACQUIRE);
}

u64 total(const std::vector<Segment>& segments) {
    u64 size = 0;
    for (const Segment& segment : segments) {
        size += segment.size;
    }
    return size;
}

/// Calls `copy(guest address, position in the buffer, bytes)` for each piece of [offset, offset + size).
template <class Copy>
std::size_t for_each_piece(const std::vector<Segment>& segments, std::size_t size, u64 offset, Copy copy) {
    std::size_t done = 0;
    for (const Segment& segment : segments) {
        if (done == size) {
            break;
        }
        if (offset >= segment.size) {
            offset -= segment.size;
            continue;
        }
        const std::size_t piece = std::min<u64>(size - done, segment.size - offset);
        copy(segment.guest_data + offset, done, piece);
        done += piece;
        offset = 0;
    }
    return done;
}

}  // namespace

u64 Chain::readable_size() const { return total(readable); }
u64 Chain::writable_size() const { return total(writable); }

std::size_t Chain::copy_out(void* to, std::size_t size, u64 offset) const {
    return for_each_piece(readable, size, offset, [&](const u8* guest, std::size_t at, std::size_t piece) {
        std::memcpy(static_cast<u8*>(to) + at, guest, piece);
    });
}

std::size_t Chain::copy_in(const void* from, std::size_t size, u64 offset) const {
    return for_each_piece(writable, size, offset, [&](u8* guest, std::size_t at, std::size_t piece) {
        std::memcpy(guest, static_cast<const u8*>(from) + at, piece);
    });
}

bool Virtqueue::configure(const mm::GuestRam& ram, const QueueLayout& layout, u64 features) {
    reset();
    const u64 n = layout.size;
    if (n == 0 || n > 32768 || !std::has_single_bit(n) || !is_aligned(layout.descriptors, 16) ||
        !is_aligned(layout.available, 2) || !is_aligned(layout.used, 4)) {
        return false;
    }
    // Both rings end with an event field.
    guest_descriptors_ = ram.host(layout.descriptors, n * kDescriptorSize);
    guest_available_ = ram.host(layout.available, kRingHeader + n * 2 + 2);
    guest_used_ = ram.host(layout.used, kRingHeader + n * kUsedElement + 2);
    if (guest_descriptors_ == nullptr || guest_available_ == nullptr || guest_used_ == nullptr) {
        return false;
    }
    ram_ = ram;
    size_ = layout.size;
    indirect_ = (features & kFeatureIndirect) != 0;
    event_idx_ = (features & kFeatureEventIdx) != 0;
    ready_ = true;
    return true;
}

Virtqueue::Descriptor Virtqueue::load_descriptor(const u8* table, unsigned index) {
    const u8* guest = table + index * kDescriptorSize;
    return {mm::load_relaxed<u64>(guest), mm::load_relaxed<u32>(guest + 8), mm::load_relaxed<u16>(guest + 12),
            mm::load_relaxed<u16>(guest + 14)};
}

bool Virtqueue::add_segment(Chain& chain, const Descriptor& descriptor) const {
    if (descriptor.size == 0) {
        return true;
    }
    u8* guest = ram_.host(descriptor.address, descriptor.size);
    if (guest == nullptr || chain.readable.size() + chain.writable.size() >= kMaxSegments) {
        return false;
    }
    if ((descriptor.flags & kWrite) != 0) {
        chain.writable.push_back({guest, descriptor.size});
    } else if (!chain.writable.empty()) {
        return false;  // readable parts come first
    } else {
        chain.readable.push_back({guest, descriptor.size});
    }
    return true;
}

bool Virtqueue::walk_indirect(Chain& chain, const Descriptor& table) const {
    const u32 count = table.size / kDescriptorSize;
    const u8* guest_table = ram_.host(table.address, table.size);
    if (guest_table == nullptr || count == 0 || table.size % kDescriptorSize != 0 || (table.flags & kNext) != 0) {
        return false;
    }
    u32 index = 0;
    for (u32 steps = 0; steps < std::min<u32>(count, kMaxSegments); ++steps) {
        const Descriptor descriptor = load_descriptor(guest_table, index);
        if ((descriptor.flags & kIndirect) != 0 || !add_segment(chain, descriptor)) {
            return false;
        }
        if ((descriptor.flags & kNext) == 0) {
            return true;
        }
        index = descriptor.next;
        if (index >= count) {
            return false;
        }
    }
    return false;  // a loop, or too long
}

bool Virtqueue::walk(Chain& chain, u16 head) const {
    u16 index = head;
    for (unsigned steps = 0; steps < size_; ++steps) {
        const Descriptor descriptor = load_descriptor(guest_descriptors_, index);
        if ((descriptor.flags & kIndirect) != 0) {
            return indirect_ && walk_indirect(chain, descriptor);
        }
        if (!add_segment(chain, descriptor)) {
            return false;
        }
        if ((descriptor.flags & kNext) == 0) {
            return true;
        }
        index = descriptor.next;
        if (index >= size_) {
            return false;
        }
    }
    return false;
}

Virtqueue::Pop Virtqueue::fail() {
    broken_ = true;
    VMM_GUEST_LOG("virtio", "malformed virtqueue: next index {} of {}", next_available_, size_);
    return Pop::broken;
}

u16 Virtqueue::available_index() const { return load_index(guest_available_); }

Virtqueue::Pop Virtqueue::pop(Chain& chain) {
    if (!ready_ || broken_) {
        return broken_ ? Pop::broken : Pop::empty;
    }
    const u16 waiting = static_cast<u16>(available_index() - next_available_);
    if (waiting == 0) {
        return Pop::empty;
    }
    if (waiting > size_) {
        return fail();
    }
    const u16 slot = next_available_ & (size_ - 1);
    chain.head = mm::load_relaxed<u16>(guest_available_ + kRingHeader + slot * 2);
    chain.readable.clear();
    chain.writable.clear();
    if (chain.head >= size_ || !walk(chain, chain.head)) {
        return fail();
    }
    ++next_available_;
    return Pop::chain;
}

void Virtqueue::push(u16 head, u32 written) {
    const Used used{head, written};
    push_together({&used, 1});
}

void Virtqueue::push_together(std::span<const Used> chains) {
    if (!ready_) {
        return;
    }
    for (const Used& used : chains) {
        u8* guest_element = guest_used_ + kRingHeader + (next_used_ & (size_ - 1)) * kUsedElement;
        mm::store_relaxed<u32>(guest_element, used.head);
        mm::store_relaxed<u32>(guest_element + 4, used.written);
        ++next_used_;
    }
    __atomic_store_n(reinterpret_cast<u16*>(guest_used_ + 2), next_used_, __ATOMIC_RELEASE);
}

bool Virtqueue::interrupt_wanted() {
    if (!ready_) {
        return false;
    }
    const u16 before = signalled_used_;
    const bool before_valid = signalled_valid_;
    if (before_valid ? before == next_used_ : next_used_ == 0) {
        return false;
    }
    signalled_used_ = next_used_;
    signalled_valid_ = true;
    mm::full_fence();  // the used index must be visible before the driver's wish is read
    if (!event_idx_) {
        return (mm::load_relaxed<u16>(guest_available_) & kNoInterrupt) == 0;
    }
    const u16 event = mm::load_relaxed<u16>(guest_available_ + kRingHeader + size_ * 2);
    // Wanted where `event` lies in [before, next_used_).
    return !before_valid || static_cast<u16>(next_used_ - event - 1) < static_cast<u16>(next_used_ - before);
}

void Virtqueue::disable_notifications() {
    // With event indices the old event stays behind the driver's index, which is as good.
    if (ready_ && !event_idx_) {
        mm::store_relaxed<u16>(guest_used_, kNoNotify);
    }
}

bool Virtqueue::enable_notifications() {
    if (!ready_ || broken_) {
        return true;
    }
    if (event_idx_) {
        mm::store_relaxed<u16>(guest_used_ + kRingHeader + size_ * kUsedElement, next_available_);
    } else {
        mm::store_relaxed<u16>(guest_used_, 0);
    }
    mm::full_fence();  // before the index is read again
    return available_index() == next_available_;
}

}  // namespace vmm::devices::virtio
