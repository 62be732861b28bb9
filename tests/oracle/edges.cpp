#include "tests/oracle/edges.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "tests/oracle/fp_operands.h"
#include "tests/oracle/rules.h"
#include "vmm/base/bits.h"

namespace vmm::oracle {

namespace {

constexpr const char* kNames[kEdges] = {"quiet NaN",
                                        "-quiet NaN",
                                        "signalling NaN",
                                        "-signalling NaN",
                                        "denormal",
                                        "-denormal",
                                        "0",
                                        "-0",
                                        "infinity",
                                        "-infinity",
                                        "largest",
                                        "smallest normal",
                                        "integer 0",
                                        "integer minimum",
                                        "integer maximum",
                                        "integer -1",
                                        "round to +",
                                        "round to -",
                                        "round to 0",
                                        "FZ",
                                        "FZ16",
                                        "DN",
                                        "AHP",
                                        "Rd = Rn",
                                        "Rd = Rm",
                                        "Rn = Rm",
                                        "unaligned",
                                        "page crossing"};

constexpr unsigned kFloatEdges = static_cast<unsigned>(Edge::integer_zero);
constexpr unsigned kIntegerEdges = static_cast<unsigned>(Edge::round_plus) - kFloatEdges;

struct FpcrEdge {
    Edge edge;
    u32 mask;
    u32 value;
};

constexpr FpcrEdge kFpcrEdges[] = {
    {Edge::round_plus, 3u << 22, 1u << 22}, {Edge::round_minus, 3u << 22, 2u << 22},
    {Edge::round_zero, 3u << 22, 3u << 22}, {Edge::fz, 1u << 24, 1u << 24},
    {Edge::fz16, 1u << 19, 1u << 19},       {Edge::dn, 1u << 25, 1u << 25},
    {Edge::ahp, 1u << 26, 1u << 26}};

/// Rows whose sources are floating-point elements, or integers to be converted to such.
bool has_float_sources(const arch::DecodeRow& row) {
    const auto within = [&row](std::span<const arch::DecodeRow> rows) {
        return &row >= rows.data() && &row < rows.data() + rows.size();
    };
    return row.pattern.find("rn") != nullptr && std::string_view(row.name).find("FMOV (general") != 0 &&
           (within(arch::fp_rows()) || within(arch::simd_fp_rows()) || within(arch::simd_fp_misc_rows()));
}

bool converts_integers(const arch::DecodeRow& row) {
    const u32 insn = row.pattern.value;
    return shape_of(row, insn).integer;
}

bool reads_general(const arch::DecodeRow& row) {
    const std::string_view name = row.name;
    return name.find("CVTF (scalar, integer)") == 1 || name.find("CVTF (scalar, fixed-point)") == 1;
}

u64 float_edge(unsigned kind, unsigned width, u64 payload) {
    const unsigned fraction_bits = width == 64 ? 52 : width == 32 ? 23 : 10;
    const u64 fraction = ones(fraction_bits);
    const u64 infinity = ones(width - 1) & ~fraction;
    const u64 quiet = u64{1} << (fraction_bits - 1);
    const u64 sign = u64{1} << (width - 1);
    const u64 bits_of = (payload & (quiet - 1)) | 1;
    switch (static_cast<Edge>(kind)) {
        case Edge::quiet_nan: return infinity | quiet | bits_of;
        case Edge::negative_quiet_nan: return sign | infinity | quiet | bits_of;
        case Edge::signalling_nan: return infinity | bits_of;
        case Edge::negative_signalling_nan: return sign | infinity | bits_of;
        case Edge::denormal: return bits_of;
        case Edge::negative_denormal: return sign | bits_of;
        case Edge::zero: return 0;
        case Edge::negative_zero: return sign;
        case Edge::infinity: return infinity;
        case Edge::negative_infinity: return sign | infinity;
        case Edge::largest: return infinity - 1;
        default: return u64{1} << fraction_bits;
    }
}

u64 integer_edge(unsigned kind, unsigned width) {
    const u64 values[] = {0, u64{1} << (width - 1), ones(width - 1), ones(width)};
    return values[kind];
}

/// The edge a source element stands for, or kEdges.
std::size_t edge_of(u64 value, unsigned width, bool integer) {
    if (integer) {
        for (unsigned kind = 0; kind < kIntegerEdges; ++kind) {
            if (value == integer_edge(kind, width)) {
                return kFloatEdges + kind;
            }
        }
        return kEdges;
    }
    const unsigned fraction_bits = width == 64 ? 52 : width == 32 ? 23 : 10;
    const u64 fraction = value & ones(fraction_bits);
    const u64 exponent = bits(value, width - 2, fraction_bits);
    const unsigned negative = bit(value, width - 1) ? 1 : 0;
    if (exponent == ones(width - 1 - fraction_bits) && fraction != 0) {
        return (bit(value, fraction_bits - 1) ? 0u : 2u) + negative;
    }
    if (exponent == 0 && fraction != 0) {
        return static_cast<std::size_t>(Edge::denormal) + negative;
    }
    for (unsigned kind = static_cast<unsigned>(Edge::zero); kind < kFloatEdges; ++kind) {
        if (value == float_edge(kind, width, 0)) {
            return kind;
        }
    }
    return kEdges;
}

u32 reg(const arch::DecodeRow& row, u32 insn, const char* name, u32 absent) {
    const arch::PatternField* field = row.pattern.find(name);
    return field == nullptr ? absent
                            : static_cast<u32>(bits(insn, field->lsb + field->width - 1, field->lsb));
}

}  // namespace

const char* edge_name(Edge edge) {
    return kNames[static_cast<std::size_t>(edge)];
}

void plant_edge(OracleCase& c, u32 insn, const arch::DecodeRow& row, unsigned turn) {
    if (!has_float_sources(row) || turn % 2 == 0) {
        return;
    }
    const OperandShape shape = shape_of(row, insn);
    const unsigned kinds = shape.integer ? kIntegerEdges : kFloatEdges;
    const unsigned kind = turn / 2 % kinds;
    // Each source in its turn.
    constexpr const char* kSources[] = {"rn", "rm", "ra"};
    const char* source = kSources[turn / 2 / kinds % 3];
    const u32 n = reg(row, insn, row.pattern.find(source) != nullptr ? source : "rn", 0);
    const u64 value =
        shape.integer ? integer_edge(kind, shape.width) : float_edge(kind, shape.width, c.input.v[n][1]);
    u64& low = shape.integer && reads_general(row) ? c.input.x[n % 31] : c.input.v[n][0];
    low = deposit(low, shape.width - 1, 0, value);
}

void count_edges(const OracleCase& c, u32 insn, const arch::DecodeRow& row, EdgeCounts& counts) {
    const u32 rd = reg(row, insn, row.pattern.find("rd") != nullptr ? "rd" : "rt", 32);
    const u32 rn = reg(row, insn, "rn", 33);
    const u32 rm = reg(row, insn, "rm", 34);
    counts[static_cast<std::size_t>(Edge::rd_is_rn)] += rd == rn;
    counts[static_cast<std::size_t>(Edge::rd_is_rm)] += rd == rm;
    counts[static_cast<std::size_t>(Edge::rn_is_rm)] += rn == rm;
    if (const AccessShape access = access_of(c, insn); access.size > 1) {
        counts[static_cast<std::size_t>(Edge::unaligned)] += access.address % access.size != 0;
        counts[static_cast<std::size_t>(Edge::page_crossing)] +=
            access.address / 4096 != (access.address + access.size - 1) / 4096;
    }
    if (!has_float_sources(row)) {
        return;
    }
    for (const FpcrEdge& edge : kFpcrEdges) {
        counts[static_cast<std::size_t>(edge.edge)] += (c.input.fpcr & edge.mask) == edge.value;
    }
    const OperandShape shape = shape_of(row, insn);
    for (const char* source : {"rn", "rm", "ra"}) {
        if (const u32 n = reg(row, insn, source, 32); n < 32) {
            const u64 low = !reads_general(row) ? c.input.v[n][0] : n == 31 ? 0 : c.input.x[n];
            const std::size_t edge = edge_of(low & ones(shape.width), shape.width, shape.integer);
            if (edge < kEdges) {
                ++counts[edge];
            }
        }
    }
}

bool must_have(const arch::DecodeRow& row, Edge edge, u32 fpcr_bits) {
    const auto index = static_cast<unsigned>(edge);
    if (edge >= Edge::round_plus && edge <= Edge::ahp) {
        const FpcrEdge& fact = kFpcrEdges[index - static_cast<unsigned>(Edge::round_plus)];
        return has_float_sources(row) && (fpcr_bits & fact.value) == fact.value;
    }
    if (index < static_cast<unsigned>(Edge::round_plus)) {
        return has_float_sources(row) && converts_integers(row) == (index >= kFloatEdges);
    }
    const bool rd = row.pattern.find("rd") != nullptr;
    const bool rn = row.pattern.find("rn") != nullptr;
    const bool rm = row.pattern.find("rm") != nullptr && row.pattern.find("rm")->width == 5;
    switch (edge) {
        case Edge::rd_is_rn: return rd && rn;
        case Edge::rd_is_rm: return rd && rm;
        case Edge::rn_is_rm: return rd && rn && rm;
        default: return may_be_unaligned(row);
    }
}

}  // namespace vmm::oracle
