#include "mm/range_walk.h"

#include <algorithm>
#include <limits>

#include "mm/guest_access.h"

namespace vmm::mm {

namespace {

constexpr u64 kPage = 4096;
constexpr u64 kPageMask = ~(kPage - 1);
constexpr u64 kTableSpan = u64{2} << 20;  // what a page of last-level tables maps at least
constexpr u64 kMostLevels = 4;
constexpr u64 kAddressBits = bits(~u64{0}, 47, 12) << 12;

}  // namespace

/// Descriptors from the copies. Access flags that hardware would set are taken as set: the walk itself changes nothing.
class RangeWalk::CopyPort final : public DescriptorPort {
  public:
    explicit CopyPort(RangeWalk& walk) : walk_(walk) {}

    bool read(u64 pa, u64& value) override {
        ++walk_.looked_up_;
        const TableCopy* copy = walk_.copy_of(pa);
        if (copy == nullptr) {
            return false;
        }
        value = copy->words[(pa % kPage) / sizeof(u64)];
        return true;
    }

    bool compare_exchange(u64, u64, u64) override { return true; }

  private:
    RangeWalk& walk_;
};

const TableCopy* RangeWalk::copy_of(u64 pa) {
    const u64 page = pa & kPageMask;
    if (const auto known = index_.find(page); known != index_.end()) {
        return &tables_[known->second];
    }
    const u8* host = ram_.host(page, kPage);
    if (host == nullptr) {
        return nullptr;
    }
    index_.emplace(page, tables_.size());
    TableCopy& copy = tables_.emplace_back();
    copy.pa = page;
    for (std::size_t i = 0; i < copy.words.size(); ++i) {
        copy.words[i] = load_acquire<u64>(host + i * sizeof(u64));
    }
    return &copy;
}

void RangeWalk::append_run(GuestRange run) {
    if (run.size == 0) {
        return;
    }
    if (!pages_.empty() && pages_.back().end() == run.pa) {
        pages_.back().size += run.size;
    } else {
        pages_.push_back(run);
    }
}

bool RangeWalk::append(u64 pa, u64 bytes) {
    if (!ram_.contains(pa, bytes)) {
        return false;
    }
    append_run({pa, bytes});
    return true;
}

u64 RangeWalk::add_flat(u64 from, u64 to) {
    const u64 end = std::min(to, u64{1} << kPhysicalBits);
    const u64 ram_end = ram_.base() + ram_.size();
    if (from >= end || from < ram_.base() || from >= ram_end) {
        return from;
    }
    const u64 last = std::min(end, ram_end);
    append(from, last - from);
    return last;
}

/// The descriptors that follow `first` in its table page and differ from it in nothing but the address need no walk of
/// their own. Returns the address that the first other one maps.
u64 RangeWalk::add_similar(const WalkResult& first, u64 va, u64 to) {
    const u64 bytes = u64{1} << first.block_shift;
    const u64 address_mask = kAddressBits & ~(bytes - 1);
    const TableCopy& copy = *copy_of(first.descriptor_pa);
    std::size_t at = (first.descriptor_pa % kPage) / sizeof(u64) + 1;
    u64 next = align_down(va, bytes) + bytes;
    GuestRange run;  // appended as a whole
    for (; at < copy.words.size() && next < to && next != 0; ++at, next += bytes) {
        const u64 value = copy.words[at];
        const u64 pa = value & address_mask;
        const u64 used = std::min(bytes, to - next);
        if (((value ^ first.descriptor) & ~address_mask) != 0 || (pa >> regime_.params.output_bits) != 0 ||
            !ram_.contains(pa, used)) {
            break;
        }
        if (run.end() != pa) {
            append_run(run);
            run = {pa, 0};
        }
        run.size += used;
        ++looked_up_;
    }
    append_run(run);
    return std::min(next, to);
}

u64 RangeWalk::add(u64 from, u64 to) {
    if (!regime_.enabled) {
        const u64 tag = tag_of(regime_.params, from);
        return add_flat(from - tag, to - tag) + tag;
    }
    // Growing would copy the copies. What blocks make unnecessary is never touched.
    tables_.reserve(tables_.size() + (to - from) / kTableSpan + kMostLevels + 1);
    CopyPort port(*this);
    u64 va = from;
    while (va < to) {
        const WalkResult result = walk(regime_.params, va, port);
        const bool dirtied = regime_.hardware_dirty && result.dirty_modifier && !result.table_read_only;
        if (result.fault != WalkFault::none || (result.read_only && !dirtied)) {
            break;
        }
        const u64 bytes = u64{1} << result.block_shift;
        if (!append(result.pa, std::min(bytes - (va & (bytes - 1)), to - va))) {
            break;
        }
        any_not_global_ |= !result.global;
        const u64 next = add_similar(result, va, to);
        if (next <= va) {  // the end of the address space
            return to;
        }
        va = next;
    }
    return va;
}

bool tables_unchanged(const GuestRam& ram, std::span<const TableCopy> tables) {
    for (const TableCopy& table : tables) {
        const u8* host = ram.host(table.pa, kPage);
        u64 difference = 0;
        for (std::size_t i = 0; i < table.words.size(); ++i) {
            difference |= load_relaxed<u64>(host + i * sizeof(u64)) ^ table.words[i];
        }
        if (difference != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace vmm::mm
