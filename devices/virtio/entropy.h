// virtio entropy device (virtio 1.2, 5.4).
#pragma once

#include <functional>

#include "devices/virtio/device.h"
#include "devices/virtio/worker.h"

namespace vmm::devices::virtio {

class Entropy final : public VirtioDevice {
  public:
    static constexpr u32 kType = 4;
    /// Fills the whole span.
    using Source = std::function<void(std::span<u8>)>;

    /// The host's random numbers (getrandom).
    static Source host_source();

    explicit Entropy(Source source = host_source(), Threading threading = Threading::own_thread);
    ~Entropy() override;

    std::string_view name() const override { return "virtio-rng"; }
    u32 type() const override { return kType; }
    u64 features() const override { return 0; }
    unsigned queue_count() const override { return 1; }
    std::span<const u8> config() const override { return {}; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    void work();

    const Source source_;
    Virtqueue* queue_ = nullptr;
    Notifier* notifier_ = nullptr;
    Chain chain_;
    Worker worker_;
};

}  // namespace vmm::devices::virtio
