// The counters of a machine as JSON. Every structure of counters has one table of names: a new counter is one
// line there.
#pragma once

#include <string_view>

#include "mm/pin_manager.h"
#include "spe/profiling_unit.h"
#include "vmm/json.h"

namespace vmm {

/// Every counter of `stats`, those of the pin cache under "pins".
Json to_json(const spe::ProfilingStats& stats);
Json to_json(const mm::PinStats& stats);
Json to_json(const mm::PinServiceStats& stats);

/// Counters that say the most of something: their total is the largest, not the sum.
bool is_maximum(std::string_view name);

/// Adds the numbers of `other`, members of members included, to those of the same name in `sum`.
void add_counters(Json& sum, const Json& other);

/// What this process uses of the host: processor time, memory, limits.
Json process_stats();

}  // namespace vmm
