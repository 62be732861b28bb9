// One buffer of one PE that is, or shall be, pinned: what the PE's thread asks for, what the pin service answers.
//
// The PE's thread never waits. It makes one of these, gives it to the service and goes on; it marks the buffer as in use
// while it is enabled, and the service may take back what is not.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "mm/pin_manager.h"
#include "mm/range_walk.h"

namespace vmm::mm {

/// Why pins were given back.
enum class UnpinCause : u8 {
    replaced,  // the guest enabled a buffer elsewhere
    stale,     // its translation changed
    aged,      // not enabled for a while
    budget,    // others needed the room
    pressure,  // the host is short of memory
    taken,     // the pages were taken away (discard, balloon, snapshot)
    reset,     // the PE was reset or the machine ended
};
inline constexpr std::size_t kUnpinCauses = 7;
std::string_view to_string(UnpinCause cause);

/// Set for the thread of a PE by the service.
struct PinClient {
    std::atomic<bool> shortage{false};  // a request was refused and the guest is to be told; the PE's thread clears it
};

class BufferPins {
  public:
    /// What to translate and pin. All addresses are virtual and multiples of 4 KiB.
    struct Request {
        RangeRegime regime;
        u64 from = 0;        // what the guest enabled, half open
        u64 to = 0;
        u64 hull_start = 0;  // <= from: taken as well where it is mapped up to `from`
        u64 hull_end = 0;    // >= to: taken as well as far as it is mapped
        std::shared_ptr<BufferPins> previous;  // replaced by this one; may be nullptr
        std::shared_ptr<PinClient> client;
    };

    enum class Phase : u8 { pending, ready, refused };

    explicit BufferPins(Request request) : request_(std::move(request)) {}
    BufferPins(const BufferPins&) = delete;
    BufferPins& operator=(const BufferPins&) = delete;

    // ── The PE's thread ────────────────────────────────────────────────────────────────────────────────────

    const Request& request() const { return request_; }
    Phase phase() const { return phase_.load(std::memory_order_acquire); }

    /// The buffer is enabled. False when the pins have been taken back meanwhile.
    bool acquire() {
        uses_.store(uses_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        Use expected = Use::idle;
        return use_.compare_exchange_strong(expected, Use::busy, std::memory_order_acq_rel) || expected == Use::busy;
    }

    /// The buffer is disabled.
    void unuse() {
        Use expected = Use::busy;
        use_.compare_exchange_strong(expected, Use::idle, std::memory_order_acq_rel);
    }

    // From phase ready on:
    u64 start() const { return start_; }
    u64 end() const { return end_; }
    /// False: the pages were walked, but are not pinned (shortage, and the policy is to go on).
    bool pinned() const { return pinned_; }
    const std::vector<TableCopy>& tables() const { return tables_; }
    bool any_not_global() const { return any_not_global_; }
    u64 looked_up() const { return looked_up_; }
    /// Bytes held, buffer and tables.
    u64 bytes() const { return bytes_; }

  private:
    friend class PinService;

    enum class Use : u8 { idle, busy, revoked };

    Request request_;
    std::atomic<Phase> phase_{Phase::pending};
    std::atomic<Use> use_{Use::busy};
    std::atomic<u32> uses_{0};
    std::atomic<bool> dropped_{false};  // the PE's thread has no more use for it
    UnpinCause drop_cause_ = UnpinCause::replaced;

    // Written by the service before the phase leaves pending.
    u64 start_ = 0;
    u64 end_ = 0;
    bool pinned_ = false;
    bool any_not_global_ = false;
    u64 looked_up_ = 0;
    u64 bytes_ = 0;
    std::vector<TableCopy> tables_;

    // The service's own.
    PinHandle handle_;
    u32 uses_seen_ = 0;
    std::chrono::steady_clock::time_point last_use_;
};

}  // namespace vmm::mm
