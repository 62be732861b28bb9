// HostMemory: the only code that maps, advises, locks or pins guest RAM.
//
// Each pin is bound to the pages behind one virtual range; whoever wants to take pages away (balloon, snapshot restore)
// goes through discard(), which refuses what is pinned.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "mm/guest_ram.h"
#include "mm/pin_manager.h"
#include "vmm/base/result.h"

namespace vmm::mm {

class HostMemory {
  public:
    struct Options {
        u64 size = 0;        // bytes of RAM; a multiple of 4 KiB
        u64 guest_base = 0;  // guest-physical address of the first byte; a multiple of 4 KiB
        PinChoice pin_backend = PinChoice::automatic;
        u64 pin_budget = 0;  // most bytes to pin at any time; 0 = as the host allows
    };

    /// Maps RAM (zeroed, allocated on first touch) and opens the pin backend, which is logged.
    static Result<std::unique_ptr<HostMemory>> create(const Options& options);
    ~HostMemory();
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    GuestRam ram() const { return ram_; }

    /// Pins pages of RAM; see PinManager::pin. Failing is not fatal: the memory works unpinned.
    Result<PinHandle> pin(std::span<const GuestRange> ranges) { return pins_->pin(ranges); }

    /// Gives the pages of `range` (4 KiB aligned) back to the host; they read as zero afterwards. Fails on pinned ones.
    Result<> discard(GuestRange range);

    bool is_pinned(GuestRange range) const { return pins_->is_pinned(range); }
    PinStats pin_stats() const { return pins_->stats(); }
    u64 pin_budget() const { return pins_->budget(); }
    PinKind pin_kind() const { return pins_->kind(); }
    const std::string& pin_reason() const { return pins_->reason(); }

  private:
    HostMemory() = default;

    u8* mapping_ = nullptr;
    u64 mapping_bytes_ = 0;
    GuestRam ram_;
    std::unique_ptr<PinManager> pins_;
};

}  // namespace vmm::mm
