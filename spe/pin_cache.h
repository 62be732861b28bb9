// What the profiling buffer of one PE has pinned, and how an enable that changes nothing costs nothing.
//
// Linux enables its buffer anew at every context switch and every interrupt, each time with another part of one address
// range. So windows are remembered as intervals that grow, two of them (two profiled tasks may alternate). An enable inside
// one is a hit if its translation cannot have changed:
//   1. no watched table page was stored to and no TLB maintenance concerned its addresses since: nothing to do;
//   2. else, if the tables that were walked still read the same, it is a hit as well, and the tables are watched again;
//   3. else it is walked anew, and what differs is pinned and unpinned.
// Walking, pinning and unpinning happen on the thread of mm::PinService; nothing here waits for it.
//
// Pins are a latency guarantee, not a correctness need: the unit stores through the translation regime either way.
#pragma once

#include <memory>
#include <vector>

#include "arch/interconnect.h"
#include "arch/mmu.h"
#include "mm/host_memory.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// The owner's translation regime as pinning sees it.
class BufferRegime {
  public:
    BufferRegime() = default;
    BufferRegime(const BufferRegime&) = delete;
    BufferRegime& operator=(const BufferRegime&) = delete;
    virtual ~BufferRegime() = default;

    virtual mm::RangeRegime regime(u64 va) const = 0;
    virtual arch::TlbMaintenance maintenance() const = 0;
    /// Starts a fence, after which stores to what `watch` watches are noticed; false: they are not.
    virtual bool start_fence(arch::StoreFence& fence, const mm::TableWatch& watch) = 0;
};

struct PinCacheStats {
    u64 enables = 0;
    u64 hits = 0;            // nothing to walk
    u64 pending_hits = 0;    // ... of which: asked for already, not answered yet
    u64 table_hits = 0;      // ... of which: found by comparing tables
    u64 walks = 0;           // enables that asked for a walk
    u64 advances = 0;        // with PinPolicy::lazy: walks because the write pointer came near the end of what is pinned
    u64 pages_walked = 0;    // descriptors looked at
    u64 failures = 0;        // what was enabled could not be pinned
    u64 bytes = 0;           // held now, buffer and tables, extents shared with others included
    // The longest that an enable or an advance without a plain hit has kept the PE's thread: as time went by, and as
    // processor time of the thread, which is the work alone.
    u64 slowest_ns = 0;
    u64 slowest_cpu_ns = 0;
};

/// Owner thread only; what it shares with other threads is HostMemory's.
class PinCache {
  public:
    explicit PinCache(mm::HostMemory& memory);
    ~PinCache() { clear(); }
    PinCache(const PinCache&) = delete;
    PinCache& operator=(const PinCache&) = delete;

    /// The buffer [pointer, limit) has been enabled. What is not pinned yet will be, up to the first unmapped page and at
    /// most kMaxWindow bytes.
    void enable(u64 pointer, u64 limit, BufferRegime& regime);

    /// The buffer has been disabled: its pins stay, until somebody needs the room.
    void disable();

    /// With PinPolicy::lazy: where the write pointer has to get before advance() has something to do; else never.
    u64 mark() const { return mark_; }
    void advance(u64 pointer, u64 limit, BufferRegime& regime);

    /// True once after a buffer could not be pinned, if the guest is to be told.
    bool take_shortage();

    /// A record was written: advance() or take_shortage() have something to do.
    bool wants_attention(u64 pointer) const {
        return pointer >= mark_ || client_->shortage.load(std::memory_order_relaxed);
    }

    /// Gives back everything.
    void clear();

    PinCacheStats stats() const;

    static constexpr std::size_t kIntervals = 2;
    static constexpr u64 kMaxWindow = u64{1} << 30;
    static constexpr u64 kLazyStep = u64{2} << 20;
    static constexpr u64 kNoMark = ~u64{0};

  private:
    struct Window {
        u64 from;
        u64 to;
    };
    struct Interval {
        std::shared_ptr<mm::BufferPins> pins;
        u64 last_use = 0;
        bool counted = false;     // its answer is in the statistics
        u64 retry_after_ns = 0;   // refused: when to ask again
        // What its translation was last found unchanged against.
        bool fence_started = false;
        bool watchable = false;
        bool watched = false;     // stores to its tables show in the generation
        u64 watch_generation = 0;
        arch::TlbMaintenance maintenance;
        arch::StoreFence fence;

        u64 start() const;
        u64 end() const;
        u64 hole() const;
        /// What lies behind a hole was not looked at, unless the window begins before it.
        bool contains(Window w) const { return start() <= w.from && w.to <= end() && w.from <= hole(); }
        bool touches(Window w) const { return start() <= w.to && w.from <= end(); }
    };

    enum class Verdict : u8 { hit, pending, changed };

    Window window(u64 pointer, u64 limit);
    bool hit(Window window, BufferRegime& regime);
    bool quiet(const Interval& interval, const arch::TlbMaintenance& now) const;
    Verdict judge(Interval& interval, BufferRegime& regime);
    bool tables_still_the_same(Interval& interval, BufferRegime& regime);
    bool may_ask_again(Interval& interval);
    void count_answer(Interval& interval);
    void ask(Window window, const mm::RangeRegime& key);
    void miss(Window window, BufferRegime& regime);
    void timed_miss(Window window, BufferRegime& regime);

    mm::HostMemory& memory_;
    std::shared_ptr<mm::PinClient> client_ = std::make_shared<mm::PinClient>();
    std::vector<Interval> intervals_;
    u64 clock_ = 0;
    u64 mark_ = kNoMark;
    PinCacheStats stats_;
};

}  // namespace vmm::spe
