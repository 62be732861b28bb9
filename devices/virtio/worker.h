// The thread of a virtio device that needs no asynchronous host I/O (console, entropy).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "devices/virtio/device.h"

namespace vmm::devices::virtio {

/// Runs `work` once for every bunch of wake() calls between start() and stop(): on its own thread, or within wake().
class Worker {
  public:
    Worker(Threading threading, std::function<void()> work);
    ~Worker();

    void start();
    /// Returns once `work` is not running and will not run again.
    void stop();
    /// Any thread; ignored while stopped. With Threading::inline_call, `work` runs within.
    void wake();
    /// As wake(), once `delay` has passed; replaces an earlier delay. Nothing with Threading::inline_call.
    void wake_after(std::chrono::milliseconds delay);
    /// True while stop() waits: `work` should come to an end. For `work` itself.
    bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  private:
    void run();

    const Threading threading_;
    const std::function<void()> work_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool started_ = false;
    bool woken_ = false;
    bool working_ = false;
    bool quit_ = false;
    std::optional<std::chrono::steady_clock::time_point> alarm_;  // wakes the thread then
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace vmm::devices::virtio
