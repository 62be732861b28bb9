#include <catch2/catch.hpp>

#include "spe/filter.h"
#include "spe/spe_words.h"
#include "vmm/base/rng.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kAll = 0x8EA;  // SPEv1p2
constexpr u64 kFe = 1, kFt = 2, kFl = 4, kFnE = 8;
constexpr u64 kB = 0x10000, kLd = 0x20000, kSt = 0x40000;

Sample sample(u64 events, u8 flags = 0, u32 latency = 1) {
    Sample result;
    result.events = events;
    result.type.flags = flags;
    result.total_latency = latency;
    return result;
}

bool keeps(const FilterRegisters& registers, const Sample& s) { return filter(registers, kAll, s).keep(); }

}  // namespace

TEST_CASE("filter: with every filter off all is kept", "[spe][filter]") {
    CHECK(keeps({.pmsfcr = 0, .pmsevfr = 0x80, .pmsnevfr = 2, .pmslatfr = 500}, sample(2)));
}

TEST_CASE("filter: every event selected in PMSEVFR must have happened", "[spe][filter]") {
    struct Row {
        u64 pmsevfr, events;
        bool kept;
    };
    const Row row = GENERATE(values<Row>({
        {0x02, 0x02, true},
        {0x82, 0x02, false},
        {0x82, 0x82, true},
        {0x28, 0x08, false},
        {0x28, 0x2A, true},
        {0x840, 0x842, true},
        {0x04, 0x00, true},    // EV2 cannot be filtered by before SPEv1p4
        {0x84, 0x80, true},
    }));
    CAPTURE(row.pmsevfr, row.events);
    CHECK(keeps({.pmsfcr = kFe, .pmsevfr = row.pmsevfr}, sample(row.events)) == row.kept);
}

TEST_CASE("filter: no event selected in PMSNEVFR may have happened", "[spe][filter]") {
    struct Row {
        u64 pmsnevfr, events;
        bool kept;
    };
    const Row row = GENERATE(values<Row>({
        {0x80, 0x02, true},
        {0x80, 0x82, false},
        {0xA0, 0x22, false},
        {0x04, 0x06, true},
    }));
    CAPTURE(row.pmsnevfr, row.events);
    CHECK(keeps({.pmsfcr = kFnE, .pmsnevfr = row.pmsnevfr}, sample(row.events)) == row.kept);
}

TEST_CASE("filter: any selected type is enough", "[spe][filter]") {
    struct Row {
        u64 types;
        u8 flags;
        bool kept;
    };
    const Row row = GENERATE(values<Row>({
        {kB, kTypeBranch, true},
        {kB, kTypeLoad, false},
        {kB, 0, false},
        {kLd, kTypeLoad, true},
        {kLd, kTypeStore, false},
        {kSt, kTypeLoad | kTypeStore, true},
        {kLd | kSt, kTypeStore, true},
        {kLd | kSt, kTypeBranch, false},
        {kB | kLd | kSt, 0, false},
    }));
    CAPTURE(row.types, row.flags);
    CHECK(keeps({.pmsfcr = kFt | row.types}, sample(2, row.flags)) == row.kept);
}

TEST_CASE("filter: a latency equal to MINLAT passes", "[spe][filter]") {
    struct Row {
        u64 minimum;
        u32 latency;
        bool kept;
    };
    const Row row = GENERATE(values<Row>({{30, 29, false}, {30, 30, true}, {30, 31, true}, {0xFFF, 5000, true}}));
    CHECK(keeps({.pmsfcr = kFl, .pmslatfr = row.minimum}, sample(2, 0, row.latency)) == row.kept);
}

TEST_CASE("filter: all enabled filters must accept", "[spe][filter]") {
    const FilterRegisters registers{.pmsfcr = kFe | kFt | kFl | kFnE | kLd,
                                    .pmsevfr = 0x08,
                                    .pmsnevfr = 0x20,
                                    .pmslatfr = 10};
    CHECK(keeps(registers, sample(0x0A, kTypeLoad, 10)));
    CHECK_FALSE(keeps(registers, sample(0x02, kTypeLoad, 10)));
    CHECK_FALSE(keeps(registers, sample(0x2A, kTypeLoad, 10)));
    CHECK_FALSE(keeps(registers, sample(0x0A, kTypeStore, 10)));
    CHECK_FALSE(keeps(registers, sample(0x0A, kTypeLoad, 9)));
}

TEST_CASE("filter: a filter that selects nothing is off", "[spe][filter]") {
    const u64 pmsfcr = GENERATE(kFe, kFnE, kFt, kFl);
    CHECK(keeps({.pmsfcr = pmsfcr}, sample(0)));
}

TEST_CASE("filter: requiring and excluding one event switches both event filters off", "[spe][filter]") {
    CHECK(keeps({.pmsfcr = kFe | kFnE, .pmsevfr = 0x82, .pmsnevfr = 0x80}, sample(0x80)));
    CHECK(keeps({.pmsfcr = kFe | kFnE, .pmsevfr = 0x82, .pmsnevfr = 0x80}, sample(0x02)));
}

TEST_CASE("filter: random registers and samples agree with the definition", "[spe][filter]") {
    Rng rng(5);
    for (int i = 0; i < 20000; ++i) {
        const u64 pmsfcr = rng.next() & (kFe | kFt | kFl | kFnE | kB | kLd | kSt);
        const u64 evfr = rng.next() & rng.next() & 0xFFF;
        const u64 nevfr = rng.next() & rng.next() & 0xFFF;
        const u64 minlat = rng.below(8);
        const u64 events = rng.next() & 0xFFF;
        const u8 flags = static_cast<u8>(rng.below(8));
        const u32 latency = static_cast<u32>(1 + rng.below(8));

        bool keep = true;
        const bool clash = (pmsfcr & kFe) && (pmsfcr & kFnE) && (evfr & nevfr & kAll);
        if ((pmsfcr & kFe) && (evfr & kAll) && !clash) {
            keep = keep && (events & evfr & kAll) == (evfr & kAll);
        }
        if ((pmsfcr & kFnE) && (nevfr & kAll) && !clash) {
            keep = keep && (events & nevfr & kAll) == 0;
        }
        if ((pmsfcr & kFt) && (pmsfcr & (kB | kLd | kSt))) {
            keep = keep && (((pmsfcr & kB) && (flags & 1)) || ((pmsfcr & kLd) && (flags & 2)) ||
                            ((pmsfcr & kSt) && (flags & 4)));
        }
        if ((pmsfcr & kFl) && minlat != 0) {
            keep = keep && latency >= minlat;
        }
        REQUIRE(keeps({pmsfcr, evfr, nevfr, minlat}, sample(events, flags, latency)) == keep);
    }
}

}  // namespace vmm::spe::test
