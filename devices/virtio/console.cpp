#include "devices/virtio/console.h"

#include <algorithm>

namespace vmm::devices::virtio {

namespace {

constexpr std::size_t kPiece = 4096;

}  // namespace

Console::Console(ByteSink& sink, Threading threading)
    : sink_(sink), threading_(threading), worker_(threading, [this] { work(); }) {
    set_size(80, 25);
    config_[4] = 1;  // max_nr_ports
}

Console::~Console() { Console::stop(); }

void Console::set_size(u16 columns, u16 rows) {
    config_[0] = static_cast<u8>(columns);
    config_[1] = static_cast<u8>(columns >> 8);
    config_[2] = static_cast<u8>(rows);
    config_[3] = static_cast<u8>(rows >> 8);
}

std::size_t Console::push_input(std::span<const u8> bytes) {
    std::size_t taken = 0;
    {
        const std::lock_guard lock(input_mutex_);
        taken = std::min(bytes.size(), kInputLimit - std::min(kInputLimit, input_.size()));
        input_.insert(input_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    }
    worker_.wake();
    return taken;
}

void Console::start(std::span<Virtqueue> queues, u64, Notifier& notifier) {
    queues_ = queues;
    notifier_ = &notifier;
    listening_ = threading_ == Threading::inline_call;  // where nothing may depend on host time
    gives_up_at_ = std::chrono::steady_clock::now() + kPatience;
    quiet_at_ = gives_up_at_;
    worker_.start();
    worker_.wake();
    worker_.wake_after(kPatience);
}

void Console::notify(unsigned) { worker_.wake(); }

void Console::stop() { worker_.stop(); }

void Console::consider_listening(bool printed) {
    const auto now = std::chrono::steady_clock::now();
    if (printed) {
        quiet_at_ = std::min(now + kQuiet, gives_up_at_);
        worker_.wake_after(std::chrono::ceil<std::chrono::milliseconds>(quiet_at_ - now));
    }
    listening_ = now >= quiet_at_;
}

void Console::work() {
    const bool printed = transmit(queues_[kTransmit]);
    if (!listening_) {
        consider_listening(printed);
    }
    if (listening_) {
        receive(queues_[kReceive]);
    }
    const bool interrupt = queues_[kTransmit].interrupt_wanted();
    if (queues_[kReceive].interrupt_wanted() || interrupt) {
        notifier_->buffers_used();
    }
}

void Console::print() {
    // In pieces, since a guest may well offer gigabytes. Copied, since it may change them meanwhile, and sinks may read twice.
    u8 piece[kPiece];
    for (u64 done = 0; !worker_.stopping();) {
        const std::size_t size = chain_.copy_out(piece, sizeof(piece), done);
        if (size == 0) {
            return;
        }
        sink_.put({piece, size});
        done += size;
    }
}

bool Console::transmit(Virtqueue& queue) {
    bool printed = false;
    do {
        queue.disable_notifications();
        for (;;) {
            const Virtqueue::Pop popped = queue.pop(chain_);
            if (popped == Virtqueue::Pop::broken) {
                notifier_->needs_reset();
                return printed;
            }
            if (popped == Virtqueue::Pop::empty) {
                break;
            }
            print();
            queue.push(chain_.head, 0);
            printed = true;
            if (worker_.stopping()) {
                return printed;
            }
        }
    } while (!queue.enable_notifications());
    return printed;
}

void Console::receive(Virtqueue& queue) {
    std::unique_lock lock(input_mutex_);
    while (!input_.empty() && !worker_.stopping()) {
        const Virtqueue::Pop popped = queue.pop(chain_);
        if (popped == Virtqueue::Pop::broken) {
            lock.unlock();
            notifier_->needs_reset();
            return;
        }
        if (popped == Virtqueue::Pop::empty) {
            // Buffers will come with a notification.
            if (queue.enable_notifications()) {
                return;
            }
            continue;
        }
        u8 piece[kPiece];
        const std::size_t size = std::min<u64>({kPiece, input_.size(), chain_.writable_size()});
        std::copy_n(input_.begin(), size, piece);
        input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(size));
        chain_.copy_in(piece, size);
        queue.push(chain_.head, static_cast<u32>(size));
    }
}

}  // namespace vmm::devices::virtio
