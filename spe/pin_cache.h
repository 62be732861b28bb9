// Which guest pages the profiling buffer of one PE has pinned, and how an enable that changes nothing costs nothing.
//
// Linux re-enables its buffer at every context switch and every interrupt, each time with another part of one address
// range. So windows are remembered as intervals that grow, two of them (two profiled tasks may alternate), and an enable
// inside one is a hit if the translation cannot have changed: nothing was invalidated since, or at least the translation
// tables that were walked read the same.
//
// Pins are a latency guarantee, not a correctness need: the unit stores through the translation regime either way.
#pragma once

#include <vector>

#include "mm/host_memory.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// What the translation of a buffer depends on besides the tables.
struct RegimeKey {
    u64 table_base = 0;  // TTBRn_EL1 without ASID
    u64 controls = 0;    // TCR_EL1
    bool enabled = false;  // SCTLR_EL1.M

    friend bool operator==(const RegimeKey&, const RegimeKey&) = default;
};

/// One page or block on the way.
struct BufferPage {
    bool mapped = false;
    u64 pa = 0;         // of the address asked for
    u64 page_size = 0;  // bytes the descriptor maps
};

/// The owner's translation regime as pinning sees it.
class BufferRegime {
  public:
    BufferRegime() = default;
    BufferRegime(const BufferRegime&) = delete;
    BufferRegime& operator=(const BufferRegime&) = delete;
    virtual ~BufferRegime() = default;

    virtual RegimeKey key(u64 va) const = 0;
    /// Changes whenever a translation may have (TLB maintenance, translation registers).
    virtual u64 generation() const = 0;
    /// Translates a privileged write and appends the table granules read to `tables`.
    virtual BufferPage walk(u64 va, std::vector<mm::GuestRange>& tables) = 0;
};

struct PinCacheStats {
    u64 enables = 0;
    u64 hits = 0;            // nothing to do
    u64 table_hits = 0;      // ... of which: found by comparing tables
    u64 walks = 0;           // enables that walked at least one page
    u64 pages_walked = 0;
    u64 failures = 0;        // the host refused the pin
    u64 bytes = 0;           // held now, buffer and tables, extents shared with others included
};

/// Owner thread only, except that HostMemory itself is shared.
class PinCache {
  public:
    explicit PinCache(mm::HostMemory& memory) : memory_(memory) {}

    /// The buffer [pointer, limit) has been enabled. Walks and pins what is not held yet, up to the first unmapped page
    /// and at most kMaxWindow bytes.
    void enable(u64 pointer, u64 limit, BufferRegime& regime);

    /// Gives back everything.
    void clear() { intervals_.clear(); }

    PinCacheStats stats() const;

    static constexpr std::size_t kIntervals = 2;
    static constexpr u64 kMaxWindow = u64{1} << 30;

  private:
    struct TableCopy {
        mm::GuestRange range;
        std::vector<u64> words;
    };
    struct Interval {
        u64 start = 0;  // virtual addresses, page aligned
        u64 end = 0;
        RegimeKey key;
        u64 generation = 0;
        u64 last_use = 0;
        std::vector<TableCopy> tables;
        std::vector<mm::PinHandle> pins;

        bool contains(u64 from, u64 to) const { return start <= from && to <= end; }
        bool touches(u64 from, u64 to) const { return start <= to && from <= end; }
    };

    /// True when what `interval` knows still holds; refreshes it.
    bool still_valid(Interval& interval, const RegimeKey& key, u64 generation);
    bool tables_unchanged(const Interval& interval) const;
    /// Walks [from, to) up to the first unmapped page and returns the end of what was walked.
    u64 walk(u64 from, u64 to, BufferRegime& regime, std::vector<mm::GuestRange>& pages,
             std::vector<mm::GuestRange>& tables);
    bool extend(Interval& interval, u64 from, u64 to, BufferRegime& regime);
    void remember_tables(Interval& interval, std::vector<mm::GuestRange>& tables) const;
    std::vector<Interval> take_stale(const RegimeKey& key, u64 generation, u64 from, u64 to);

    mm::HostMemory& memory_;
    std::vector<Interval> intervals_;
    u64 clock_ = 0;
    PinCacheStats stats_;
};

}  // namespace vmm::spe
