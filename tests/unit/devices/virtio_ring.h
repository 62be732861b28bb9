// The driver's side of a split virtqueue in a small guest RAM, for tests.
#pragma once

#include <vector>

#include "devices/virtio/virtqueue.h"
#include "mm/guest_access.h"
#include "mm/guest_ram.h"

namespace vmm::test {

inline constexpr u64 kRamBase = 0x8000'0000;

/// RAM with guard pages would be better still; ASan guards the vector's ends.
struct TestRam {
    explicit TestRam(std::size_t size) : bytes(size), view(bytes.data(), kRamBase, size) {}
    template <class T>
    void put(u64 pa, T value) {
        mm::store_relaxed<T>(view.host(pa, sizeof(T)), value);  // as a guest does: devices look at any time
    }
    template <class T>
    T get(u64 pa) const {
        return mm::load_relaxed<T>(view.host(pa, sizeof(T)));
    }
    std::vector<u8> bytes;
    mm::GuestRam view;
};

enum : u16 { kNext = 1, kWrite = 2, kIndirect = 4 };

struct Buffer {
    u64 pa;
    u32 size;
    bool writable;
};

/// Lays a queue out at `base` and posts chains in it. Needs 16 KiB from `base` on.
class Driver {
  public:
    Driver(TestRam& ram, u64 base, u16 size)
        : ram_(ram), layout_{size, base, base + 0x1000, base + 0x2000}, indirect_at_(base + 0x3000) {}

    const devices::virtio::QueueLayout& layout() const { return layout_; }

    void descriptor(u64 table, unsigned index, u64 pa, u32 size, u16 flags, u16 next) {
        ram_.put<u64>(table + index * 16, pa);
        ram_.put<u32>(table + index * 16 + 8, size);
        ram_.put<u16>(table + index * 16 + 12, flags);
        ram_.put<u16>(table + index * 16 + 14, next);
    }

    /// Posts a chain from descriptor `head` on, or through an indirect table.
    void post(u16 head, const std::vector<Buffer>& buffers, bool indirect = false) {
        const u64 table = indirect ? indirect_at_ : layout_.descriptors;
        const u16 first = indirect ? 0 : head;
        for (std::size_t n = 0; n < buffers.size(); ++n) {
            const bool last = n + 1 == buffers.size();
            const auto flags = static_cast<u16>((buffers[n].writable ? kWrite : 0) | (last ? 0 : kNext));
            descriptor(table, first + static_cast<unsigned>(n), buffers[n].pa, buffers[n].size, flags,
                       static_cast<u16>(first + n + 1));
        }
        if (indirect) {
            descriptor(layout_.descriptors, head, table, static_cast<u32>(buffers.size() * 16), kIndirect, 0);
        }
        publish(head);
    }

    void publish(u16 head) {
        ram_.put<u16>(layout_.available + 4 + (available_ & (layout_.size - 1)) * 2, head);
        ++available_;
        __atomic_store_n(reinterpret_cast<u16*>(ram_.view.host(layout_.available + 2, 2)), available_, __ATOMIC_RELEASE);
    }

    u16 used_index() const {
        return __atomic_load_n(reinterpret_cast<const u16*>(ram_.view.host(layout_.used + 2, 2)), __ATOMIC_ACQUIRE);
    }
    u32 used_head(u16 n) const { return ram_.get<u32>(layout_.used + 4 + (n & (layout_.size - 1)) * 8); }
    u32 used_length(u16 n) const { return ram_.get<u32>(layout_.used + 8 + (n & (layout_.size - 1)) * 8); }
    u16 used_flags() const { return ram_.get<u16>(layout_.used); }
    u16 available_event() const { return ram_.get<u16>(layout_.used + 4 + layout_.size * 8); }
    void set_available_flags(u16 flags) { ram_.put<u16>(layout_.available, flags); }
    void set_used_event(u16 event) { ram_.put<u16>(layout_.available + 4 + layout_.size * 2, event); }

  private:
    TestRam& ram_;
    devices::virtio::QueueLayout layout_;
    u64 indirect_at_;
    u16 available_ = 0;
};

}  // namespace vmm::test
