#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "spe/memory_system.h"
#include "vmm/base/rng.h"

namespace vmm::spe::test {

namespace {

/// At most one PE may write a line, and then nobody else has it.
void check_single_writer(const MemorySystem& memory, u64 lines) {
    for (u64 line = 0; line < lines; ++line) {
        unsigned holders = 0;
        unsigned writers = 0;
        for (unsigned core = 0; core < memory.cores(); ++core) {
            const LineState state = memory.state(core, line);
            holders += state != LineState::invalid;
            writers += state == LineState::exclusive || state == LineState::modified;
        }
        CAPTURE(line);
        REQUIRE(writers <= 1);
        REQUIRE((writers == 0 || holders == 1));
    }
}

}  // namespace

TEST_CASE("memory system: a line moves through the states of MESI", "[spe][memory_system]") {
    MemorySystem memory({}, 8);
    constexpr u64 kLine = 0x1234;
    CHECK(memory.access(0, kLine, false).origin == DataOrigin::dram);
    CHECK(memory.state(0, kLine) == LineState::exclusive);
    CHECK(memory.access(0, kLine, false).origin == DataOrigin::l1);
    CHECK(memory.access(0, kLine, true).origin == DataOrigin::l1);
    CHECK(memory.state(0, kLine) == LineState::modified);

    const AccessOutcome near = memory.access(1, kLine, false);
    CHECK(near.origin == DataOrigin::peer_core);
    CHECK(near.modified);
    CHECK(near.snooped);
    CHECK(memory.state(0, kLine) == LineState::shared);
    CHECK(memory.state(1, kLine) == LineState::shared);
    CHECK(memory.access(0, kLine, false).origin == DataOrigin::l1);

    // Clean data comes from the last-level cache.
    CHECK(memory.access(5, kLine, false).origin == DataOrigin::llc);

    // A write takes all copies away and moves no data of its own.
    const AccessOutcome upgrade = memory.access(0, kLine, true);
    CHECK(upgrade.origin == DataOrigin::l1);
    CHECK(upgrade.snooped);
    CHECK(memory.state(0, kLine) == LineState::modified);
    CHECK(memory.state(1, kLine) == LineState::invalid);
    CHECK(memory.state(5, kLine) == LineState::invalid);

    const AccessOutcome far = memory.access(5, kLine, true);
    CHECK(far.origin == DataOrigin::peer_cluster);
    CHECK(far.modified);
    CHECK(memory.state(0, kLine) == LineState::invalid);
    CHECK(memory.access(0, kLine + 1, false).origin == DataOrigin::dram);
}

TEST_CASE("memory system: capacities are those of the geometry", "[spe][memory_system]") {
    const auto last_round = [](u64 bytes) {
        MemorySystem memory({}, 1);
        std::array<u64, 6> counts{};
        const u64 lines = bytes >> kCacheLineShift;
        for (int round = 0; round < 2; ++round) {
            counts.fill(0);
            for (u64 line = 0; line < lines; ++line) {
                ++counts[static_cast<std::size_t>(memory.access(0, line, false).origin)];
            }
        }
        return std::max_element(counts.begin(), counts.end()) - counts.begin();
    };
    CHECK(last_round(64 << 10) == static_cast<int>(DataOrigin::l1));
    CHECK(last_round(1 << 20) == static_cast<int>(DataOrigin::l2));
    CHECK(last_round(8 << 20) == static_cast<int>(DataOrigin::llc));
    CHECK(last_round(32 << 20) == static_cast<int>(DataOrigin::dram));
}

TEST_CASE("memory system: what leaves a private cache modified is found in the last-level cache", "[spe][memory_system]") {
    // One set of the last-level cache would hold every line of the test: writing back is what brings it there again.
    MemorySystem memory({.l1 = {64 << 10, 4}, .l2 = {1 << 20, 8}, .llc = {u64{8} << 20, 16}}, 2);
    const u64 stride = (u64{8} << 20) / 16 / 64;  // lines with one set in common, in every cache
    memory.access(0, 7, true);
    for (u64 i = 1; i <= 8; ++i) {
        memory.access(0, 7 + i * stride, false);
    }
    REQUIRE(memory.state(0, 7) == LineState::invalid);
    CHECK(memory.access(1, 7, false).origin == DataOrigin::llc);
}

TEST_CASE("memory system: a directory that forgets takes the line away", "[spe][memory_system]") {
    // One way: two lines of a set cannot both be known.
    MemorySystem memory({.directory_ways = 1}, 2);
    Rng rng(2);
    constexpr u64 kLines = 1 << 18;
    for (int i = 0; i < 400'000; ++i) {
        memory.access(static_cast<unsigned>(rng.below(2)), rng.below(kLines), rng.below(3) == 0);
    }
    check_single_writer(memory, kLines);
}

TEST_CASE("memory system: PEs on threads of their own never both own a line", "[spe][memory_system]") {
    // Small caches over few lines: every way of losing a line happens all the time.
    MemorySystem memory({.l1 = {4096, 2}, .l2 = {16384, 4}, .llc = {65536, 4}, .directory_ways = 2}, 4);
    constexpr u64 kLines = 1024;
    std::vector<std::thread> threads;
    for (unsigned core = 0; core < 4; ++core) {
        threads.emplace_back([&memory, core] {
            Rng rng(core + 1);
            for (int i = 0; i < 200'000; ++i) {
                const u64 line = rng.below(4) == 0 ? rng.below(kLines) : rng.below(8);
                memory.access(core, line, rng.below(2) == 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    check_single_writer(memory, kLines);
    for (unsigned core = 0; core < 4; ++core) {
        for (u64 line = 0; line < kLines; ++line) {
            const bool held = memory.state(core, line) != LineState::invalid;
            const DataOrigin origin = memory.access(core, line, false).origin;
            REQUIRE((held || (origin != DataOrigin::l1 && origin != DataOrigin::l2)));
        }
    }
}

TEST_CASE("memory system: a reset PE has nothing", "[spe][memory_system]") {
    MemorySystem memory({}, 2);
    memory.access(0, 5, true);
    memory.reset(0);
    CHECK(memory.state(0, 5) == LineState::invalid);
    const AccessOutcome outcome = memory.access(1, 5, false);
    CHECK(outcome.origin == DataOrigin::llc);
    CHECK_FALSE(outcome.snooped);
}

}  // namespace vmm::spe::test
