// PMUv3 on a PE that really executes.
#include "tests/unit/arch/mmu_bench.h"

using namespace vmm;
using namespace vmm::arch;
using namespace vmm::arch::bench;

namespace {

struct Line final : IrqLine {
    void set(bool next) override { level = next; }
    bool level = false;
};

/// A PE in a loop of NOPs at EL1, translation off, with its PMU.
class PmuBench : public MmuBench {
  public:
    explicit PmuBench(const char* cpu = "neoverse-n1") : MmuBench(true, cpu) {
        v().pmu().set_irq(&line);
        sys(3, 0, 1, 0, 0, v().s.sctlr_el1 & ~u64{1});
        for (u64 i = 0; i < 16; ++i) {
            put(kCode + 4 * i, 0xD503201F);  // NOP
        }
        put(kCode + 64, 0x17FFFFF0);  // B kCode
        v().s.pc = kCode;
    }

    void put(u64 pa, u32 word) { std::memcpy(ram.host(pa, 4), &word, 4); }

    /// Executes exactly `n` operations.
    void run(u64 n) {
        const u64 target = v().ops_executed() + n;
        for (unsigned i = 0; i < 1000 && v().ops_executed() < target; ++i) {
            v().run(target - v().ops_executed());
        }
        REQUIRE(v().ops_executed() == target);
    }

    u64 pmcr() { return mrs(3, 3, 9, 12, 0); }
    void set_pmcr(u64 value) { sys(3, 3, 9, 12, 0, value); }
    void enable(u64 mask) { sys(3, 3, 9, 12, 1, mask); }
    void disable(u64 mask) { sys(3, 3, 9, 12, 2, mask); }
    void set_type(unsigned n, u64 value) { sys(3, 3, 14, 12, n, value); }
    void set_counter(unsigned n, u64 value) { sys(3, 3, 14, 8, n, value); }
    u64 counter(unsigned n) { return mrs(3, 3, 14, 8, n); }
    u64 cycles() { return mrs(3, 3, 9, 13, 0); }
    u64 overflow() { return mrs(3, 3, 9, 12, 3); }
    void interrupt(u64 mask) { sys(3, 0, 9, 14, 1, mask); }

    static constexpr u64 kCode = kRam + 0x4000;
    Line line;
};

constexpr u64 kCycles = u64{1} << 31;
constexpr u64 kP = u64{1} << 31;  // not at EL1
constexpr u64 kU = u64{1} << 30;  // not at EL0

}  // namespace

TEST_CASE("pmu: identification") {
    PmuBench b;
    CHECK(b.pmcr() == (0x410C3000 | 1 << 6));  // N = 6, LC
    CHECK(b.mrs(3, 3, 9, 12, 6) == (1u << 0x00 | 1u << 0x08 | 1u << 0x09 | 1u << 0x0A | 1u << 0x0B | 1u << 0x11 |
                                    1u << 0x1B | 1u << 0x1C | 1u << 0x1E));
    CHECK(b.mrs(3, 3, 9, 12, 7) == (1u << 3 | 1u << 4));
    CHECK(bits(b.mrs(3, 0, 0, 5, 0), 11, 8) == 4);
    MmuBench without;
    CHECK(without.v().sysregs.find(sysreg_key(3, 3, 9, 12, 0)) == nullptr);
    CHECK(bits(without.mrs(3, 0, 0, 5, 0), 11, 8) == 0);
}

TEST_CASE("pmu: cycles and instructions are executed operations") {
    PmuBench b;
    b.set_type(2, 0x08);
    b.set_type(3, 0x11);
    b.enable(kCycles | 1 << 2 | 1 << 3);
    b.run(100);
    CHECK(b.cycles() == 0);  // PMCR.E
    b.set_pmcr(1);
    b.run(1000);
    CHECK(b.cycles() == 1000);
    CHECK(b.counter(2) == 1000);
    CHECK(b.counter(3) == 1000);
    CHECK(b.counter(0) == 0);
    b.disable(1 << 3);
    b.run(10);
    CHECK(b.counter(2) == 1010);
    CHECK(b.counter(3) == 1000);
    b.set_pmcr(0);
    b.run(10);
    CHECK(b.cycles() == 1010);
    b.set_pmcr(1 << 2);
    CHECK(b.cycles() == 0);
    CHECK(b.counter(2) == 1010);
    b.set_pmcr(1 << 1);
    CHECK(b.counter(2) == 0);
}

