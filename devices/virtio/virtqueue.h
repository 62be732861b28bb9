// Split virtqueues (virtio 1.2, 2.7), the device's side.
//
// Ring memory belongs to the guest and may change at any moment: each field is read once, checked, and then used.
#pragma once

#include <span>
#include <vector>

#include "mm/guest_ram.h"
#include "vmm/base/types.h"

namespace vmm::devices::virtio {

/// A buffer of a descriptor chain: host memory that the guest may change at any time.
struct Segment {
    u8* guest_data = nullptr;
    u32 size = 0;  // bytes, never 0
};

/// One descriptor chain, taken from the available ring. It must be given back with Virtqueue::push().
struct Chain {
    u16 head = 0;
    std::vector<Segment> readable;  // device reads, in order
    std::vector<Segment> writable;  // device writes, in order

    u64 readable_size() const;
    u64 writable_size() const;

    /// Copies up to `size` bytes out of the readable part, from `offset`; returns how many.
    std::size_t copy_out(void* to, std::size_t size, u64 offset = 0) const;
    /// Copies up to `size` bytes into the writable part, from `offset`; returns how many.
    std::size_t copy_in(const void* from, std::size_t size, u64 offset = 0) const;
};

/// Where the driver put a queue.
struct QueueLayout {
    u16 size = 0;         // entries: a power of two, 1..32768
    u64 descriptors = 0;  // guest-physical, 16-byte aligned
    u64 available = 0;    // guest-physical, 2-byte aligned
    u64 used = 0;         // guest-physical, 4-byte aligned
};

/// Used by one thread at a time.
class Virtqueue {
  public:
    static constexpr unsigned kMaxSegments = 1024;  // per chain

    /// A chain that is done with, and how many of its writable bytes were written, from the first on.
    struct Used {
        u16 head;
        u32 written;
    };

    enum class Pop : u8 { chain, empty, broken };

    /// Not ready until the driver has configured it.
    Virtqueue() = default;

    /// False where the layout is not valid or not in RAM. `features`: negotiated.
    bool configure(const mm::GuestRam& ram, const QueueLayout& layout, u64 features);
    void reset() { *this = Virtqueue{}; }

    bool ready() const { return ready_; }
    /// The driver broke the rules; nothing more will come out of this queue.
    bool broken() const { return broken_; }

    /// Takes the next chain; `chain` keeps its capacity.
    Pop pop(Chain& chain);
    /// Returns a chain whose first `written` writable bytes were written.
    void push(u16 head, u32 written);
    /// Returns chains that the driver must see at once or not at all.
    void push_together(std::span<const Used> chains);

    /// True where the driver wants an interrupt for what was pushed since the last call.
    bool interrupt_wanted();

    /// Tells the driver that no notifications are needed.
    void disable_notifications();
    /// Asks for notifications. False where a chain is available already: the caller must look again.
    bool enable_notifications();

  private:
    struct Descriptor {
        u64 address;
        u32 size;
        u16 flags;
        u16 next;
    };

    static Descriptor load_descriptor(const u8* table, unsigned index);
    bool add_segment(Chain& chain, const Descriptor& descriptor) const;
    bool walk(Chain& chain, u16 head) const;
    bool walk_indirect(Chain& chain, const Descriptor& table) const;
    u16 available_index() const;
    Pop fail();

    mm::GuestRam ram_;
    u8* guest_descriptors_ = nullptr;
    u8* guest_available_ = nullptr;
    u8* guest_used_ = nullptr;
    u16 size_ = 0;
    bool ready_ = false;
    bool broken_ = false;
    bool indirect_ = false;
    bool event_idx_ = false;
    u16 next_available_ = 0;   // index of the next chain to take
    u16 next_used_ = 0;        // index of the next used element
    u16 signalled_used_ = 0;   // next_used_ at the last interrupt_wanted()
    bool signalled_valid_ = false;
};

}  // namespace vmm::devices::virtio
