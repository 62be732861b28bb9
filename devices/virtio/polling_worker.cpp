#include "devices/virtio/polling_worker.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "vmm/base/check.h"

namespace vmm::devices::virtio {

PollingWorker::PollingWorker(Client& client)
    : client_(client), wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    VMM_CHECK(wakeup_);
}

void PollingWorker::launch(const char* name) {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), name);
}

void PollingWorker::join() {
    stop();
    {
        const std::lock_guard lock(mutex_);
        quit_ = true;
    }
    wake();
    thread_.join();
}

void PollingWorker::start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) {
    {
        const std::lock_guard lock(mutex_);
        queues_ = queues;
        features_ = features;
        notifier_ = &notifier;
        broken_ = false;
    }
    started_ = true;
    wake();
}

void PollingWorker::stop() {
    if (!started_) {
        return;
    }
    started_ = false;
    stopping_ = true;
    wake();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !stopping_; });
}

void PollingWorker::wake() {
    const u64 one = 1;
    const ssize_t written = ::write(wakeup_.get(), &one, sizeof(one));
    VMM_CHECK(written == sizeof(one) || errno == EAGAIN);
}

void PollingWorker::run() {
    for (;;) {
        client_.wait(wakeup_.get());
        u64 count = 0;
        const ssize_t n = ::read(wakeup_.get(), &count, sizeof(count));
        VMM_CHECK(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
        const std::lock_guard lock(mutex_);
        if (quit_) {
            return;
        }
        if (stopping_) {
            queues_ = {};
            notifier_ = nullptr;
            client_.forget_driver();
            stopping_ = false;
            idle_.notify_all();
        }
        serve_driver();
    }
}

void PollingWorker::serve_driver() {
    if (queues_.empty() || broken_) {
        client_.work({}, 0);
        return;
    }
    broken_ = !client_.work(queues_, features_);
    if (broken_) {
        notifier_->needs_reset();
        return;
    }
    bool interrupt = false;
    for (Virtqueue& queue : queues_) {
        interrupt |= queue.interrupt_wanted();
    }
    if (interrupt) {
        notifier_->buffers_used();
    }
}

}  // namespace vmm::devices::virtio
