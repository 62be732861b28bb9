// The thread of a virtio device that waits for its driver and for files of the host alike (network, console ports).
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <span>
#include <thread>

#include "devices/virtio/device.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::virtio {

/// Owns the queues between start() and stop(); what those do, and when the driver breaks the rules, is said here once.
class PollingWorker {
  public:
    /// What the device does, all of it on the thread.
    class Client {
      public:
        Client(const Client&) = delete;
        Client& operator=(const Client&) = delete;

        /// Sleeps until `wakeup_fd` is readable or the host has something to do. start() and stop() do not wait for it.
        virtual void wait(int wakeup_fd) = 0;
        /// Does it. `queues` is empty while there is no driver, or none to talk to any more. False: it broke the rules.
        virtual bool work(std::span<Virtqueue> queues, u64 features) = 0;
        /// The driver knows nothing any more: the next one begins anew.
        virtual void forget_driver() = 0;

      protected:
        Client() = default;
        ~Client() = default;
    };

    explicit PollingWorker(Client& client);

    /// Starts the thread, `name` of which is at most 15 characters long. Once, when the client is complete.
    void launch(const char* name);
    /// Ends it, before the client goes.
    void join();

    // As VirtioDevice has them.
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier);
    void stop();

    /// Makes wait() return, now or when it is called next. Any thread.
    void wake();
    /// True while stop() waits: work() should come to an end. For work() itself.
    bool stopping() const { return stopping_; }

  private:
    void run();
    void serve_driver();

    Client& client_;
    UniqueFd wakeup_;       // eventfd
    bool started_ = false;  // for start() and stop(), which come one at a time
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;  // what follows
    std::condition_variable idle_;
    std::span<Virtqueue> queues_;  // empty while stopped
    u64 features_ = 0;
    Notifier* notifier_ = nullptr;
    bool broken_ = false;
    bool quit_ = false;
    std::thread thread_;
};

}  // namespace vmm::devices::virtio
