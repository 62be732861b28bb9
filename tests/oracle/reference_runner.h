// Runs a batch of cases on a reference: a runner program under qemu-aarch64, or natively.
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/case_format.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::oracle {

struct ReferenceCommand {
    std::string qemu = "qemu-aarch64";  // empty: run the program directly
    std::string cpu = "neoverse-n1";
    std::string runner;                 // path of the program
};

/// Lets the runner work on a file that starts with `file`'s bytes, and reads it back. How far it came is in there.
Result<> run_on_file(const ReferenceCommand& command, std::vector<u8>& file);

/// Fills the outcome of every case (at most ORACLE_MAX_CASES). Fails when the reference does not finish.
Result<> run_reference(const ReferenceCommand& command, std::vector<OracleCase>& cases);

}  // namespace vmm::oracle
