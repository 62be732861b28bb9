// virtio network device (virtio 1.2, 5.1) on a user network.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "devices/net/user_network.h"
#include "devices/virtio/device.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::virtio {

using MacAddress = std::array<u8, 6>;

/// The thread owns the network and, between start() and stop(), the queues.
class Net final : public VirtioDevice {
  public:
    static constexpr u32 kType = 1;
    /// Frames that may wait for buffers of the guest; with half of them waiting nothing more is taken from the host.
    static constexpr std::size_t kMaxBacklog = 512;
    /// Buffers that the guest may use for one frame.
    static constexpr std::size_t kMaxBuffersPerFrame = 128;

    Net(std::unique_ptr<net::UserNetwork> network, const MacAddress& mac, unsigned mtu);
    ~Net() override;

    std::string_view name() const override { return "virtio-net"; }
    u32 type() const override { return kType; }
    u64 features() const override;
    unsigned queue_count() const override { return 2; }
    std::span<const u8> config() const override { return config_; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    static constexpr unsigned kReceive = 0;
    static constexpr unsigned kTransmit = 1;
    static constexpr std::size_t kHeaderSize = 12;

    void wake();
    void run();
    void work();
    void keep(std::span<const u8> frame);
    bool transmit(Virtqueue& queue);  // false where the driver broke the rules
    void transmit_chain();
    bool receive(Virtqueue& queue);
    bool hold_buffers(Virtqueue& queue, std::size_t size, bool& enough);
    void deliver(Virtqueue& queue, std::span<const u8> frame);

    const std::unique_ptr<net::UserNetwork> network_;
    std::array<u8, 12> config_{};
    UniqueFd wakeup_;  // eventfd

    // The thread's own.
    std::deque<std::vector<u8>> backlog_;  // frames for the guest
    std::vector<Chain> held_;              // buffers taken for the first of them
    std::vector<u8> frame_;
    Chain chain_;

    bool started_ = false;  // for start() and stop(), which come one at a time
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;  // what follows
    std::condition_variable idle_;
    std::span<Virtqueue> queues_;  // empty while stopped
    Notifier* notifier_ = nullptr;
    bool mergeable_ = false;
    bool broken_ = false;
    bool quit_ = false;
    std::thread thread_;
};

}  // namespace vmm::devices::virtio
