// Operands for floating-point tests: every half, and for wider formats signs × edges of the exponent × patterns of the
// fraction; for conversions from integers their edges.
#pragma once

#include <string_view>
#include <vector>

#include "arch/decode.h"
#include "tests/oracle/fp_format.h"
#include "vmm/base/rng.h"
#include "vmm/base/types.h"

namespace vmm::oracle {

/// What an instruction takes.
struct OperandShape {
    unsigned width = 32;   // bits of an element: 16, 32 or 64
    unsigned arity = 1;    // 1 to 3 source operands
    bool integer = false;  // the source is an integer
    bool vector =
        false;  // all elements of the registers count; else only the first, and the others are random
    bool across = false;  // elements of one register meet each other

    auto operator<=>(const OperandShape&) const = default;
};

/// Bits of a source element of a floating-point row of this name.
unsigned source_width(std::string_view name);

/// What the word of a floating-point row takes.
OperandShape shape_of(const arch::DecodeRow& row, u32 insn);

/// The structured values of a format, each once; for half precision with `every` all of them.
std::vector<u64> fp_values(unsigned width, bool every);

/// The edges of an integer format.
std::vector<u64> integer_values(unsigned width);

/// Operands of about `limit` tuples (one per element where `shape.vector`): all combinations if they are no more than
/// that, else random ones. One operand of half precision always gets every value.
std::vector<FpOperands> make_operands(const OperandShape& shape, u64 limit, u64 seed);

}  // namespace vmm::oracle
