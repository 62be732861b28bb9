// Runs the loops of fp_format.h on our own Vcpu, at EL1 with the MMU off.
#pragma once

#include <vector>

#include "tests/oracle/fp_format.h"
#include "tests/oracle/lone_pe.h"

namespace vmm::oracle {

/// Most cases of one job.
inline constexpr u64 kMaxFpCases = u64{1} << 19;

class FpBench {
  public:
    explicit FpBench(bool host_code);

    /// True if our PE executes the word without an exception.
    bool executes(u32 insn);

    /// The results of all cases; empty: the loop did not come to its end.
    std::vector<FpResult> run(u32 insn, u32 fpcr, const FpOperands* operands, u64 count);

  private:
    LonePe pe_;
};

}  // namespace vmm::oracle
