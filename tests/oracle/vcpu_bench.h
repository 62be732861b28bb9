// Runs one oracle case on our own Vcpu, at EL0 with an MMU that maps exactly what the runner's process maps.
#pragma once

#include <memory>
#include <vector>

#include "arch/vcpu.h"
#include "tests/oracle/case_format.h"

namespace vmm::oracle {

class VcpuBench {
  public:
    VcpuBench();
    ~VcpuBench();

    /// `code_address` is where the case's first instruction stands.
    void run(const OracleCase& c, u64 code_address, OracleOutcome& outcome);

  private:
    struct Ports;

    void build_tables();
    void enter(const OracleState& input, u64 pc);
    void collect(const OracleCase& c, OracleOutcome& outcome, u32 signal);
    u32 execute(const OracleCase& c, u64 code_address);

    std::vector<u8> memory_;
    mm::GuestRam ram_;
    std::unique_ptr<Ports> ports_;
    std::unique_ptr<arch::Vcpu> vcpu_;
    std::vector<u8> clean_window_;
};

}  // namespace vmm::oracle
