#include "devices/virtio/net.h"

#include <algorithm>
#include <cstring>

namespace vmm::devices::virtio {

namespace {

// Feature bits (virtio 1.2, 5.1.3).
constexpr u64 kChecksum = u64{1} << 0;
constexpr u64 kGuestChecksum = u64{1} << 1;
constexpr u64 kMtu = u64{1} << 3;
constexpr u64 kMac = u64{1} << 5;
constexpr u64 kMergeableBuffers = u64{1} << 15;
constexpr u64 kStatus = u64{1} << 16;

// Offsets in the configuration space (virtio 1.2, 5.1.4).
constexpr std::size_t kStatusAt = 6;
constexpr std::size_t kMtuAt = 10;
constexpr u8 kLinkUp = 1;

/// What stands before each frame (virtio 1.2, 5.1.6).
struct Header {
    u8 flags;
    u8 segmentation;
    u16 header_size;
    u16 segment_size;
    u16 checksum_start;
    u16 checksum_offset;
    u16 buffers;
};
static_assert(sizeof(Header) == 12);
constexpr u8 kNeedsChecksum = 1;
constexpr u8 kDataValid = 2;

/// Frames taken from the guest before anything else is looked at.
constexpr unsigned kFramesAtOnce = 64;

/// The Internet checksum of `bytes` (RFC 1071), as it is stored.
u16 internet_checksum(std::span<const u8> bytes) {
    u64 sum = 0;
    for (std::size_t n = 0; n + 1 < bytes.size(); n += 2) {
        sum += static_cast<u64>(bytes[n] << 8 | bytes[n + 1]);
    }
    if (bytes.size() % 2 != 0) {
        sum += static_cast<u64>(bytes.back() << 8);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return static_cast<u16>(~sum);
}

/// Completes the checksum that the guest has left to us; nonsense stays nonsense.
void complete_checksum(std::span<u8> frame, const Header& header) {
    const std::size_t at = std::size_t{header.checksum_start} + header.checksum_offset;
    if (header.checksum_start >= frame.size() || at + 2 > frame.size()) {
        return;
    }
    const u16 sum = internet_checksum(frame.subspan(header.checksum_start));
    const u16 stored = sum == 0 ? 0xFFFF : sum;  // 0 means none to UDP, and the same to TCP
    frame[at] = static_cast<u8>(stored >> 8);
    frame[at + 1] = static_cast<u8>(stored);
}

}  // namespace

Net::Net(std::unique_ptr<net::UserNetwork> network, const MacAddress& mac, unsigned mtu)
    : network_(std::move(network)) {
    std::copy(mac.begin(), mac.end(), config_.begin());
    config_[kStatusAt] = kLinkUp;
    config_[kMtuAt] = static_cast<u8>(mtu);
    config_[kMtuAt + 1] = static_cast<u8>(mtu >> 8);
    network_->set_receiver([this](std::span<const u8> frame) { keep(frame); });
    worker_.launch("virtio-net");
}

Net::~Net() {
    worker_.join();
}

u64 Net::features() const {
    return kChecksum | kGuestChecksum | kMtu | kMac | kMergeableBuffers | kStatus;
}

void Net::wait(int wakeup_fd) {
    network_->wait(wakeup_fd, backlog_.size() < kMaxBacklog / 2);
}

void Net::forget_driver() {
    held_.clear();
    backlog_.clear();
}

bool Net::work(std::span<Virtqueue> queues, u64 features) {
    has_driver_ = !queues.empty();
    mergeable_ = (features & kMergeableBuffers) != 0;
    network_->dispatch();
    // What is transmitted may be answered at once.
    return !has_driver_ || (transmit(queues[kTransmit]) && receive(queues[kReceive]));
}

/// A frame for the guest. What does not fit is lost, as on any network.
void Net::keep(std::span<const u8> frame) {
    if (has_driver_ && backlog_.size() < kMaxBacklog) {
        backlog_.emplace_back(frame.begin(), frame.end());
    }
}

bool Net::transmit(Virtqueue& queue) {
    unsigned taken = 0;
    do {
        queue.disable_notifications();
        for (;;) {
            if (taken == kFramesAtOnce) {
                worker_.wake();
                return true;
            }
            const Virtqueue::Pop popped = queue.pop(chain_);
            if (popped == Virtqueue::Pop::broken) {
                return false;
            }
            if (popped == Virtqueue::Pop::empty) {
                break;
            }
            transmit_chain();
            queue.push(chain_.head, 0);
            ++taken;
        }
    } while (!queue.enable_notifications());
    return true;
}

void Net::transmit_chain() {
    Header header{};
    if (chain_.copy_out(&header, sizeof(header)) != sizeof(header)) {
        return;
    }
    const u64 size = chain_.readable_size() - sizeof(header);
    if (size > net::UserNetwork::kMaxFrame) {
        return;
    }
    frame_.resize(size);
    frame_.resize(chain_.copy_out(frame_.data(), size, sizeof(header)));
    if ((header.flags & kNeedsChecksum) != 0) {
        complete_checksum(frame_, header);
    }
    network_->send(frame_);
}

bool Net::receive(Virtqueue& queue) {
    queue.disable_notifications();
    while (!backlog_.empty()) {
        const std::vector<u8>& frame = backlog_.front();
        bool enough = false;
        if (!hold_buffers(queue, kHeaderSize + frame.size(), enough)) {
            return false;
        }
        if (!enough) {
            if (queue.enable_notifications()) {
                return true;
            }
            continue;
        }
        deliver(queue, frame);
        backlog_.pop_front();
    }
    return true;
}

/// Takes buffers for `size` bytes: all that one frame may have, or what there is. False where the driver broke the rules.
bool Net::hold_buffers(Virtqueue& queue, std::size_t size, bool& enough) {
    u64 room = 0;
    for (const Chain& chain : held_) {
        room += chain.writable_size();
    }
    while (room < size && (mergeable_ || held_.empty())) {
        const Virtqueue::Pop popped = queue.pop(chain_);
        if (popped == Virtqueue::Pop::empty) {
            return true;
        }
        if (popped == Virtqueue::Pop::broken || held_.size() == kMaxBuffersPerFrame) {
            return false;
        }
        room += chain_.writable_size();
        held_.push_back(chain_);
    }
    enough = true;
    return true;
}

/// Puts a frame into the buffers held. Without mergeable buffers there is one; a frame that it does not hold is lost.
void Net::deliver(Virtqueue& queue, std::span<const u8> frame) {
    Header header{};
    header.flags = kDataValid;  // nothing was on a wire
    header.buffers = static_cast<u16>(held_.size());
    std::vector<Virtqueue::Used> used;
    std::size_t done = 0;
    for (const Chain& chain : held_) {
        const std::size_t before = used.empty() ? chain.copy_in(&header, sizeof(header)) : 0;
        const std::size_t piece = chain.copy_in(frame.data() + done, frame.size() - done, before);
        done += piece;
        used.push_back({chain.head, static_cast<u32>(before + piece)});
    }
    if (done != frame.size()) {
        used.front().written = 0;
    }
    queue.push_together(used);
    held_.clear();
}

}  // namespace vmm::devices::virtio
