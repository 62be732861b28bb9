// Which parts of guest RAM are pinned, by whom, and what that costs.
//
// RAM is held in extents: disjoint page ranges, each pinned once with a backend and counted by its users. A request takes a
// reference on every extent it touches and makes new ones for what no extent covers. Extents are never split: a shared
// one stays until its last user is gone.
#pragma once

#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "mm/guest_ram.h"
#include "mm/pin_backend.h"

namespace vmm::mm {

/// Plain numbers; bytes are host pages held, whoever shares them.
struct PinStats {
    u64 pinned_bytes = 0;       // now, held by any backend
    u64 long_term_bytes = 0;    // ... of which by io_uring
    u64 peak_bytes = 0;
    u64 extents = 0;            // now
    u64 pin_ops = 0;            // requests that made at least one new extent
    u64 shared_ops = 0;         // requests that existing extents satisfied
    u64 unpin_ops = 0;          // handles given back
    u64 failures = 0;           // requests that failed
    u64 degraded = 0;           // extents a weaker backend than the first had to hold
    u64 widened = 0;            // requests rounded up to a coarser granule for want of slots
};

class PinManager;

/// What a successful request returns: ownership of the pins. Move-only; gives them back when destroyed.
class PinHandle {
  public:
    PinHandle() = default;
    PinHandle(PinHandle&& other) noexcept;
    PinHandle& operator=(PinHandle&& other) noexcept;
    ~PinHandle();

    explicit operator bool() const { return manager_ != nullptr; }
    /// Bytes asked for, overlaps counted once.
    u64 bytes() const { return bytes_; }
    /// The weakest backend that holds any of it.
    PinKind kind() const { return kind_; }
    /// True when the request had to pin pages that nothing held yet.
    bool made_new() const { return made_new_; }
    void release();

  private:
    friend class PinManager;

    PinManager* manager_ = nullptr;
    std::vector<u64> extents_;  // keys of PinManager::extents_
    u64 bytes_ = 0;
    PinKind kind_ = PinKind::none;
    bool made_new_ = false;
};

/// Thread-safe. Outlives its handles.
class PinManager {
  public:
    /// `budget`: most bytes to hold at any time; 0 = no limit of ours.
    PinManager(GuestRam ram, PinBackendChain chain, u64 budget = 0);
    ~PinManager();
    PinManager(const PinManager&) = delete;
    PinManager& operator=(const PinManager&) = delete;

    /// Pins the pages of `ranges` (any order, may overlap, any alignment; must lie in RAM). All or nothing.
    Result<PinHandle> pin(std::span<const GuestRange> ranges);

    /// True when any byte of `range` is held.
    bool is_pinned(GuestRange range) const;

    /// Runs `action` while no pin can be made or given back, if nothing in `range` is held; else returns false.
    template <class Action>
    bool if_unpinned(GuestRange range, Action&& action) {
        const std::lock_guard lock(mutex_);
        if (overlaps(range)) {
            return false;
        }
        action();
        return true;
    }

    PinStats stats() const;
    /// The backend tried first; none when pinning is off.
    PinKind kind() const;
    /// Most bytes to hold at any time; 0 = no limit of ours.
    u64 budget() const { return budget_; }
    /// Why it is that one.
    const std::string& reason() const { return chain_.reason; }

  private:
    friend class PinHandle;

    struct Extent {
        u64 bytes = 0;
        u64 users = 0;
        PinBackend* backend = nullptr;
        u32 token = 0;
    };

    void unpin(const std::vector<u64>& keys);
    void unref(u64 key);
    bool overlaps(GuestRange range) const;
    HostRange host_range(GuestRange range) const;
    std::vector<GuestRange> normalised(std::span<const GuestRange> ranges, u64 granule) const;
    std::vector<GuestRange> missing(const std::vector<GuestRange>& wanted) const;
    std::vector<GuestRange> plan(const std::vector<GuestRange>& wanted);
    Result<> add_extents(const GuestRange& run, std::vector<u64>& added);
    Result<> add_extent(const GuestRange& piece, std::vector<u64>& added);

    const GuestRam ram_;
    PinBackendChain chain_;
    const u64 budget_;

    mutable std::mutex mutex_;
    std::map<u64, Extent> extents_;  // by guest-physical start
    PinStats stats_;
};

}  // namespace vmm::mm
