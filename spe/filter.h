// Which samples become records. Pure. Arm ARM, "Filtering sample records".
#pragma once

#include "spe/sample.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// The filter registers, with their bits masked to what is implemented.
struct FilterRegisters {
    u64 pmsfcr = 0;
    u64 pmsevfr = 0;
    u64 pmsnevfr = 0;
    u64 pmslatfr = 0;
    u64 pmsdsfr = 0;
};

/// One result per filter: true where the filter is off or accepts the sample.
struct FilterResult {
    bool events = true;
    bool inverted_events = true;
    bool type = true;
    bool latency = true;
    bool data_source = true;

    bool keep() const { return events && inverted_events && type && latency && data_source; }
};

/// `filterable` is filterable_events(pmsver).
FilterResult filter(const FilterRegisters& registers, u64 filterable, const Sample& sample);

}  // namespace vmm::spe
