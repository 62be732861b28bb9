#include <map>
#include <numeric>
#include <vector>

#include <catch2/catch.hpp>

#include "spe/detailed_model.h"
#include "spe/spe_words.h"

namespace vmm::spe::test {

namespace {

using arch::OpClass;
using arch::OpTrace;

constexpr u64 kMiB = 1024 * 1024;

OpTrace access(OpClass op_class, u64 address) {
    OpTrace trace;
    trace.pc = 0x1000;
    trace.op_class = op_class;
    trace.has_va = true;
    trace.pa_valid = true;
    trace.is_write = op_class == OpClass::store;
    trace.va = 0xFFFF'0000'0000'0000 | address;
    trace.pa = address;
    trace.size = 8;
    return trace;
}

OpTrace branch(OpClass op_class, u64 pc, bool taken, u64 target) {
    OpTrace trace;
    trace.pc = pc;
    trace.op_class = op_class;
    trace.conditional = op_class == OpClass::branch_cond;
    trace.cond_failed = !taken;
    trace.taken = taken;
    trace.target = target;
    return trace;
}

struct Pe {
    explicit Pe(u8 pmsver = kSpeV1p4) : model(pmsver, 1, memory, 0) {}
    MemorySystem memory{{}, 1};
    DetailedModel model;
};

/// Loads of a chase through all lines of `bytes` in random order, the second time round, by data source.
std::map<u16, u64> chase(u64 bytes) {
    Pe pe;
    std::vector<u64> order(bytes / 64);
    std::iota(order.begin(), order.end(), u64{0});
    Rng rng(1);
    for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[rng.below(i)]);
    }
    std::map<u16, u64> sources;
    for (int round = 0; round < 2; ++round) {
        sources.clear();
        for (const u64 line : order) {
            ++sources[pe.model.evaluate(access(OpClass::load, 0x8000'0000 + line * 64)).data_source.value()];
        }
    }
    return sources;
}

bool mispredicted(DetailedModel& model, const OpTrace& trace) {
    return (model.evaluate(trace).events & event::kMispredicted) != 0;
}

}  // namespace

TEST_CASE("detailed model: pointer chases are served by the level that holds them", "[spe][detailed_model]") {
    auto small = chase(16 << 10);
    CHECK(small[0x0] * 100 >= 95 * (16 << 10) / 64);
    auto middle = chase(512 << 10);
    CHECK(middle[0x8] * 100 >= 80 * (512 << 10) / 64);
    auto large = chase(4 * kMiB);
    CHECK(large[0xB] * 100 >= 60 * 4 * kMiB / 64);
    auto huge = chase(64 * kMiB);
    CHECK(huge[0xE] * 100 >= 80 * kMiB);
}

TEST_CASE("detailed model: events, source and latency of a load agree", "[spe][detailed_model]") {
    constexpr u64 kLevels = event::kL1dAccess | event::kL1dRefill | event::kL2Access | event::kL2Miss |
                            event::kLlcAccess | event::kLlcMiss;
    const std::map<u16, std::pair<u64, u32>> expected{
        {0x0, {event::kL1dAccess, 4}},
        {0x8, {event::kL1dAccess | event::kL1dRefill | event::kL2Access, 11}},
        {0xB, {kLevels & ~event::kLlcMiss, 40}},
        {0xE, {kLevels, 180}}};
    Pe pe;
    Rng rng(3);
    std::map<u16, u64> seen;
    for (int i = 0; i < 300'000; ++i) {
        const u64 span = u64{8} << rng.below(22);
        const Sample sample = pe.model.evaluate(access(OpClass::load, 0x8000'0000 + (rng.below(span) & ~u64{7})));
        const auto& [events, latency] = expected.at(sample.data_source.value());
        CAPTURE(i, sample.events, *sample.data_source);
        REQUIRE((sample.events & kLevels) == events);
        REQUIRE((sample.events & (event::kHitModified | event::kSnooped | event::kRemote)) == 0);
        REQUIRE(sample.total_latency >= sample.issue_latency + *sample.translation_latency + latency);
        ++seen[*sample.data_source];
    }
    for (const auto& [source, facts] : expected) {
        CAPTURE(source);
        CHECK(seen[source] > 1000);
    }
}

TEST_CASE("detailed model: a stream misses once a line, and meets lines on their way", "[spe][detailed_model]") {
    Pe pe;
    u64 misses = 0;
    u64 on_their_way = 0;
    u64 walks = 0;
    constexpr u64 kLoads = 100'000;
    for (u64 i = 0; i < kLoads; ++i) {
        const Sample sample = pe.model.evaluate(access(OpClass::load, 0x8000'0000 + i * 8));
        misses += (sample.events & event::kL1dRefill) != 0;
        on_their_way += (sample.events & event::kRecentlyFetched) != 0;
        walks += (sample.events & event::kTlbWalk) != 0;
    }
    CHECK(misses == kLoads / 8);
    CHECK(on_their_way == kLoads - kLoads / 8);
    CHECK(walks == (kLoads * 8 + 4095) / 4096);
}

TEST_CASE("detailed model: operations that are not sampled warm it as those that are", "[spe][detailed_model]") {
    Pe pe;
    for (u64 i = 0; i < 8 << 10; i += 64) {
        pe.model.observe(access(OpClass::load, 0x8000'0000 + i));
    }
    for (int i = 0; i < 1000; ++i) {
        pe.model.observe(branch(OpClass::branch, 0x2000, true, 0x2004));
    }
    for (u64 i = 0; i < 8 << 10; i += 64) {
        REQUIRE(pe.model.evaluate(access(OpClass::load, 0x8000'0000 + i)).data_source == u16{0});
    }
    pe.model.reset();
    CHECK((pe.model.evaluate(access(OpClass::load, 0x8000'0000)).events & event::kL1dRefill) != 0);
}

TEST_CASE("detailed model: false sharing shows at its line and nowhere else", "[spe][detailed_model]") {
    const u8 pmsver = GENERATE(kSpeV1p2, kSpeV1p4);
    MemorySystem memory({}, 2);
    DetailedModel a(pmsver, 1, memory, 0);
    DetailedModel b(pmsver, 2, memory, 1);
    constexpr u64 kShared = 0x8000'0040;
    constexpr u64 kOwnA = 0x8000'1000;
    constexpr u64 kOwnB = 0x8000'2000;
    std::map<u64, u64> peer_hits;  // by line
    u64 rounds_hit = 0;
    constexpr u64 kRounds = 1000;
    for (u64 i = 0; i < kRounds; ++i) {
        for (const u64 address : {kShared, kOwnA + i % 8 * 8}) {
            a.observe(access(OpClass::load, address));
            a.observe(access(OpClass::store, address));
        }
        for (const u64 address : {kShared + 32, kOwnB + i % 8 * 8}) {
            const Sample sample = b.evaluate(access(OpClass::load, address));
            b.observe(access(OpClass::store, address));
            const bool peer = sample.data_source == u16{0x9};
            const u64 v1p4 = event::kHitModified | event::kSnooped;
            REQUIRE((sample.events & v1p4) == (peer && pmsver >= kSpeV1p4 ? v1p4 : 0));
            if (peer) {
                ++peer_hits[address >> 6];
                REQUIRE((sample.events & event::kL1dRefill) != 0);
                REQUIRE((sample.events & event::kLlcMiss) != 0);  // it was not the last level that answered
                REQUIRE(sample.total_latency >= 60);
            }
        }
        rounds_hit = peer_hits[kShared >> 6];
    }
    CHECK(rounds_hit == kRounds);
    CHECK(peer_hits.size() == 1);
}

TEST_CASE("detailed model: reading alone is not sharing", "[spe][detailed_model]") {
    MemorySystem memory({}, 2);
    DetailedModel a(kSpeV1p4, 1, memory, 0);
    DetailedModel b(kSpeV1p4, 2, memory, 1);
    for (int i = 0; i < 100; ++i) {
        a.observe(access(OpClass::load, 0x8000'0000));
        const Sample sample = b.evaluate(access(OpClass::load, 0x8000'0020));
        CHECK((sample.events & event::kHitModified) == 0);
        CHECK(*sample.data_source == (i == 0 ? 0xB : 0x0));
    }
}

TEST_CASE("detailed model: DTLBs reach as far as their entries", "[spe][detailed_model]") {
    const auto walks = [](u64 pages, bool flushed) {
        Pe pe;
        u64 count = 0;
        for (int round = 0; round < 2; ++round) {
            count = 0;
            for (u64 page = 0; page < pages; ++page) {
                OpTrace trace = access(OpClass::load, 0x8000'0000 + page * 4096);
                trace.tlb_walk = flushed;
                count += (pe.model.evaluate(trace).events & event::kTlbWalk) != 0;
            }
        }
        return count;
    };
    CHECK(walks(512, false) == 0);
    CHECK(walks(512, true) == 512);  // the guest invalidated them: the walk was real
    CHECK(walks(4096, false) == 4096);
}

TEST_CASE("detailed model: the predictor learns loops, patterns, returns and targets", "[spe][detailed_model]") {
    Pe pe;
    unsigned wrong = 0;
    const auto judge = [&](const OpTrace& trace, bool counts) { wrong += mispredicted(pe.model, trace) && counts; };
    SECTION("a long loop fails only at its end") {
        for (int run = 0; run < 20; ++run) {
            for (int i = 0; i < 100; ++i) {
                judge(branch(OpClass::branch_cond, 0x4000, i != 99, 0x3000), run >= 5);
            }
        }
        CHECK(wrong <= 2 * 15);
        CHECK(wrong >= 10);
    }
    SECTION("a short loop is learned whole") {
        for (int run = 0; run < 1000; ++run) {
            for (int i = 0; i < 6; ++i) {
                judge(branch(OpClass::branch_cond, 0x4000, i != 5, 0x3000), run >= 500);
            }
        }
        CHECK(wrong == 0);
    }
    SECTION("random conditions are not learned") {
        Rng rng(9);
        for (int i = 0; i < 10000; ++i) {
            judge(branch(OpClass::branch_cond, 0x4000, (rng.next() >> 40 & 1) != 0, 0x3000), true);
        }
        CHECK(wrong > 4000);
        CHECK(wrong < 6000);
    }
    SECTION("returns match their calls, up to the depth of the stack") {
        for (u64 i = 0; i < 16; ++i) {
            judge(branch(OpClass::branch_link, 0x1000 + i * 64, true, 0x1000 + (i + 1) * 64), true);
        }
        for (u64 i = 16; i-- > 0;) {
            judge(branch(OpClass::branch_ret, 0x9000, true, 0x1004 + i * 64), true);
        }
        CHECK(wrong == 0);
        CHECK(mispredicted(pe.model, branch(OpClass::branch_ret, 0x9000, true, 0x1004)));
    }
    SECTION("an indirect branch that alternates is learned by its path") {
        for (int i = 0; i < 2000; ++i) {
            judge(branch(OpClass::branch_ind, 0x5000, true, i % 2 == 0 ? 0x6000 : 0x7000), i >= 1000);
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("detailed model: latencies are ordered and never zero, for any trace", "[spe][detailed_model]") {
    Pe pe;
    Rng rng(11);
    for (int i = 0; i < 50000; ++i) {
        OpTrace trace;
        trace.pc = rng.next();
        trace.op_class = static_cast<OpClass>(rng.below(static_cast<u64>(OpClass::dc_zva) + 1));
        trace.insn = static_cast<u32>(rng.next());
        const u64 flags = rng.next() >> 20;
        trace.taken = flags & 4;
        trace.has_va = flags & 8;
        trace.pa_valid = trace.has_va && (flags & 16) != 0;
        trace.is_device = flags & 32;
        trace.is_write = flags & 64;
        trace.tlb_walk = flags & 128;
        trace.misaligned = flags & 256;
        trace.exception = flags & 512;
        trace.size = static_cast<u8>(rng.next() >> 32);
        trace.va = rng.next();
        trace.pa = flags & 1024 ? ~rng.below(256) : rng.next();
        trace.target = rng.next();
        const Sample sample = pe.model.evaluate(trace);
        REQUIRE(sample.issue_latency >= 1);
        REQUIRE(sample.issue_latency + sample.translation_latency.value_or(0) <= sample.total_latency);
        REQUIRE((sample.events >> 24) == 0);
        REQUIRE(((sample.events & event::kLlcMiss) == 0 || (sample.events & event::kL1dRefill) != 0));
        REQUIRE(sample.data_source.has_value() == (sample.type.is_load() && !trace.exception));
    }
}

TEST_CASE("detailed model: events above EV15 appear only from SPEv1p4 on", "[spe][detailed_model]") {
    Pe pe(kSpeV1p3);
    Rng rng(4);
    u64 all = 0;
    for (int i = 0; i < 50000; ++i) {
        all |= pe.model.evaluate(access(OpClass::load, rng.next() & 0xFFFFFF8)).events;
    }
    CHECK((all >> 16) == 0);
    CHECK((all & event::kLlcMiss) != 0);
}

}  // namespace vmm::spe::test
