// virtio console with a single port (virtio 1.2, 5.3).
#pragma once

#include <array>
#include <deque>

#include "devices/byte_sink.h"
#include "devices/virtio/device.h"
#include "devices/virtio/worker.h"

namespace vmm::devices::virtio {

class Console final : public VirtioDevice {
  public:
    static constexpr u32 kType = 3;
    static constexpr std::size_t kInputLimit = 1 << 20;

    /// `sink` outlives the console; it takes what the guest prints.
    explicit Console(ByteSink& sink, Threading threading = Threading::own_thread);
    ~Console() override;

    /// Input from the host; any thread. Returns how many bytes were taken: at most kInputLimit may wait.
    std::size_t push_input(std::span<const u8> bytes);
    /// Terminal size in characters; before the machine starts.
    void set_size(u16 columns, u16 rows);

    std::string_view name() const override { return "virtio-console"; }
    u32 type() const override { return kType; }
    u64 features() const override { return kFeatureSize; }
    unsigned queue_count() const override { return 2; }
    std::span<const u8> config() const override { return config_; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    static constexpr u64 kFeatureSize = 1;
    static constexpr unsigned kReceive = 0;
    static constexpr unsigned kTransmit = 1;

    void work();
    void print(std::span<const u8> guest_bytes);
    void transmit(Virtqueue& queue);
    void receive(Virtqueue& queue);

    ByteSink& sink_;
    std::array<u8, 12> config_{};
    std::span<Virtqueue> queues_;
    Notifier* notifier_ = nullptr;
    Chain chain_;
    std::mutex input_mutex_;
    std::deque<u8> input_;
    Worker worker_;
};

}  // namespace vmm::devices::virtio
