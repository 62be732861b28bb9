// Which parts of guest RAM are pinned, by whom, and what that costs.
//
// RAM is held in extents: disjoint page ranges of at most a few MiB, each pinned once with a backend and counted by its
// users. A request takes a reference on every extent it touches and makes new ones for what no extent covers. A request
// that replaces an earlier one splits the extents that the earlier one alone used and that it needs only parts of; others
// stay whole until their last user is gone.
#pragma once

#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "mm/guest_ram.h"
#include "mm/huge_pages.h"
#include "mm/pin_backend.h"

namespace vmm::mm {

/// Plain numbers; bytes are host pages held, whoever shares them.
struct PinStats {
    u64 pinned_bytes = 0;     // now, held by any backend
    u64 long_term_bytes = 0;  // ... of which by io_uring
    u64 charged_bytes = 0;    // what the kernel charges for them: a huge page counts as a whole
    u64 peak_bytes = 0;       // of pinned_bytes
    u64 peak_charged_bytes = 0;
    u64 lost_bytes = 0;       // charged bytes that vanished without our doing
    u64 extents = 0;          // now
    u64 pin_ops = 0;          // requests that made at least one new extent
    u64 shared_ops = 0;       // requests that existing extents satisfied
    u64 unpin_ops = 0;        // handles given back
    u64 slices = 0;           // extents made since the start: calls of a backend
    u64 delta_pinned_pages = 0;    // of requests that replaced another: pages only the new one has
    u64 delta_unpinned_pages = 0;  // ... pages only the old one had
    u64 failures = 0;         // requests that failed
    u64 degraded = 0;         // extents a weaker backend than the first had to hold
    u64 widened = 0;          // requests rounded up to a coarser granule for want of slots
};

/// Why a request was refused.
struct PinError {
    enum class Cause : u8 { off, not_ram, budget, limit, host };
    Cause cause = Cause::host;
    u64 missing_bytes = 0;  // budget, limit: by how much it would have to be raised, at least
    std::string text;       // one line
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
    /// What was asked for, in whole pages, sorted and merged.
    const std::vector<GuestRange>& ranges() const { return ranges_; }
    /// The weakest backend that holds any of it.
    PinKind kind() const { return kind_; }
    /// True when the request had to pin pages that nothing held yet.
    bool made_new() const { return made_new_; }
    void release();

  private:
    friend class PinManager;

    PinManager* manager_ = nullptr;
    std::vector<u64> extents_;  // keys of PinManager::extents_, ascending
    std::vector<GuestRange> ranges_;
    u64 bytes_ = 0;
    PinKind kind_ = PinKind::none;
    bool made_new_ = false;
};

/// Thread-safe. Outlives its handles.
class PinManager {
  public:
    struct Options {
        u64 budget = 0;               // most charged bytes to hold at any time; 0 = no limit of ours
        bool strongest_only = false;  // what the first backend refuses no weaker one gets
    };

    PinManager(GuestRam ram, PinBackendChain chain, Options options);
    ~PinManager();
    PinManager(const PinManager&) = delete;
    PinManager& operator=(const PinManager&) = delete;

    /// Pins the pages of `ranges` (any order, may overlap, any alignment; must lie in RAM). All or nothing. `replaces`, if
    /// given, is about to be released: extents that only it uses may be split, so that its release leaves none of the pages
    /// behind that `ranges` has not.
    tl::expected<PinHandle, PinError> pin(std::span<const GuestRange> ranges, PinHandle* replaces = nullptr);

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

    /// Compares what the kernel charges with what it did after our last operation; returns the bytes that vanished.
    u64 check_charge();

    PinStats stats() const;
    /// The backend tried first; none when pinning is off.
    PinKind kind() const;
    /// Most bytes to hold at any time; 0 = no limit of ours.
    u64 budget() const { return options_.budget; }
    /// Why it is that one.
    const std::string& reason() const { return chain_.reason; }

  private:
    friend class PinHandle;
    class Attempt;

    struct Extent {
        u64 bytes = 0;
        u64 users = 0;
        PinBackend* backend = nullptr;
        u32 token = 0;
    };
    using Extents = std::map<u64, Extent>;  // by guest-physical start

    struct Plan {
        std::vector<GuestRange> runs;
        u64 piece_bytes = 0;  // runs are cut where multiples of it lie
    };

    void unpin(const std::vector<u64>& keys);
    void unref(u64 key);
    void give_back(u64 pa, const Extent& extent);
    bool overlaps(GuestRange range) const;
    HostRange host_range(GuestRange range) const;
    std::vector<GuestRange> normalised(std::span<const GuestRange> ranges, u64 granule) const;
    std::vector<GuestRange> missing(const std::vector<GuestRange>& wanted) const;
    std::vector<GuestRange> with_whole_huge_pages(const std::vector<GuestRange>& wanted) const;
    std::vector<GuestRange> pieces(const Plan& plan) const;
    void prepare(const std::vector<GuestRange>& runs);
    Plan plan(const std::vector<GuestRange>& wanted);
    tl::expected<void, PinError> check_request(std::span<const GuestRange> ranges) const;
    tl::expected<void, PinError> check_budget(u64 new_bytes) const;
    tl::expected<void, PinError> add_extent(const GuestRange& piece, std::vector<u64>& added);
    PinHandle reference(std::vector<GuestRange> wanted, const std::vector<u64>& added);
    void count_delta(const PinHandle& now, const PinHandle& before);
    u64 charged_now() const;
    void update_charge();

    const GuestRam ram_;
    const PinBackendChain chain_;
    const Options options_;
    const HugePages huge_pages_;

    mutable std::mutex mutex_;
    Extents extents_;
    u64 charge_before_ = 0;  // what the kernel charged this process before we pinned anything
    PinStats stats_;
};

}  // namespace vmm::mm
