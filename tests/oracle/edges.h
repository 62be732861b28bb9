// Which edges of values, registers and addresses a run has drawn: counted for each row, so that none goes untested
// unnoticed; and how the rarer ones get into cases.
#pragma once

#include <array>

#include "tests/oracle/case_generator.h"

namespace vmm::oracle {

enum class Edge : u8 {
    // Source elements of floating-point rows.
    quiet_nan,
    negative_quiet_nan,
    signalling_nan,
    negative_signalling_nan,
    denormal,
    negative_denormal,
    zero,
    negative_zero,
    infinity,
    negative_infinity,
    largest,
    smallest_normal,
    // Source elements of rows that convert integers.
    integer_zero,
    integer_minimum,
    integer_maximum,
    integer_minus_one,
    // FPCR.
    round_plus,
    round_minus,
    round_zero,
    fz,
    fz16,
    dn,
    ahp,
    // Registers that coincide, where the row has both fields.
    rd_is_rn,
    rd_is_rm,
    rn_is_rm,
    // Loads and stores that may be unaligned.
    unaligned,
    page_crossing,
};
inline constexpr std::size_t kEdges = static_cast<std::size_t>(Edge::page_crossing) + 1;

using EdgeCounts = std::array<unsigned, kEdges>;

const char* edge_name(Edge edge);

/// Puts the `turn`-th edge value into a source register of every second case of a floating-point row.
void plant_edge(OracleCase& c, u32 insn, const arch::DecodeRow& row, unsigned turn);

/// Counts what the case has of them.
void count_edges(const OracleCase& c, u32 insn, const arch::DecodeRow& row, EdgeCounts& counts);

/// True if cases of `row` must have the edge, given the FPCR bits that the model follows.
bool must_have(const arch::DecodeRow& row, Edge edge, u32 fpcr_bits);

}  // namespace vmm::oracle
