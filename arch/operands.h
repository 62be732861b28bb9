// Operand types named after the Arm ARM's instruction fields. A handler's parameter list names the fields it takes; the
// decode table binds them by name and width.
#pragma once

#include "arch/insn_pattern.h"

namespace vmm::arch::operands {

using Rd = Operand<"rd", 5>;
using Rn = Operand<"rn", 5>;
using Rm = Operand<"rm", 5>;
using Ra = Operand<"ra", 5>;
using Rt = Operand<"rt", 5>;
using Rt2 = Operand<"rt2", 5>;
using Rs = Operand<"rs", 5>;
using Sf = Operand<"sf", 1>;
using Size = Operand<"size", 2>;
using Opc = Operand<"opc", 2>;
using Q = Operand<"q", 1>;
using U = Operand<"u", 1>;
using Cond = Operand<"cond", 4>;
using Nzcv = Operand<"nzcv", 4>;
using Option = Operand<"option", 3>;
using Sh = Operand<"sh", 1>;
using S = Operand<"s", 1>;
using N = Operand<"n", 1>;
using Shift = Operand<"shift", 2>;
using Imm3 = Operand<"imm3", 3>;
using Imm4 = Operand<"imm4", 4>;
using Imm5 = Operand<"imm5", 5>;
using Imm6 = Operand<"imm6", 6>;
using Imm7 = Operand<"imm7", 7>;
using Imm8 = Operand<"imm8", 8>;
using Imm9 = Operand<"imm9", 9>;
using Imm12 = Operand<"imm12", 12>;
using Imm14 = Operand<"imm14", 14>;
using Imm16 = Operand<"imm16", 16>;
using Imm19 = Operand<"imm19", 19>;
using Imm26 = Operand<"imm26", 26>;
using Immr = Operand<"immr", 6>;
using Imms = Operand<"imms", 6>;
using Hw = Operand<"hw", 2>;
using CRm = Operand<"crm", 4>;
using CRn = Operand<"crn", 4>;
using Op1 = Operand<"op1", 3>;
using Op2 = Operand<"op2", 3>;

}  // namespace vmm::arch::operands
