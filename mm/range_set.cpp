#include "mm/range_set.h"

#include <algorithm>

namespace vmm::mm {

std::vector<GuestRange> merged(std::vector<GuestRange> ranges) {
    std::erase_if(ranges, [](const GuestRange& range) { return range.size == 0; });
    std::sort(ranges.begin(), ranges.end(), [](const GuestRange& a, const GuestRange& b) { return a.pa < b.pa; });
    std::vector<GuestRange> out;
    for (const GuestRange& range : ranges) {
        if (!out.empty() && range.pa <= out.back().end()) {
            out.back().size = std::max(out.back().end(), range.end()) - out.back().pa;
        } else {
            out.push_back(range);
        }
    }
    return out;
}

std::vector<GuestRange> difference(const std::vector<GuestRange>& ranges, const std::vector<GuestRange>& others) {
    std::vector<GuestRange> out;
    auto other = others.begin();
    for (const GuestRange& range : ranges) {
        u64 at = range.pa;
        while (other != others.end() && other->end() <= at) {
            ++other;
        }
        for (auto it = other; it != others.end() && it->pa < range.end(); ++it) {
            if (it->pa > at) {
                out.push_back({at, it->pa - at});
            }
            at = std::max(at, it->end());
        }
        if (at < range.end()) {
            out.push_back({at, range.end() - at});
        }
    }
    return out;
}

namespace {

/// The first of `ranges` that ends after `pa`.
auto first_after(const std::vector<GuestRange>& ranges, u64 pa) {
    return std::lower_bound(ranges.begin(), ranges.end(), pa,
                            [](const GuestRange& range, u64 at) { return range.end() <= at; });
}

}  // namespace

std::vector<GuestRange> intersection(GuestRange range, const std::vector<GuestRange>& others) {
    std::vector<GuestRange> out;
    for (auto it = first_after(others, range.pa); it != others.end() && it->pa < range.end(); ++it) {
        const u64 start = std::max(it->pa, range.pa);
        out.push_back({start, std::min(it->end(), range.end()) - start});
    }
    return out;
}

bool intersects(const std::vector<GuestRange>& ranges, GuestRange range) {
    const auto it = first_after(ranges, range.pa);
    return it != ranges.end() && it->pa < range.end();
}

u64 total_bytes(const std::vector<GuestRange>& ranges) {
    u64 bytes = 0;
    for (const GuestRange& range : ranges) {
        bytes += range.size;
    }
    return bytes;
}

}  // namespace vmm::mm
