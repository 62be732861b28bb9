// The pages behind a range of virtual addresses, and a copy of the translation tables they were found in.
//
// The walk reads every table once, into the copy, and translates from there. So the result follows from the copy alone,
// whatever other threads store meanwhile, and holds for as long as memory still reads the same. Runs on any thread.
#pragma once

#include <array>
#include <span>
#include <unordered_map>
#include <vector>

#include "mm/guest_ram.h"
#include "mm/walker.h"

namespace vmm::mm {

/// How a range is translated: one half of a translation regime at one moment.
struct RangeRegime {
    bool enabled = false;         // false: virtual addresses, but for tags, are physical ones
    bool hardware_dirty = false;  // pages with DBM set are writable
    WalkParams params;

    friend bool operator==(const RangeRegime&, const RangeRegime&) = default;
};

/// One 4 KiB page of translation tables as it was read.
struct TableCopy {
    u64 pa = 0;
    std::array<u64, 512> words{};
};

class RangeWalk {
  public:
    RangeWalk(const GuestRam& ram, const RangeRegime& regime) : ram_(ram), regime_(regime) {}

    /// Appends what [from, to) is mapped to, as a privileged write would be translated, to pages(), and returns the end of
    /// that: `to`, or the first address that is unmapped, read-only or not RAM. Both are multiples of 4 KiB.
    u64 add(u64 from, u64 to);

    /// Guest-physical ranges in order of virtual addresses, merged where they touch.
    const std::vector<GuestRange>& pages() const { return pages_; }
    std::vector<GuestRange>& pages() { return pages_; }
    const std::vector<TableCopy>& tables() const { return tables_; }
    std::vector<TableCopy>& tables() { return tables_; }

    /// Descriptors looked at.
    u64 looked_up() const { return looked_up_; }
    /// A page was not global (nG = 1): maintenance by ASID concerns it.
    bool any_not_global() const { return any_not_global_; }

  private:
    class CopyPort;

    void append_run(GuestRange run);
    bool append(u64 pa, u64 bytes);
    u64 add_flat(u64 from, u64 to);
    u64 add_similar(const WalkResult& first, u64 va, u64 to);
    const TableCopy* copy_of(u64 pa);

    const GuestRam ram_;
    const RangeRegime regime_;
    std::vector<GuestRange> pages_;
    std::vector<TableCopy> tables_;
    std::unordered_map<u64, std::size_t> index_;  // of tables_ by page address
    u64 looked_up_ = 0;
    bool any_not_global_ = false;
};

/// True when memory still reads as it was copied.
bool tables_unchanged(const GuestRam& ram, std::span<const TableCopy> tables);

}  // namespace vmm::mm
