#include "spe/pin_cache.h"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "vmm/base/bits.h"
#include "vmm/base/thread_time.h"

namespace vmm::spe {

namespace {

constexpr u64 kPage = 4096;

/// Comparing more tables than this takes too long for a PE's thread: they are walked anew, elsewhere.
constexpr std::size_t kMostTablesCompared = 160;

/// How long a buffer that was refused stays as it is.
constexpr u64 kRetryNs = 1'000'000'000;

u64 now_ns() {
    return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

PinCache::PinCache(mm::HostMemory& memory) : memory_(memory) {
    intervals_.reserve(kIntervals + 1);
}

PinCacheStats PinCache::stats() const {
    PinCacheStats stats = stats_;
    for (const Interval& interval : intervals_) {
        if (interval.pins->phase() == mm::BufferPins::Phase::ready) {
            stats.bytes += interval.pins->bytes();
        }
    }
    return stats;
}

bool PinCache::take_shortage() {
    return client_->shortage.load(std::memory_order_relaxed) && client_->shortage.exchange(false);
}

void PinCache::clear() {
    for (Interval& interval : intervals_) {
        memory_.pin_service().drop(std::move(interval.pins), mm::UnpinCause::reset);
    }
    intervals_.clear();
    mark_ = kNoMark;
}

void PinCache::disable() {
    for (Interval& interval : intervals_) {
        interval.pins->unuse();
    }
}

// ── Intervals ──────────────────────────────────────────────────────────────────────────────────────────────

/// What it answers for: while it is pending, what was asked for. Where the walk found the end of the mapping, the answer
/// covers all of the question: nothing more is to be found until tables change.
u64 PinCache::Interval::start() const {
    return pins->phase() == mm::BufferPins::Phase::ready ? pins->start() : pins->request().from;
}

u64 PinCache::Interval::end() const {
    const u64 asked = pins->request().to;
    return pins->phase() == mm::BufferPins::Phase::ready ? std::max(pins->end(), asked) : asked;
}

/// Where the mapping ends; nothing is known of what lies behind.
u64 PinCache::Interval::hole() const {
    return pins->phase() == mm::BufferPins::Phase::ready ? pins->end() : end();
}

bool PinCache::quiet(const Interval& interval, const arch::TlbMaintenance& now) const {
    const bool upper = bit(interval.pins->request().from, 55);
    return interval.watched && interval.watch_generation == memory_.table_watch().generation() &&
           interval.maintenance.half[upper] == now.half[upper] &&
           (interval.maintenance.by_asid == now.by_asid || !interval.pins->any_not_global());
}

/// The tables are watched before they are compared, and what the comparison finds holds from then on only if no PE can
/// have stored to them unseen.
bool PinCache::tables_still_the_same(Interval& interval, BufferRegime& regime) {
    const std::vector<mm::TableCopy>& tables = interval.pins->tables();
    if (tables.size() > kMostTablesCompared) {
        return false;
    }
    mm::TableWatch& watch = memory_.table_watch();
    if (!interval.fence_started || interval.watch_generation != watch.generation()) {
        interval.watch_generation = watch.generation();
        for (const mm::TableCopy& table : tables) {
            watch.watch(table.pa);
        }
        interval.watchable = regime.start_fence(interval.fence, watch);
        interval.fence_started = true;
        interval.watched = false;
    }
    const bool nobody_stores_unseen = interval.fence.done();
    interval.maintenance = regime.maintenance();
    if (!mm::tables_unchanged(memory_.ram(), tables)) {
        return false;
    }
    interval.watched = interval.watchable && nobody_stores_unseen;
    return true;
}

bool PinCache::may_ask_again(Interval& interval) {
    const u64 now = now_ns();
    if (interval.retry_after_ns == 0) {
        interval.retry_after_ns = now + kRetryNs;
    }
    return now >= interval.retry_after_ns;
}

void PinCache::count_answer(Interval& interval) {
    if (!interval.counted && interval.pins->phase() != mm::BufferPins::Phase::pending) {
        interval.counted = true;
        stats_.pages_walked += interval.pins->looked_up();
        stats_.failures += interval.pins->phase() == mm::BufferPins::Phase::refused;
    }
}

PinCache::Verdict PinCache::judge(Interval& interval, BufferRegime& regime) {
    count_answer(interval);
    switch (interval.pins->phase()) {
        case mm::BufferPins::Phase::pending: return Verdict::pending;
        case mm::BufferPins::Phase::refused:
            if (may_ask_again(interval)) {
                return Verdict::changed;
            }
            client_->shortage = memory_.pin_service().shortage_policy() == mm::ShortagePolicy::inject;
            return Verdict::hit;
        case mm::BufferPins::Phase::ready: break;
    }
    if (!tables_still_the_same(interval, regime)) {
        return Verdict::changed;
    }
    ++stats_.table_hits;
    return Verdict::hit;
}

// ── Enabling ───────────────────────────────────────────────────────────────────────────────────────────────

/// The whole pages of [pointer, limit) that are to be pinned now.
PinCache::Window PinCache::window(u64 pointer, u64 limit) {
    const u64 from = align_down(pointer, kPage);
    // Room up to the end of the address space, short of it by a page.
    u64 bytes = std::min({limit - from, kMaxWindow, ~from & ~(kPage - 1)});
    mark_ = kNoMark;
    if (memory_.pin_policy() == mm::PinPolicy::lazy) {
        // This step and the next one, so that the pointer does not arrive before the pins do.
        const u64 steps = align_down(from, kLazyStep) + 2 * kLazyStep - from;
        if (steps < bytes) {
            bytes = steps;
            mark_ = from + bytes - kLazyStep;
        }
    }
    return {from, from + bytes};
}

/// The cheap part: an interval that is known to be as it was.
bool PinCache::hit(Window window, BufferRegime& regime) {
    for (Interval& interval : intervals_) {
        if (interval.contains(window) && interval.pins->phase() == mm::BufferPins::Phase::ready &&
            quiet(interval, regime.maintenance()) && interval.pins->request().regime == regime.regime(window.from) &&
            interval.pins->acquire()) {
            interval.last_use = clock_;
            count_answer(interval);
            ++stats_.hits;
            return true;
        }
    }
    return false;
}

void PinCache::miss(Window window, BufferRegime& regime) {
    const mm::RangeRegime key = regime.regime(window.from);
    for (Interval& interval : intervals_) {
        if (!interval.contains(window) || interval.pins->request().regime != key) {
            continue;
        }
        const Verdict verdict = judge(interval, regime);
        if (verdict == Verdict::changed || !interval.pins->acquire()) {
            break;
        }
        interval.last_use = clock_;
        ++stats_.hits;
        stats_.pending_hits += verdict == Verdict::pending;
        return;
    }
    ++stats_.walks;
    ask(window, key);
}

void PinCache::timed_miss(Window window, BufferRegime& regime) {
    const u64 start = now_ns();
    const u64 cpu_start = thread_cpu_ns();
    miss(window, regime);
    stats_.slowest_cpu_ns = std::max(stats_.slowest_cpu_ns, thread_cpu_ns() - cpu_start);
    stats_.slowest_ns = std::max(stats_.slowest_ns, now_ns() - start);
}

/// Asks for `window`. The interval that it meets, if any, is replaced, and what that one held is kept where it is still
/// mapped; else the one used least recently is.
void PinCache::ask(Window window, const mm::RangeRegime& key) {
    mm::BufferPins::Request request;
    request.regime = key;
    request.from = request.hull_start = window.from;
    request.to = request.hull_end = window.to;
    request.client = client_;
    auto met = std::find_if(intervals_.begin(), intervals_.end(),
                            [&](const Interval& interval) { return interval.touches(window); });
    if (met != intervals_.end()) {
        const u64 start = std::min(met->start(), window.from);
        const u64 end = std::max(met->end(), window.to);
        if (met->pins->request().regime == key && end - start <= kMaxWindow) {
            request.hull_start = start;
            request.hull_end = end;
        }
        if (met->pins->phase() == mm::BufferPins::Phase::pending) {
            memory_.pin_service().drop(std::move(met->pins), mm::UnpinCause::stale);
        } else {
            request.previous = std::move(met->pins);
        }
    } else if (intervals_.size() >= kIntervals) {
        met = std::min_element(intervals_.begin(), intervals_.end(),
                               [](const Interval& a, const Interval& b) { return a.last_use < b.last_use; });
        memory_.pin_service().drop(std::move(met->pins), mm::UnpinCause::replaced);
    }
    if (met != intervals_.end()) {
        intervals_.erase(met);
    }
    Interval fresh;
    fresh.pins = std::make_shared<mm::BufferPins>(std::move(request));
    fresh.last_use = clock_;
    memory_.pin_service().submit(fresh.pins);
    intervals_.push_back(std::move(fresh));
    count_answer(intervals_.back());  // where the service is synchronous
}

void PinCache::enable(u64 pointer, u64 limit, BufferRegime& regime) {
    if (pointer >= limit) {
        return;
    }
    ++stats_.enables;
    ++clock_;
    if (memory_.all_pinned()) {
        ++stats_.hits;
        return;
    }
    const Window wanted = window(pointer, limit);
    if (hit(wanted, regime)) {
        return;
    }
    timed_miss(wanted, regime);
}

void PinCache::advance(u64 pointer, u64 limit, BufferRegime& regime) {
    const Window wanted = window(pointer, limit);
    ++clock_;
    if (!hit(wanted, regime)) {
        ++stats_.advances;
        timed_miss(wanted, regime);
    }
}

}  // namespace vmm::spe
