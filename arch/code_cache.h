// The blocks one PE has decoded, found by guest-physical address.
//
// With CTR_EL0.DIC = 0 software must execute IC IVAU (or IC IALLU) before it runs changed code, so stale code is found by
// instruction-cache maintenance alone and stores need no check.
#pragma once

#include <memory>
#include <vector>

#include "arch/block.h"
#include "arch/tlb.h"
#include "arch/translator.h"
#include "mm/guest_ram.h"

namespace vmm::arch {

class CodeCache {
  public:
    static constexpr unsigned kWordsPerPage = kPageSize / 4;
    /// Pages of guest memory that may hold decoded code at a time; a page costs 8 KiB on the host beside its blocks.
    static constexpr std::size_t kMaxPages = 8192;

    explicit CodeCache(const mm::GuestRam& ram);
    ~CodeCache();

    /// Told of what is forgotten; nullptr: nobody.
    void set_translator(Translator* translator) { translator_ = translator; }

    /// The block that starts at guest-physical `pa` (4-byte aligned, in RAM), or nullptr.
    Block* find(u64 pa) const {
        const Page* page = pages_[page_number(pa)].get();
        return page == nullptr ? nullptr : page->entries[(pa & ~kPageMask) >> 2];
    }

    /// Memory for a block of `op_count` operations starting at `pa`, entered into the index. nullptr when the cache is
    /// full: the caller clears it and tries again.
    Block* add(u64 pa, unsigned op_count);

    /// True when any code of the page is decoded.
    bool has_code(u64 pa_page) const {
        return ram_.contains(pa_page) && pages_[page_number(pa_page)] != nullptr &&
               pages_[page_number(pa_page)]->first != nullptr;
    }

    /// Forgets the page's blocks and cuts their links. The memory stays valid until clear(), so a block may invalidate the
    /// page it runs from.
    void invalidate_page(u64 pa_page);

    /// Forgets all blocks as invalidate_page() does.
    void invalidate_all();

    /// Forgets everything and reuses the memory: nobody may be inside a block.
    void clear();

    u64 blocks() const { return block_count_; }

    /// How often clear() has reused the memory: a pointer to a block or an operation is good while this stays the same.
    u64 clears() const { return clears_; }

  private:
    struct Page {
        Block* first = nullptr;
        Block* entries[kWordsPerPage] = {};
    };

    u64 page_number(u64 pa) const { return (pa - ram_.base()) >> kPageShift; }

    static constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
    static constexpr std::size_t kMaxChunks = 48;

    mm::GuestRam ram_;
    Translator* translator_ = nullptr;
    std::vector<std::unique_ptr<Page>> pages_;     // by page number in RAM
    std::vector<u64> used_pages_;                  // page numbers that have or had code
    std::vector<std::unique_ptr<u8[]>> chunks_;
    std::size_t chunk_ = 0;                        // being filled
    std::size_t chunk_used_ = kChunkBytes;
    u64 block_count_ = 0;
    u64 clears_ = 0;
};

}  // namespace vmm::arch
