// virtio console with named ports besides the console (virtio 1.2, 5.3 with VIRTIO_CONSOLE_F_MULTIPORT).
//
// Port 0, the console of drivers that know no others, is never added; what is written to it is dropped. The ports have the
// numbers from 1 on.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "devices/host_io/host_port.h"
#include "devices/virtio/device.h"
#include "devices/virtio/polling_worker.h"

namespace vmm::devices::virtio {

/// The thread owns the ports.
class ConsolePorts final : public VirtioDevice, private PollingWorker::Client {
  public:
    static constexpr u32 kType = 3;
    static constexpr std::size_t kMaxPorts = 31;

    struct Port {
        std::string name;
        std::unique_ptr<HostPort> host;
    };

    /// 1 to kMaxPorts ports.
    explicit ConsolePorts(std::vector<Port> ports);
    ~ConsolePorts() override;

    std::string_view name() const override { return "virtio-ports"; }
    u32 type() const override { return kType; }
    u64 features() const override;
    unsigned queue_count() const override;
    std::span<const u8> config() const override { return config_; }
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override {
        worker_.start(queues, features, notifier);
    }
    void notify(unsigned) override { worker_.wake(); }
    void stop() override { worker_.stop(); }

  private:
    /// A port, and what guest and host have been told of it.
    struct State {
        Port port;
        bool add_due = false;
        bool name_due = false;
        bool ready = false;       // the guest knows it
        bool told_open = false;   // ... and that somebody is at our end
        bool guest_open = false;  // a program in the guest has it open
        Chain chain;              // what the guest writes, given to the host up to `done`
        bool holding = false;     // ... is there
        u64 done = 0;
        std::vector<u8> input;  // for the guest, at most one piece
    };
    struct Message;

    void wait(int wakeup_fd) override;
    bool work(std::span<Virtqueue> queues, u64 features) override;
    void forget_driver() override;
    // These: false where the driver broke the rules.
    bool serve(std::span<Virtqueue> queues, bool multiport);
    static bool take_next(Virtqueue& queue, Chain& chain, bool& taken);
    bool take_control(Virtqueue& queue);
    bool send_control(Virtqueue& queue);
    bool send(Virtqueue& queue, const Message& message, std::string_view text, bool& sent);
    bool transmit(State& state, Virtqueue& queue);
    bool receive(State& state, Virtqueue& queue);
    bool drop(Virtqueue& queue);

    void obey(const Message& message);
    bool give_to_host(State& state, unsigned& budget);

    std::array<u8, 12> config_{};
    // The thread's own.
    std::vector<State> states_;
    Chain chain_;

    PollingWorker worker_{*this};
};

}  // namespace vmm::devices::virtio
