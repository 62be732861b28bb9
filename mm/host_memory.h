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
#include "mm/pin_service.h"
#include "mm/table_watch.h"
#include "vmm/base/result.h"

namespace vmm::mm {

/// What of a profiling buffer is pinned, and when.
///   lazy   a few MiB ahead of the write pointer, as it moves
///   eager  all of it when it is enabled
///   all    RAM as a whole, at the start
enum class PinPolicy : u8 { lazy, eager, all };

class HostMemory {
  public:
    struct Options {
        u64 size = 0;        // bytes of RAM; a multiple of 4 KiB
        u64 guest_base = 0;  // guest-physical address of the first byte; a multiple of 4 KiB
        bool huge_pages = true;  // advise the host to back RAM by huge pages
        PinChoice pin_backend = PinChoice::automatic;
        PinPolicy pin_policy = PinPolicy::eager;
        u64 pin_budget = 0;   // most bytes to pin at any time; 0 = as the host allows
        u64 pin_expected = 0; // bytes that profiling buffers may need at most: a warning is logged where limits are lower
        PinService::Options pins;
    };

    /// Maps RAM (zeroed, allocated on first touch) and opens the pin backend, which is logged. With PinPolicy::all RAM is
    /// pinned; where that fails and the shortage policy is not to degrade, the call fails.
    static Result<std::unique_ptr<HostMemory>> create(const Options& options);
    /// As create(), with backends of the caller's instead of options.pin_backend.
    static Result<std::unique_ptr<HostMemory>> create(const Options& options, PinBackendChain chain);
    ~HostMemory();
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    GuestRam ram() const { return ram_; }

    /// Pins pages of RAM for as long as the handle lives; see PinManager::pin. Failing is not fatal: the memory works
    /// unpinned.
    tl::expected<PinHandle, PinError> pin(std::span<const GuestRange> ranges) { return pins_->pin(ranges); }

    // Whoever takes pages away (balloon, free-page reporting, snapshot restore) does it through one of these. Pages
    // (4 KiB aligned) go back to the host and read as zero afterwards. Profiling buffers that are not enabled lose their
    // pins; their next enabling pins anew.

    /// Fails, changing nothing, where an enabled buffer or a handle of pin() holds part of `range`.
    Result<> discard(GuestRange range);
    /// As discard(), but enabled buffers lose their pins, too, with a message. Fails only on handles of pin().
    Result<> take(GuestRange range);

    /// Profiling buffers: pins made, kept and given back by a thread of its own.
    PinService& pin_service() { return *service_; }
    PinServiceStats pin_service_stats() const { return service_->stats(); }
    /// Stores to translation tables.
    TableWatch& table_watch() { return *watch_; }
    PinPolicy pin_policy() const { return policy_; }
    /// PinPolicy::all, and it worked.
    bool all_pinned() const { return static_cast<bool>(all_); }

    bool is_pinned(GuestRange range) const { return pins_->is_pinned(range); }
    PinStats pin_stats() const { return pins_->stats(); }
    u64 pin_budget() const { return pins_->budget(); }
    PinKind pin_kind() const { return pins_->kind(); }
    const std::string& pin_reason() const { return pins_->reason(); }

  private:
    HostMemory() = default;

    Result<> pin_all(ShortagePolicy on_shortage);
    Result<> give_to_host(GuestRange range, bool even_enabled);

    u8* mapping_ = nullptr;
    u64 mapping_bytes_ = 0;
    GuestRam ram_;
    PinPolicy policy_ = PinPolicy::eager;
    std::unique_ptr<TableWatch> watch_;
    std::unique_ptr<PinManager> pins_;
    std::unique_ptr<PinService> service_;
    PinHandle all_;
};

}  // namespace vmm::mm
