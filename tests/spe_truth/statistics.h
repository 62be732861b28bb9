// Sampled operations, as read back from records, and what to expect of their statistics.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <map>

#include "tests/spe_truth/bare_guest.h"

namespace vmm::spe::test {

inline constexpr u64 kE0 = 1;
inline constexpr u64 kE1 = 2;
inline constexpr u64 kTs = 0x20;
inline constexpr std::size_t kSamples = 50'000;

// ── Records ────────────────────────────────────────────────────────────────────────────────────────────────

enum class Kind : u8 { load, store, branch, other };
inline constexpr std::array<const char*, 4> kKindNames{"load", "store", "branch", "other"};

struct Sampled {
    u64 pc = 0;
    u64 operation = 0;  // its number, the first that the PE ever executed being 1
    u8 el = 0;
    Kind kind = Kind::other;
    u64 events = 0;
};

/// The records of a buffer, by the framing rule. Every one must have PC, operation type and timestamp.
inline std::vector<Sampled> parse(std::span<const u8> bytes) {
    std::vector<Sampled> samples;
    Sampled now;
    unsigned parts = 0;
    bool whole = true;
    for (std::size_t at = 0; at < bytes.size();) {
        const unsigned header = bytes[at];
        const std::size_t size = header < 0x20 ? 0 : std::size_t{1} << (header >> 4 & 3);
        if (size >= bytes.size() - at) {
            FAIL("the last packet is cut off");
        }
        u64 value = 0;
        std::memcpy(&value, bytes.data() + at + 1, size);
        at += 1 + size;
        if (header == 0xB0) {
            now.pc = static_cast<u64>(sign_extend(value, 56));
            now.el = static_cast<u8>(bits(value, 62, 61));
            parts |= 1;
        } else if (header >= 0x48 && header <= 0x4A) {
            const bool is_store = (value & 1) != 0;
            now.kind = header == 0x4A   ? Kind::branch
                       : header == 0x48 ? Kind::other
                       : is_store       ? Kind::store
                                        : Kind::load;
            parts |= 2;
        } else if (header == 0x52 || header == 0x62) {
            now.events = value;
        } else if (header == 0x71) {
            now.operation = value;
            whole = whole && parts == 3;
            samples.push_back(now);
            parts = 0;
        }
    }
    REQUIRE(whole);
    return samples;
}

// From the GNU assembler.
inline constexpr u32 kLdr = 0xF9400041;    // ldr x1, [x2]
inline constexpr u32 kStr = 0xF9000443;    // str x3, [x2, #8]
inline constexpr u32 kLdp = 0xA9401845;    // ldp x5, x6, [x2]
inline constexpr u32 kStp = 0xA9021845;    // stp x5, x6, [x2, #32]
inline constexpr u32 kLdrQ = 0x3DC00040;   // ldr q0, [x2]
inline constexpr u32 kStrQ = 0x3D800440;   // str q0, [x2, #16]
inline constexpr u32 kLdadd = 0xF8230047;  // ldadd x3, x7, [x2]
inline constexpr u32 kAdd = 0x91000484;    // add x4, x4, #1
inline constexpr u32 kMul = 0x9B047C88;    // mul x8, x4, x4
inline constexpr u32 kNop = 0xD503201F;
inline constexpr u32 kAdrp = 0x90000009;    // adrp x9, .
inline constexpr u32 kAddLow = 0x91048129;  // add x9, x9, #0x120
inline constexpr u32 kCmp = 0xF100009F;     // cmp x4, #0
inline constexpr u32 kCselNe = 0x9A84106A;  // csel x10, x3, x4, ne
inline constexpr u32 kFadd = 0x1E622821;    // fadd d1, d1, d2
inline constexpr u32 kVadd = 0x4EA38463;    // add v3.4s, v3.4s, v3.4s
inline constexpr u32 kLdrBad = 0xF94000C1;  // ldr x1, [x6], where nothing is mapped
inline constexpr u32 kEret = 0xD69F03E0;
inline constexpr u32 kMovz = 0xD2800024;  // mov x4, #1
inline constexpr u32 kMovk = 0xF2A00004;  // movk x4, #0, lsl #16

inline u32 b(s64 words) {
    return 0x14000000 | (static_cast<u32>(words) & 0x3FFFFFF);
}
inline u32 b_cond(unsigned cond, s64 words) {
    return 0x54000000 | (static_cast<u32>(words) & 0x7FFFF) << 5 | cond;
}
inline u32 cbz(unsigned rt, s64 words) {
    return 0xB4000000 | (static_cast<u32>(words) & 0x7FFFF) << 5 | rt;
}
inline constexpr unsigned kEq = 0;
inline constexpr unsigned kNe = 1;

inline Kind kind_of(u32 word) {
    switch (word) {
        case kLdr:
        case kLdp:
        case kLdrQ:
        case kLdrBad:
        case kLdadd: return Kind::load;
        case kStr:
        case kStp:
        case kStrQ: return Kind::store;
        case kEret: return Kind::branch;
        default: break;
    }
    const bool is_branch = word >> 26 == 5 || word >> 24 == 0x54 || word >> 24 == 0xB4;
    return is_branch ? Kind::branch : Kind::other;
}

// ── Expectation ────────────────────────────────────────────────────────────────────────────────────────────

/// Worst of what was seen, for the report.
struct Worst {
    double z_share = 0;
    double z_pc = 0;
    double z_chi = 0;
    std::size_t shares = 0;
    std::size_t pcs = 0;
    std::size_t beyond_three = 0;        // shares more than three standard errors off
    std::array<double, 4> difference{};  // of all samples of a kind from what is expected
    std::array<double, 4> variance{};
};

/// With jitter the position of a sample in a loop of L operations is a random walk on Z/L, its step uniform
/// over 256 consecutive values, so its stationary distribution is uniform whatever L. The walk's eigenvalues
/// are sin(256 pi k / L) / (256 sin(pi k / L)); with r the largest of them (but k = 0), the variance of any
/// sum over n samples is at most (1 + r) / (1 - r) times that of independent ones. That factor widens the
/// standard errors below.
inline double correlation_factor(std::size_t length) {
    const double pi = std::acos(-1.0);
    double r = 0;
    for (std::size_t k = 1; k < length; ++k) {
        const double angle = pi * static_cast<double>(k) / static_cast<double>(length);
        r = std::max(r, std::abs(std::sin(256 * angle) / (256 * std::sin(angle))));
    }
    return (1 + r) / (1 - r);
}

inline double z_score(double seen, double n, double share, double factor) {
    const double variance = n * share * (1 - share) * factor;
    return variance == 0 ? (seen == n * share ? 0 : 1e9) : (seen - n * share) / std::sqrt(variance);
}

/// What was executed: how often each PC, and which instruction is there.
struct Executed {
    std::map<u64, u64> times;
    std::map<u64, u32> words;
    std::size_t cycle = 0;  // operations after which it repeats, for correlation_factor()
};

/// The share of each kind within 4 standard errors, of each PC within 4, and the chi-square of all PCs within
/// 4 of its own standard deviations (2 (L - 1) being its variance). Two hundred shares are looked at, of
/// which one in 370 may be beyond 3 by chance, so that bound is for all programs together: check_all().
inline void check_shares(const std::string& name, const Executed& executed, std::span<const Sampled> samples,
                         Worst& worst) {
    const double n = static_cast<double>(samples.size());
    const double factor = correlation_factor(executed.cycle);
    double total = 0;
    for (const auto& [pc, times] : executed.times) {
        total += static_cast<double>(times);
    }
    std::array<double, 4> expected{};
    for (const auto& [pc, times] : executed.times) {
        expected[static_cast<std::size_t>(kind_of(executed.words.at(pc)))] +=
            static_cast<double>(times) / total;
    }
    std::array<double, 4> seen{};
    std::map<u64, double> histogram;
    for (const Sampled& sample : samples) {
        seen[static_cast<std::size_t>(sample.kind)] += 1;
        histogram[sample.pc] += 1;
    }
    for (std::size_t kind = 0; kind < seen.size(); ++kind) {
        const double z = z_score(seen[kind], n, expected[kind], factor);
        CAPTURE(name, kKindNames[kind], seen[kind], n * expected[kind], z);
        CHECK(std::abs(z) <= 4);
        worst.z_share = std::max(worst.z_share, std::abs(z));
        worst.beyond_three += std::abs(z) > 3 ? 1 : 0;
        worst.shares += expected[kind] > 0 ? 1 : 0;
        worst.difference[kind] += seen[kind] - n * expected[kind];
        worst.variance[kind] += n * expected[kind] * (1 - expected[kind]) * factor;
    }
    double chi_square = 0;
    for (const auto& [pc, times] : executed.times) {
        const double share = static_cast<double>(times) / total;
        const double mean = n * share;
        const double z = z_score(histogram[pc], n, share, factor);
        CAPTURE(name, pc, histogram[pc], mean, z);
        CHECK(std::abs(z) <= 4);
        worst.z_pc = std::max(worst.z_pc, std::abs(z));
        chi_square += (histogram[pc] - mean) * (histogram[pc] - mean) / mean;
        ++worst.pcs;
    }
    CHECK(histogram.size() == executed.times.size());  // nothing that was never executed
    const double freedom = static_cast<double>(executed.times.size()) - 1;
    const double z_chi = (chi_square / factor - freedom) / std::sqrt(2 * freedom);
    CAPTURE(name, chi_square, freedom);
    CHECK(z_chi <= 4);
    worst.z_chi = std::max(worst.z_chi, z_chi);
}

/// All programs together: each kind within 3 standard errors over the millions of samples, and no more single
/// shares beyond 3 than chance allows: their number is Poisson with mean 0.0027 a share, and `most` the bound
/// that it exceeds once in 500.
inline void check_all(const Worst& worst, std::size_t most) {
    for (std::size_t kind = 0; kind < worst.variance.size(); ++kind) {
        const double z = worst.difference[kind] / std::sqrt(worst.variance[kind]);
        CAPTURE(kKindNames[kind], z);
        CHECK(std::abs(z) <= 3);
        std::cout << "  " << kKindNames[kind] << " of all programs: z = " << z << "\n";
    }
    CHECK(worst.beyond_three <= most);
    std::cout << "  " << worst.shares << " shares: worst z = " << worst.z_share << ", " << worst.beyond_three
              << " beyond 3; " << worst.pcs << " PCs: worst z = " << worst.z_pc << "; worst chi-square "
              << worst.z_chi << " deviations above its mean\n";
}

}  // namespace vmm::spe::test
