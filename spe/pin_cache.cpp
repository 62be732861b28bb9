#include "spe/pin_cache.h"

#include <algorithm>
#include <iterator>

#include "mm/guest_access.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

namespace vmm::spe {

namespace {

constexpr u64 kPage = 4096;

/// Appends `range`, merging it with the last one where they touch: buffers are mostly contiguous.
void append(std::vector<mm::GuestRange>& ranges, mm::GuestRange range) {
    if (!ranges.empty() && ranges.back().end() == range.pa) {
        ranges.back().size += range.size;
    } else {
        ranges.push_back(range);
    }
}

void sort_unique(std::vector<mm::GuestRange>& ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const mm::GuestRange& a, const mm::GuestRange& b) { return a.pa < b.pa; });
    ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
}

}  // namespace

PinCacheStats PinCache::stats() const {
    PinCacheStats stats = stats_;
    for (const Interval& interval : intervals_) {
        for (const mm::PinHandle& pin : interval.pins) {
            stats.bytes += pin.bytes();
        }
    }
    return stats;
}

bool PinCache::tables_unchanged(const Interval& interval) const {
    for (const TableCopy& table : interval.tables) {
        const u8* host = memory_.ram().host(table.range.pa, table.range.size);
        for (std::size_t i = 0; i < table.words.size(); ++i) {
            if (mm::load_relaxed<u64>(host + i * sizeof(u64)) != table.words[i]) {
                return false;
            }
        }
    }
    return true;
}

bool PinCache::still_valid(Interval& interval, const RegimeKey& key, u64 generation) {
    if (!(interval.key == key)) {
        return false;
    }
    if (interval.generation == generation) {
        return true;
    }
    if (!tables_unchanged(interval)) {
        return false;
    }
    ++stats_.table_hits;
    interval.generation = generation;
    return true;
}

u64 PinCache::walk(u64 from, u64 to, BufferRegime& regime, std::vector<mm::GuestRange>& pages,
                   std::vector<mm::GuestRange>& tables) {
    const mm::GuestRam& ram = memory_.ram();
    u64 va = from;
    while (va < to) {
        ++stats_.pages_walked;
        const BufferPage page = regime.walk(va, tables);
        const u64 step = page.mapped ? page.page_size - (va & (page.page_size - 1)) : 0;
        const u64 bytes = std::min(step, to - va);
        if (bytes == 0 || !ram.contains(page.pa, bytes)) {
            break;
        }
        append(pages, {page.pa, bytes});
        va += bytes;
    }
    return va;
}

void PinCache::remember_tables(Interval& interval, std::vector<mm::GuestRange>& tables) const {
    sort_unique(tables);
    for (const mm::GuestRange& range : tables) {
        const auto known = std::find_if(interval.tables.begin(), interval.tables.end(),
                                        [&](const TableCopy& table) { return table.range == range; });
        const u8* host = memory_.ram().host(range.pa, range.size);
        if (known != interval.tables.end() || host == nullptr) {
            continue;
        }
        TableCopy copy{range, std::vector<u64>(range.size / sizeof(u64))};
        for (std::size_t i = 0; i < copy.words.size(); ++i) {
            copy.words[i] = mm::load_relaxed<u64>(host + i * sizeof(u64));
        }
        interval.tables.push_back(std::move(copy));
    }
}

/// Adds [from, to), which lies at an end of `interval` or is all of it. False when the host refused the pin.
bool PinCache::extend(Interval& interval, u64 from, u64 to, BufferRegime& regime) {
    std::vector<mm::GuestRange> pages;
    std::vector<mm::GuestRange> tables;
    const u64 end = walk(from, to, regime, pages, tables);
    if (end == from || (to == interval.start && end != to)) {
        return true;  // nothing mapped, or not as far as the interval that it should join
    }
    remember_tables(interval, tables);
    pages.insert(pages.end(), tables.begin(), tables.end());
    std::erase_if(pages, [this](const mm::GuestRange& r) { return !memory_.ram().contains(r.pa, r.size); });
    auto pin = memory_.pin(pages);
    if (!pin) {
        ++stats_.failures;
        VMM_GUEST_LOG("spe", "profiling buffer {:#x}..{:#x} stays unpinned: {}", from, end, pin.error().text);
        return false;
    }
    interval.pins.push_back(std::move(*pin));
    interval.start = std::min(interval.start, from);
    interval.end = std::max(interval.end, end);
    return true;
}

/// Takes out the intervals that the window meets and whose translation has changed.
std::vector<PinCache::Interval> PinCache::take_stale(const RegimeKey& key, u64 generation, u64 from, u64 to) {
    const auto first_stale = std::stable_partition(intervals_.begin(), intervals_.end(), [&](Interval& interval) {
        return !interval.touches(from, to) || still_valid(interval, key, generation);
    });
    std::vector<Interval> stale(std::make_move_iterator(first_stale), std::make_move_iterator(intervals_.end()));
    intervals_.erase(first_stale, intervals_.end());
    return stale;
}

void PinCache::enable(u64 pointer, u64 limit, BufferRegime& regime) {
    if (pointer >= limit) {
        return;
    }
    ++stats_.enables;
    ++clock_;
    const u64 from = align_down(pointer, kPage);
    const u64 to = std::min(limit, from + std::min(kMaxWindow, ~from & ~(kPage - 1)));
    const RegimeKey key = regime.key(from);
    const u64 generation = regime.generation();
    const u64 table_hits = stats_.table_hits;
    // Held until the end: pages that the new translation still uses are not let go in between.
    const std::vector<Interval> stale = take_stale(key, generation, from, to);

    auto met = std::find_if(intervals_.begin(), intervals_.end(),
                            [&](const Interval& interval) { return interval.touches(from, to); });
    if (met != intervals_.end()) {
        met->last_use = clock_;
        if (met->contains(from, to)) {
            ++stats_.hits;
            return;
        }
    }
    stats_.table_hits = table_hits;
    ++stats_.walks;
    if (met != intervals_.end() && std::max(met->end, to) - std::min(met->start, from) <= kMaxWindow) {
        const bool before = met->start <= from || extend(*met, from, met->start, regime);
        if (before && met->end < to) {
            extend(*met, met->end, to, regime);
        }
        return;
    }
    Interval fresh{from, from, key, generation, clock_, {}, {}};
    if (!extend(fresh, from, to, regime) || fresh.end == fresh.start) {
        return;
    }
    if (met != intervals_.end()) {
        intervals_.erase(met);
    } else if (intervals_.size() >= kIntervals) {
        intervals_.erase(std::min_element(intervals_.begin(), intervals_.end(),
                                          [](const Interval& a, const Interval& b) { return a.last_use < b.last_use; }));
    }
    intervals_.push_back(std::move(fresh));
}

}  // namespace vmm::spe
