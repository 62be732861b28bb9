// What a device is: behaviour on the bus, and its own description for the device tree.
#pragma once

#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::devices {

/// An access as a device sees it: an offset into its window, never a guest-physical address.
struct Access {
    u64 offset = 0;
    unsigned size = 4;  // bytes: 1, 2, 4 or 8
    unsigned cpu = 0;   // index of the vCPU that makes the access
};

/// A window of guest-physical addresses, with the interrupt of the device where it has one.
struct Window {
    u64 base = 0;
    u64 size = 0;  // bytes
};

/// A device on the bus. read() and write() are called with the device's own mutex held by the bus, from any vCPU thread.
class Device {
  public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    virtual std::string_view name() const = 0;
    /// Unknown offsets read as zero and ignore writes (RAZ/WI).
    virtual u64 read(const Access& access) = 0;
    virtual void write(const Access& access, u64 value) = 0;
    /// Power-on state; called when the machine resets.
    virtual void reset() = 0;
    /// True where the device locks by itself (GIC): the bus then takes no mutex.
    virtual bool locks_itself() const { return false; }
};

}  // namespace vmm::devices
