#include "devices/pl031.h"

#include <catch2/catch.hpp>

#include "tests/unit/devices/fakes.h"

namespace vmm::devices {
namespace {

constexpr u64 kData = 0x00, kMatch = 0x04, kLoad = 0x08, kMask = 0x10, kRaw = 0x14, kMasked = 0x18, kClear = 0x1C;
constexpr u64 kSecond = 1'000'000'000;

struct Setup {
    ManualClock clock;
    test::RecordingIrq irq;
    Pl031 rtc{irq, clock};
    u64 read(u64 offset) { return rtc.read({offset, 4, 0}); }
    void write(u64 offset, u64 value) { rtc.write({offset, 4, 0}, value); }
};

TEST_CASE("the RTC shows wall time and can be set") {
    Setup t;
    CHECK(t.read(kData) == t.clock.wall_seconds());
    t.clock.advance_ns(5 * kSecond);
    CHECK(t.read(kData) == t.clock.wall_seconds());
    t.write(kLoad, 1000);
    t.clock.advance_ns(7 * kSecond);
    CHECK(t.read(kData) == 1007);
    CHECK(t.read(kLoad) == 1000);
    t.rtc.reset();
    CHECK(t.read(kData) == t.clock.wall_seconds());
}

TEST_CASE("the alarm fires once, when its time has come, through the mask") {
    Setup t;
    t.write(kLoad, 0xFFFF'FFFE);  // the counter wraps before the alarm
    t.write(kMatch, 3);
    t.write(kMask, 1);
    t.clock.advance_ns(4 * kSecond);
    t.rtc.poll();
    CHECK_FALSE(t.irq.level);
    t.clock.advance_ns(10 * kSecond);  // nobody looked at the very second
    t.rtc.poll();
    CHECK(t.irq.level);
    CHECK(t.read(kRaw) == 1);
    CHECK(t.read(kMasked) == 1);
    t.write(kMask, 0);
    CHECK_FALSE(t.irq.level);
    CHECK(t.read(kRaw) == 1);
    CHECK(t.read(kMasked) == 0);
    t.write(kMask, 1);
    t.write(kClear, 1);
    CHECK_FALSE(t.irq.level);
    t.clock.advance_ns(10 * kSecond);
    t.rtc.poll();
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("an alarm in the past does not fire") {
    Setup t;
    t.write(kMask, 1);
    t.write(kMatch, t.read(kData) - 1);
    t.clock.advance_ns(3 * kSecond);
    t.rtc.poll();
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("the RTC identifies itself as a PL031") {
    Setup t;
    u64 peripheral = 0;
    u64 cell = 0;
    for (unsigned n = 0; n < 4; ++n) {
        peripheral |= t.read(0xFE0 + 4 * n) << (8 * n);
        cell |= t.read(0xFF0 + 4 * n) << (8 * n);
    }
    CHECK((peripheral & 0xFFFFF) == 0x41031);
    CHECK(cell == 0xB105F00D);
    CHECK(t.read(0x500) == 0);
}

}  // namespace
}  // namespace vmm::devices
