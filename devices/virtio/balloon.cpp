#include "devices/virtio/balloon.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "vmm/base/bits.h"

namespace vmm::devices::virtio {

namespace {

// Feature bits (virtio 1.2, 5.5.3).
constexpr u64 kDeflateOnOom = u64{1} << 2;
constexpr u64 kPageReporting = u64{1} << 5;

// Offsets in the configuration space (virtio 1.2, 5.5.4).
constexpr std::size_t kPagesAt = 0;
constexpr std::size_t kActualAt = 4;

/// Page numbers looked at together.
constexpr std::size_t kNumbers = 256;

}  // namespace

Balloon::Balloon(Giver giver, Threading threading)
    : giver_(std::move(giver)), worker_(threading, [this] { work(); }) {}

Balloon::~Balloon() {
    Balloon::stop();
}

u64 Balloon::features() const {
    return kDeflateOnOom | kPageReporting;
}

void Balloon::set_target(u64 bytes) {
    const auto pages = static_cast<u32>(std::min<u64>(bytes / kPage, std::numeric_limits<u32>::max()));
    std::memcpy(&config_[kPagesAt], &pages, sizeof(pages));
    if (notifier_ != nullptr) {
        notifier_->config_changed();
    }
}

u64 Balloon::target() const {
    u32 pages = 0;
    std::memcpy(&pages, &config_[kPagesAt], sizeof(pages));
    return pages * kPage;
}

u64 Balloon::given() const {
    u32 pages = 0;
    std::memcpy(&pages, &config_[kActualAt], sizeof(pages));
    return pages * kPage;
}

void Balloon::write_config(std::size_t offset, std::span<const u8> bytes) {
    for (const u8 byte : bytes) {
        if (offset >= kActualAt && offset < config_.size()) {
            config_[offset] = byte;
        }
        ++offset;
    }
}

void Balloon::start(std::span<Virtqueue> queues, u64, Notifier& notifier) {
    queues_ = queues;
    notifier_ = &notifier;
    worker_.start();
    worker_.wake();
}

void Balloon::notify(unsigned) {
    worker_.wake();
}

void Balloon::stop() {
    worker_.stop();
    notifier_ = nullptr;
    std::memset(&config_[kActualAt], 0, sizeof(u32));  // whoever comes next starts with all of its memory
}

void Balloon::work() {
    bool interrupt = false;
    for (const unsigned queue : {kInflate, kDeflate, kReport}) {
        if (!drain(queue)) {
            notifier_->needs_reset();
            return;
        }
        interrupt |= queues_[queue].interrupt_wanted();
    }
    if (interrupt) {
        notifier_->buffers_used();
    }
}

bool Balloon::drain(unsigned index) {
    Virtqueue& queue = queues_[index];
    do {
        queue.disable_notifications();
        while (!worker_.stopping()) {
            const Virtqueue::Pop popped = queue.pop(chain_);
            if (popped == Virtqueue::Pop::broken) {
                return false;
            }
            if (popped == Virtqueue::Pop::empty) {
                break;
            }
            if (index == kInflate) {
                give_listed();
            } else if (index == kReport) {
                give_reported();
            }
            // Pages that are taken back need nothing: they come to be when they are touched.
            queue.push(chain_.head, 0);
        }
    } while (!worker_.stopping() && !queue.enable_notifications());
    return true;
}

bool Balloon::give(mm::GuestRange range) {
    return giver_.ram().contains(range.pa, range.size) && giver_.give(range);
}

/// The chain lists page numbers.
void Balloon::give_listed() {
    std::array<u32, kNumbers> numbers{};
    for (u64 at = 0; !worker_.stopping(); at += sizeof(numbers)) {
        const std::size_t count = chain_.copy_out(numbers.data(), sizeof(numbers), at) / sizeof(u32);
        if (count == 0) {
            return;
        }
        // In runs, since each costs a system call.
        std::sort(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(count));
        for (std::size_t first = 0; first < count;) {
            std::size_t end = first + 1;
            while (end < count && numbers[end] <= numbers[end - 1] + u64{1}) {
                ++end;
            }
            give({numbers[first] * kPage, (numbers[end - 1] - numbers[first] + u64{1}) * kPage});
            first = end;
        }
    }
}

/// The chain's buffers are the pages.
void Balloon::give_reported() {
    const mm::GuestRam ram = giver_.ram();
    for (const Segment& segment : chain_.writable) {
        const u64 start = ram.base() + static_cast<u64>(segment.guest_data - ram.host_base());
        const u64 first = align_up(start, kPage);
        const u64 end = align_down(start + segment.size, kPage);
        if (first < end && give({first, end - first})) {
            reported_.fetch_add(end - first, std::memory_order_relaxed);
        }
        if (worker_.stopping()) {
            return;
        }
    }
}

}  // namespace vmm::devices::virtio
