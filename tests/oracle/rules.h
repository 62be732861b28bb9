// What the oracle knows about instructions beyond the decode table: which rows cannot be compared, and how to point the
// others into the sandbox. The tables are in rules.cpp, each line with its reason.
#pragma once

#include <string_view>

#include "tests/oracle/case_generator.h"

namespace vmm::oracle {

/// Shell-style match: * and ?.
bool glob_matches(std::string_view pattern, std::string_view text);

/// Why no case of the row is run; nullptr: it is run.
const char* exclusion_reason(const arch::DecodeRow& row);

/// The same for single words (CONSTRAINED UNPREDICTABLE operands, known differences of the reference).
const char* exclusion_reason(u32 insn);

/// Shapes a random case: addresses point into the window, branches stay in the sandbox, sequences are completed.
/// insns[0] is the word under test on entry. False: the case cannot be made safe, draw another.
bool shape_case(OracleCase& c, u64 code_address, CaseGenerator& generator);

}  // namespace vmm::oracle
