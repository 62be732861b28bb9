#include "arch/code_cache.h"

#include <new>

#include "arch/hot_ops.h"

namespace vmm::arch {

CodeCache::CodeCache(const mm::GuestRam& ram) : ram_(ram), pages_(ram.size() >> kPageShift) {}

CodeCache::~CodeCache() = default;

Block* CodeCache::add(u64 pa, unsigned op_count) {
    std::unique_ptr<Page>& page = pages_[page_number(pa)];
    if (page == nullptr && used_pages_.size() == kMaxPages) {
        return nullptr;
    }
    const std::size_t bytes = sizeof(Block) + op_count * sizeof(Op);
    if (chunk_used_ + bytes > kChunkBytes) {
        const std::size_t next = chunks_.empty() ? 0 : chunk_ + 1;
        if (next == kMaxChunks) {
            return nullptr;
        }
        if (next == chunks_.size()) {
            chunks_.push_back(std::make_unique_for_overwrite<u8[]>(kChunkBytes));
        }
        chunk_ = next;
        chunk_used_ = 0;
    }
    Block* block = new (chunks_[chunk_].get() + chunk_used_) Block;
    chunk_used_ += bytes;

    if (page == nullptr) {
        page = std::make_unique<Page>();
        used_pages_.push_back(page_number(pa));
    }
    block->pa_page = pa & kPageMask;
    block->start = static_cast<u16>((pa & ~kPageMask) >> 2);
    block->op_count = static_cast<u16>(op_count);
    block->next_in_page = page->first;
    page->first = block;
    page->entries[block->start] = block;
    ++block_count_;
    return block;
}

void CodeCache::invalidate_page(u64 pa_page) {
    if (!has_code(pa_page)) {
        return;
    }
    Page* page = pages_[page_number(pa_page)].get();
    for (Block* block = page->first; block != nullptr; block = block->next_in_page) {
        for (Op* op = block->ops(); op != block->end(); ++op) {
            if (has_link(*op)) {
                op->link = nullptr;
            }
        }
        if (translator_ != nullptr) {
            translator_->unlink(*block);
        }
        page->entries[block->start] = nullptr;
        --block_count_;
    }
    page->first = nullptr;
}

void CodeCache::invalidate_all() {
    for (const u64 number : used_pages_) {
        invalidate_page(ram_.base() + (number << kPageShift));
    }
}

void CodeCache::clear() {
    for (const u64 number : used_pages_) {
        pages_[number].reset();
    }
    if (translator_ != nullptr) {
        translator_->clear();
    }
    used_pages_.clear();
    block_count_ = 0;
    chunk_ = 0;
    chunk_used_ = chunks_.empty() ? kChunkBytes : 0;
    ++clears_;
}

}  // namespace vmm::arch
