// Runs a batch of cases on the reference: state_runner under qemu-aarch64 (or natively on an AArch64 host).
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/case_format.h"
#include "vmm/base/result.h"

namespace vmm::oracle {

struct ReferenceCommand {
    std::string qemu = "qemu-aarch64";  // empty: run the program directly
    std::string cpu = "neoverse-n1";
    std::string runner;                 // path of state_runner
};

/// Fills the outcome of every case (at most ORACLE_MAX_CASES). Fails when the reference does not finish.
Result<> run_reference(const ReferenceCommand& command, std::vector<OracleCase>& cases);

}  // namespace vmm::oracle
