#include "tests/oracle/case_generator.h"

#include <algorithm>

#include "vmm/base/bits.h"

namespace vmm::oracle {

bool CaseGenerator::random_insn(const arch::DecodeRow& row, u32& insn) {
    for (int attempt = 0; attempt < 100; ++attempt) {
        u32 word = static_cast<u32>(rng_.next() >> 16);
        // Registers that coincide and register 31 hide bugs that random numbers rarely show.
        if (one_in(8)) {
            word = static_cast<u32>(deposit(word, 9, 5, bits(word, 4, 0)));
        }
        if (one_in(8)) {
            word = static_cast<u32>(deposit(word, 20, 16, bits(word, 4, 0)));
        }
        if (one_in(12)) {
            word = static_cast<u32>(deposit(word, 20, 16, bits(word, 9, 5)));
        }
        if (one_in(16)) {
            word |= u32{31} << (5 * rng_.below(2));
        }
        // Shift amounts, options and offsets of zero are what real code has, and what the engine treats specially.
        if (one_in(4)) {
            word &= ~u32{0xFC00};
        }
        if (one_in(4)) {
            word &= ~u32{0xC00000};
        }
        word = (word & ~row.pattern.mask) | row.pattern.value;
        if (arch::decode(word) == &row) {
            insn = word;
            return true;
        }
    }
    return false;
}

u64 CaseGenerator::integer() {
    static constexpr u64 kEdges[] = {0,          1,          2,          ~u64{0},    ~u64{1},           0x7F,
                                     0x80,       0xFF,       0x7FFF,     0x8000,     0xFFFF,            0x7FFFFFFF,
                                     0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
                                     0xFFFFFFFF80000000, 0xFFFFFFFF7FFFFFFF, 0x8000000080000000, 63, 64, 32, 31};
    switch (rng_.below(6)) {
        case 0:
        case 1: return kEdges[rng_.below(std::size(kEdges))];
        case 2: return rng_.below(200) - 100;
        case 3: return u64{1} << rng_.below(64);
        case 4: return static_cast<u32>(rng_.next());
        default: return rng_.next();
    }
}

u64 CaseGenerator::float_lane(unsigned width) {
    const unsigned fraction_bits = width == 64 ? 52 : width == 32 ? 23 : 10;
    const unsigned exponent_bits = width - 1 - fraction_bits;
    const u64 exponent_max = ones(exponent_bits);
    const u64 bias = exponent_max / 2;
    const u64 sign = rng_.below(2) << (width - 1);
    u64 fraction = rng_.next() & ones(fraction_bits);
    if (one_in(3)) {
        fraction &= ~ones(static_cast<unsigned>(rng_.below(fraction_bits)));  // few significant bits: exact results, ties
    }
    u64 exponent = 0;
    switch (rng_.below(12)) {
        case 0: return sign;                                        // zero
        case 1: return sign | exponent_max << fraction_bits;        // infinity
        case 2: exponent = exponent_max; break;                     // NaN, quiet or signalling
        case 3: exponent = 0; break;                                // denormal
        case 4: exponent = rng_.below(3); break;                    // around the smallest normal
        case 5: exponent = exponent_max - 1 - rng_.below(3); break; // around the largest
        case 6: return sign | bias << fraction_bits;                // one
        case 7: exponent = bias + rng_.below(exponent_bits == 5 ? 14 : 66); break;  // conversions to integer
        case 8: exponent = bias - rng_.below(exponent_bits == 5 ? 14 : 66); break;
        case 9: return rng_.next() & ones(width);
        default: exponent = bias + 3 - rng_.below(7); break;        // near one: rounding and cancellation
    }
    return sign | (exponent & exponent_max) << fraction_bits | fraction;
}

u64 CaseGenerator::lane(unsigned width) {
    return integer() & ones(width);
}

void CaseGenerator::random_vectors(OracleState& state) {
    // One element size per case, so that the lanes an operation combines are alike.
    static constexpr unsigned kWidths[] = {8, 16, 16, 32, 32, 32, 64, 64, 64};
    const unsigned width = kWidths[rng_.below(std::size(kWidths))];
    const bool floating = width != 8 && !one_in(3);
    for (auto& reg : state.v) {
        for (u64& half : reg) {
            half = 0;
            for (unsigned lsb = 0; lsb < 64; lsb += width) {
                half |= (floating ? float_lane(width) : lane(width)) << lsb;
            }
        }
    }
    // Some registers repeat another one, exactly, negated or one unit apart: equality, cancellation, saturation.
    for (unsigned n = 0; n < 32; ++n) {
        if (one_in(4)) {
            const auto& other = state.v[rng_.below(32)];
            const u64 flip = one_in(2) ? replicate(u64{1} << (width - 1), width) : 0;
            const u64 step = rng_.below(3);
            state.v[n][0] = (other[0] ^ flip) + step;
            state.v[n][1] = (other[1] ^ flip) - step;
        }
    }
}

void CaseGenerator::random_state(OracleState& state) {
    for (u64& x : state.x) {
        x = integer();
    }
    state.sp = ORACLE_WINDOW_BASE + ORACLE_WINDOW_SIZE / 2 - 64 + 16 * rng_.below(8);
    random_vectors(state);
    state.nzcv = static_cast<u32>(rng_.below(16) << 28);
    constexpr u64 kFpcrBits = u64{1} << 26 | u64{1} << 25 | u64{1} << 24 | u64{3} << 22 | u64{1} << 19;
    state.fpcr = one_in(2) ? static_cast<u32>(rng_.next() & kFpcrBits) : 0;
    constexpr u64 kFpsrBits = u64{1} << 27 | 0x9F;
    state.fpsr = one_in(2) ? static_cast<u32>(rng_.next() & kFpsrBits) : 0;
    state.reserved = 0;
    for (u8& byte : state.image) {
        byte = static_cast<u8>(rng_.next() >> 24);
    }
}

}  // namespace vmm::oracle
