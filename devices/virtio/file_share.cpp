#include "devices/virtio/file_share.h"

#include <algorithm>

namespace vmm::devices::virtio {

Result<std::unique_ptr<FileShare>> FileShare::open(const FileShareOptions& options) {
    VMM_TRY(auto folder, p9::HostFolder::open(options.path, options.read_only));
    return std::unique_ptr<FileShare>(new FileShare(std::move(folder), options));
}

FileShare::FileShare(std::unique_ptr<p9::HostFolder> folder, const FileShareOptions& options)
    : server_(std::move(folder)), worker_(options.threading, [this] { work(); }) {
    const std::size_t size = std::min(options.tag.size(), kMaxTag);
    config_ = {static_cast<u8>(size), static_cast<u8>(size >> 8)};
    config_.insert(config_.end(), options.tag.begin(),
                   options.tag.begin() + static_cast<std::ptrdiff_t>(size));
}

FileShare::~FileShare() {
    FileShare::stop();
}

void FileShare::start(std::span<Virtqueue> queues, u64, Notifier& notifier) {
    queue_ = &queues[0];
    notifier_ = &notifier;
    worker_.start();
    worker_.wake();
}

void FileShare::notify(unsigned) {
    worker_.wake();
}

void FileShare::stop() {
    worker_.stop();
    server_.reset();
}

/// Answers the request in chain_ and gives it back.
void FileShare::serve() {
    // The length that the request claims is its own affair; more than the largest message is cut off and then wrong.
    request_.resize(std::min<u64>(chain_.readable_size(), p9::Server::kMaxMessage));
    request_.resize(chain_.copy_out(request_.data(), request_.size()));
    u32 claimed = 0;
    if (request_.size() >= sizeof(claimed)) {
        std::memcpy(&claimed, request_.data(), sizeof(claimed));
        request_.resize(std::clamp<std::size_t>(claimed, sizeof(claimed), request_.size()));
    }
    const std::span<const u8> answer = server_.answer(request_, chain_.writable_size());
    queue_->push(chain_.head, static_cast<u32>(chain_.copy_in(answer.data(), answer.size())));
}

void FileShare::work() {
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
            serve();
            // At once: the guest mostly waits for one answer at a time.
            if (queue_->interrupt_wanted()) {
                notifier_->buffers_used();
            }
        }
    } while (!worker_.stopping() && !queue_->enable_notifications());
}

}  // namespace vmm::devices::virtio
