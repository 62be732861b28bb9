// Random test cases: instruction words of a decode-table row and edge-biased machine states.
#pragma once

#include "arch/decode.h"
#include "tests/oracle/case_format.h"
#include "vmm/base/rng.h"

namespace vmm::oracle {

class CaseGenerator {
  public:
    explicit CaseGenerator(u64 seed) : rng_(seed) {}

    /// A word of `row` that decodes to `row`: free bits random. False when 100 attempts all hit a more specific row.
    bool random_insn(const arch::DecodeRow& row, u32& insn);

    /// Fills every field of `state`; values prefer sign boundaries, NaNs, denormals and their like.
    void random_state(OracleState& state);

    Rng& rng() { return rng_; }
    bool one_in(u64 n) { return rng_.below(n) == 0; }

  private:
    u64 integer();
    u64 lane(unsigned width);
    u64 float_lane(unsigned width);
    void random_vectors(OracleState& state);

    Rng rng_;
};

}  // namespace vmm::oracle
