// Walks, pins and unpins on a thread of its own, so that no PE waits for the host: and decides what to give back when.
//
// Given back are: what a PE dropped or replaced; what was not enabled for the configured age; when the budget, a limit of
// the host or its memory is short, whatever is not enabled, longest unused first; and what lies where somebody takes pages
// away. What cannot be pinned even so is a shortage, and the policy says what becomes of it.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "mm/buffer_pins.h"
#include "mm/memory_pressure.h"

namespace vmm::mm {

/// What happens when a buffer cannot be pinned.
///   degrade  weaker backends, or none: the guest goes on
///   inject   the guest gets the buffer management event for IMPLEMENTATION DEFINED reasons
///   stop     the machine pauses until there is room
enum class ShortagePolicy : u8 { degrade, inject, stop };

/// Why the machine has to pause.
struct PinShortage {
    PinError::Cause cause = PinError::Cause::limit;
    u64 missing_bytes = 0;
    std::string text;
};

struct PinServiceStats {
    std::array<u64, kUnpinCauses> unpins{};  // by UnpinCause: buffers whose pins were given back
    u64 requests = 0;         // buffers walked and, if possible, pinned
    u64 shortages = 0;        // ... that could not be pinned
    u64 lost = 0;             // times that pins vanished or were taken from an enabled buffer
    u64 pressure_events = 0;  // times the host said it is short of memory
    u64 live = 0;             // buffers held now
    // From taking a request up to its end, on the service's thread: as time went by, and as processor time of the thread.
    u64 longest_request_us = 0;
    u64 longest_request_cpu_us = 0;
};

class PinService {
  public:
    struct Options {
        std::chrono::milliseconds age{0};  // 0: pins do not age
        ShortagePolicy shortage = ShortagePolicy::degrade;
        bool synchronous = false;    // requests are served on the caller's thread, for runs that repeat
        bool watch_pressure = true;  // ask the kernel for memory pressure
    };

    PinService(GuestRam ram, PinManager& manager, const Options& options);
    ~PinService();
    PinService(const PinService&) = delete;
    PinService& operator=(const PinService&) = delete;

    /// Any PE's thread; returns at once unless synchronous.
    void submit(const std::shared_ptr<BufferPins>& pins);
    /// The PE has no more use for `pins`.
    void drop(std::shared_ptr<BufferPins> pins, UnpinCause cause);
    /// Waits until nothing is left to do. For tests and ends of runs.
    void drain();

    /// Gives back what lies in `range`: buffers that are not enabled or, with `even_enabled`, all.
    void make_room(GuestRange range, bool even_enabled);
    /// The host is short of memory: gives back what is not enabled.
    void relieve();

    /// With ShortagePolicy::stop: called on the service's thread when a buffer cannot be pinned. It must return soon.
    void set_stop_handler(std::function<void(const PinShortage&)> handler);
    /// Tries again what the machine was stopped for; what is still missing, or nullopt: go on.
    std::optional<PinShortage> retry();

    ShortagePolicy shortage_policy() const { return options_.shortage; }
    PinServiceStats stats() const;

  private:
    using Pins = std::shared_ptr<BufferPins>;
    using Clock = std::chrono::steady_clock;

    static bool is_abandoned(const BufferPins& pins);
    void thread_main();
    void wait_for_work();
    void work();
    void process(const Pins& pins);
    void walk(BufferPins& pins, RangeWalk& walk) const;
    tl::expected<PinHandle, PinError> pin(BufferPins& pins, const std::vector<GuestRange>& ranges);
    void answer(const Pins& pins, RangeWalk& walk, tl::expected<PinHandle, PinError> handle);
    void take_back(BufferPins& pins, UnpinCause cause);
    bool take_back_one_idle(UnpinCause cause);
    bool revoke_if_idle(BufferPins& pins);
    void sweep();
    void age();
    void look_for_losses();
    void wake();

    const GuestRam ram_;
    PinManager& manager_;
    const Options options_;
    std::optional<MemoryPressure> pressure_;
    UniqueFd wake_;  // eventfd

    std::mutex queue_mutex_;  // short: PEs' threads take it
    std::condition_variable idle_;
    std::deque<Pins> queue_;
    bool stopping_ = false;
    bool working_ = false;

    mutable std::mutex work_mutex_;  // held while requests are served
    std::vector<Pins> live_;
    std::vector<Pins> starving_;  // what the machine is stopped for
    std::function<void(const PinShortage&)> stop_handler_;
    PinServiceStats stats_;
    Clock::time_point next_age_;

    std::thread thread_;
};

}  // namespace vmm::mm
