// Arithmetic on sorted lists of disjoint guest ranges.
#pragma once

#include <vector>

#include "mm/guest_ram.h"

namespace vmm::mm {

/// Sorted and merged where they touch or overlap. Empty ranges vanish.
std::vector<GuestRange> merged(std::vector<GuestRange> ranges);

/// The parts of `ranges` that lie in no range of `others`; both sorted and disjoint.
std::vector<GuestRange> difference(const std::vector<GuestRange>& ranges, const std::vector<GuestRange>& others);

/// The parts of `range` that lie in `others`, sorted and disjoint.
std::vector<GuestRange> intersection(GuestRange range, const std::vector<GuestRange>& others);

bool intersects(const std::vector<GuestRange>& ranges, GuestRange range);

u64 total_bytes(const std::vector<GuestRange>& ranges);

}  // namespace vmm::mm
