// Comparing two outcomes, and showing where they differ.
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/case_format.h"
#include "tests/oracle/model.h"
#include "vmm/base/types.h"

namespace vmm::oracle {

/// One line per difference; empty: they agree.
std::vector<std::string> differences(const OracleCase& c, const OracleOutcome& ours, const Model& model);

/// The case's instructions, disassembled by objdump where it is installed.
std::string disassemble(const OracleCase& c, u64 address);

/// The input registers named by the instruction words' register fields, and the flags.
std::string describe_inputs(const OracleCase& c);

}  // namespace vmm::oracle
