// The bus: guest-physical windows and the devices that answer there.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "arch/ports.h"
#include "devices/device.h"
#include "vmm/base/result.h"

namespace vmm::devices {

/// Routes accesses to devices. The table is filled before the machine starts and never changes afterwards, so a lookup
/// takes no lock; the device's own mutex is held around its read() or write() unless it locks itself.
class Bus final : public arch::MmioPort {
  public:
    /// Attaches `device` (not owned, must outlive the bus) at `window`. Fails where the window is empty, wraps around or
    /// overlaps another one.
    Result<> attach(Device& device, Window window);

    /// Resets every attached device, each once, in the order of attachment.
    void reset();

    bool read(u64 pa, unsigned size, u64& value, unsigned cpu) override;
    bool write(u64 pa, unsigned size, u64 value, unsigned cpu) override;

    struct Slot {
        Window window;
        Device* device = nullptr;
        std::mutex* mutex = nullptr;  // nullptr where the device locks itself
    };

    /// The slot that holds all of [pa, pa + size), or nullptr.
    const Slot* find(u64 pa, unsigned size) const;

    /// All slots, ordered by address.
    const std::vector<Slot>& slots() const { return slots_; }

  private:
    std::vector<Slot> slots_;
    std::vector<Device*> attached_;                     // in the order of attachment
    std::vector<std::unique_ptr<std::mutex>> mutexes_;  // one for each of attached_
    mutable std::atomic<u32> last_hit_{0};              // a hint only
};

}  // namespace vmm::devices
