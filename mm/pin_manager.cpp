#include "mm/pin_manager.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "mm/host_limits.h"
#include "mm/range_set.h"
#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::mm {

namespace {

constexpr u64 kPage = 4096;
constexpr u64 kMiB = u64{1} << 20;

/// Ways to cut a request, in the order of preference: pages are rounded to `granule`, runs cut at multiples of `piece`.
/// Small pieces keep single calls short and replacing a page cheap, large ones spare slots.
struct Cut {
    u64 granule;
    u64 piece;
};
constexpr u64 kWhole = u64{1} << 63;
constexpr std::array<Cut, 5> kCuts{{
    {kPage, 2 * kMiB},
    {kPage, 32 * kMiB},
    {kPage, kWhole},
    {64 * 1024, kWhole},
    {2 * kMiB, kWhole},
}};

bool is_limit(int error) {
    return error == ENOMEM || error == EPERM || error == EAGAIN;
}

}  // namespace

// ── Handles ────────────────────────────────────────────────────────────────────────────────────────────────

PinHandle::PinHandle(PinHandle&& other) noexcept {
    *this = std::move(other);
}

PinHandle& PinHandle::operator=(PinHandle&& other) noexcept {
    if (this != &other) {
        release();
        manager_ = std::exchange(other.manager_, nullptr);
        extents_ = std::exchange(other.extents_, {});
        ranges_ = std::exchange(other.ranges_, {});
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
    ranges_.clear();
    bytes_ = 0;
    kind_ = PinKind::none;
    made_new_ = false;
}

// ── What is held ───────────────────────────────────────────────────────────────────────────────────────────

PinManager::PinManager(GuestRam ram, PinBackendChain chain, Options options)
    : ram_(ram), chain_(std::move(chain)), options_(options), charge_before_(charged_now()) {}

u64 PinManager::charged_now() const {
    u64 bytes = 0;
    for (const auto& backend : chain_.backends) {
        bytes += backend->charged_bytes();
    }
    return bytes;
}

PinManager::~PinManager() {
    for (const auto& [pa, extent] : extents_) {
        give_back(pa, extent);
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

bool PinManager::overlaps(GuestRange range) const {
    const auto it = extents_.lower_bound(range.end());
    return it != extents_.begin() && std::prev(it)->first + std::prev(it)->second.bytes > range.pa;
}

bool PinManager::is_pinned(GuestRange range) const {
    const std::lock_guard lock(mutex_);
    return overlaps(range);
}

void PinManager::update_charge() {
    const u64 now = charged_now();
    stats_.charged_bytes = now - std::min(now, charge_before_);
    stats_.peak_charged_bytes = std::max(stats_.peak_charged_bytes, stats_.charged_bytes);
}

u64 PinManager::check_charge() {
    const std::lock_guard lock(mutex_);
    const u64 before = stats_.charged_bytes;
    update_charge();
    const u64 lost = before - std::min(before, stats_.charged_bytes);
    stats_.lost_bytes += lost;
    return lost;
}

// ── What to pin ────────────────────────────────────────────────────────────────────────────────────────────

/// Whole granules of RAM around `ranges`, sorted and merged. Granules are counted from the start of RAM.
std::vector<GuestRange> PinManager::normalised(std::span<const GuestRange> ranges, u64 granule) const {
    std::vector<GuestRange> rounded;
    rounded.reserve(ranges.size());
    for (const GuestRange& range : ranges) {
        const u64 start = align_down(range.pa - ram_.base(), granule);
        const u64 end = std::min(align_up(range.end() - ram_.base(), granule), ram_.size());
        rounded.push_back({ram_.base() + start, end - start});
    }
    return merged(std::move(rounded));
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

/// A long-term pin of a byte of a huge page holds all of it: say so, and use one slot for it.
std::vector<GuestRange> PinManager::with_whole_huge_pages(const std::vector<GuestRange>& wanted) const {
    std::vector<GuestRange> rounded = wanted;
    const auto round = [&](u64 pa) {
        const u64 block = align_down(pa - ram_.base(), HugePages::kBytes);
        if (block + HugePages::kBytes <= ram_.size() && huge_pages_.backs(ram_.host_base() + block)) {
            rounded.push_back({ram_.base() + block, HugePages::kBytes});
        }
    };
    for (const GuestRange& range : wanted) {
        if (!is_aligned(range.pa - ram_.base(), HugePages::kBytes)) {
            round(range.pa);
        }
        if (!is_aligned(range.end() - ram_.base(), HugePages::kBytes)) {
            round(range.end() - 1);
        }
    }
    return merged(std::move(rounded));
}

/// `plan`'s runs, cut so that each piece fits a slot.
std::vector<GuestRange> PinManager::pieces(const Plan& plan) const {
    std::vector<GuestRange> out;
    for (const GuestRange& run : plan.runs) {
        for (u64 at = run.pa; at < run.end();) {
            const u64 in_piece = plan.piece_bytes - (at - ram_.base()) % plan.piece_bytes;
            const u64 bytes = std::min(in_piece, run.end() - at);
            out.push_back({at, bytes});
            at += bytes;
        }
    }
    return out;
}

/// The finest cut whose pieces fit the first backend's slots, leaving half of them free while there is a choice; else the
/// coarsest (what finds no slot then goes to a weaker backend).
PinManager::Plan PinManager::plan(const std::vector<GuestRange>& wanted) {
    const PinBackend& first = *chain_.backends.front();
    Plan plan;
    for (const Cut& cut : kCuts) {
        const std::vector<GuestRange> rounded = cut.granule == kPage ? wanted : normalised(wanted, cut.granule);
        plan = {missing(rounded), std::min(cut.piece, first.max_bytes_per_slot())};
        const u64 free = cut.piece == kWhole ? first.free_slots() : first.free_slots() / 2;
        if (pieces(plan).size() <= free) {
            stats_.widened += cut.granule != kPage;
            return plan;
        }
    }
    ++stats_.widened;
    return plan;
}

/// What backs the ends of `runs` shows once they are present; the rest becomes so when it is pinned.
void PinManager::prepare(const std::vector<GuestRange>& runs) {
    PinBackend& first = *chain_.backends.front();
    for (const GuestRange& run : runs) {
        if (!is_aligned(run.pa - ram_.base(), HugePages::kBytes)) {
            first.prepare(host_range({run.pa, kPage}));
        }
        if (!is_aligned(run.end() - ram_.base(), HugePages::kBytes)) {
            first.prepare(host_range({run.end() - kPage, kPage}));
        }
    }
}

tl::expected<void, PinError> PinManager::check_request(std::span<const GuestRange> ranges) const {
    if (chain_.backends.empty()) {
        return tl::make_unexpected(PinError{PinError::Cause::off, 0, chain_.reason});
    }
    for (const GuestRange& range : ranges) {
        if (range.size == 0 || !ram_.contains(range.pa, range.size)) {
            return tl::make_unexpected(PinError{
                PinError::Cause::not_ram, 0, fmt::format("cannot pin {:#x}+{:#x}: not RAM", range.pa, range.size)});
        }
    }
    return {};
}

tl::expected<void, PinError> PinManager::check_budget(u64 new_bytes) const {
    const u64 used = std::max(stats_.pinned_bytes, stats_.charged_bytes);
    const u64 free = options_.budget - std::min(options_.budget, used);
    if (options_.budget == 0 || new_bytes <= free) {
        return {};
    }
    return tl::make_unexpected(PinError{PinError::Cause::budget, new_bytes - free,
                                        fmt::format("cannot pin {} more: {} of the budget of {} are in use",
                                                    format_bytes(new_bytes), format_bytes(used),
                                                    format_bytes(options_.budget))});
}

// ── Pinning ────────────────────────────────────────────────────────────────────────────────────────────────

/// Pins one range that one slot can hold, with the strongest backend that will.
tl::expected<void, PinError> PinManager::add_extent(const GuestRange& piece, std::vector<u64>& added) {
    PinError error;
    for (const auto& backend : chain_.backends) {
        const auto token = backend->pin(host_range(piece));
        ++stats_.slices;
        if (token) {
            extents_.emplace(piece.pa, Extent{piece.size, 0, backend.get(), *token});
            added.push_back(piece.pa);
            stats_.degraded += backend != chain_.backends.front();
            stats_.pinned_bytes += piece.size;
            stats_.long_term_bytes += backend->kind() == PinKind::uring ? piece.size : 0;
            return {};
        }
        error.text += fmt::format("{}{} of {}: {}", error.text.empty() ? "" : "; ", to_string(backend->kind()),
                                  format_bytes(piece.size), std::strerror(token.error()));
        error.cause = is_limit(token.error()) ? PinError::Cause::limit : error.cause;
        if (options_.strongest_only) {
            break;
        }
    }
    return tl::make_unexpected(error);
}

/// One request while it may still fail: undoes itself unless kept.
class PinManager::Attempt {
  public:
    Attempt(PinManager& manager, PinHandle* replaces) : m_(manager), replaces_(replaces) {}
    ~Attempt() {
        if (kept_) {
            return;
        }
        for (const u64 key : added) {
            m_.extents_.at(key).users = 1;
            m_.unref(key);
        }
        m_.extents_.insert(aside_.begin(), aside_.end());
    }

    /// Puts aside the extents that only the replaced request uses and that `wanted` needs in part, so that these parts are
    /// pinned anew. Where pins do not nest an extent stays whole.
    void split_replaced(const std::vector<GuestRange>& wanted) {
        if (replaces_ == nullptr || replaces_->manager_ != &m_) {
            return;
        }
        for (const u64 key : replaces_->extents_) {
            const auto it = m_.extents_.find(key);
            const GuestRange range{key, it->second.bytes};
            const u64 kept_bytes = total_bytes(intersection(range, wanted));
            if (it->second.users == 1 && it->second.backend->nests() && kept_bytes != 0 && kept_bytes != range.size) {
                aside_.insert(m_.extents_.extract(it));
            }
        }
    }

    void keep() {
        kept_ = true;
        for (const auto& [pa, extent] : aside_) {
            std::erase(replaces_->extents_, pa);
            m_.give_back(pa, extent);
            m_.stats_.pinned_bytes -= extent.bytes;
            m_.stats_.long_term_bytes -= extent.backend->kind() == PinKind::uring ? extent.bytes : 0;
        }
    }

    u64 bytes_aside() const {
        u64 bytes = 0;
        for (const auto& [pa, extent] : aside_) {
            bytes += extent.bytes;
        }
        return bytes;
    }

    std::vector<u64> added;

  private:
    PinManager& m_;
    PinHandle* replaces_;
    Extents aside_;
    bool kept_ = false;
};

/// A handle on every extent that holds part of `wanted`.
PinHandle PinManager::reference(std::vector<GuestRange> wanted, const std::vector<u64>& added) {
    PinHandle handle;
    handle.manager_ = this;
    handle.bytes_ = total_bytes(wanted);
    handle.made_new_ = !added.empty();
    handle.kind_ = PinKind::uring;
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
    handle.ranges_ = std::move(wanted);
    return handle;
}

void PinManager::count_delta(const PinHandle& now, const PinHandle& before) {
    stats_.delta_pinned_pages += total_bytes(difference(now.ranges_, before.ranges_)) / kPage;
    stats_.delta_unpinned_pages += total_bytes(difference(before.ranges_, now.ranges_)) / kPage;
}

tl::expected<PinHandle, PinError> PinManager::pin(std::span<const GuestRange> ranges, PinHandle* replaces) {
    const std::lock_guard lock(mutex_);
    const auto give_up = [this](PinError error) {
        ++stats_.failures;
        return tl::make_unexpected(std::move(error));
    };
    if (auto checked = check_request(ranges); !checked) {
        return give_up(std::move(checked).error());
    }
    std::vector<GuestRange> wanted = normalised(ranges, kPage);
    if (auto checked = check_budget(total_bytes(missing(wanted))); !checked) {
        return give_up(std::move(checked).error());  // before any page of it is made present
    }
    prepare(missing(wanted));
    const bool long_term = chain_.backends.front()->kind() == PinKind::uring;
    const std::vector<GuestRange> held = long_term ? with_whole_huge_pages(wanted) : wanted;

    Attempt attempt(*this, replaces);
    attempt.split_replaced(held);
    const Plan planned = plan(held);
    if (auto checked = check_budget(total_bytes(planned.runs)); !checked) {
        return give_up(std::move(checked).error());
    }
    u64 left = total_bytes(planned.runs);
    for (const GuestRange& piece : pieces(planned)) {
        if (auto result = add_extent(piece, attempt.added); !result) {
            result.error().missing_bytes = left;
            return give_up(std::move(result).error());
        }
        left -= piece.size;
    }
    update_charge();
    if (options_.budget != 0 && stats_.charged_bytes > options_.budget + attempt.bytes_aside()) {
        // The kernel charges more than pages were asked for.
        return give_up({PinError::Cause::budget, stats_.charged_bytes - options_.budget,
                        fmt::format("cannot pin {}: the host would charge {}, the budget is {}",
                                    format_bytes(total_bytes(planned.runs)), format_bytes(stats_.charged_bytes),
                                    format_bytes(options_.budget))});
    }
    attempt.keep();
    stats_.extents = extents_.size();
    PinHandle handle = reference(std::move(wanted), attempt.added);
    if (replaces != nullptr && *replaces) {
        count_delta(handle, *replaces);
    }
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.pinned_bytes);
    update_charge();
    ++(attempt.added.empty() ? stats_.shared_ops : stats_.pin_ops);
    return handle;
}

// ── Unpinning ──────────────────────────────────────────────────────────────────────────────────────────────

void PinManager::give_back(u64 pa, const Extent& extent) {
    extent.backend->unpin(extent.token, host_range({pa, extent.bytes}));
}

void PinManager::unref(u64 key) {
    const auto it = extents_.find(key);
    VMM_CHECK(it != extents_.end() && it->second.users != 0);
    Extent& extent = it->second;
    if (--extent.users != 0) {
        return;
    }
    give_back(key, extent);
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
    update_charge();
}

}  // namespace vmm::mm
