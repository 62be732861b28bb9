// virtio network device (virtio 1.2, 5.1) on a user network.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "devices/net/user_network.h"
#include "devices/virtio/device.h"
#include "devices/virtio/polling_worker.h"

namespace vmm::devices::virtio {

using MacAddress = std::array<u8, 6>;

/// The thread owns the network.
class Net final : public VirtioDevice, private PollingWorker::Client {
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
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override {
        worker_.start(queues, features, notifier);
    }
    void notify(unsigned) override { worker_.wake(); }
    void stop() override { worker_.stop(); }

  private:
    static constexpr unsigned kReceive = 0;
    static constexpr unsigned kTransmit = 1;
    static constexpr std::size_t kHeaderSize = 12;

    void wait(int wakeup_fd) override;
    bool work(std::span<Virtqueue> queues, u64 features) override;
    void forget_driver() override;
    void keep(std::span<const u8> frame);
    bool transmit(Virtqueue& queue);  // false where the driver broke the rules
    void transmit_chain();
    bool receive(Virtqueue& queue);
    bool hold_buffers(Virtqueue& queue, std::size_t size, bool& enough);
    void deliver(Virtqueue& queue, std::span<const u8> frame);

    const std::unique_ptr<net::UserNetwork> network_;
    std::array<u8, 12> config_{};
    // The thread's own.
    std::deque<std::vector<u8>> backlog_;  // frames for the guest
    std::vector<Chain> held_;              // buffers taken for the first of them
    std::vector<u8> frame_;
    Chain chain_;
    bool has_driver_ = false;
    bool mergeable_ = false;

    PollingWorker worker_{*this};
};

}  // namespace vmm::devices::virtio
