// Optional features: identification and register bits, types, filters, sampling, record sizes and strict writes, each
// against tables typed from the manual or a definition written here.
#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "spe/feature_options.h"
#include "spe/filter.h"
#include "spe/op_type.h"
#include "spe/sampler.h"
#include "vmm/base/rng.h"

namespace vmm::spe::test {

namespace {

using arch::OpClass;

void report_rows(const char* what, std::size_t rows) {
    std::cout << "rows: " << rows << " of " << what << "\n";
}

}  // namespace

// ── Registers ──────────────────────────────────────────────────────────────────────────────────────────────

namespace {

struct VersionRow {
    u8 pmsver;
    u64 pmsidr, pmsfcr, pmsevfr, pmblimitr;
};
// Without any optional feature but LDS.
constexpr VersionRow kVersions[] = {
    {1, 0x2641F, 0x70007, 0x0000AA, 0xFFFFFFFFFFFFF007}, {2, 0x2641F, 0x70007, 0x0008AA, 0xFFFFFFFFFFFFF007},
    {3, 0x2645F, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027}, {4, 0x2645F, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027},
    {5, 0x2645F, 0x7000F, 0xF80FFE, 0xFFFFFFFFFFFFF027},
};

struct FeatureRow {
    const char* text;
    u8 since;              // PMSVer
    u64 pmsidr;            // bits that change
    u64 pmbidr = 0;
    u64 pmsicr = 0;        // bits that appear
    u64 pmsfcr = 0;
    u64 pmslatfr = 0;
    u64 pmsdsfr = 0;
};
constexpr FeatureRow kFeatures[] = {
    {.text = "", .since = 1, .pmsidr = 0},
    {.text = "ernd=1", .since = 1, .pmsidr = 0x20, .pmsicr = 0xFF00000000000000},
    {.text = "pbt=1", .since = 3, .pmsidr = 0x1000000},
    {.text = "lds=0", .since = 1, .pmsidr = 0x10},
    {.text = "fds=1", .since = 5, .pmsidr = 0x80, .pmsfcr = 0x10, .pmsdsfr = 0x5F01},
    {.text = "crr=1", .since = 5, .pmsidr = 0x2000000},
    {.text = "eft=1", .since = 5, .pmsidr = 0xC000000, .pmsfcr = 0x1F000000180000},
    {.text = "count=16", .since = 1, .pmsidr = 0x10000, .pmslatfr = 0xF000},
    {.text = "count=12", .since = 1, .pmsidr = 0},
    {.text = "size=128", .since = 1, .pmsidr = 0x1000},
    {.text = "size=2048", .since = 1, .pmsidr = 0x6000 ^ 0xB000},
    {.text = "align=1", .since = 1, .pmsidr = 0, .pmbidr = 0x6},
    {.text = "align=16", .since = 1, .pmsidr = 0, .pmbidr = 0x6 ^ 0x4},
    {.text = "size=256,align=256", .since = 1, .pmsidr = 0x6000 ^ 0x8000, .pmbidr = 0x6 ^ 0x8},
    {.text = "size=2048,align=2048", .since = 1, .pmsidr = 0x6000 ^ 0xB000, .pmbidr = 0x6 ^ 0xB},
    {.text = "strict=1", .since = 1, .pmsidr = 0},
    {.text = "arch-inst=0", .since = 1, .pmsidr = 0x8},
    {.text = "interval=256", .since = 1, .pmsidr = 0x400},
    {.text = "interval=768", .since = 1, .pmsidr = 0x400 ^ 0x300},
    {.text = "interval=4096", .since = 1, .pmsidr = 0x400 ^ 0x800},
    {.text = "count-size=16,max-size=128", .since = 1, .pmsidr = 0x11000, .pmslatfr = 0xF000},
    {.text = "collisions=1", .since = 1, .pmsidr = 0},
};

}  // namespace

TEST_CASE("features: each shows and hides exactly its bits, in every version", "[spe][features]") {
    std::size_t rows = 0;
    for (const VersionRow& version : kVersions) {
        for (const FeatureRow& feature : kFeatures) {
            CAPTURE(version.pmsver, feature.text);
            ProfilingConfig config;
            config.pmsver = version.pmsver;
            // What version 5 has by itself is tried on its own, too.
            config.features.fds = false;
            config.features.crr = false;
            const auto result = apply_features(config, feature.text);
            REQUIRE(result.has_value() == (version.pmsver >= feature.since));
            ++rows;
            if (!result) {
                CHECK(result.error().status == ExitStatus::usage);
                continue;
            }
            const Features f = resolve(config.pmsver, config.features);
            const RegisterMasks masks = register_masks(f);
            CHECK(pmsidr_value(f) == (version.pmsidr ^ feature.pmsidr));
            CHECK(pmbidr_value(f, 0) == (0x126 ^ feature.pmbidr));
            CHECK(masks.pmscr == 0x3B);
            CHECK(masks.pmsirr == 0xFFFFFF01);
            CHECK(masks.pmsicr == (0xFFFFFFFF | feature.pmsicr));
            CHECK(masks.pmsfcr == (version.pmsfcr | feature.pmsfcr));
            CHECK(masks.pmsevfr == version.pmsevfr);
            CHECK(masks.pmslatfr == (0xFFF | feature.pmslatfr));
            CHECK(masks.pmsdsfr == feature.pmsdsfr);
            CHECK(masks.pmblimitr == version.pmblimitr);
            CHECK(masks.pmbptr == ~u64{0});
            CHECK(masks.pmbsr == 0xFC0FFFFF);
        }
    }
    report_rows("register bits by version and feature", rows);
}

TEST_CASE("features: version 5 has FDS and CRR unless they are switched off", "[spe][features]") {
    CHECK(pmsidr_value(resolve(5)) == 0x20264DF);
    CHECK(pmsidr_value(resolve(4)) == 0x2645F);
    ProfilingConfig config;
    config.pmsver = 5;
    REQUIRE(apply_features(config, "lds=0"));  // takes FDS along
    CHECK(pmsidr_value(resolve(5, config.features)) == 0x202644F);
    REQUIRE(apply_features(config, "crr=0"));
    CHECK(pmsidr_value(resolve(5, config.features)) == 0x2644F);
}

TEST_CASE("features: a list that cannot be used says what is wrong and what is accepted", "[spe][features]") {
    struct Row {
        u8 pmsver;
        const char* text;
        std::vector<const char*> said;
    };
    const Row rows[] = {
        {3, "erd=1", {"'erd'", "ernd, pbt, lds"}},
        {3, "", {}},
        {3, "ernd", {"ernd", "0 or 1"}},
        {3, "ernd=", {"ernd", "''", "0 or 1"}},
        {3, "ernd=2", {"ernd", "'2'", "0 or 1"}},
        {3, "ernd=-1", {"ernd", "'-1'", "0 or 1"}},
        {3, "pbt=yes", {"pbt", "'yes'", "0 or 1"}},
        {3, "count=14", {"count", "'14'", "12 or 16"}},
        {3, "count=99999999999999999999", {"count", "12 or 16"}},
        {3, "size=32", {"size", "'32'", "64 to 2048"}},
        {3, "size=96", {"size", "'96'", "power of two"}},
        {3, "size=4096", {"size", "'4096'", "64 to 2048"}},
        {3, "align=0", {"align", "'0'", "1 to 2048"}},
        {3, "align=64x", {"align", "'64x'"}},
        {3, "align=128", {"align must not exceed size"}},
        {3, "ernd=1,,pbt=1", {"''", "ernd"}},
        {3, "ernd=1,", {"''", "ernd"}},
        {3, ",ernd=1", {"''", "ernd"}},
        {3, "=1", {"''", "ernd"}},
        {3, "interval=1000", {"interval", "'1000'", "1024"}},
        {3, "arch-inst=2", {"arch-inst", "'2'", "0 or 1"}},
        {3, "count-size=14", {"count-size", "'14'", "12 or 16"}},
        {3, "fds=1", {"fds=1 needs PMSVer 5", "PMSVer is 3"}},
        {3, "crr=1", {"crr=1 needs PMSVer 5"}},
        {4, "eft=1", {"eft=1 needs PMSVer 5"}},
        {2, "pbt=1", {"pbt=1 needs PMSVer 3"}},
        {5, "fds=1,lds=0", {"fds=1 needs lds=1"}},
        {6, "ernd=1", {"PMSVer must be 1 to 5"}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        ProfilingConfig config;
        config.pmsver = row.pmsver;
        const auto result = apply_features(config, row.text);
        REQUIRE(result.has_value() == row.said.empty());
        for (const char* words : row.said) {
            CHECK_THAT(result.error().text, Catch::Matchers::Contains(words));
        }
        CHECK(pmsidr_value(resolve(3, config.features)) == 0x2645F);  // nothing of a bad list is kept
    }
    report_rows("feature lists", std::size(rows));
    ProfilingConfig config;
    config.pmsver = 5;
    REQUIRE(apply_features(config, "ernd=1,pbt=1,eft=1,count=16,size=128,align=16,strict=1,collisions=1"));
    CHECK(pmsidr_value(resolve(5, config.features)) == 0xF0374FF);
    CHECK(config.features.strict_writes);
    CHECK(config.features.collisions);
}

TEST_CASE("features: the list that help prints names every key with its values", "[spe][features]") {
    const std::string table = feature_table();
    for (const char* words : {"ernd ", "pbt ", "lds ", "fds ", "crr ", "eft ", "arch-inst ", "interval ", "count-size ",
                              "max-size ", "align ", "strict ", "collisions ", "12 or 16", "1.4", "PMSIDR_EL1.ERnd"}) {
        CHECK_THAT(table, Catch::Matchers::Contains(words));
    }
}

// ── Operation types ────────────────────────────────────────────────────────────────────────────────────────

TEST_CASE("features: call and return, FP and SIMD by operation class", "[spe][features]") {
    constexpr u8 B = 1, LD = 2, ST = 4, FP = 8, SIMD = 16;
    struct Row {
        OpClass op_class;
        u32 insn;
        u8 plain, crr, fpf;      // payload without and with the features
        u8 flags, eft_flags;
    };
    const Row rows[] = {
        {OpClass::other, 0x91000421, 0x00, 0x00, 0x00, 0, 0},
        {OpClass::multiply, 0x9b027c20, 0x00, 0x00, 0x00, 0, 0},
        {OpClass::divide, 0x9ac20820, 0x00, 0x00, 0x00, 0, 0},
        {OpClass::cond_select, 0x9a82102a, 0x01, 0x01, 0x01, 0, 0},
        {OpClass::fp, 0x1e602801, 0x00, 0x00, 0x02, 0, FP},
        {OpClass::fp_divide, 0x1e601800, 0x00, 0x00, 0x02, 0, FP},                  // fdiv d0, d0, d0
        {OpClass::fp_divide, 0x6e20fc00, 0x00, 0x00, 0x06, 0, FP | SIMD},           // fdiv v0.4s, v0.4s, v0.4s
        {OpClass::fp_cond, 0x1e600c22, 0x01, 0x01, 0x03, 0, FP},
        {OpClass::simd, 0x4ea38463, 0x00, 0x00, 0x04, 0, SIMD},
        {OpClass::simd_fp, 0x4e24d484, 0x00, 0x00, 0x06, 0, FP | SIMD},
        {OpClass::crypto, 0x4e284820, 0x00, 0x00, 0x04, 0, SIMD},                   // aese v0.16b, v1.16b
        {OpClass::crypto, 0x1ac04000, 0x00, 0x00, 0x00, 0, 0},                      // crc32b
        {OpClass::branch, 0x14000000, 0x00, 0x18, 0x00, B, B},
        {OpClass::branch_link, 0x94000000, 0x00, 0x08, 0x00, B, B},
        {OpClass::branch_cond, 0x54000041, 0x01, 0x19, 0x01, B, B},
        {OpClass::branch_ind, 0xd61f0160, 0x02, 0x1A, 0x02, B, B},
        {OpClass::branch_ind_link, 0xd63f0180, 0x02, 0x0A, 0x02, B, B},
        {OpClass::branch_ret, 0xd65f03c0, 0x02, 0x12, 0x02, B, B},
        {OpClass::eret, 0xd69f03e0, 0x02, 0x1A, 0x02, B, B},
        {OpClass::load, 0xf9400041, 0x00, 0x00, 0x00, LD, LD},
        {OpClass::store, 0xf9000041, 0x01, 0x01, 0x01, ST, ST},
        {OpClass::load_fp, 0xfd400040, 0x04, 0x04, 0x04, LD, LD | FP},
        {OpClass::store_fp, 0xfd000040, 0x05, 0x05, 0x05, ST, ST | FP},
        {OpClass::load_simd, 0x3dc00045, 0x04, 0x04, 0x04, LD, LD | SIMD},
        {OpClass::store_simd, 0x3d800045, 0x05, 0x05, 0x05, ST, ST | SIMD},
        {OpClass::prefetch, 0xf9800040, 0x00, 0x00, 0x00, 0, 0},
        {OpClass::cache_op, 0xd50b7b22, 0x00, 0x00, 0x00, 0, 0},
        {OpClass::dc_zva, 0xd50b7422, 0x11, 0x11, 0x11, ST, ST},
    };
    for (const Row& row : rows) {
        arch::OpTrace trace;
        trace.op_class = row.op_class;
        trace.insn = row.insn;
        CAPTURE(arch::to_string(row.op_class), row.insn);
        const auto with = [&](const FeatureOptions& options) {
            OpType type = classify(trace, 5);
            add_optional_type(type, trace, resolve(5, options));
            return type;
        };
        const OpType plain = with({.crr = false});
        const OpType crr = with({});
        const OpType eft = with({.crr = false, .eft = true});
        CHECK(+plain.payload == +row.plain);
        CHECK(+plain.flags == +row.flags);
        CHECK(+crr.payload == +row.crr);
        CHECK(+crr.flags == +row.flags);
        CHECK(+eft.payload == +row.fpf);
        CHECK(+eft.flags == +row.eft_flags);
        OpType none = classify(trace, 3);
        const OpType before = none;
        add_optional_type(none, trace, resolve(3));
        CHECK(none == before);
    }
    report_rows("operation types", std::size(rows));
}

// ── Filters ────────────────────────────────────────────────────────────────────────────────────────────────

TEST_CASE("features: exact type matching, by example and for every combination", "[spe][features]") {
    constexpr u64 FT = 2, B = 1 << 16, LD = 1 << 17, ST = 1 << 18, FP = 1 << 19, SIMD = 1 << 20;
    constexpr u64 Bm = u64{1} << 48, LDm = u64{1} << 49, STm = u64{1} << 50, FPm = u64{1} << 51, SIMDm = u64{1} << 52;
    struct Row {
        u64 pmsfcr;
        unsigned flags;
        bool kept;
    };
    const Row rows[] = {
        {FT, 0, true},                                                  // nothing selected: all pass
        {FT, kTypeLoad, true},
        {FT | LD | ST, kTypeLoad, true},                                // any of the selected
        {FT | LD | ST, kTypeLoad | kTypeStore, true},
        {FT | LD | ST, kTypeBranch, false},
        {FT | LD | ST | LDm | STm, kTypeLoad, false},                   // both: atomics only
        {FT | LD | ST | LDm | STm, kTypeLoad | kTypeStore, true},
        {FT | LD | LDm | STm, kTypeLoad, true},                         // loads that do not store
        {FT | LD | LDm | STm, kTypeLoad | kTypeStore, false},
        {FT | LD | SIMD | SIMDm, kTypeLoad, false},                     // loads of SIMD
        {FT | LD | SIMD | SIMDm, kTypeLoad | kTypeSimd, true},
        {FT | LD | SIMD | SIMDm, kTypeSimd, false},
        {FT | FP, kTypeFp, true},
        {FT | FP, kTypeFp | kTypeSimd, true},
        {FT | FP | FPm | SIMDm, kTypeFp | kTypeSimd, false},            // scalar FP only
        {FT | FP | FPm | SIMDm, kTypeFp, true},
        {FT | Bm, kTypeBranch, false},                                  // anything but branches
        {FT | Bm, 0, true},
        {FT | B | Bm, kTypeBranch, true},
        {B | Bm, kTypeLoad, true},                                      // the filter is off
    };
    const u64 filterable = filterable_events(5);
    const auto keeps = [&](u64 pmsfcr, unsigned flags) {
        Sample sample;
        sample.type.flags = static_cast<u8>(flags);
        return filter({.pmsfcr = pmsfcr}, filterable, sample).keep();
    };
    for (const Row& row : rows) {
        CAPTURE(row.pmsfcr, row.flags);
        CHECK(keeps(row.pmsfcr, row.flags) == row.kept);
    }
    report_rows("type filter examples", std::size(rows));

    std::size_t combinations = 0;
    for (u64 select = 0; select < 32; ++select) {
        for (u64 mask = 0; mask < 32; ++mask) {
            for (unsigned flags = 0; flags < 32; ++flags) {
                bool wanted = false;
                bool wants_any = false;
                bool exact = true;
                for (unsigned type = 0; type < 5; ++type) {
                    const bool has = (flags >> type & 1) != 0;
                    const bool selected = (select >> type & 1) != 0;
                    if ((mask >> type & 1) != 0) {
                        exact = exact && has == selected;
                    } else if (selected) {
                        wants_any = true;
                        wanted = wanted || has;
                    }
                }
                REQUIRE(keeps(FT | select << 16 | mask << 48, flags) == (exact && (wanted || !wants_any)));
                ++combinations;
            }
        }
    }
    report_rows("type filter combinations", combinations);
}

TEST_CASE("features: the data source filter drops loads from elsewhere", "[spe][features]") {
    constexpr u64 kFds = 0x10;
    struct Row {
        u64 pmsfcr, pmsdsfr;
        unsigned flags;
        int source;  // -1: no packet
        bool kept;
    };
    const Row rows[] = {
        {0, 0, kTypeLoad, 0x8, true},
        {kFds, 0, kTypeLoad, 0x0, false},           // nothing selected: defined to drop all
        {kFds, 0x0001, kTypeLoad, 0x0, true},
        {kFds, 0x0001, kTypeLoad, 0x8, false},
        {kFds, 0x0100, kTypeLoad, 0x8, true},
        {kFds, 0x4000, kTypeLoad, 0xE, true},
        {kFds, 0x4000, kTypeLoad, 0xB, false},
        {kFds, 0x4800, kTypeLoad, 0xB, true},
        {kFds, 0x0001, kTypeLoad | kTypeStore, 0x8, false},  // an atomic
        {kFds, 0x0100, kTypeLoad | kTypeStore, 0x8, true},
        {kFds, 0, kTypeLoad, -1, true},             // a load without the packet (it faulted)
        {kFds, 0, kTypeStore, -1, true},
        {kFds, 0, kTypeStore, 0x8, true},           // concerns loads only
        {kFds, 0, kTypeBranch, -1, true},
        {kFds, 0, 0, -1, true},
        {kFds | 2 | 1 << 17, 0x0100, kTypeLoad, 0x8, true},   // with the type filter
        {kFds | 2 | 1 << 17, 0x0100, kTypeStore, -1, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.pmsfcr, row.pmsdsfr, row.flags, row.source);
        Sample sample;
        sample.type.flags = static_cast<u8>(row.flags);
        if (row.source >= 0) {
            sample.data_source = static_cast<u16>(row.source);
        }
        CHECK(filter({.pmsfcr = row.pmsfcr, .pmsdsfr = row.pmsdsfr}, filterable_events(5), sample).keep() == row.kept);
    }
    report_rows("data source filter", std::size(rows));
}

// ── Sampling ───────────────────────────────────────────────────────────────────────────────────────────────

namespace {

/// Distances of samples in `sampler`, operation by operation.
std::vector<u64> periods(Sampler& sampler, unsigned count) {
    std::vector<u64> out;
    for (u64 ops = 1; out.size() < count; ++ops) {
        const bool sampled = sampler.ops_until_sample() == 1;
        sampler.advance(1);
        if (sampled) {
            out.push_back(ops);
            ops = 0;
        }
    }
    return out;
}

}  // namespace

TEST_CASE("features: ERnd keeps the mean at INTERVAL + 1 and spreads over 255 to either side", "[spe][features]") {
    struct Row {
        u64 interval;
        unsigned samples;
    };
    const Row rows[] = {{256, 20000}, {512, 20000}, {1024, 20000}, {4096, 5000}};
    for (const Row& row : rows) {
        CAPTURE(row.interval);
        Sampler sampler(11, true);
        sampler.set_reload(row.interval | 1);
        const std::vector<u64> seen = periods(sampler, row.samples + 1);
        double sum = 0;
        u64 least = ~u64{0};
        u64 most = 0;
        for (std::size_t i = 1; i < seen.size(); ++i) {  // the first includes no phase before it
            sum += static_cast<double>(seen[i]);
            least = std::min(least, seen[i]);
            most = std::max(most, seen[i]);
        }
        const double mean = sum / row.samples;
        std::cout << "ERnd: interval " << row.interval << " mean " << mean << " least " << least << " most " << most << "\n";
        // The phases telescope: the sum is off by at most one of them.
        CHECK(std::abs(mean - static_cast<double>(row.interval + 1)) <= 255.0 / row.samples);
        CHECK(least >= row.interval + 1 - 255);
        CHECK(most <= row.interval + 1 + 255);
        CHECK(most - least > 400);
    }
    report_rows("ERnd means", std::size(rows));
}

TEST_CASE("features: ERnd in any pieces, with counters written and read between, agrees with single steps", "[spe][features]") {
    std::size_t rows = 0;
    for (u64 seed = 0; seed < 40; ++seed) {
        Rng rng(seed);
        Sampler steps(seed, true);
        Sampler pieces(seed, true);
        for (int round = 0; round < 200; ++round, ++rows) {
            if (rng.below(4) == 0) {
                const u64 pmsirr = rng.below(5) * 256 | rng.below(2);
                steps.set_reload(pmsirr);
                pieces.set_reload(pmsirr);
            }
            if (rng.below(4) == 0) {
                const u64 pmsicr = rng.below(300) | rng.below(256) << 56;
                steps.set_pmsicr(pmsicr);
                pieces.set_pmsicr(pmsicr);
                REQUIRE(pieces.pmsicr_after(0) == pmsicr);
            }
            const u64 whole = pieces.ops_until_sample();
            const u64 ops = rng.below(3) == 0 ? whole : 1 + rng.below(whole);
            const u64 predicted = pieces.pmsicr_after(ops);
            for (u64 i = 0; i < ops; ++i) {
                REQUIRE((steps.ops_until_sample() == 1) == (i + 1 == whole));
                steps.advance(1);
            }
            pieces.advance(ops);
            REQUIRE(pieces.pmsicr_after(0) == predicted);
            REQUIRE(steps.pmsicr_after(0) == predicted);
        }
    }
    report_rows("ERnd pieces", rows);
}

TEST_CASE("features: ERnd samples the operations that the manual's counters select", "[spe][features]") {
    // COUNT, ECOUNT and the operations in the terms of the manual, one at a time.
    struct Reference {
        u64 interval;
        Rng rng;
        u64 count = 0;
        u64 ecount = 0;

        bool sampled() {
            if (count == 0) {
                count = interval;
            } else if (--count == 0) {
                ecount = rng.next() >> 56;
                return ecount == 0;
            }
            return ecount != 0 && --ecount == 0;
        }
    };
    std::size_t samples = 0;
    for (u64 seed = 0; seed < 20; ++seed) {
        Reference reference{256 * (1 + seed % 4), Rng(seed)};
        Sampler sampler(seed, true);
        sampler.set_reload(reference.interval | 1);
        // Both counters end with the same operation, or one of them first.
        reference.count = seed == 0 ? 0 : 10;
        reference.ecount = seed == 0 ? 0 : 9 + seed % 3;
        sampler.set_pmsicr(reference.count | reference.ecount << 56);
        for (int op = 0; op < 50'000; ++op) {
            const bool sampled = sampler.ops_until_sample() == 1;
            sampler.advance(1);
            REQUIRE(sampled == reference.sampled());
            REQUIRE(sampler.count() == reference.count);
            REQUIRE(sampler.extra_count() == reference.ecount);
            samples += sampled;
        }
    }
    CHECK(samples > 1000);
    report_rows("ERnd samples against the manual", samples);
}

TEST_CASE("features: ERnd counters, by example", "[spe][features]") {
    struct Row {
        u64 pmsirr, pmsicr;
        u64 least, most;  // operations until the sample
    };
    const Row rows[] = {
        {1024 | 1, 0, 1025, 1025 + 255},                       // reload, interval, extra phase
        {1024 | 1, 100, 100, 100 + 255},
        {1024 | 1, 100 | u64{7} << 56, 7, 7},                  // a phase under way ends first
        {1024 | 1, 5 | u64{7} << 56, 5, 5 + 255},              // the counter ends first: a new phase
        {1024 | 1, 7 | u64{7} << 56, 7, 7 + 255},
        {1024, 100 | u64{7} << 56, 100, 100},                  // RND = 0: ECOUNT does not count
        {1024, 0, 1025, 1025},
    };
    for (const Row& row : rows) {
        for (u64 seed = 0; seed < 50; ++seed) {
            Sampler sampler(seed, true);
            sampler.set_reload(row.pmsirr);
            sampler.set_pmsicr(row.pmsicr);
            CAPTURE(row.pmsirr, row.pmsicr, seed);
            REQUIRE(sampler.ops_until_sample() >= row.least);
            REQUIRE(sampler.ops_until_sample() <= row.most);
        }
    }
    Sampler without(1, false);
    without.set_pmsicr(~u64{0});
    CHECK(without.pmsicr_after(0) == 0xFFFFFFFF);
    report_rows("ERnd counters", std::size(rows));
}

// ── Buffer ─────────────────────────────────────────────────────────────────────────────────────────────────

namespace {

constexpr u64 kBuffer = 0xFFFF800010000000;

/// Memory byte by byte; pages may fault.
class ByteSink final : public RecordSink {
  public:
    StoreResult store(u64 va, std::span<const u8> data) override {
        REQUIRE(va / 4096 == (va + data.size() - 1) / 4096);
        if (va >= faults_from) {
            return {StoreResult::Kind::fault, 0x07};
        }
        for (const u8 byte : data) {
            REQUIRE(bytes.emplace(va++, byte).second);  // nothing is written twice
        }
        return {};
    }
    std::map<u64, u8> bytes;
    u64 faults_from = ~u64{0};
};

EncodedRecord filled_record(unsigned size) {
    EncodedRecord record;
    record.size = size;
    std::fill(record.bytes.begin(), record.bytes.begin() + size, static_cast<u8>(size));
    return record;
}

}  // namespace

TEST_CASE("features: records of every size and alignment stay in their slot and in the buffer", "[spe][features]") {
    std::size_t rows = 0;
    for (unsigned size = 64; size <= 2048; size *= 2) {
        for (unsigned align = 1; align <= size; align *= 2, ++rows) {
            CAPTURE(size, align);
            const Features features = resolve(3, {.record_bytes = size, .align_bytes = align});
            REQUIRE_FALSE(invalid_features(features));
            ProfilingBuffer buffer(features, 0);
            ByteSink sink;
            const u64 limit = kBuffer + 3 * 4096;
            buffer.set_pointer(kBuffer);
            buffer.set_limitr(limit | 1);
            Rng rng(size + align);
            BufferEvent event = BufferEvent::written;
            while (event == BufferEvent::written) {
                const u64 start = buffer.pointer();
                const auto packets = static_cast<unsigned>(20 + rng.below(41));
                event = buffer.append(filled_record(packets), sink);
                const u64 length = buffer.pointer() - start;
                REQUIRE(start % align == 0);
                REQUIRE(length % align == 0);
                REQUIRE(length >= packets);
                REQUIRE(length < packets + align);
                REQUIRE(length <= size);
                REQUIRE((size != align || length == size));
                for (u64 i = 0; i < length; ++i) {
                    REQUIRE(sink.bytes.at(start + i) == (i < packets ? packets : 0));
                }
            }
            CHECK(event == BufferEvent::filled);
            CHECK(buffer.status() == 0x20001);
            CHECK(buffer.pointer() > limit - size);
            CHECK(sink.bytes.size() == buffer.pointer() - kBuffer);
            CHECK(sink.bytes.rbegin()->first < limit);
        }
    }
    report_rows("record sizes and alignments", rows);
}

TEST_CASE("features: a fault inside a record that crosses a page loses data and says so", "[spe][features]") {
    struct Row {
        u64 pointer;      // offset of the record
        unsigned packets;
        u64 pmbsr, stop;
    };
    const Row rows[] = {
        {4096 - 16, 40, 0x900A0007, 4096},  // cut off: DL
        {4096, 40, 0x90020007, 4096},       // before its first byte: DL stays
        {4096 - 48, 40, 0, 4096},           // ends at the page, padded
        {4096 - 48, 48, 0, 4096},
    };
    for (const Row& row : rows) {
        CAPTURE(row.pointer, row.packets);
        ProfilingBuffer buffer(resolve(3, {.align_bytes = 16}), 0);
        ByteSink sink;
        sink.faults_from = kBuffer + 4096;
        buffer.set_pointer(kBuffer + row.pointer);
        buffer.set_limitr((kBuffer + 3 * 4096) | 1);
        const BufferEvent event = buffer.append(filled_record(row.packets), sink);
        CHECK((event == BufferEvent::fault) == (row.pmbsr != 0));
        CHECK(buffer.status() == row.pmbsr);
        CHECK(buffer.pointer() == kBuffer + row.stop);
    }
    report_rows("faults inside records", std::size(rows));
}

TEST_CASE("features: strict writes protect a buffer in use", "[spe][features]") {
    enum Register { ptr, limitr, sr };
    struct Row {
        bool strict;
        u64 old_limitr, old_status;
        Register target;
        u64 value;
        bool taken;
    };
    constexpr u64 kOn = (kBuffer + 8192) | 1;
    constexpr u64 kOff = kBuffer + 8192;
    constexpr u64 kS = 0x20000;
    const Row rows[] = {
        {true, kOn, 0, ptr, kBuffer + 64, false},
        {true, kOn, 0, limitr, (kBuffer + 4096) | 1, false},
        {true, kOn, 0, limitr, kBuffer + 4096, true},   // clears E
        {true, kOn, 0, limitr, 0, true},
        {true, kOn, 0, sr, kS | 1, false},
        {true, kOn, 0, sr, 0x10000, false},
        {true, kOn, kS | 1, ptr, kBuffer + 64, true},   // stopped
        {true, kOn, kS | 1, limitr, (kBuffer + 4096) | 1, true},
        {true, kOn, kS | 1, sr, 0, true},
        {true, kOff, 0, ptr, kBuffer + 64, true},       // not enabled
        {true, kOff, 0, limitr, (kBuffer + 4096) | 1, true},
        {true, kOff, 0, sr, kS, true},
        {false, kOn, 0, ptr, kBuffer + 64, true},
        {false, kOn, 0, limitr, (kBuffer + 4096) | 1, true},
        {false, kOn, 0, sr, kS | 1, true},
    };
    for (const Row& row : rows) {
        CAPTURE(row.strict, row.old_limitr, row.old_status, static_cast<int>(row.target), row.value);
        ProfilingBuffer buffer(resolve(3, {.strict_writes = row.strict}), 0);
        buffer.set_status(row.old_status);
        buffer.set_pointer(kBuffer);
        buffer.set_limitr(row.old_limitr);
        const u64 before = row.target == ptr ? buffer.pointer() : row.target == limitr ? buffer.limitr() : buffer.status();
        switch (row.target) {
            case ptr: buffer.set_pointer(row.value); break;
            case limitr: buffer.set_limitr(row.value); break;
            case sr: buffer.set_status(row.value); break;
        }
        const u64 after = row.target == ptr ? buffer.pointer() : row.target == limitr ? buffer.limitr() : buffer.status();
        CHECK(after == (row.taken ? row.value : before));
    }
    report_rows("strict writes", std::size(rows));
}

}  // namespace vmm::spe::test
