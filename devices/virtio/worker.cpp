#include "devices/virtio/worker.h"

namespace vmm::devices::virtio {

Worker::Worker(Threading threading, std::function<void()> work) : threading_(threading), work_(std::move(work)) {
    if (threading_ == Threading::own_thread) {
        thread_ = std::thread([this] { run(); });
    }
}

Worker::~Worker() {
    stop();
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            quit_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
}

void Worker::start() {
    const std::lock_guard lock(mutex_);
    started_ = true;
}

void Worker::stop() {
    std::unique_lock lock(mutex_);
    started_ = false;
    woken_ = false;
    alarm_.reset();
    stopping_.store(true, std::memory_order_relaxed);
    changed_.wait(lock, [this] { return !working_; });
    stopping_.store(false, std::memory_order_relaxed);
}

void Worker::wake() {
    std::unique_lock lock(mutex_);
    if (!started_) {
        return;
    }
    woken_ = true;
    if (threading_ == Threading::own_thread) {
        changed_.notify_all();
        return;
    }
    if (working_) {
        return;  // whoever is working sees woken_
    }
    working_ = true;
    while (woken_) {
        woken_ = false;
        lock.unlock();
        work_();
        lock.lock();
    }
    working_ = false;
    changed_.notify_all();
}

void Worker::wake_after(std::chrono::milliseconds delay) {
    const std::lock_guard lock(mutex_);
    if (started_) {
        alarm_ = std::chrono::steady_clock::now() + delay;
        changed_.notify_all();
    }
}

void Worker::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto due = [this] { return alarm_ && std::chrono::steady_clock::now() >= *alarm_; };
        while (!quit_ && !woken_ && !due()) {
            if (const auto alarm = alarm_) {
                changed_.wait_until(lock, *alarm);
            } else {
                changed_.wait(lock);
            }
        }
        if (quit_) {
            return;
        }
        if (due()) {
            alarm_.reset();
        }
        woken_ = false;
        working_ = true;
        lock.unlock();
        work_();
        lock.lock();
        working_ = false;
        changed_.notify_all();
    }
}

}  // namespace vmm::devices::virtio
