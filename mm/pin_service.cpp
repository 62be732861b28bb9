#include "mm/pin_service.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "mm/host_limits.h"
#include "mm/range_set.h"
#include "vmm/base/log.h"
#include "vmm/base/thread_time.h"

namespace vmm::mm {

namespace {

using namespace std::chrono_literals;

constexpr u64 kPage = 4096;
constexpr std::chrono::milliseconds kMostBetweenChecks = 5s;
constexpr std::chrono::milliseconds kLeastBetweenChecks = 10ms;

/// How often ages are looked at: often enough that pins live at most a quarter longer than they should.
std::chrono::milliseconds check_interval(std::chrono::milliseconds age) {
    return age.count() == 0 ? kMostBetweenChecks : std::clamp(age / 4, kLeastBetweenChecks, kMostBetweenChecks);
}

}  // namespace

std::string_view to_string(UnpinCause cause) {
    static constexpr std::array<std::string_view, kUnpinCauses> kNames{"replaced", "stale",  "aged", "budget",
                                                                       "pressure", "taken", "reset"};
    return kNames[static_cast<std::size_t>(cause)];
}

PinService::PinService(GuestRam ram, PinManager& manager, const Options& options)
    : ram_(ram), manager_(manager), options_(options), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (options_.synchronous) {
        return;
    }
    if (options_.watch_pressure) {
        if (auto pressure = MemoryPressure::open()) {
            pressure_ = std::move(*pressure);
        } else {
            log("mm").info("pins are not given back under memory pressure: {}", pressure.error().text);
        }
    }
    next_age_ = Clock::now() + check_interval(options_.age);
    thread_ = std::thread([this] { thread_main(); });
    pthread_setname_np(thread_.native_handle(), "pins");
}

PinService::~PinService() {
    {
        const std::lock_guard lock(queue_mutex_);
        stopping_ = true;
    }
    wake();
    if (thread_.joinable()) {
        thread_.join();
    }
    for (const Pins& pins : live_) {
        take_back(*pins, UnpinCause::reset);
    }
}

void PinService::wake() {
    ::eventfd_write(wake_.get(), 1);
}

// ── Requests ───────────────────────────────────────────────────────────────────────────────────────────────

/// A request that nobody waits for any more; what it was to replace goes with it.
bool PinService::is_abandoned(const BufferPins& pins) {
    if (!pins.dropped_.load(std::memory_order_acquire)) {
        return false;
    }
    if (BufferPins* previous = pins.request_.previous.get(); previous != nullptr) {
        previous->drop_cause_ = UnpinCause::stale;
        previous->dropped_.store(true, std::memory_order_release);
    }
    return true;
}

void PinService::submit(const Pins& pins) {
    {
        const std::lock_guard lock(queue_mutex_);
        // A guest that keeps changing its mind does not make the queue grow.
        std::erase_if(queue_, [](const Pins& other) { return is_abandoned(*other); });
        queue_.push_back(pins);
    }
    if (options_.synchronous) {
        work();
    } else {
        wake();
    }
}

void PinService::drop(Pins pins, UnpinCause cause) {
    pins->drop_cause_ = cause;
    pins->dropped_.store(true, std::memory_order_release);
    if (options_.synchronous) {
        work();
    } else {
        wake();
    }
}

void PinService::drain() {
    if (options_.synchronous) {
        return;
    }
    std::unique_lock lock(queue_mutex_);
    working_ = true;  // until the thread has looked again
    wake();
    idle_.wait(lock, [this] { return queue_.empty() && !working_; });
}

void PinService::thread_main() {
    for (;;) {
        wait_for_work();
        {
            const std::lock_guard lock(queue_mutex_);
            if (stopping_) {
                return;
            }
            working_ = true;
        }
        work();
        const std::lock_guard lock(queue_mutex_);
        if (queue_.empty()) {
            working_ = false;
            idle_.notify_all();
        }
    }
}

void PinService::wait_for_work() {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next_age_ - Clock::now()) + 1ms;
    std::array<pollfd, 2> fds{pollfd{wake_.get(), POLLIN, 0},
                              pollfd{pressure_ ? pressure_->fd() : -1, MemoryPressure::kPollEvents, 0}};
    ::poll(fds.data(), fds.size(), static_cast<int>(std::max(left, 0ms).count()));
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    if ((fds[1].revents & POLLERR) != 0) {
        pressure_.reset();
    } else if (fds[1].revents != 0) {
        {
            const std::lock_guard lock(work_mutex_);
            ++stats_.pressure_events;
        }
        relieve();
    }
    if (Clock::now() >= next_age_) {
        const std::lock_guard lock(work_mutex_);
        age();
        look_for_losses();
        next_age_ = Clock::now() + check_interval(options_.age);
    }
}

