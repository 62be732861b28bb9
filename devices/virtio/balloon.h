// virtio balloon (virtio 1.2, 5.5): memory that the guest does not need goes back to the host.
//
// Two ways: pages that the guest gives away because the host asks for them, and free pages that it reports on its own. What is
// done with them is up to the giver, which may refuse: the pages then simply stay.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/worker.h"
#include "mm/guest_ram.h"

namespace vmm::devices::virtio {

class Balloon final : public VirtioDevice {
  public:
    static constexpr u32 kType = 5;
    static constexpr u64 kPage = 4096;

    /// How pages go back to the host: whole ones, all of them RAM; false where they have to stay.
    struct Giver {
        std::function<bool(mm::GuestRange)> give;
        std::function<mm::GuestRam()> ram;
    };

    explicit Balloon(Giver giver, Threading threading = Threading::own_thread);
    ~Balloon() override;

    /// Asks the guest to give away `bytes` in total, rounded down to pages. While no vCPU executes.
    void set_target(u64 bytes);
    u64 target() const;
    /// What the guest says that it has given away.
    u64 given() const;
    /// Bytes of free pages that went back to the host because the guest reported them, since the start.
    u64 reported() const { return reported_.load(std::memory_order_relaxed); }

    std::string_view name() const override { return "virtio-balloon"; }
    u32 type() const override { return kType; }
    u64 features() const override;
    unsigned queue_count() const override { return 3; }
    std::span<const u8> config() const override { return config_; }
    void write_config(std::size_t offset, std::span<const u8> bytes) override;
    void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) override;
    void notify(unsigned queue) override;
    void stop() override;

  private:
    // Of what is offered: the queues of other features would come between the second and the third.
    static constexpr unsigned kInflate = 0;
    static constexpr unsigned kDeflate = 1;
    static constexpr unsigned kReport = 2;

    void work();
    bool drain(unsigned queue);  // false where the driver broke the rules
    void give_listed();
    void give_reported();
    bool give(mm::GuestRange range);

    const Giver giver_;
    std::array<u8, 8> config_{};
    std::atomic<u64> reported_{0};
    std::span<Virtqueue> queues_;
    Notifier* notifier_ = nullptr;
    Chain chain_;
    Worker worker_;
};

}  // namespace vmm::devices::virtio
