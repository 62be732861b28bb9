// The sampling interval counter: which operation is the next sample. Arm ARM, "The Statistical Profiling
// Extension sampling interval".
//
// With PMSIRR_EL1.RND = 0 the distance between samples is exactly INTERVAL * 256 + 1 operations: one
// operation finds the counter at zero and reloads it, the others count it down. RND = 1 adds 0..255 to each
// reload or, with PMSIDR_EL1.ERnd, lets 0..255 more operations run in PMSICR_EL1.ECOUNT once the counter is
// zero, while it counts the next interval already.
#pragma once

#include "spe/spe_words.h"
#include "vmm/base/rng.h"
#include "vmm/base/types.h"

namespace vmm::spe {

class Sampler {
  public:
    /// `ernd`: PMSIDR_EL1.ERnd.
    explicit Sampler(u64 seed, bool ernd = false);

    /// PMSIRR_EL1 and PMSICR_EL1 zero. The random sequence goes on.
    void reset();

    /// PMSIRR_EL1, already masked. Takes effect at the next reload.
    void set_reload(u64 pmsirr) { reload_ = pmsirr; }
    u64 reload() const { return reload_; }

    /// PMSICR_EL1. A nonzero count goes on from there; zero reloads at the next operation.
    void set_pmsicr(u64 value);
    void set_count(u32 count) { count_ = count; }
    u32 count() const { return count_; }
    u8 extra_count() const { return extra_; }
    /// What PMSICR_EL1 will be after `ops` more operations: at most ops_until_sample().
    u64 pmsicr_after(u64 ops) const;
    /// What count() will be after `ops` more operations.
    u32 count_after(u64 ops) const {
        u64 count = count_;
        if (count == 0 && ops != 0) {
            count = next_reload_count();
            --ops;
        }
        return ops >= count ? 0 : static_cast<u32>(count - ops);
    }

    /// Operations from now until and including the next sample; at least 1.
    u64 ops_until_sample() const {
        const u64 zero = ops_until_zero();
        if (!has_extra_phase()) [[likely]] {
            return zero;
        }
        // The operation that brings the counter to zero starts a new extra phase, even if one would end with
        // it.
        return extra_ != 0 && extra_ < zero ? u64{extra_} : zero + jitter_;
    }

    /// `ops` operations have executed: at most ops_until_sample().
    void advance(u64 ops) {
        if (has_extra_phase()) [[unlikely]] {
            advance_with_extra(ops);
        } else {
            advance_count(ops);
        }
    }

  private:
    u32 next_reload_count() const {
        u32 count = static_cast<u32>(reload_ & pmsirr::Interval::kMask);
        if (count == 0) {
            // UNPREDICTABLE: INTERVAL = 0 gives an UNKNOWN interval; we use the shortest.
            count = static_cast<u32>(pmsirr::Interval::put(1));
        }
        return pmsirr::Rnd::get(reload_) != 0 && !ernd_ ? count | jitter_ : count;
    }
    /// The random part is operations of its own rather than part of the reload.
    bool has_extra_phase() const { return ernd_ && pmsirr::Rnd::get(reload_) != 0; }
    u64 ops_until_zero() const { return count_ != 0 ? count_ : u64{1} + next_reload_count(); }
    void advance_count(u64 ops) {
        const bool reloads = count_ == 0 && ops != 0;
        count_ = count_after(ops);
        if (reloads) {
            draw();
        }
    }
    void draw() { jitter_ = static_cast<u8>(rng_.next() >> 56); }
    void advance_with_extra(u64 ops);

    bool ernd_;
    u64 reload_ = 0;  // PMSIRR_EL1
    u32 count_ = 0;   // PMSICR_EL1.COUNT
    u8 extra_ = 0;    // PMSICR_EL1.ECOUNT
    u8 jitter_;       // the next random number, drawn ahead so that the distance is known
    Rng rng_;
};

}  // namespace vmm::spe
