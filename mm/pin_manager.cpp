#include "mm/pin_manager.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::mm {

namespace {

constexpr u64 kPage = 4096;

/// Granules tried in turn when a request has more runs than the backend has slots.
constexpr std::array<u64, 3> kGranules{kPage, 64 * 1024, 2 * 1024 * 1024};

u64 slots_for(const std::vector<GuestRange>& runs, u64 max_bytes) {
    u64 slots = 0;
    for (const GuestRange& run : runs) {
        slots += (run.size - 1) / max_bytes + 1;
    }
    return slots;
}

u64 total_bytes(const std::vector<GuestRange>& runs) {
    u64 bytes = 0;
    for (const GuestRange& run : runs) {
        bytes += run.size;
    }
    return bytes;
}

}  // namespace

PinHandle::PinHandle(PinHandle&& other) noexcept {
    *this = std::move(other);
}

PinHandle& PinHandle::operator=(PinHandle&& other) noexcept {
    if (this != &other) {
        release();
        manager_ = std::exchange(other.manager_, nullptr);
        extents_ = std::exchange(other.extents_, {});
        bytes_ = std::exchange(other.bytes_, 0);
        kind_ = std::exchange(other.kind_, PinKind::none);
        made_new_ = std::exchange(other.made_new_, false);
    }
    return *this;
}

PinHandle::~PinHandle() {
    release();
}

void PinHandle::release() {
    if (PinManager* manager = std::exchange(manager_, nullptr)) {
        manager->unpin(extents_);
    }
    extents_.clear();
    bytes_ = 0;
    kind_ = PinKind::none;
    made_new_ = false;
}

PinManager::PinManager(GuestRam ram, PinBackendChain chain, u64 budget)
    : ram_(ram), chain_(std::move(chain)), budget_(budget) {}

PinManager::~PinManager() {
    for (const auto& [pa, extent] : extents_) {
        extent.backend->unpin(extent.token, host_range({pa, extent.bytes}));
    }
}

PinKind PinManager::kind() const {
    return chain_.backends.empty() ? PinKind::none : chain_.backends.front()->kind();
}

PinStats PinManager::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

HostRange PinManager::host_range(GuestRange range) const {
    u8* host = ram_.host(range.pa, range.size);
    VMM_CHECK(host != nullptr);
    return {host, range.size};
}

/// Whole granules of RAM around `ranges`, sorted and merged. Granules are counted from the start of RAM.
std::vector<GuestRange> PinManager::normalised(std::span<const GuestRange> ranges, u64 granule) const {
    std::vector<GuestRange> sorted;
    sorted.reserve(ranges.size());
    for (const GuestRange& range : ranges) {
        const u64 start = align_down(range.pa - ram_.base(), granule);
        const u64 end = std::min(align_up(range.end() - ram_.base(), granule), ram_.size());
        sorted.push_back({ram_.base() + start, end - start});
    }
    std::sort(sorted.begin(), sorted.end(), [](const GuestRange& a, const GuestRange& b) { return a.pa < b.pa; });
    std::vector<GuestRange> merged;
    for (const GuestRange& range : sorted) {
        if (!merged.empty() && range.pa <= merged.back().end()) {
            merged.back().size = std::max(merged.back().end(), range.end()) - merged.back().pa;
        } else {
            merged.push_back(range);
        }
    }
    return merged;
}

/// The parts of `wanted` that no extent covers.
std::vector<GuestRange> PinManager::missing(const std::vector<GuestRange>& wanted) const {
    std::vector<GuestRange> gaps;
    for (const GuestRange& range : wanted) {
        u64 at = range.pa;
        auto it = extents_.upper_bound(at);
        if (it != extents_.begin() && std::prev(it)->first + std::prev(it)->second.bytes > at) {
            --it;
        }
        for (; it != extents_.end() && it->first < range.end(); ++it) {
            if (it->first > at) {
                gaps.push_back({at, it->first - at});
            }
            at = it->first + it->second.bytes;
        }
        if (at < range.end()) {
            gaps.push_back({at, range.end() - at});
        }
    }
    return gaps;
}

/// What to pin for `wanted`: the finest granule whose runs fit the first backend's slots, else the coarsest (whose runs
/// then go to a weaker backend).
std::vector<GuestRange> PinManager::plan(const std::vector<GuestRange>& wanted) {
    const PinBackend& first = *chain_.backends.front();
    std::vector<GuestRange> runs;
    for (const u64 granule : kGranules) {
        runs = missing(normalised(wanted, granule));
        if (slots_for(runs, first.max_bytes_per_slot()) <= first.free_slots()) {
            stats_.widened += granule != kPage;
            return runs;
        }
    }
    ++stats_.widened;
    return runs;
}

