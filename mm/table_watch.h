// Notices stores to guest pages that somebody depends on: the translation tables that lead to a profiling buffer.
//
// One bit per 4 KiB page of RAM, set by whoever depends on the page. Whoever stores to guest memory asks note_store()
// before it does; the first store to a watched page clears the bit and moves the generation on. A PE that stores through a
// cached translation asks when it fills that cache (see arch::StoreFence for how it is emptied), so an ordinary store pays
// nothing.
#pragma once

#include <atomic>
#include <vector>

#include "mm/guest_ram.h"
#include "vmm/base/bits.h"

namespace vmm::mm {

/// Thread-safe.
class TableWatch {
  public:
    explicit TableWatch(const GuestRam& ram) : base_(ram.base()), pages_(ram.size() >> kPageShift), words_((pages_ + 63) / 64) {}

    /// Watches the page of `pa` (ignored outside RAM). Stores that began before may still go unnoticed.
    void watch(u64 pa) {
        if (const u64 page = index(pa); page < pages_) {
            words_[page / 64].fetch_or(mask(page), std::memory_order_seq_cst);
        }
    }

    bool watched(u64 pa) const {
        const u64 page = index(pa);
        return page < pages_ && (words_[page / 64].load(std::memory_order_relaxed) & mask(page)) != 0;
    }

    /// The page of `pa` is about to be stored to.
    void note_store(u64 pa) {
        if (!watched(pa)) [[likely]] {
            return;
        }
        const u64 page = index(pa);
        words_[page / 64].fetch_and(~mask(page), std::memory_order_seq_cst);
        generation_.fetch_add(1, std::memory_order_seq_cst);
    }

    /// As note_store() for every page of `range`.
    void note_stores(GuestRange range) {
        if (range.size == 0) {
            return;
        }
        const u64 last = (range.end() - 1) >> kPageShift;
        for (u64 page = range.pa >> kPageShift; page <= last; ++page) {
            note_store(page << kPageShift);
        }
    }

    /// Changes with the first store to each watched page.
    u64 generation() const { return generation_.load(std::memory_order_acquire); }

  private:
    static constexpr unsigned kPageShift = 12;

    /// Beyond pages_ for what is not RAM.
    u64 index(u64 pa) const { return pa >= base_ ? (pa - base_) >> kPageShift : ~u64{0}; }
    static constexpr u64 mask(u64 page) { return u64{1} << (page % 64); }

    const u64 base_;
    const u64 pages_;
    std::vector<std::atomic<u64>> words_;
    std::atomic<u64> generation_{1};
};

}  // namespace vmm::mm
