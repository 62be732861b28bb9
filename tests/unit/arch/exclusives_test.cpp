// Exclusive monitor and atomicity between PEs.
#include <thread>

#include <catch2/catch.hpp>

#include "tests/unit/arch/ldst_bench.h"

namespace vmm::arch::test {

namespace {

constexpr u32 kLdxrX1 = 0xC85F7C01;  // ldxr x1, [x0]
constexpr u32 kLdxrW1 = 0x885F7C01;  // ldxr w1, [x0]
constexpr u32 kStxrX1 = 0xC8037C01;  // stxr w3, x1, [x0]
constexpr u32 kStxrX2 = 0xC8037C02;  // stxr w3, x2, [x0]
constexpr u32 kLdxpX = 0xC87F0801;   // ldxp x1, x2, [x0]
constexpr u32 kStxpX = 0xC8231404;   // stxp w3, x4, x5, [x0]
constexpr u32 kLdxpW = 0x887F0801;   // ldxp w1, w2, [x0]
constexpr u32 kStxpW = 0x88231404;   // stxp w3, w4, w5, [x0]
constexpr u32 kClrex = 0xD5033F5F;

void must_complete(Vcpu& v, u32 insn) {
    REQUIRE(execute(v, insn) == Exec::next);
}

/// Moves the calling thread to the n-th of the CPUs it may use: two threads left to a busy scheduler tend to
/// share one, and then never race.
void pin_to_nth_cpu(unsigned n) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    n %= static_cast<unsigned>(CPU_COUNT(&allowed));
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed) && n-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

/// Runs `body` on all PEs at once, each on its own thread and CPU.
template <class Body>
void run_together(std::vector<std::unique_ptr<Vcpu>>& pes, Body body) {
    std::vector<std::thread> threads;
    std::atomic<std::size_t> ready{0};
    for (auto& pe : pes) {
        threads.emplace_back([&] {
            pin_to_nth_cpu(pe->index());
            ready.fetch_add(1);
            while (ready.load() < pes.size()) {
                std::this_thread::yield();
            }
            body(*pe);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

std::vector<std::unique_ptr<Vcpu>> make_pes(LdstWorld& world, unsigned count) {
    std::vector<std::unique_ptr<Vcpu>> pes;
    for (unsigned i = 0; i < count; ++i) {
        pes.push_back(world.make_pe());
    }
    return pes;
}

}  // namespace

TEST_CASE("exclusives: a store after its load succeeds, a second one fails", "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData;
    world.store<u64>(kData, 41);

    must_complete(*v, kLdxrX1);
    CHECK(v->s.x[1] == 41);
    v->s.x[2] = 42;
    v->s.x[3] = ~u64{0};
    must_complete(*v, kStxrX2);
    CHECK(v->s.x[3] == 0);
    CHECK(world.load<u64>(kData) == 42);

    v->s.x[2] = 43;
    must_complete(*v, kStxrX2);
    CHECK(v->s.x[3] == 1);
    CHECK(world.load<u64>(kData) == 42);
}

TEST_CASE("exclusives: the store fails where another PE has changed the location", "[arch][exclusives]") {
    LdstWorld world;
    const auto a = world.make_pe();
    const auto b = world.make_pe();
    a->s.x[0] = b->s.x[0] = kData;
    must_complete(*a, kLdxrX1);
    b->s.x[1] = 7;
    must_complete(*b, 0xF9000001 /* str x1, [x0] */);

    a->s.x[2] = 42;
    must_complete(*a, kStxrX2);

    CHECK(a->s.x[3] == 1);
    CHECK(world.load<u64>(kData) == 7);
}

TEST_CASE("exclusives: the store fails at another address, of another size, and after CLREX",
          "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData;
    v->s.x[2] = 42;

    SECTION("another address") {
        must_complete(*v, kLdxrX1);
        v->s.x[0] = kData + 8;
    }
    SECTION("another size") {
        must_complete(*v, kLdxrW1);
    }
    SECTION("after CLREX") {
        must_complete(*v, kLdxrX1);
        must_complete(*v, kClrex);
    }
    SECTION("without a load") {}
    must_complete(*v, kStxrX2);

    CHECK(v->s.x[3] == 1);
    CHECK(world.load<u64>(kData) == 0);
    CHECK(world.load<u64>(kData + 8) == 0);
}

TEST_CASE("exclusives: the monitor follows the physical location, not the virtual address's TLB entry",
          "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData + kPageSize - 8;
    must_complete(*v, kLdxrX1);
    v->tlb_.clear();
    v->s.x[2] = 42;

    must_complete(*v, kStxrX2);

    CHECK(v->s.x[3] == 0);
    CHECK(world.load<u64>(kData + kPageSize - 8) == 42);
}

TEST_CASE("exclusives: a store to a read-only page faults, also without a load", "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kReadOnly;
    v->s.x[3] = 0x55;
    const bool armed = GENERATE(false, true);
    CAPTURE(armed);
    if (armed) {
        must_complete(*v, kLdxrX1);
    }

    REQUIRE(execute(*v, kStxrX1) == Exec::exception);

    CHECK(fault_status(*v) == 0x0F);
    CHECK(fault_was_write(*v));
    CHECK(v->s.x[3] == 0x55);
}

TEST_CASE("exclusives: status register equal to a data or base register does no harm", "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData;
    must_complete(*v, kLdxrX1);
    v->s.x[1] = 42;

    must_complete(*v, 0xC8017C01 /* stxr w1, x1, [x0] */);
    CHECK(world.load<u64>(kData) == 42);
    CHECK(v->s.x[1] == 0);

    must_complete(*v, kLdxrX1);
    must_complete(*v, 0xC8007C01 /* stxr w0, x1, [x0] */);
    CHECK(v->s.x[0] == 0);
}

TEST_CASE("exclusives: pairs are one location, compared whole", "[arch][exclusives]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const bool wide = GENERATE(true, false);
    CAPTURE(wide);
    v->s.x[0] = kData;
    world.store<u64>(kData, 0x2222'2222'1111'1111);
    world.store<u64>(kData + 8, 0x4444'4444'3333'3333);
    must_complete(*v, wide ? kLdxpX : kLdxpW);
    CHECK(v->s.x[1] == (wide ? 0x2222'2222'1111'1111u : 0x1111'1111u));
    CHECK(v->s.x[2] == (wide ? 0x4444'4444'3333'3333u : 0x2222'2222u));
    v->s.x[4] = 0xAAAA'AAAA'AAAA'AAAA;
    v->s.x[5] = 0xBBBB'BBBB'BBBB'BBBB;

    SECTION("unchanged") {
        must_complete(*v, wide ? kStxpX : kStxpW);
        CHECK(v->s.x[3] == 0);
        CHECK(world.load<u64>(kData) == (wide ? 0xAAAA'AAAA'AAAA'AAAAu : 0xBBBB'BBBB'AAAA'AAAAu));
        CHECK(world.load<u64>(kData + 8) == (wide ? 0xBBBB'BBBB'BBBB'BBBBu : 0x4444'4444'3333'3333u));
    }
    SECTION("second half changed") {
        const u64 last = kData + (wide ? 12 : 4);
        world.store<u32>(last, 0xDEAD'BEEF);
        must_complete(*v, wide ? kStxpX : kStxpW);
        CHECK(v->s.x[3] == 1);
        CHECK(world.load<u32>(kData) == 0x1111'1111);
        CHECK(world.load<u32>(last) == 0xDEAD'BEEF);
    }
}

TEST_CASE("exclusives: increments of two PEs are all counted", "[arch][exclusives][smp]") {
    constexpr u64 kRounds = 1'000'000;
    LdstWorld world;
    auto pes = make_pes(world, 2);

    run_together(pes, [](Vcpu& v) {
        v.s.x[0] = kData;
        for (u64 i = 0; i < kRounds; ++i) {
            do {
                execute(v, kLdxrX1);
                ++v.s.x[1];
                execute(v, kStxrX1);
            } while (v.s.x[3] != 0);
        }
    });

    CHECK(world.load<u64>(kData) == 2 * kRounds);
}

TEST_CASE("exclusives: 16-byte increments of two PEs are all counted in both halves",
          "[arch][exclusives][smp]") {
    constexpr u64 kRounds = 1'000'000;
    LdstWorld world;
    auto pes = make_pes(world, 2);

    run_together(pes, [](Vcpu& v) {
        v.s.x[0] = kData;
        for (u64 i = 0; i < kRounds; ++i) {
            do {
                execute(v, kLdxpX);
                v.s.x[4] = v.s.x[1] + 1;
                v.s.x[5] = v.s.x[2] + 3;
                execute(v, kStxpX);
            } while (v.s.x[3] != 0);
        }
    });

    CHECK(world.load<u64>(kData) == 2 * kRounds);
    CHECK(world.load<u64>(kData + 8) == 3 * 2 * kRounds);
}

TEST_CASE("atomics: additions, swaps and compare-and-swaps of two PEs lose nothing", "[arch][atomics][smp]") {
    constexpr u64 kRounds = 1'000'000;
    LdstWorld world;
    auto pes = make_pes(world, 2);

    run_together(pes, [](Vcpu& v) {
        for (u64 i = 0; i < kRounds; ++i) {
            v.s.x[0] = kData;
            v.s.x[1] = 1;
            execute(v, 0xF8210002 /* ldadd x1, x2, [x0] */);
            v.s.x[0] = kData + 16;  // 16 bytes
            v.s.x[2] = v.s.x[3] = 0;
            u64 seen_lo = 0;
            u64 seen_hi = 0;
            do {
                seen_lo = v.s.x[2];
                seen_hi = v.s.x[3];
                v.s.x[4] = seen_lo + 1;
                v.s.x[5] = seen_hi - 1;
                execute(v, 0x48227C04 /* casp x2, x3, x4, x5, [x0] */);
            } while (v.s.x[2] != seen_lo || v.s.x[3] != seen_hi);
        }
    });

    CHECK(world.load<u64>(kData) == 2 * kRounds);
    CHECK(world.load<u64>(kData + 16) == 2 * kRounds);
    CHECK(world.load<u64>(kData + 24) == u64{0} - 2 * kRounds);
}

// Dekker's algorithm: at least one PE must see the other's store. Stores that miss the cache before it keep
// the one under test in the host's store buffer for long: with STLR as a plain host store, thousands of these
// rounds fail (given two host CPUs).
TEST_CASE("ordering: a load-acquire does not pass an earlier store-release", "[arch][ordering][smp]") {
    constexpr u64 kRounds = 100'000;
    constexpr u64 kColdWords = u64{1} << 21;
    LdstWorld world;
    auto pes = make_pes(world, 2);
    const Handler stlr = decode(0xC89FFC01)->handler;  // stlr x1, [x0]
    const Handler ldar = decode(0xC8DFFC01)->handler;  // ldar x1, [x0]
    std::atomic<u64> arrived{0};
    std::vector<u64> seen[2] = {std::vector<u64>(kRounds + 1), std::vector<u64>(kRounds + 1)};

    run_together(pes, [&](Vcpu& v) {
        const unsigned me = v.index();
        const u64 mine = kData + 64 * me;
        const u64 other = kData + 64 * (1 - me);
        std::vector<u64> cold(kColdWords);
        for (u64 round = 1; round <= kRounds; ++round) {
            arrived.fetch_add(1);
            for (unsigned spins = 0; arrived.load() < 2 * round; ++spins) {
                if (spins > 2000) {
                    std::this_thread::yield();
                }
            }
            for (u64 i = 0; i < 8; ++i) {
                mm::store_relaxed<u64>(&cold[((round * 8 + i) * 4099) % kColdWords], round);
            }
            v.s.x[1] = round;
            v.s.x[0] = mine;
            stlr(v, 0xC89FFC01);
            v.s.x[0] = other;
            ldar(v, 0xC8DFFC01);
            seen[me][round] = v.s.x[1];
        }
    });

    u64 both_missed = 0;
    for (u64 round = 1; round <= kRounds; ++round) {
        both_missed += seen[0][round] < round && seen[1][round] < round;
    }
    CHECK(both_missed == 0);
}

}  // namespace vmm::arch::test
