#include "devices/generic_timer/generic_timer.h"

#include <catch2/catch.hpp>

#include "devices/generic_timer/system_counter.h"
#include "tests/unit/devices/fakes.h"

namespace vmm::devices {
namespace {

using Which = GenericTimer::Which;

struct Setup {
    ManualClock clock;
    SystemCounter counter{clock};
    test::RecordingIrq physical;
    test::RecordingIrq virtual_line;
    GenericTimer timer{counter, physical, virtual_line};
};

TEST_CASE("a timer raises its line when the counter reaches CVAL, not before") {
    const Which which = GENERATE(Which::physical, Which::virtual_);
    Setup t;
    test::RecordingIrq& line = which == Which::physical ? t.physical : t.virtual_line;
    test::RecordingIrq& other = which == Which::physical ? t.virtual_line : t.physical;

    CHECK(t.timer.next_deadline_count() == ~u64{0});
    t.timer.write_cval(which, 1000);
    t.timer.write_ctl(which, 1);
    CHECK(t.timer.next_deadline_count() == 1000);
    CHECK(t.timer.read_ctl(which) == 1);
    t.clock.set_ns(999);
    t.timer.update();
    CHECK_FALSE(line.level);
    t.clock.set_ns(1000);
    t.timer.update();
    CHECK(line.level);
    CHECK_FALSE(other.level);
    CHECK(t.timer.read_ctl(which) == 5);
    CHECK(t.timer.next_deadline_count() == ~u64{0});

    SECTION("masking lowers the line at once and keeps ISTATUS") {
        t.timer.write_ctl(which, 3);
        CHECK_FALSE(line.level);
        CHECK(t.timer.read_ctl(which) == 7);
        t.timer.write_ctl(which, 1);
        CHECK(line.level);
    }
    SECTION("a later CVAL lowers it") {
        t.timer.write_cval(which, 5000);
        CHECK_FALSE(line.level);
        CHECK(t.timer.next_deadline_count() == 5000);
    }
    SECTION("disabling lowers it") {
        t.timer.write_ctl(which, 0);
        CHECK_FALSE(line.level);
        CHECK(t.timer.read_ctl(which) == 0);
    }
    SECTION("reset lowers it") {
        t.timer.reset();
        CHECK_FALSE(line.level);
        CHECK(t.timer.next_deadline_count() == ~u64{0});
    }
}

TEST_CASE("TVAL is a signed 32-bit view of CVAL") {
    Setup t;
    t.clock.set_ns(0x1'0000'0000);
    t.timer.write_tval(Which::virtual_, 100);
    CHECK(t.timer.read_cval(Which::virtual_) == 0x1'0000'0064);
    t.clock.advance_ns(150);
    CHECK(t.timer.read_tval(Which::virtual_) == 0xFFFF'FFCE);  // -50
    t.timer.write_tval(Which::virtual_, 0xFFFF'FFFF);
    CHECK(t.timer.read_cval(Which::virtual_) == 0x1'0000'0096 - 1);
    t.timer.write_ctl(Which::virtual_, 1);
    CHECK(t.virtual_line.level);
}

TEST_CASE("the earlier of two armed timers makes the deadline") {
    Setup t;
    t.timer.write_cval(Which::physical, 700);
    t.timer.write_ctl(Which::physical, 1);
    t.timer.write_cval(Which::virtual_, 300);
    t.timer.write_ctl(Which::virtual_, 1);
    CHECK(t.timer.next_deadline_count() == 300);
    t.timer.write_ctl(Which::virtual_, 3);
    CHECK(t.timer.next_deadline_count() == 700);
}

TEST_CASE("CNTKCTL_EL1 decides what EL0 may touch") {
    using Guard = GenericTimer::Guard;
    struct Row {
        Guard guard;
        u64 enables;  // any of these bits lets EL0 in
    };
    const Row row = GENERATE(Row{Guard::physical_counter, 1}, Row{Guard::virtual_counter, 2}, Row{Guard::frequency, 3},
                             Row{Guard::virtual_timer, 0x100}, Row{Guard::physical_timer, 0x200});
    for (unsigned n = 0; n < 10; ++n) {
        const u64 only = u64{1} << n;
        CHECK(GenericTimer::el0_trapped(row.guard, only) == ((row.enables & only) == 0));
    }
}

TEST_CASE("a reset programs the frequency again, as firmware does") {
    Setup t;
    const u64 frequency = t.timer.frequency();
    t.timer.set_frequency(1);
    CHECK(t.timer.frequency() == 1);
    t.timer.reset();
    CHECK(t.timer.frequency() == frequency);
}

TEST_CASE("every row of the timer has its own encoding") {
    const auto rows = GenericTimer::rows();
    REQUIRE(rows.size() == 9);
    for (const auto& a : rows) {
        INFO(a.name);
        for (const auto& b : rows) {
            CHECK((&a == &b || a.key != b.key));
        }
        CHECK(a.read != nullptr);
        CHECK(a.check != nullptr);
    }
}

TEST_CASE("the system counter scales nanoseconds exactly") {
    ManualClock clock;
    const SystemCounter slow(clock, 62'500'000);
    const SystemCounter fast(clock, 4'000'000'000);
    clock.set_ns(1'000'000'016);
    CHECK(slow.count() == 62'500'001);
    CHECK(fast.count() == 4'000'000'064);
    clock.set_ns(3'600'000'000'000'000);  // 1000 hours
    CHECK(slow.count() == u64{3'600'000} * 62'500'000);
    CHECK(slow.ns_until(slow.count()) == 0);
    CHECK(slow.ns_until(slow.count() + 1) == 16);
    CHECK(fast.ns_until(fast.count() + 1) == 1);  // rounded up
    CHECK(slow.ns_until(~u64{0}) == ~u64{0});
    // Waiting that long reaches the count.
    const u64 target = slow.count() + 12'345'677;
    clock.advance_ns(slow.ns_until(target));
    CHECK(slow.count() >= target);
}

}  // namespace
}  // namespace vmm::devices
