// The second-level TLB: translations tagged so that switching address spaces flushes nothing. One for data, one for code.
#pragma once

#include <array>
#include <vector>

#include "arch/tlb.h"
#include "vmm/base/bits.h"

namespace vmm::arch {

/// One 4 KiB page of a translation, whatever size the descriptor maps.
struct PageInfo {
    u64 pa_page = 0;
    u16 permissions = 0;      // bit permission_bit(type, kind)
    u8 attr = 0;              // MAIR byte
    u8 block_shift = 12;      // log2 of the bytes the descriptor maps
    u8 level = 3;             // of the descriptor, for permission faults
    bool device = false;
    bool needs_dirty = false; // writable once the descriptor has been marked dirty
};

/// Address-space slots: a small number stands for an ASID. kGlobalSlot tags entries that belong to all.
using AddressSpace = u16;
inline constexpr AddressSpace kNoAddressSpace = 0;  // translation disabled
inline constexpr AddressSpace kLastAddressSpace = 1022;
inline constexpr AddressSpace kGlobalSlot = 1023;

/// 4-way set-associative, round robin. Keys are page addresses extended from bit 55.
class SecondLevelTlb {
  public:
    static constexpr unsigned kWays = 4;
    static constexpr unsigned kSets = 1024;
    static constexpr unsigned kEntries = kSets * kWays;
    static constexpr u64 kEmpty = ~u64{0};

    SecondLevelTlb() : sets_(kSets), pages_(kEntries) {}

    /// nullptr: not held.
    PageInfo* find(u64 page, AddressSpace space) {
        const unsigned set = set_of(page);
        const Set& tags = sets_[set];
        const u64 own = page | space;
        const u64 global = page | kGlobalSlot;
        unsigned hits = 0;  // bit per way; without branches, as the way is not predictable
        for (unsigned way = 0; way < kWays; ++way) {
            hits |= static_cast<unsigned>(tags.tag[way] == own || tags.tag[way] == global) << way;
        }
        return hits == 0 ? nullptr : &pages_[set * kWays + static_cast<unsigned>(std::countr_zero(hits))];
    }

    /// Adds or replaces; `evicted` receives the page address of an entry that had to go, or kEmpty.
    PageInfo* insert(u64 page, AddressSpace space, const PageInfo& info, u64& evicted) {
        const unsigned set = set_of(page);
        const unsigned way = choose_way(sets_[set], page, space);
        const unsigned index = set * kWays + way;
        evicted = sets_[set].tag[way] == kEmpty ? kEmpty : sets_[set].tag[way] & kPageMask;
        remove(set, way);
        sets_[set].tag[way] = page | space;
        pages_[index] = info;
        if (info.block_shift > kPageShift) {
            shifts_ |= u64{1} << info.block_shift;
            ++block_count_[filter_index(page, info.block_shift)];
        }
        return &pages_[index];
    }

    /// Forgets the page, and all pages whose block descriptors cover it, in one address space and the global ones; with
    /// kGlobalSlot in all address spaces. `on_block(shift)` is called for sizes of blocks (2^shift bytes) of which some page
    /// may have been held.
    template <class OnBlock>
    void forget(u64 page, AddressSpace space, OnBlock&& on_block) {
        remove_page(page, space);
        for (u64 shifts = shifts_; shifts != 0; shifts &= shifts - 1) {
            const unsigned shift = static_cast<unsigned>(std::countr_zero(shifts));
            if (block_count_[filter_index(page, shift)] != 0) {
                remove_block(page, shift, space);
                on_block(shift);
            }
        }
    }

    void clear() {
        for (Set& set : sets_) {
            set = Set{};
        }
        block_count_.fill(0);
        shifts_ = 0;
    }

  private:
    struct alignas(32) Set {
        u64 tag[kWays] = {kEmpty, kEmpty, kEmpty, kEmpty};
    };
    static constexpr unsigned kFilter = 1024;

    static unsigned set_of(u64 page) {
        const u64 number = page >> kPageShift;
        return static_cast<unsigned>(number ^ (number >> 10)) & (kSets - 1);
    }

    static unsigned filter_index(u64 page, unsigned shift) {
        const u64 number = page >> shift;
        return static_cast<unsigned>(number ^ (number >> 10) ^ shift * 37u) & (kFilter - 1);
    }

    static bool matches(u64 tag, u64 page, unsigned shift, AddressSpace space) {
        if (tag == kEmpty || ((tag ^ page) >> shift) != 0) {
            return false;
        }
        const AddressSpace owner = tag & 0xFFF;
        return space == kGlobalSlot || owner == kGlobalSlot || owner == space;
    }

    void remove_page(u64 page, AddressSpace space) {
        const unsigned set = set_of(page);
        for (unsigned way = 0; way < kWays; ++way) {
            if (matches(sets_[set].tag[way], page, kPageShift, space)) {
                remove(set, way);
            }
        }
    }

    /// All pages whose block descriptor of `shift` bits covers `page`.
    void remove_block(u64 page, unsigned shift, AddressSpace space) {
        for (unsigned index = 0; index < kEntries; ++index) {
            if (pages_[index].block_shift == shift && matches(sets_[index / kWays].tag[index % kWays], page, shift, space)) {
                remove(index / kWays, index % kWays);
            }
        }
    }

    unsigned choose_way(const Set& set, u64 page, AddressSpace space) {
        for (unsigned way = 0; way < kWays; ++way) {
            if (set.tag[way] == (page | space) || set.tag[way] == (page | kGlobalSlot)) {
                return way;
            }
        }
        for (unsigned way = 0; way < kWays; ++way) {
            if (set.tag[way] == kEmpty) {
                return way;
            }
        }
        return next_victim_++ % kWays;
    }

    void remove(unsigned set, unsigned way) {
        u64& tag = sets_[set].tag[way];
        const PageInfo& info = pages_[set * kWays + way];
        if (tag != kEmpty && info.block_shift > kPageShift) {
            --block_count_[filter_index(tag & kPageMask, info.block_shift)];
        }
        tag = kEmpty;
    }

    std::vector<Set> sets_;
    std::vector<PageInfo> pages_;
    std::array<u16, kFilter> block_count_{};
    u64 shifts_ = 0;
    unsigned next_victim_ = 0;
};

}  // namespace vmm::arch
