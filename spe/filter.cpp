#include "spe/filter.h"

#include "spe/spe_words.h"

namespace vmm::spe {

// UNPREDICTABLE: a filter that is enabled but selects nothing is off, so that a guest that programs it badly still gets
// data; so are both event filters when one event is required and excluded at once.
FilterResult filter(const FilterRegisters& registers, u64 filterable, const Sample& sample) {
    const u64 required = registers.pmsevfr & filterable;
    const u64 excluded = registers.pmsnevfr & filterable;
    const u64 types = registers.pmsfcr >> 16 & (kTypeBranch | kTypeLoad | kTypeStore);
    const u64 minimum = pmslatfr::MinLat::get(registers.pmslatfr);

    bool use_events = pmsfcr::Fe::get(registers.pmsfcr) != 0 && required != 0;
    bool use_inverted = pmsfcr::FnE::get(registers.pmsfcr) != 0 && excluded != 0;
    if (use_events && use_inverted && (required & excluded) != 0) {
        use_events = use_inverted = false;
    }
    const bool use_type = pmsfcr::Ft::get(registers.pmsfcr) != 0 && types != 0;
    const bool use_latency = pmsfcr::Fl::get(registers.pmsfcr) != 0 && minimum != 0;

    FilterResult result;
    result.events = !use_events || (~sample.events & required) == 0;
    result.inverted_events = !use_inverted || (sample.events & excluded) == 0;
    result.type = !use_type || (sample.type.flags & types) != 0;
    result.latency = !use_latency || sample.total_latency >= minimum;
    return result;
}

}  // namespace vmm::spe
