// Runs the loops of fp_format.h on our own Vcpu, at EL1 with the MMU off.
#pragma once

#include <memory>
#include <vector>

#include "arch/vcpu.h"
#include "tests/oracle/fp_format.h"

namespace vmm::oracle {

/// Most cases of one job.
inline constexpr u64 kMaxFpCases = u64{1} << 19;

class FpBench {
  public:
    explicit FpBench(bool host_code);
    ~FpBench();

    /// True if our PE executes the word without an exception.
    bool executes(u32 insn);

    /// The results of all cases; empty: the loop did not come to its end.
    std::vector<FpResult> run(u32 insn, u32 fpcr, const FpOperands* operands, u64 count);

  private:
    struct Ports;

    std::vector<u8> memory_;
    mm::GuestRam ram_;
    std::unique_ptr<Ports> ports_;
    std::unique_ptr<arch::Vcpu> vcpu_;
};

}  // namespace vmm::oracle
