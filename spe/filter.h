// Which samples become records. Pure. Arm ARM, "Filtering sample records".
#pragma once

#include "spe/sample.h"
#include "spe/spe_words.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// The filter registers, with their bits masked to what is implemented.
struct FilterRegisters {
    u64 pmsfcr = 0;
    u64 pmsevfr = 0;
    u64 pmsnevfr = 0;
    u64 pmslatfr = 0;
    u64 pmsdsfr = 0;

    /// Some filter is enabled.
    bool any() const { return (pmsfcr & kEnables) != 0; }

  private:
    static constexpr u64 kEnables =
        pmsfcr::Fe::kMask | pmsfcr::Ft::kMask | pmsfcr::Fl::kMask | pmsfcr::FnE::kMask | pmsfcr::Fds::kMask;
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

/// What the PMU counts, whether or not PMSFCR_EL1 enables the filter. Arm ARM, "Common event numbers", 0x8122 and 0x812D..F.
struct FilterMatches {
    bool events = false;       // all required, none excluded
    bool type = false;         // some type is selected, and the sample matches
    bool latency = false;
    bool data_source = false;  // a load whose data source is selected
};
FilterMatches filter_matches(const FilterRegisters& registers, u64 filterable, const Sample& sample);

/// `filterable`: the events that a guest can filter by.
FilterResult filter(const FilterRegisters& registers, u64 filterable, const Sample& sample);

}  // namespace vmm::spe
