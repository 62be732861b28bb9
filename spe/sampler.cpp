#include "spe/sampler.h"

#include "spe/spe_words.h"

namespace vmm::spe {

namespace {

u8 draw(Rng& rng) {
    return static_cast<u8>(rng.next() >> 56);
}

}  // namespace

Sampler::Sampler(u64 seed) : jitter_(0), rng_(seed) {
    jitter_ = draw(rng_);
}

void Sampler::reset() {
    reload_ = 0;
    count_ = 0;
}

u32 Sampler::next_reload_count() const {
    u32 count = static_cast<u32>(reload_ & pmsirr::Interval::kMask);
    if (count == 0) {
        // UNPREDICTABLE: INTERVAL = 0 gives an UNKNOWN interval; we use the shortest.
        count = static_cast<u32>(pmsirr::Interval::put(1));
    }
    return pmsirr::Rnd::get(reload_) != 0 ? count | jitter_ : count;
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
    const bool reloads = count_ == 0;
    count_ = count_after(ops);
    if (reloads) {
        jitter_ = draw(rng_);
    }
}

}  // namespace vmm::spe
