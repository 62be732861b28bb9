// The sampling interval counter: which operation is the next sample. Arm ARM, "The Statistical Profiling Extension sampling
// interval".
//
// With PMSIRR_EL1.RND = 0 the distance between samples is exactly INTERVAL * 256 + 1 operations: one operation finds the
// counter at zero and reloads it, the others count it down. RND = 1 adds 0..255 to each reload or, with PMSIDR_EL1.ERnd,
// lets 0..255 more operations run in PMSICR_EL1.ECOUNT once the counter is zero, while it counts the next interval already.
#pragma once

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
    u32 count_after(u64 ops) const;

    /// Operations from now until and including the next sample; at least 1.
    u64 ops_until_sample() const;

    /// `ops` operations have executed: at most ops_until_sample().
    void advance(u64 ops);

  private:
    u32 next_reload_count() const;
    bool has_extra_phase() const;
    u64 ops_until_zero() const { return count_ != 0 ? count_ : u64{1} + next_reload_count(); }
    void advance_count(u64 ops);
    void advance_with_extra(u64 ops);

    bool ernd_;
    u64 reload_ = 0;  // PMSIRR_EL1
    u32 count_ = 0;   // PMSICR_EL1.COUNT
    u8 extra_ = 0;    // PMSICR_EL1.ECOUNT
    u8 jitter_;       // the next random number, drawn ahead so that the distance is known
    Rng rng_;
};

}  // namespace vmm::spe
