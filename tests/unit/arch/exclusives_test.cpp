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

/// Runs `body` on `pes` PEs at once, each on its own thread.
template <class Body>
void run_together(std::vector<std::unique_ptr<Vcpu>>& pes, Body body) {
    std::vector<std::thread> threads;
    for (auto& pe : pes) {
        threads.emplace_back([&pe, &body] { body(*pe); });
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
    constexpr u64 kRounds = 200'000;
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
    constexpr u64 kRounds = 100'000;
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
    constexpr u64 kRounds = 200'000;
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

// Dekker's algorithm: at least one PE must see the other's store.
TEST_CASE("ordering: a load-acquire does not pass an earlier store-release", "[arch][ordering][smp]") {
    constexpr unsigned kRounds = 20'000;
    LdstWorld world;
    auto pes = make_pes(world, 2);
    std::atomic<unsigned> arrived{0};
    std::atomic<u64> seen[2] = {};
    unsigned both_missed = 0;

    run_together(pes, [&](Vcpu& v) {
        const unsigned me = v.index();
        const auto meet = [&arrived](unsigned count) {
            arrived.fetch_add(1);
            while (arrived.load() < count) {
                std::this_thread::yield();
            }
        };
        for (unsigned i = 0; i < kRounds; ++i) {
            meet(6 * i + 2);
            v.s.x[1] = i + 1;
            v.s.x[0] = kData + 64 * me;
            execute(v, 0xC89FFC01 /* stlr x1, [x0] */);
            v.s.x[0] = kData + 64 * (1 - me);
            execute(v, 0xC8DFFC01 /* ldar x1, [x0] */);
            seen[me] = v.s.x[1];
            meet(6 * i + 4);
            if (me == 0 && seen[0] != i + 1 && seen[1] != i + 1) {
                ++both_missed;
            }
            meet(6 * i + 6);
        }
    });

    CHECK(both_missed == 0);
}

}  // namespace vmm::arch::test
