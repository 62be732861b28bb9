// The virtio MMIO transport, version 2 (virtio 1.2, 4.2).
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "arch/pins.h"
#include "devices/device.h"
#include "devices/virtio/device.h"
#include "mm/guest_ram.h"

namespace vmm::devices::virtio {

class MmioTransport final : public Device, private Notifier {
  public:
    static constexpr u64 kWindowSize = 0x200;
    static constexpr const char* kCompatible = "virtio,mmio";
    static constexpr u32 kVendor = 0x4D564B4C;
    static constexpr u16 kQueueMax = 256;

    /// `irq` is high while InterruptStatus is not zero (so it also works where the device tree says edge-rising).
    MmioTransport(std::unique_ptr<VirtioDevice> device, const mm::GuestRam& ram, arch::IrqLine& irq);
    /// Stops the device.
    ~MmioTransport() override;

    VirtioDevice& device() { return *device_; }

    std::string_view name() const override { return device_->name(); }
    u64 read(const Access& access) override;
    void write(const Access& access, u64 value) override;
    void reset() override;
    bool locks_itself() const override { return true; }

  private:
    struct QueueState {
        QueueLayout layout;
        bool ready = false;
    };

    void buffers_used() override;
    void config_changed() override;
    void needs_reset() override;

    u64 read_config(const Access& access) const;
    u32 read_register(u64 offset);
    void write_register(u64 offset, u32 value);
    void write_queue_register(u64 offset, u32 value);
    void write_status(u32 value);
    void start();
    void stop();
    void raise(u32 bits);
    u64 offered() const;

    const std::unique_ptr<VirtioDevice> device_;
    const mm::GuestRam ram_;
    arch::IrqLine& irq_;

    std::mutex mutex_;  // registers
    u64 driver_features_ = 0;
    u32 device_features_sel_ = 0;
    u32 driver_features_sel_ = 0;
    u32 queue_sel_ = 0;
    std::atomic<u32> status_{0};
    std::vector<QueueState> queue_states_;
    std::vector<Virtqueue> queues_;
    bool started_ = false;

    std::mutex irq_mutex_;  // taken last; never held while the device is called
    u32 interrupt_status_ = 0;
    std::atomic<u32> config_generation_{0};
};

}  // namespace vmm::devices::virtio
