#include "spe/sampler.h"

#include "spe/spe_words.h"

namespace vmm::spe {

namespace {

u8 draw(Rng& rng) {
    return static_cast<u8>(rng.next() >> 56);
}

}  // namespace

Sampler::Sampler(u64 seed, bool ernd) : ernd_(ernd), jitter_(0), rng_(seed) {
    jitter_ = draw(rng_);
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

/// The random part is operations of its own rather than part of the reload.
bool Sampler::has_extra_phase() const {
    return ernd_ && pmsirr::Rnd::get(reload_) != 0;
}

u32 Sampler::next_reload_count() const {
    u32 count = static_cast<u32>(reload_ & pmsirr::Interval::kMask);
    if (count == 0) {
        // UNPREDICTABLE: INTERVAL = 0 gives an UNKNOWN interval; we use the shortest.
        count = static_cast<u32>(pmsirr::Interval::put(1));
    }
    return pmsirr::Rnd::get(reload_) != 0 && !ernd_ ? count | jitter_ : count;
}

u64 Sampler::ops_until_sample() const {
    const u64 zero = ops_until_zero();
    if (!has_extra_phase()) {
        return zero;
    }
    // The operation that brings the counter to zero starts a new extra phase, even if one would end with it.
    return extra_ != 0 && extra_ < zero ? u64{extra_} : zero + jitter_;
}

u64 Sampler::pmsicr_after(u64 ops) const {
    Sampler later = *this;
    later.advance(ops);
    return pmsicr::Count::put(later.count_) | pmsicr::Ecount::put(later.extra_);
}

u32 Sampler::count_after(u64 ops) const {
    u64 count = count_;
    if (count == 0 && ops != 0) {
        count = next_reload_count();
        --ops;
    }
    return ops >= count ? 0 : static_cast<u32>(count - ops);
}

void Sampler::advance(u64 ops) {
    if (ops == 0) {
        return;
    }
    if (has_extra_phase()) {
        advance_with_extra(ops);
    } else {
        advance_count(ops);
    }
}

/// At most one random phase begins in `ops`, since an interval is longer than the longest phase.
void Sampler::advance_with_extra(u64 ops) {
    if (const u64 zero = ops_until_zero(); ops >= zero) {
        count_ = 0;
        extra_ = jitter_;
        jitter_ = draw(rng_);
        ops -= zero;
    }
    if (ops != 0) {
        count_ = count_after(ops);
        extra_ = static_cast<u8>(ops >= extra_ ? 0 : extra_ - ops);
    }
}

void Sampler::advance_count(u64 ops) {
    const bool reloads = count_ == 0;
    count_ = count_after(ops);
    if (reloads) {
        jitter_ = draw(rng_);
    }
}

}  // namespace vmm::spe
