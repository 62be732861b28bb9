#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

#include "spe/sampler.h"

namespace vmm::spe::test {

namespace {

constexpr u64 interval(u64 ops, bool rnd = false) { return ops | (rnd ? 1 : 0); }

/// Distances between samples, executing one operation at a time.
std::vector<u64> periods_stepwise(Sampler& sampler, unsigned count) {
    std::vector<u64> periods;
    u64 ops = 0;
    while (periods.size() < count) {
        const bool sampled = sampler.ops_until_sample() == 1;
        sampler.advance(1);
        ++ops;
        if (sampled) {
            periods.push_back(ops);
            ops = 0;
        }
    }
    return periods;
}

}  // namespace

TEST_CASE("sampler: without jitter the period is INTERVAL * 256 + 1 operations", "[spe][sampler]") {
    const u64 reload = GENERATE(256, 512, 1024, 4096);
    Sampler sampler(1);
    sampler.set_reload(interval(reload));
    CHECK(periods_stepwise(sampler, 5) == std::vector<u64>(5, reload + 1));
}

TEST_CASE("sampler: with jitter periods stay within 256 operations above the interval and average 128", "[spe][sampler]") {
    Sampler sampler(7);
    sampler.set_reload(interval(1024, true));
    const std::vector<u64> periods = periods_stepwise(sampler, 4000);
    double sum = 0;
    u64 least = ~u64{0};
    u64 most = 0;
    for (const u64 period : periods) {
        sum += static_cast<double>(period);
        least = std::min(least, period);
        most = std::max(most, period);
    }
    CHECK(least >= 1025);
    CHECK(most <= 1025 + 255);
    CHECK(least < 1025 + 8);  // the whole range is used
    CHECK(most > 1025 + 247);
    // Mean of a uniform 0..255 is 127.5 with a deviation of 73.9 / sqrt(4000) = 1.2.
    CHECK(std::abs(sum / 4000 - (1025 + 127.5)) < 5);
}

TEST_CASE("sampler: a nonzero PMSICR continues from its value", "[spe][sampler]") {
    Sampler sampler(1);
    sampler.set_reload(interval(512));
    sampler.set_count(1000);  // neither the interval nor a multiple of 256, as Linux writes it first
    CHECK(sampler.ops_until_sample() == 1000);
    CHECK(periods_stepwise(sampler, 3) == std::vector<u64>{1000, 513, 513});
}

TEST_CASE("sampler: PMSICR shows the live count", "[spe][sampler]") {
    Sampler sampler(1);
    sampler.set_reload(interval(512));
    CHECK(sampler.count() == 0);
    sampler.advance(1);
    CHECK(sampler.count() == 512);
    sampler.advance(100);
    CHECK(sampler.count() == 412);
    CHECK(sampler.count_after(12) == 400);
    sampler.advance(412);
    CHECK(sampler.count() == 0);
}

TEST_CASE("sampler: blocks of operations count like single ones", "[spe][sampler]") {
    Sampler steps(3);
    Sampler blocks(3);
    steps.set_reload(interval(256, true));
    blocks.set_reload(interval(256, true));
    const std::vector<u64> expected = periods_stepwise(steps, 50);
    std::vector<u64> seen;
    for (int i = 0; i < 50; ++i) {
        const u64 whole = blocks.ops_until_sample();
        seen.push_back(whole);
        blocks.advance(whole / 2);
        CHECK(blocks.ops_until_sample() == whole - whole / 2);
        blocks.advance(whole - whole / 2);
    }
    CHECK(seen == expected);
}

TEST_CASE("sampler: INTERVAL = 0 is treated as the shortest interval", "[spe][sampler]") {
    Sampler sampler(1);
    sampler.set_reload(0);
    CHECK(periods_stepwise(sampler, 2) == std::vector<u64>{257, 257});
}

TEST_CASE("sampler: reset clears both registers", "[spe][sampler]") {
    Sampler sampler(1);
    sampler.set_reload(interval(4096, true));
    sampler.set_count(99);
    sampler.reset();
    CHECK(sampler.reload() == 0);
    CHECK(sampler.count() == 0);
}

}  // namespace vmm::spe::test
