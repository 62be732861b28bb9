#include "devices/virtio/entropy.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "vmm/base/check.h"

namespace vmm::devices::virtio {

Entropy::Source Entropy::host_source() {
    return [](std::span<u8> bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::getrandom(bytes.data(), bytes.size(), 0);
            VMM_CHECK(n > 0 || errno == EINTR);
            bytes = bytes.subspan(n > 0 ? static_cast<std::size_t>(n) : 0);
        }
    };
}

Entropy::Entropy(Source source, Threading threading)
    : source_(std::move(source)), worker_(threading, [this] { work(); }) {}

Entropy::~Entropy() { Entropy::stop(); }

void Entropy::start(std::span<Virtqueue> queues, u64, Notifier& notifier) {
    queue_ = &queues[0];
    notifier_ = &notifier;
    worker_.start();
    worker_.wake();
}

void Entropy::notify(unsigned) { worker_.wake(); }

void Entropy::stop() { worker_.stop(); }

void Entropy::work() {
    // A guest may offer all of its memory as one buffer; it gets this much at a time.
    u8 piece[4096];
    do {
        queue_->disable_notifications();
        while (!worker_.stopping()) {
            const Virtqueue::Pop popped = queue_->pop(chain_);
            if (popped == Virtqueue::Pop::broken) {
                notifier_->needs_reset();
                return;
            }
            if (popped == Virtqueue::Pop::empty) {
                break;
            }
            const std::size_t size = std::min<u64>(sizeof(piece), chain_.writable_size());
            source_({piece, size});
            chain_.copy_in(piece, size);
            queue_->push(chain_.head, static_cast<u32>(size));
        }
    } while (!worker_.stopping() && !queue_->enable_notifications());
    if (queue_->interrupt_wanted()) {
        notifier_->buffers_used();
    }
}

}  // namespace vmm::devices::virtio
