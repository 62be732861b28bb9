// A driver that breaks the rules: rings, descriptors and indirect tables of any content, for each virtio device.
#include "devices/virtio/mmio_transport.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/virtio_host.h"

namespace vmm::fuzz {
namespace {

constexpr u64 kRam = 0x8000'0000;
constexpr u64 kRamSize = 0x2'0000;
constexpr u64 kQueueStride = 0x4000;  // descriptors, available at 0x1000, used at 0x2000, indirect at 0x3000
constexpr u64 kBuffers = kRam + 0x1'0000;
constexpr unsigned kMostActions = 200;

struct Wire final : arch::IrqLine {
    void set(bool) override {}
};

class Driver {
  public:
    Driver(GuardedRam& ram, std::unique_ptr<devices::virtio::VirtioDevice> device)
        : ram_(ram), transport_(std::move(device), ram.view(), wire_) {}

    void set_up(FuzzInput& in) {
        const u8 how = in.get<u8>();
        const u64 without = how % 8 == 0 ? in.get<u64>() : static_cast<u64>(how & 3) << 28;
        negotiate(~without);
        const u16 size = static_cast<u16>(1u << in.below(9));
        for (u32 queue = 0; queue < kQueues; ++queue) {
            queue_size_ = size;
            configure(queue, size, base(queue), base(queue) + 0x1000, base(queue) + 0x2000);
        }
        write(0x70, 0xF);
    }

    void act(FuzzInput& in) {
        switch (in.below(16)) {
            case 0: descriptor(base(queue(in)) + in.below(256) * 16, in); break;
            case 1: descriptor(base(queue(in)) + 0x3000 + in.below(256) * 16, in); break;
            case 2: chain(queue(in), in, false); break;
            case 3: chain(queue(in), in, true); break;
            case 4: publish(queue(in), in.get<u16>()); break;
            case 5: ram_.put(base(queue(in)) + 0x1002, in.get<u16>()); break;  // index of the available ring
            case 6: write(0x50, in.below(4)); break;
            case 7: bytes(in); break;
            case 8: write(in.below(64) * 4, in.get<u32>()); break;
            case 9: (void)transport_.read({u64{in.below(0x200)}, 1u << in.below(4), 0}); break;
            case 10: transport_.write({u64{0x100u + in.below(0x100)}, 1u << in.below(4), 0}, in.get<u64>()); break;
            case 11: transport_.reset(); set_up(in); break;
            case 12: ram_.put(base(queue(in)) + 0x1000, in.get<u16>()); break;  // flags
            case 13: any_layout(in); break;
            default: request(queue(in), in); break;
        }
    }

  private:
    static constexpr u32 kQueues = 3;
    static u64 base(u32 queue) { return kRam + queue * kQueueStride; }
    static u32 queue(FuzzInput& in) { return in.below(kQueues); }

    u32 read(u64 offset) { return static_cast<u32>(transport_.read({offset, 4, 0})); }
    void write(u64 offset, u32 value) { transport_.write({offset, 4, 0}, value); }

