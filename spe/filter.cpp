#include "spe/filter.h"

namespace vmm::spe {

namespace {

/// Types with their mask bit set must be as selected; of the others any selected one is enough, if one is.
/// Without the extended filter no mask bit exists, and nothing selected means all.
bool type_matches(u64 pmsfcr, u64 flags) {
    const u64 selected = pmsfcr::Types::get(pmsfcr);
    const u64 exact = pmsfcr::Mask::get(pmsfcr);
    const u64 any = selected & ~exact;
    return (any == 0 || (flags & any) != 0) && (flags & exact) == (selected & exact);
}

/// Concerns loads that have a data source; nothing selected drops them all.
bool data_source_matches(u64 pmsdsfr, const Sample& sample) {
    return !sample.data_source || !sample.type.is_load() || (pmsdsfr >> (*sample.data_source & 63) & 1) != 0;
}

}  // namespace

FilterMatches filter_matches(const FilterRegisters& registers, u64 filterable, const Sample& sample) {
    const u64 required = registers.pmsevfr & filterable;
    const u64 excluded = registers.pmsnevfr & filterable;
    const bool selects_type = (registers.pmsfcr & (pmsfcr::Types::kMask | pmsfcr::Mask::kMask)) != 0;
    return {.events = (~sample.events & required) == 0 && (sample.events & excluded) == 0,
            .type = selects_type && type_matches(registers.pmsfcr, sample.type.flags),
            .latency = sample.total_latency >= pmslatfr::MinLat::get(registers.pmslatfr),
            .data_source = sample.data_source && sample.type.is_load() &&
                           data_source_matches(registers.pmsdsfr, sample)};
}

// UNPREDICTABLE: a filter that is enabled but selects nothing is off, so that a guest that programs it badly
// still gets data; so are both event filters when one event is required and excluded at once.
FilterResult filter(const FilterRegisters& registers, u64 filterable, const Sample& sample) {
    const u64 required = registers.pmsevfr & filterable;
    const u64 excluded = registers.pmsnevfr & filterable;
    const u64 minimum = pmslatfr::MinLat::get(registers.pmslatfr);

    bool use_events = pmsfcr::Fe::get(registers.pmsfcr) != 0 && required != 0;
    bool use_inverted = pmsfcr::FnE::get(registers.pmsfcr) != 0 && excluded != 0;
    if (use_events && use_inverted && (required & excluded) != 0) {
        use_events = use_inverted = false;
    }
    const bool use_latency = pmsfcr::Fl::get(registers.pmsfcr) != 0 && minimum != 0;

    FilterResult result;
    result.events = !use_events || (~sample.events & required) == 0;
    result.inverted_events = !use_inverted || (sample.events & excluded) == 0;
    result.type = pmsfcr::Ft::get(registers.pmsfcr) == 0 || type_matches(registers.pmsfcr, sample.type.flags);
    result.latency = !use_latency || sample.total_latency >= minimum;
    result.data_source =
        pmsfcr::Fds::get(registers.pmsfcr) == 0 || data_source_matches(registers.pmsdsfr, sample);
    return result;
}

}  // namespace vmm::spe
