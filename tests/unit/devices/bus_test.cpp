#include "devices/bus.h"

#include <catch2/catch.hpp>

namespace vmm::devices {
namespace {

struct FakeDevice final : Device {
    explicit FakeDevice(bool locks = false) : locks_(locks) {}
    std::string_view name() const override { return "fake"; }
    u64 read(const Access& access) override {
        last = access;
        return 0x1234;
    }
    void write(const Access& access, u64 value) override {
        last = access;
        written = value;
    }
    void reset() override { ++resets; }
    bool locks_itself() const override { return locks_; }

    Access last;
    u64 written = 0;
    int resets = 0;
    bool locks_;
};

TEST_CASE("bus routes an access to the window that holds all of it") {
    Bus bus;
    FakeDevice low;
    FakeDevice high{true};
    REQUIRE(bus.attach(high, {0x2000, 0x100}));
    REQUIRE(bus.attach(low, {0x1000, 0x10}));

    u64 value = 0;
    CHECK(bus.read(0x1008, 8, value, 3));
    CHECK(value == 0x1234);
    CHECK(low.last.offset == 8);
    CHECK(low.last.size == 8);
    CHECK(low.last.cpu == 3);
    CHECK(bus.write(0x20FF, 1, 0xAB, 0));
    CHECK(high.last.offset == 0xFF);
    CHECK(high.written == 0xAB);

    CHECK_FALSE(bus.read(0x0FFF, 1, value, 0));
    CHECK_FALSE(bus.read(0x1010, 4, value, 0));
    CHECK_FALSE(bus.read(0x100C, 8, value, 0));  // crosses the end
    CHECK_FALSE(bus.read(0x0FFC, 8, value, 0));  // crosses the start
    CHECK_FALSE(bus.write(~u64{0}, 8, 0, 0));
    CHECK_FALSE(bus.write(0x20FE, 4, 0, 0));
}

TEST_CASE("bus gives no more of a register than is read of it") {
    Bus bus;
    FakeDevice device;
    REQUIRE(bus.attach(device, {0x1000, 0x10}));
    u64 value = ~u64{0};
    CHECK(bus.read(0x1000, 1, value, 0));
    CHECK(value == 0x34);
    CHECK(bus.read(0x1000, 2, value, 0));
    CHECK(value == 0x1234);
}

TEST_CASE("bus refuses windows that overlap, are empty or wrap") {
    Bus bus;
    FakeDevice a;
    FakeDevice b;
    REQUIRE(bus.attach(a, {0x1000, 0x1000}));
    CHECK_FALSE(bus.attach(b, {0x1FFF, 1}));
    CHECK_FALSE(bus.attach(b, {0x0FFF, 2}));
    CHECK_FALSE(bus.attach(b, {0x0, 0x10000}));
    CHECK_FALSE(bus.attach(b, {0x1800, 0x10}));
    CHECK_FALSE(bus.attach(b, {0x3000, 0}));
    CHECK_FALSE(bus.attach(b, {~u64{0} - 1, 3}));
    CHECK(bus.attach(b, {0x2000, 0x1000}));
    CHECK(bus.attach(b, {0x0, 0x1000}));
    CHECK(bus.attach(b, {~u64{0}, 1}));
    u64 value = 0;
    CHECK(bus.read(~u64{0}, 1, value, 0));
    CHECK(bus.slots().size() == 4);
}

TEST_CASE("bus resets each device once, however many windows it has") {
    Bus bus;
    FakeDevice a;
    FakeDevice b{true};
    REQUIRE(bus.attach(a, {0x1000, 0x10}));
    REQUIRE(bus.attach(b, {0x2000, 0x10}));
    REQUIRE(bus.attach(a, {0x3000, 0x10}));
    bus.reset();
    CHECK(a.resets == 1);
    CHECK(b.resets == 1);
}

}  // namespace
}  // namespace vmm::devices