    void negotiate(u64 wanted) {
        for (const u32 status : {0u, 1u, 3u}) {
            write(0x70, status);
        }
        for (const u32 half : {0u, 1u}) {
            write(0x14, half);
            const u32 offered = read(0x10);
            write(0x24, half);
            write(0x20, offered & static_cast<u32>(wanted >> 32 * half));
        }
        write(0x70, 0xB);
    }
    void configure(u32 queue, u32 size, u64 descriptors, u64 available, u64 used) {
        write(0x30, queue);
        write(0x38, size);
        const std::array<u64, 3> at{descriptors, available, used};
        for (u32 i = 0; i < 3; ++i) {
            write(0x80 + 0x10 * i, static_cast<u32>(at[i]));
            write(0x84 + 0x10 * i, static_cast<u32>(at[i] >> 32));
        }
        write(0x44, 1);
    }
    /// Rings anywhere, also behind the end of RAM and over each other.
    void any_layout(FuzzInput& in) {
        transport_.reset();
        negotiate(~u64{0});
        std::array<u64, 3> at{};
        for (u64& each : at) {
            each = in.flag() ? kRam + kRamSize - in.get<u16>() : kRam + u64{in.get<u16>()} * 2;
        }
        configure(queue(in), in.flag() ? 1u << in.below(17) : in.get<u16>(), at[0], at[1], at[2]);
        write(0x70, 0xF);
    }
    u64 address(FuzzInput& in) {
        const u16 at = in.get<u16>();
        switch (at & 7) {
            case 0: return kRam + kRamSize - (at >> 8);
            case 1: return ~u64{0} - (at >> 8);
            case 2: return kRam + at;
            default: return kBuffers + (at & 0xFFF0);
        }
    }
    static u32 length(FuzzInput& in) {
        const u16 value = in.get<u16>();
        return value >= 0xFFF0 ? ~u32{0} - (value & 15) : value >= 0x8000 ? u32{value & 0xFFu} * 16 : u32{value & 0x1FFFu};
    }
    void put_descriptor(u64 at, u64 pa, u32 size, u16 flags, u16 next) {
        ram_.put(at, pa);
        ram_.put(at + 8, size);
        ram_.put(at + 12, flags);
        ram_.put(at + 14, next);
    }
    void descriptor(u64 at, FuzzInput& in) {
        const u64 pa = address(in);
        put_descriptor(at, pa, length(in), in.get<u8>(), in.get<u8>());
    }
    /// A chain that is well formed but for its buffers.
    void chain(u32 queue, FuzzInput& in, bool indirect) {
        const unsigned count = 1 + in.below(8);
        const u64 table = base(queue) + (indirect ? 0x3000 : 0);
        const unsigned head = in.below(queue_size_);
        const unsigned first = indirect ? 0 : head;
        for (unsigned n = 0; n < count; ++n) {
            const u64 pa = address(in);
            const u32 size = length(in);
            const unsigned flags = (in.flag() ? 2u : 0u) | (n + 1 < count ? 1u : 0u);
            const unsigned at = indirect ? n : (first + n) % queue_size_;
            put_descriptor(table + at * 16, pa, size, static_cast<u16>(flags),
                           static_cast<u16>(indirect ? n + 1 : (at + 1) % queue_size_));
        }
        if (indirect) {
            put_descriptor(base(queue) + head * 16, table, count * 16, 4, 0);
        }
        publish(queue, static_cast<u16>(head));
    }
    /// A request: what the device reads, then room for an answer.
    void request(u32 queue, FuzzInput& in) {
        const std::span<const u8> content = in.chunk(255);
        if (!content.empty()) {
            std::memcpy(ram_.view().host(kBuffers, content.size()), content.data(), content.size());
        }
        const u32 cut = content.empty() ? 0 : in.below(static_cast<unsigned>(content.size()));
        const u32 room = length(in);
        const unsigned next = 1 % queue_size_, last = 2 % queue_size_, status = 3 % queue_size_;
        put_descriptor(base(queue), kBuffers, cut, 1, static_cast<u16>(next));
        put_descriptor(base(queue) + next * 16, kBuffers + cut, static_cast<u32>(content.size()) - cut, 1,
                       static_cast<u16>(last));
        put_descriptor(base(queue) + last * 16, kBuffers + 0x1000, room, 3, static_cast<u16>(status));
        put_descriptor(base(queue) + status * 16, kBuffers + 0xF000, 1, 2, 0);
        publish(queue, 0);
        write(0x50, queue);
    }
    void publish(u32 queue, u16 head) {
        const u64 ring = base(queue) + 0x1000;
        u16 index = 0;
        std::memcpy(&index, ram_.view().host(ring + 2, 2), 2);
        ram_.put(ring + 4 + index % queue_size_ * 2u, head);
        ram_.put(ring + 2, static_cast<u16>(index + 1));
        if (head % 2 == 0) {
            write(0x50, queue);
        }
    }
    void bytes(FuzzInput& in) {
        const u64 at = in.get<u16>() * u64{2};
        const std::span<const u8> content = in.chunk(255);
        if (u8* host = ram_.view().host(kRam + at, content.size()); host != nullptr && !content.empty()) {
            std::memcpy(host, content.data(), content.size());
        }
    }

    GuardedRam& ram_;
    Wire wire_;
    u16 queue_size_ = 1;
    devices::virtio::MmioTransport transport_;
};

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    static GuardedRam ram(kRam, kRamSize);
    static VirtioHost host(ram.view());
    ram.clear();
    FuzzInput in({data, size});
    {
        Driver driver(ram, host.make(in.get<vmm::u8>()));
        driver.set_up(in);
        for (unsigned n = 0; n < kMostActions && !in.empty(); ++n) {
            driver.act(in);
        }
    }
    host.check();
    return 0;
}
