// The PrimeCell PL031 real time clock (DDI 0224).
#pragma once

#include <atomic>
#include <mutex>

#include "arch/pins.h"
#include "devices/device.h"
#include "vmm/base/clock.h"

namespace vmm::devices {

/// Seconds of the clock's wall time plus what the guest has set. The alarm is level-high on `irq`.
class Pl031 final : public Device {
  public:
    static constexpr u64 kWindowSize = 0x1000;
    static constexpr const char* kCompatible = "arm,pl031";  // with "arm,primecell"; needs clock-names = "apb_pclk"

    Pl031(arch::IrqLine& irq, const Clock& clock);

    /// Raises the alarm where it is due. To be called every now and then (once a second is enough), from any thread;
    /// cheap while no alarm is armed. Register accesses do it as well.
    void poll();

    std::string_view name() const override { return "pl031"; }
    u64 read(const Access& access) override;
    void write(const Access& access, u64 value) override;
    void reset() override;
    bool locks_itself() const override { return true; }

  private:
    u32 now() const;
    void check_alarm();
    void update_irq();

    arch::IrqLine& irq_;
    const Clock& clock_;
    std::mutex mutex_;
    u32 offset_ = 0;   // guest time - wall time, modulo 2^32
    u32 match_ = 0;    // RTCMR
    u32 load_ = 0;     // RTCLR
    u32 last_ = 0;     // time of the previous check
    bool mask_ = false;        // RTCIMSC: true lets the interrupt out
    bool raw_ = false;         // RTCRIS
    std::atomic<bool> armed_{false};
};

}  // namespace vmm::devices