TEST_CASE("pmu: filters by Exception level") {
    PmuBench b;
    b.set_type(0, 0x08 | kP);
    b.set_type(1, 0x08 | kU);
    b.set_type(2, 0x08);
    b.set_type(3, 0x08 | kU | kP);
    b.enable(0xF);
    b.set_pmcr(1);
    b.run(50);
    b.v().pmu().before_el_change();
    b.set_el(0);
    b.run(30);
    CHECK(b.counter(0) == 30);
    CHECK(b.counter(1) == 50);
    CHECK(b.counter(2) == 80);
    CHECK(b.counter(3) == 0);
}

TEST_CASE("pmu: overflow, its status and its interrupt") {
    PmuBench b;
    b.set_type(0, 0x08);
    b.set_counter(0, 0xFFFF'FFFF - 99);
    b.enable(1 | kCycles);
    b.set_pmcr(1);
    CHECK(b.v().pmu().ops_until_overflow() == ~u64{0});  // no interrupt wanted
    b.interrupt(1);
    CHECK(b.v().pmu().ops_until_overflow() == 100);
    b.run(60);
    CHECK(b.v().pmu().ops_until_overflow() == 40);
    b.run(39);
    CHECK_FALSE(b.line.level);
    CHECK(b.overflow() == 0);
    b.run(1);
    CHECK(b.line.level);
    CHECK(b.overflow() == 1);
    CHECK(b.counter(0) == 0);
    b.sys(3, 3, 9, 12, 3, 1);  // PMOVSCLR
    CHECK_FALSE(b.line.level);
    b.sys(3, 3, 9, 14, 3, 1);  // PMOVSSET
    CHECK(b.line.level);
    b.sys(3, 0, 9, 14, 2, 1);  // PMINTENCLR
    CHECK_FALSE(b.line.level);
    CHECK(b.overflow() == 1);

    b.sys(3, 3, 9, 13, 0, ~u64{0} - 9);  // PMCCNTR overflows at 64 bits
    b.interrupt(kCycles);
    CHECK(b.v().pmu().ops_until_overflow() == 10);
    b.run(10);
    CHECK(b.cycles() == 0);
    CHECK(b.overflow() == (kCycles | 1));
    CHECK(b.line.level);
}

TEST_CASE("pmu: chained counters") {
    PmuBench b;
    b.set_type(4, 0x08);
    b.set_type(5, 0x1E);
    b.set_counter(4, 0xFFFF'FFF0);
    b.enable(1 << 4 | 1 << 5);
    b.set_pmcr(1);
    b.run(20);
    CHECK(b.counter(4) == 4);
    CHECK(b.counter(5) == 1);
    b.set_counter(5, 0xFFFF'FFFF);
    b.set_counter(4, 0xFFFF'FFFF);
    b.interrupt(1 << 5);
    CHECK(b.v().pmu().ops_until_overflow() == 1);
    b.run(1);
    CHECK(b.overflow() == (1 << 4 | 1 << 5));
    CHECK(b.line.level);
}

TEST_CASE("pmu: software increment, exceptions and profiling events") {
    PmuBench b;
    b.set_type(0, 0x00);
    b.set_type(1, 0x09);
    b.set_type(2, 0x4000);
    b.set_type(3, 0x4003 | kP);
    b.set_type(4, 0x0A);
    b.enable(0x1F);
    b.sys(3, 3, 9, 12, 4, 1);
    CHECK(b.counter(0) == 0);  // disabled
    b.set_pmcr(1);
    b.sys(3, 3, 9, 12, 4, 0x3);
    b.sys(3, 3, 9, 12, 4, 0x1);
    b.v().undefined();
    b.v().exception_return();
    b.v().pmu().count(0x4000, 123);
    b.v().pmu().count(0x4003, 5);
    CHECK(b.counter(0) == 2);
    CHECK(b.counter(1) == 1);
    CHECK(b.counter(2) == 123);
    CHECK(b.counter(3) == 0);
    CHECK(b.counter(4) == 1);
}

TEST_CASE("pmu: indirect access and writable bits") {
    PmuBench b;
    b.sys(3, 3, 9, 12, 5, 3);  // PMSELR
    b.sys(3, 3, 9, 13, 1, ~u64{0});
    CHECK(b.mrs(3, 3, 14, 12, 3) == 0xC000FFFF);
    b.sys(3, 3, 9, 13, 2, 0x1'2345'6789);
    CHECK(b.counter(3) == 0x2345'6789);
    b.sys(3, 3, 9, 12, 5, 31);
    b.sys(3, 3, 9, 13, 1, ~u64{0});
    CHECK(b.mrs(3, 3, 14, 15, 7) == 0xC0000000);
    CHECK(b.mrs(3, 3, 9, 13, 2) == 0);
    b.sys(3, 3, 9, 12, 5, 6);  // no such counter
    b.sys(3, 3, 9, 13, 2, 5);
    CHECK(b.mrs(3, 3, 9, 13, 2) == 0);
    CHECK(b.mrs(3, 3, 9, 13, 1) == 0);
    b.enable(~u64{0});
    CHECK(b.mrs(3, 3, 9, 12, 1) == 0x8000003F);
    b.set_pmcr(~u64{0});
    CHECK(b.pmcr() == (0x410C3000 | 0x71));  // LC, DP, X, E
}

TEST_CASE("pmu: what EL0 may do") {
    PmuBench b;
    b.set_el(0);
    const auto allowed = [&](unsigned crn, unsigned crm, unsigned op2, bool write) {
        const auto* row = b.v().sysregs.find(sysreg_key(3, 3, crn, crm, op2));
        return row->check(row->self, b.v(), write) == SysregTrap::allow;
    };
    struct Case {
        unsigned crn, crm, op2;
        u64 reads, writes;  // PMUSERENR bits any of which allows
    };
    constexpr u64 kEn = 1, kSw = 2, kCr = 4, kEr = 8;
    const Case cases[] = {
        {9, 12, 0, kEn, kEn},        // PMCR
        {9, 12, 4, kEn | kSw, kEn | kSw},  // PMSWINC
        {9, 12, 5, kEn | kEr, kEn | kEr},  // PMSELR
        {9, 13, 0, kEn | kCr, kEn},  // PMCCNTR
        {9, 13, 2, kEn | kEr, kEn},  // PMXEVCNTR
        {14, 8, 1, kEn | kEr, kEn},  // PMEVCNTR1
        {14, 12, 1, kEn, kEn},       // PMEVTYPER1
        {14, 15, 7, kEn, kEn},       // PMCCFILTR
    };
    for (u64 enable = 0; enable < 16; ++enable) {
        b.v().pmu().set_user_enable(enable);
        for (const Case& c : cases) {
            INFO("PMUSERENR " << enable << " C" << c.crn << " C" << c.crm << " " << c.op2);
            CHECK(allowed(c.crn, c.crm, c.op2, false) == ((enable & c.reads) != 0));
            CHECK(allowed(c.crn, c.crm, c.op2, true) == ((enable & c.writes) != 0));
        }
        CHECK(b.mrs(3, 3, 9, 14, 0) == enable);  // PMUSERENR itself
    }
    const u64 before = b.v().exceptions_taken;
    b.put(PmuBench::kCode, 0xD51B9E00);  // MSR PMUSERENR_EL0, X0, which only EL1 may: UNDEFINED
    b.v().s.pc = PmuBench::kCode;
    b.run(1);
    CHECK(b.v().exceptions_taken == before + 1);
    CHECK(b.v().s.esr_el1 == u64{1} << 25);
}

// ── PMUv3p7 ────────────────────────────────────────────────────────────────────────────────────────────────

TEST_CASE("pmu: version 3.7 is the model's, and 3.1 has none of its controls") {
    PmuBench n1;
    n1.set_pmcr(~u64{0});
    CHECK(bits(n1.mrs(3, 0, 0, 5, 0), 11, 8) == 4);
    CHECK(n1.pmcr() == (0x410C3000 | 0x71));
    CHECK(n1.v().sysregs.find(sysreg_key(3, 0, 9, 14, 6)) == nullptr);
    n1.set_counter(0, ~u64{0});
    CHECK(n1.counter(0) == 0xFFFFFFFF);

    PmuBench b("max");
    b.set_pmcr(~u64{0});
    CHECK(bits(b.mrs(3, 0, 0, 5, 0), 11, 8) == 7);
    CHECK(b.pmcr() == (0x3000 | 0x2F1));  // no IMP; FZO, LP; FZS needs SPE
    CHECK(b.mrs(3, 0, 9, 14, 6) == 0);
    CHECK(b.mrs(3, 0, 0, 5, 1) == 0);  // DPFZS, too
    b.set_counter(0, ~u64{0});
    CHECK(b.counter(0) == ~u64{0});
}

TEST_CASE("pmu: 64-bit counters overflow where PMCR.LP says") {
    constexpr u64 kLp = 0x80;
    struct Row {
        u64 pmcr, start;
        bool overflows;
    };
    for (const Row& row : {Row{0, 0xFFFFFFFF - 9, true}, Row{kLp, 0xFFFFFFFF - 9, false}, Row{kLp, ~u64{0} - 9, true},
                           Row{0, ~u64{0} - 9, true}, Row{0, 0x1'0000'0000, false}}) {
        INFO("PMCR " << row.pmcr << " from " << row.start);
        PmuBench b("max");
        b.set_type(0, 0x08);
        b.interrupt(1);
        b.enable(1);
        b.set_pmcr(1 | row.pmcr);
        b.set_counter(0, row.start);
        b.run(9);
        CHECK(b.overflow() == 0);
        b.run(1);
        CHECK(b.counter(0) == row.start + 10);
        CHECK(b.overflow() == (row.overflows ? 1 : 0));
        CHECK(b.line.level == row.overflows);
    }
}

TEST_CASE("pmu: CHAIN counts overflows at 32 bits only") {
    constexpr u64 kLp = 0x80;
    for (const u64 lp : {u64{0}, kLp}) {
        PmuBench b("max");
        b.set_type(0, 0x08);
        b.set_type(1, 0x1E);
        b.enable(3);
        b.set_pmcr(1 | lp);
        b.set_counter(0, ~u64{0} - 9);
        b.run(20);
        CHECK(b.counter(0) == 10);
        CHECK(b.counter(1) == (lp != 0 ? 0 : 1));
        CHECK(b.overflow() == 1);
    }
}

TEST_CASE("pmu: with PMCR.FZO an overflow stops all event counters at that operation") {
    constexpr u64 kFzo = 0x200, kDp = 0x20;
    for (const bool dp : {false, true}) {
        PmuBench b("max");
        b.set_type(1, 0x08);
        b.set_type(2, 0x1B);
        b.enable(kCycles | 0b110);
        b.set_pmcr(1 | kFzo | (dp ? kDp : 0));
        b.set_counter(1, 0xFFFFFFFF - 99);
        b.run(5000);
        CHECK(b.counter(1) == 0x1'0000'0000);
        CHECK(b.counter(2) == 100);
        CHECK(b.cycles() == (dp ? 100 : 5000));
        b.sys(3, 3, 9, 12, 3, 0b10);  // PMOVSCLR
        b.run(50);
        CHECK(b.counter(1) == 0x1'0000'0000 + 50);
        CHECK(b.counter(2) == 150);
    }
}

TEST_CASE("pmu: an overflow that freezes still advances the counter chained to it") {
    PmuBench b("max");
    b.set_type(0, 0x08);
    b.set_type(1, 0x1E);
    b.enable(0b11);
    b.set_pmcr(1 | 0x200);
    b.set_counter(0, 0xFFFFFFFF);
    b.run(100);
    CHECK(b.counter(0) == 0x1'0000'0000);
    CHECK(b.counter(1) == 1);
}
