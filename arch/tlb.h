// The first-level software TLB: what the load/store fast paths probe. The second level and the refill are in mmu.cpp.
#pragma once

#include <array>

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::arch {

inline constexpr unsigned kPageShift = 12;
inline constexpr u64 kPageSize = u64{1} << kPageShift;
inline constexpr u64 kPageMask = ~(kPageSize - 1);

/// A tag is a virtual page address with a 12-bit context in its low bits. The context stands for everything else a
/// translation depends on (ASID, Exception level, PAN), so changing any of them costs no flush.
using TlbContext = u16;

/// Never the context of an entry: probing with it always takes the slow path (tracing, alignment checking, MMU off).
inline constexpr TlbContext kNoFastPath = 0xFFF;
/// The tag of an empty half of an entry; equal to no probe.
inline constexpr u64 kNoTag = ~u64{0} & ~u64{1};

/// One 4 KiB page of RAM, whatever the guest's granule.
struct TlbEntry {
    u64 read_tag = kNoTag;
    u64 write_tag = kNoTag;  // set once the page may be written without further ado (permission, dirty state)
    u64 addend = 0;          // host address = virtual address + addend
    u64 pa_page = 0;         // guest-physical page address
};

class Tlb {
  public:
    static constexpr unsigned kEntries = 1024;

    TlbEntry& entry(u64 va) { return entries_[(va >> kPageShift) & (kEntries - 1)]; }

    void clear() { entries_.fill(TlbEntry{}); }

  private:
    std::array<TlbEntry, kEntries> entries_{};
};

}  // namespace vmm::arch
