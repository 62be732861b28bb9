// Included by each exec_*.cpp to stamp its section of the decode table into rows:
//
//   namespace {
//   constexpr DecodeRow kRows[] = {
//   #include "arch/a64_dp_imm.inc"
//   };
//   }
//   std::span<const DecodeRow> dp_imm_rows() { return kRows; }
//
// The table's format, one row per encoding class, in the order of the Arm ARM's chapter C4:
//
//   A64(handler, "printed name", "pattern from bit 31 down", op class, needs)
//
// `handler` is a function `Exec handler(Vcpu&, operands...)` visible in that file; its parameters are bound to the
// pattern's fields by name and width (insn_pattern.h). Two rows may overlap only if one is strictly more specific, and
// then that one wins. An encoding that no row matches is UNDEFINED.
#pragma once

#include "arch/decode.h"
#include "arch/operands.h"
#include "arch/vcpu.h"

#define A64(handler, name, pattern, op_class, needs)                                                           \
    ::vmm::arch::DecodeRow{name,                                                                               \
                           ::vmm::arch::parse_pattern(pattern),                                                \
                           &::vmm::arch::BoundHandler<&handler, pattern>::call,                                \
                           ::vmm::arch::OpClass::op_class,                                                     \
                           ::vmm::arch::Needs::needs,                                                          \
                           #handler},
