// virtio console with a single port (virtio 1.2, 5.3).
#pragma once

#include <array>
#include <chrono>
#include <deque>

#include "devices/byte_sink.h"
#include "devices/virtio/device.h"
#include "devices/virtio/worker.h"

namespace vmm::devices::virtio {

class Console final : public VirtioDevice {
  public:
    static constexpr u32 kType = 3;
    static constexpr std::size_t kInputLimit = 1 << 20;
    static constexpr std::chrono::milliseconds kQuiet{100};
    static constexpr std::chrono::milliseconds kPatience{3000};

    /// `sink` outlives the console; it takes what the guest prints.
    explicit Console(ByteSink& sink, Threading threading = Threading::own_thread);
    ~Console() override;

    /// Input from the host; any thread. Returns how many bytes were taken: at most kInputLimit may wait.
    ///
    /// Drivers throw away what arrives while they set their console up, and there is no telling when they are done. So,
    /// on a thread of its own, the console holds input back until the guest has printed something and then nothing for
    /// kQuiet; or for kPatience after the start where it prints nothing, or without end.
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
    void consider_listening(bool printed);
    void print();
    bool transmit(Virtqueue& queue);  // true where there was something
    void receive(Virtqueue& queue);

    ByteSink& sink_;
    const Threading threading_;
    std::array<u8, 12> config_{};
    std::span<Virtqueue> queues_;
    Notifier* notifier_ = nullptr;
    Chain chain_;
    bool listening_ = false;  // input may be delivered
    std::chrono::steady_clock::time_point gives_up_at_;  // listening_ becomes true at the latest
    std::chrono::steady_clock::time_point quiet_at_;     // ... and when nothing more is printed until then
    std::mutex input_mutex_;
    std::deque<u8> input_;
    Worker worker_;
};

}  // namespace vmm::devices::virtio
