// Runs oracle cases on our own Vcpu, at EL0 with an MMU that maps exactly what the runner's process maps.
#pragma once

#include <vector>

#include "tests/oracle/case_format.h"
#include "tests/oracle/lone_pe.h"

namespace vmm::oracle {

/// What executes the cases.
enum class Execution : u8 {
    handlers,   // the decode table's rows, one by one
    engine,     // Vcpu::run: fetching, lowering, exceptions and all, by the interpreter
    host_code,  // the same, every block translated to host code before it is executed
};

class VcpuBench {
  public:
    explicit VcpuBench(Execution execution);

    /// Places the code of a batch: case i at ORACLE_CODE_BASE + i * ORACLE_SLOT_SIZE.
    void load_code(const std::vector<OracleCase>& cases);

    /// `code_address` is where the case's first instruction stands.
    void run(const OracleCase& c, u64 code_address, OracleOutcome& outcome);

  private:
    void build_tables();
    void enter(const OracleState& input, u64 pc);
    void collect(const OracleCase& c, OracleOutcome& outcome, u32 signal);
    u32 execute(const OracleCase& c, u64 code_address);
    u32 execute_engine(const OracleCase& c, u64 code_address);

    const Execution execution_;
    LonePe pe_;
    std::vector<u8> clean_window_;
};

}  // namespace vmm::oracle