/// Serves the queue to its end.
void PinService::work() {
    const std::lock_guard lock(work_mutex_);
    for (;;) {
        sweep();
        Pins next;
        {
            const std::lock_guard queue_lock(queue_mutex_);
            if (queue_.empty() || stopping_) {
                break;
            }
            next = queue_.front();
            queue_.pop_front();
        }
        const auto start = Clock::now();
        const u64 cpu_start = thread_cpu_ns();
        process(next);
        const u64 cpu_us = (thread_cpu_ns() - cpu_start) / 1000;
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
        stats_.longest_request_us = std::max(stats_.longest_request_us, static_cast<u64>(us));
        stats_.longest_request_cpu_us = std::max(stats_.longest_request_cpu_us, cpu_us);
    }
    sweep();
}

/// What the guest enabled first, then what was pinned around it as far as it is still mapped.
void PinService::walk(BufferPins& pins, RangeWalk& walk) const {
    const BufferPins::Request& request = pins.request_;
    pins.start_ = request.from;
    pins.end_ = walk.add(request.from, request.to);
    if (pins.end_ == request.to && request.to < request.hull_end) {
        pins.end_ = walk.add(request.to, request.hull_end);
    }
    if (request.hull_start < request.from) {
        RangeWalk before(ram_, request.regime);
        if (before.add(request.hull_start, request.from) == request.from) {
            walk.add(request.hull_start, request.from);
            pins.start_ = request.hull_start;
        }
    }
}

tl::expected<PinHandle, PinError> PinService::pin(BufferPins& pins, const std::vector<GuestRange>& ranges) {
    for (;;) {
        BufferPins* previous = pins.request_.previous.get();
        PinHandle* replaces = previous != nullptr && previous->handle_ ? &previous->handle_ : nullptr;
        auto handle = manager_.pin(ranges, replaces);
        if (handle) {
            return handle;
        }
        const PinError::Cause cause = handle.error().cause;
        const bool shortage = cause == PinError::Cause::budget || cause == PinError::Cause::limit;
        if (shortage && replaces != nullptr) {
            take_back(*previous, UnpinCause::stale);  // both together do not fit
        } else if (!shortage || !take_back_one_idle(UnpinCause::budget)) {
            return handle;
        }
    }
}

void PinService::process(const Pins& pins) {
    BufferPins::Request& request = pins->request_;
    if (is_abandoned(*pins)) {
        return;
    }
    ++stats_.requests;
    RangeWalk walked(ram_, request.regime);
    walk(*pins, walked);
    std::vector<GuestRange> ranges = walked.pages();
    for (const TableCopy& table : walked.tables()) {
        ranges.push_back({table.pa, kPage});
    }
    // Nothing is mapped: the tables that say so are not worth a pin.
    answer(pins, walked, walked.pages().empty() ? PinHandle{} : pin(*pins, ranges));
    if (request.previous != nullptr) {
        take_back(*request.previous, UnpinCause::stale);
        request.previous.reset();
    }
}

void PinService::answer(const Pins& pins, RangeWalk& walked, tl::expected<PinHandle, PinError> handle) {
    BufferPins& p = *pins;
    p.tables_ = std::move(walked.tables());
    p.any_not_global_ = walked.any_not_global();
    p.looked_up_ = walked.looked_up();
    p.last_use_ = Clock::now();
    BufferPins::Phase phase = BufferPins::Phase::ready;
    if (handle) {
        p.pinned_ = static_cast<bool>(*handle);
        p.bytes_ = handle->bytes();
        p.handle_ = std::move(*handle);
        live_.push_back(pins);
    } else {
        const PinError& error = handle.error();
        ++stats_.shortages;
        VMM_GUEST_LOG("mm", "profiling buffer {:#x}..{:#x} stays unpinned: {}", p.start_, p.end_, error.text);
        phase = BufferPins::Phase::refused;
        if (options_.shortage == ShortagePolicy::stop) {
            starving_.push_back(pins);
            if (stop_handler_ && starving_.size() == 1) {
                stop_handler_({error.cause, error.missing_bytes, error.text});
            }
        }
        if (options_.shortage == ShortagePolicy::inject && p.request_.client != nullptr) {
            p.request_.client->shortage.store(true, std::memory_order_release);
        }
    }
    p.phase_.store(phase, std::memory_order_release);
}

