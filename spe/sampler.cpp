#include "spe/sampler.h"

namespace vmm::spe {

Sampler::Sampler(u64 seed, bool ernd) : ernd_(ernd), jitter_(0), rng_(seed) {
    draw();
}

void Sampler::reset() {
    reload_ = 0;
    count_ = 0;
    extra_ = 0;
}

void Sampler::set_pmsicr(u64 value) {
    count_ = static_cast<u32>(pmsicr::Count::get(value));
    extra_ = ernd_ ? static_cast<u8>(pmsicr::Ecount::get(value)) : u8{0};
}

u64 Sampler::pmsicr_after(u64 ops) const {
    Sampler later = *this;
    later.advance(ops);
    return pmsicr::Count::put(later.count_) | pmsicr::Ecount::put(later.extra_);
}

/// At most one random phase begins in `ops`, since an interval is longer than the longest phase.
void Sampler::advance_with_extra(u64 ops) {
    if (const u64 zero = ops_until_zero(); ops >= zero) {
        count_ = 0;
        extra_ = jitter_;
        draw();
        ops -= zero;
    }
    if (ops != 0) {
        count_ = count_after(ops);
        extra_ = static_cast<u8>(ops >= extra_ ? 0 : extra_ - ops);
    }
}

}  // namespace vmm::spe
