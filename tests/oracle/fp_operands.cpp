#include "tests/oracle/fp_operands.h"

#include <algorithm>

#include "vmm/base/bits.h"

namespace vmm::oracle {

namespace {

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

struct Format {
    unsigned fraction_bits;
    unsigned exponent_bits;
};

Format format_of(unsigned width) {
    return width == 16 ? Format{10, 5} : width == 32 ? Format{23, 8} : Format{52, 11};
}

/// Exponent fields: the ends, around one, where integers of every width begin and end, where narrower formats do.
std::vector<u64> exponent_edges(const Format& f) {
    const s64 top = static_cast<s64>(ones(f.exponent_bits));
    const s64 bias = top / 2;
    std::vector<u64> edges;
    for (s64 e = 0; e <= top; ++e) {
        const s64 power = e - bias;
        const auto near = [power](s64 centre, s64 distance) { return std::abs(power - centre) <= distance; };
        const bool end = e <= 3 || e >= top - 2;
        const bool integer = near(0, 3) || near(8, 1) || near(16, 1) || near(32, 1) || near(64, 1);
        const bool precision =
            near(10, 1) || near(23, 1) || near(52, 1) || near(-11, 1) || near(-24, 2) || near(-53, 1);
        const bool narrower = near(-14, 1) || near(15, 1) || near(-126, 1) || near(-149, 1) || near(127, 1);
        if (end || integer || precision || narrower || f.exponent_bits == 5) {
            edges.push_back(static_cast<u64>(e));
        }
    }
    return edges;
}

/// Fractions: empty, full, one bit at either end, alternating, and the ties of rounding to narrower formats.
std::vector<u64> fraction_patterns(const Format& f) {
    const u64 all = ones(f.fraction_bits);
    const u64 half = u64{1} << (f.fraction_bits - 1);
    std::vector<u64> patterns = {0, 1, half, half + 1, half - 1, all, all - 1, all / 3};
    for (const unsigned narrow : {23u, 10u}) {
        if (narrow < f.fraction_bits) {
            const u64 tie = u64{1} << (f.fraction_bits - narrow - 1);
            const std::initializer_list<u64> ties = {tie,     tie - 1,   tie + 1,
                                                     3 * tie, all - tie, all - tie + 1};
            patterns.insert(patterns.end(), ties);
        }
    }
    return patterns;
}

class TupleSource {
  public:
    TupleSource(const OperandShape& shape, u64 limit, Rng& rng)
        : values_(shape.integer ? integer_values(shape.width)
                                : fp_values(shape.width, shape.width == 16 && shape.arity == 1)),
          arity_(shape.arity),
          rng_(rng) {
        u64 all = 1;
        for (unsigned i = 0; i < arity_ && all <= limit; ++i) {
            all *= values_.size();
        }
        const bool every = all <= limit || (shape.width == 16 && arity_ == 1);
        systematic_ = every && !shape.across;
        count_ = every ? all : limit;
    }

    u64 count() const { return count_; }

    void get(u64 index, u64 (&tuple)[3]) {
        for (unsigned i = 0; i < 3; ++i) {
            const bool used = i < arity_;
            const u64 pick = used && systematic_ ? index % values_.size() : rng_.below(values_.size());
            index /= used ? values_.size() : 1;
            tuple[i] = values_[pick];
        }
    }

  private:
    std::vector<u64> values_;
    unsigned arity_;
    Rng& rng_;
    bool systematic_ = false;
    u64 count_ = 0;
};

}  // namespace

unsigned source_width(std::string_view name) {
    if (contains(name, "(half") || contains(name, "H)") || contains(name, "(general, H")) {
        return 16;
    }
    return contains(name, "(double") || contains(name, "D)") || contains(name, "FCVTXN") ? 64 : 32;
}

OperandShape shape_of(const arch::DecodeRow& row, u32 insn) {
    const std::string_view name = row.name;
    OperandShape shape;
    shape.width = source_width(name);
    shape.integer = contains(name, "SCVTF") || contains(name, "UCVTF") || contains(name, "URECPE") ||
                    contains(name, "URSQRTE");
    if (shape.integer && (contains(name, "(scalar, integer)") || contains(name, "(scalar, fixed-point)"))) {
        shape.width = bit(insn, 31) ? 64 : 32;
    }
    const bool multiply_add = contains(name, "FMLA") || contains(name, "FMLS");
    shape.arity = row.pattern.find("ra") != nullptr || multiply_add ? 3
                  : row.pattern.find("rm") != nullptr               ? 2
                                                                    : 1;
    shape.vector = !bit(insn, 28);
    // Pairwise, across lanes, by element: what meets what depends on more than one lane.
    shape.across = bits(insn, 21, 17) == 0b11000 || contains(name, "P (");
    shape.vector |= shape.across;
    return shape;
}

std::vector<u64> fp_values(unsigned width, bool every) {
    std::vector<u64> values;
    if (every) {
        for (u64 v = 0; v < (u64{1} << width); ++v) {
            values.push_back(v);
        }
        return values;
    }
    const Format f = format_of(width);
    for (const u64 exponent : exponent_edges(f)) {
        for (const u64 fraction : fraction_patterns(f)) {
            values.push_back(exponent << f.fraction_bits | fraction);
            values.push_back(values.back() | u64{1} << (width - 1));
        }
    }
    return values;
}

std::vector<u64> integer_values(unsigned width) {
    std::vector<u64> values = {0};
    for (unsigned bit = 0; bit < width; ++bit) {
        const u64 power = u64{1} << bit;
        for (const u64 v :
             {power, power - 1, power + 1, power | power >> 1, power | power >> 11, power | power >> 11 | 1,
              power | power >> 24, power | power >> 24 | 1, power | power >> 53, 0 - power, 1 - power}) {
            values.push_back(v & ones(width));
        }
    }
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
}

std::vector<FpOperands> make_operands(const OperandShape& shape, u64 limit, u64 seed) {
    Rng rng(seed);
    TupleSource source(shape, limit, rng);
    const unsigned lanes = shape.vector ? 128 / shape.width : 1;
    std::vector<FpOperands> cases((source.count() + lanes - 1) / lanes);
    for (u64 i = 0; i < cases.size(); ++i) {
        u64(*registers[3])[2] = {&cases[i].a, &cases[i].b, &cases[i].c};
        for (auto* reg : registers) {
            (*reg)[0] = rng.next();
            (*reg)[1] = rng.next();
        }
        for (unsigned lane = 0; lane < lanes; ++lane) {
            u64 tuple[3];
            source.get((i * lanes + lane) % source.count(), tuple);
            const unsigned lsb = lane * shape.width % 64;
            for (unsigned r = 0; r < 3; ++r) {
                u64& half = (*registers[r])[lane * shape.width / 64];
                half = deposit(half, lsb + shape.width - 1, lsb, tuple[r]);
            }
        }
    }
    return cases;
}

}  // namespace vmm::oracle
