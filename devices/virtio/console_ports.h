// virtio console with named ports besides the console (virtio 1.2, 5.3 with VIRTIO_CONSOLE_F_MULTIPORT).
//
// Port 0, the console of drivers that know no others, is never added; what is written to it is dropped. The ports have the
// numbers from 1 on.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "devices/host_io/host_port.h"
#include "devices/virtio/device.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::virtio {

/// The thread owns the ports and, between start() and stop(), the queues.
class ConsolePorts final : public VirtioDevice {
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
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

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

    void wake();
    void run();
    void wait();
    void begin_anew();
    void work();
    bool take_control();  // this and the following: false where the driver broke the rules
    void obey(const Message& message);
    bool send_control();
    bool send(const Message& message, std::string_view text, bool& sent);
    bool transmit(State& state, Virtqueue& queue);
    bool give_to_host(State& state, unsigned& budget);
    bool receive(State& state, Virtqueue& queue);
    bool drop(Virtqueue& queue);

    std::array<u8, 12> config_{};
    UniqueFd wakeup_;  // eventfd

    // The thread's own.
    std::vector<State> states_;
    Chain chain_;

    bool started_ = false;  // for start() and stop(), which come one at a time
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;  // what follows
    std::condition_variable idle_;
    std::span<Virtqueue> queues_;  // empty while stopped
    Notifier* notifier_ = nullptr;
    bool multiport_ = false;
    bool broken_ = false;
    bool quit_ = false;
    std::thread thread_;
};

}  // namespace vmm::devices::virtio
