// What a virtio device type is to its transport (virtio 1.2).
#pragma once

#include <span>
#include <string_view>

#include "devices/virtio/virtqueue.h"
#include "vmm/base/types.h"

namespace vmm::devices::virtio {

/// Feature bits of the transport and the rings.
inline constexpr u64 kFeatureIndirect = u64{1} << 28;
inline constexpr u64 kFeatureEventIdx = u64{1} << 29;
inline constexpr u64 kFeatureVersion1 = u64{1} << 32;

/// What a device type may ask of its transport; any thread.
class Notifier {
  public:
    Notifier() = default;
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;
    virtual ~Notifier() = default;

    /// Used-buffer interrupt.
    virtual void buffers_used() = 0;
    /// Configuration-change interrupt.
    virtual void config_changed() = 0;
    /// The driver broke the rules: DEVICE_NEEDS_RESET and a configuration-change interrupt.
    virtual void needs_reset() = 0;
};

/// A device type. start(), notify() and stop() come from vCPU threads, one at a time.
class VirtioDevice {
  public:
    VirtioDevice() = default;
    VirtioDevice(const VirtioDevice&) = delete;
    VirtioDevice& operator=(const VirtioDevice&) = delete;
    virtual ~VirtioDevice() = default;

    virtual std::string_view name() const = 0;
    /// Device ID (virtio 1.2, 5).
    virtual u32 type() const = 0;
    /// Features of the device type; the transport adds its own.
    virtual u64 features() const = 0;
    virtual unsigned queue_count() const = 0;
    /// Configuration space, little-endian, from offset 0.
    virtual std::span<const u8> config() const = 0;
    /// The driver writes to the configuration space, perhaps to fields that are not its own, or behind the end.
    virtual void write_config(std::size_t /*offset*/, std::span<const u8> /*bytes*/) {}

    /// The driver is ready (DRIVER_OK). `queues` has queue_count() elements, some of which may not be ready; it and
    /// `notifier` stay valid until stop() has returned.
    virtual void start(std::span<Virtqueue> queues, u64 features, Notifier& notifier) = 0;
    /// The driver has made buffers available in `queue` (< queue_count()). Only between start() and stop().
    virtual void notify(unsigned queue) = 0;
    /// Ends work: when it returns, no thread touches the queues or guest memory any more.
    virtual void stop() = 0;
};

/// Where a device type does its work.
enum class Threading : u8 {
    own_thread,  // asynchronously, on a thread of the device
    inline_call, // within notify(), on the vCPU's thread: slower, but a run can be repeated exactly
};

}  // namespace vmm::devices::virtio
