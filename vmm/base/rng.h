// A small seeded generator (xorshift64*): SPE jitter, tests. Not for secrets.
#pragma once

#include "vmm/base/types.h"

namespace vmm {

class Rng {
  public:
    explicit Rng(u64 seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x1234567u) {}

    u64 next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1Du;
    }

    /// A value in [0, bound); bound > 0.
    u64 below(u64 bound) { return static_cast<u64>((u128{next()} * bound) >> 64); }

  private:
    u64 state_;
};

}  // namespace vmm
