// What the oracle knows about instructions beyond the decode table: which rows cannot be compared, and how to point the
// others into the sandbox. The tables are in rules.cpp, each line with its reason.
#pragma once

#include <string_view>

#include "tests/oracle/case_generator.h"
#include "tests/oracle/model.h"

namespace vmm::oracle {

/// Shell-style match: * and ?.
bool glob_matches(std::string_view pattern, std::string_view text);

/// Why a word is not run (CONSTRAINED UNPREDICTABLE operands, known differences of the reference); nullptr: it is.
const char* exclusion_reason(u32 insn, ModelId model);

/// True if a model gets the integer instruction right whatever the registers are.
bool fit_as_prefix(u32 insn, ModelId model);

/// Undoes what a model gets wrong in the outcome of a case, where it is known exactly.
void correct_outcome(OracleCase& c, ModelId model);

/// Where the load or store of a shaped case goes, and how many bytes it has at most; size 0: not known here.
struct AccessShape {
    u64 address = 0;
    unsigned size = 0;
};
AccessShape access_of(const OracleCase& c, u32 insn);

/// True for rows of loads and stores of more than a byte for which access_of() knows the size and alignment is no matter.
bool may_be_unaligned(const arch::DecodeRow& row);

/// Shapes a random case: addresses point into the window, branches stay in the sandbox, sequences are completed.
/// insns[0] is the word under test on entry. False: the case cannot be made safe, draw another.
bool shape_case(OracleCase& c, u64 code_address, CaseGenerator& generator, ModelId model);

}  // namespace vmm::oracle