/// Pins one range that one slot can hold, with the strongest backend that will.
Result<> PinManager::add_extent(const GuestRange& piece, std::vector<u64>& added) {
    std::string why;
    for (const auto& backend : chain_.backends) {
        auto token = backend->pin(host_range(piece));
        if (!token) {
            why += (why.empty() ? "" : "; ") + token.error().text;
            continue;
        }
        extents_.emplace(piece.pa, Extent{piece.size, 0, backend.get(), *token});
        added.push_back(piece.pa);
        stats_.degraded += backend != chain_.backends.front();
        stats_.pinned_bytes += piece.size;
        stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.pinned_bytes);
        stats_.long_term_bytes += backend->kind() == PinKind::uring ? piece.size : 0;
        stats_.extents = extents_.size();
        return {};
    }
    return fail("{}", why);
}

Result<> PinManager::add_extents(const GuestRange& run, std::vector<u64>& added) {
    const u64 most = chain_.backends.front()->max_bytes_per_slot();
    for (u64 offset = 0; offset < run.size;) {
        const u64 bytes = std::min(most, run.size - offset);
        VMM_TRY_VOID(add_extent({run.pa + offset, bytes}, added));
        offset += bytes;
    }
    return {};
}

Result<PinHandle> PinManager::pin(std::span<const GuestRange> ranges) {
    const std::lock_guard lock(mutex_);
    const auto give_up = [this](auto error) {
        ++stats_.failures;
        return error;
    };
    if (chain_.backends.empty()) {
        return give_up(fail("{}", chain_.reason));
    }
    for (const GuestRange& range : ranges) {
        if (range.size == 0 || !ram_.contains(range.pa, range.size)) {
            return give_up(fail("cannot pin {:#x}+{:#x}: not RAM", range.pa, range.size));
        }
    }
    const std::vector<GuestRange> wanted = normalised(ranges, kPage);
    const std::vector<GuestRange> runs = plan(wanted);
    const u64 new_bytes = total_bytes(runs);
    if (budget_ != 0 && new_bytes > budget_ - std::min(budget_, stats_.pinned_bytes)) {
        return give_up(fail("cannot pin {} more bytes: {} of {} are in use", new_bytes, stats_.pinned_bytes, budget_));
    }
    std::vector<u64> added;
    for (const GuestRange& run : runs) {
        if (auto result = add_extents(run, added); !result) {
            for (const u64 key : added) {
                extents_.at(key).users = 1;
                unref(key);
            }
            return give_up(tl::make_unexpected(std::move(result).error()));
        }
    }

    PinHandle handle;
    handle.manager_ = this;
    handle.bytes_ = total_bytes(wanted);
    handle.made_new_ = !added.empty();
    handle.kind_ = PinKind::uring;
    // New extents may reach beyond what is wanted when they were widened; every one of them that holds a wanted page, old
    // or new, is referenced, and the others (none, by construction of normalised()) would leak.
    for (const GuestRange& range : wanted) {
        auto it = extents_.upper_bound(range.pa);
        VMM_CHECK(it != extents_.begin());
        for (--it; it != extents_.end() && it->first < range.end(); ++it) {
            if (!handle.extents_.empty() && handle.extents_.back() == it->first) {
                continue;
            }
            ++it->second.users;
            handle.kind_ = std::max(handle.kind_, it->second.backend->kind());
            handle.extents_.push_back(it->first);
        }
    }
    for (const u64 key : added) {
        Extent& extent = extents_.at(key);
        if (extent.users == 0) {  // a widened piece between two older extents that holds nothing wanted
            extent.users = 1;
            handle.extents_.push_back(key);
        }
    }
    ++(added.empty() ? stats_.shared_ops : stats_.pin_ops);
    return handle;
}

void PinManager::unref(u64 key) {
    const auto it = extents_.find(key);
    VMM_CHECK(it != extents_.end() && it->second.users != 0);
    Extent& extent = it->second;
    if (--extent.users != 0) {
        return;
    }
    extent.backend->unpin(extent.token, host_range({key, extent.bytes}));
    stats_.pinned_bytes -= extent.bytes;
    stats_.long_term_bytes -= extent.backend->kind() == PinKind::uring ? extent.bytes : 0;
    extents_.erase(it);
    stats_.extents = extents_.size();
}

void PinManager::unpin(const std::vector<u64>& keys) {
    const std::lock_guard lock(mutex_);
    for (const u64 key : keys) {
        unref(key);
    }
    ++stats_.unpin_ops;
}

bool PinManager::overlaps(GuestRange range) const {
    const auto it = extents_.lower_bound(range.end());
    return it != extents_.begin() && std::prev(it)->first + std::prev(it)->second.bytes > range.pa;
}

bool PinManager::is_pinned(GuestRange range) const {
    const std::lock_guard lock(mutex_);
    return overlaps(range);
}

}  // namespace vmm::mm