void PinService::set_stop_handler(std::function<void(const PinShortage&)> handler) {
    const std::lock_guard lock(work_mutex_);
    stop_handler_ = std::move(handler);
}

std::optional<PinShortage> PinService::retry() {
    const std::lock_guard lock(work_mutex_);
    raise_locked_memory_limit();
    while (!starving_.empty()) {
        const Pins& pins = starving_.back();
        if (!pins->dropped_.load(std::memory_order_acquire)) {
            RangeWalk walked(ram_, pins->request_.regime);
            walk(*pins, walked);
            auto handle = pin(*pins, walked.pages());
            if (!handle) {
                return PinShortage{handle.error().cause, handle.error().missing_bytes, handle.error().text};
            }
            // The PE sees a refused buffer and asks anew: that shares these pins, and this one is dropped then.
            pins->handle_ = std::move(*handle);
            live_.push_back(pins);
        }
        starving_.pop_back();
    }
    return std::nullopt;
}

// ── Giving back ────────────────────────────────────────────────────────────────────────────────────────────

void PinService::take_back(BufferPins& pins, UnpinCause cause) {
    pins.use_.store(BufferPins::Use::revoked, std::memory_order_release);
    if (pins.handle_) {
        pins.handle_.release();
        ++stats_.unpins[static_cast<std::size_t>(cause)];
    }
}

bool PinService::revoke_if_idle(BufferPins& pins) {
    auto expected = BufferPins::Use::idle;
    return pins.use_.compare_exchange_strong(expected, BufferPins::Use::revoked, std::memory_order_acq_rel);
}

/// The buffer that has been out of use longest; false where all are enabled.
bool PinService::take_back_one_idle(UnpinCause cause) {
    sweep();
    age();  // brings last_use_ up to date
    std::sort(live_.begin(), live_.end(), [](const Pins& a, const Pins& b) { return a->last_use_ < b->last_use_; });
    for (const Pins& pins : live_) {
        if (pins->handle_ && revoke_if_idle(*pins)) {
            take_back(*pins, cause);
            return true;
        }
    }
    return false;
}

/// Releases what PEs dropped, and forgets what holds nothing.
void PinService::sweep() {
    for (const Pins& pins : live_) {
        if (pins->dropped_.load(std::memory_order_acquire)) {
            take_back(*pins, pins->drop_cause_);
        }
    }
    std::erase_if(live_, [](const Pins& pins) { return !pins->handle_; });
    stats_.live = live_.size();
}

void PinService::age() {
    const Clock::time_point now = Clock::now();
    for (const Pins& pins : live_) {
        const u32 uses = pins->uses_.load(std::memory_order_relaxed);
        if (uses != pins->uses_seen_ || pins->use_.load(std::memory_order_relaxed) == BufferPins::Use::busy) {
            pins->uses_seen_ = uses;
            pins->last_use_ = now;
        } else if (options_.age.count() != 0 && now - pins->last_use_ >= options_.age && revoke_if_idle(*pins)) {
            take_back(*pins, UnpinCause::aged);
        }
    }
    sweep();
}

void PinService::relieve() {
    const std::lock_guard lock(work_mutex_);
    while (take_back_one_idle(UnpinCause::pressure)) {
    }
}

void PinService::make_room(GuestRange range, bool even_enabled) {
    const std::lock_guard lock(work_mutex_);
    for (const Pins& pins : live_) {
        if (!pins->handle_ || !intersects(pins->handle_.ranges(), range)) {
            continue;
        }
        if (revoke_if_idle(*pins)) {
            take_back(*pins, UnpinCause::taken);
        } else if (even_enabled) {
            ++stats_.lost;
            VMM_GUEST_LOG("mm", "{} of an enabled profiling buffer are no longer pinned: taken away",
                          format_bytes(pins->handle_.bytes()));
            take_back(*pins, UnpinCause::taken);
        }
    }
    sweep();
}

void PinService::look_for_losses() {
    if (const u64 bytes = manager_.check_charge(); bytes != 0) {
        ++stats_.lost;
        static GuestLog site;
        if (u64 suppressed = 0; site.allow(suppressed)) {
            log("mm").warn("{} of pinned memory are no longer charged to this process: pins were lost",
                           format_bytes(bytes));
        }
    }
}

PinServiceStats PinService::stats() const {
    const std::lock_guard lock(work_mutex_);
    return stats_;
}

}  // namespace vmm::mm
