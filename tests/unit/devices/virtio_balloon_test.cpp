#include "devices/virtio/balloon.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::TestRam;
using test::VirtioSetup;

constexpr u64 kList = kRamBase + 0x10000;
constexpr u64 kPages = kRamBase + 0x20000;

struct BalloonSetup {
    BalloonSetup()
        : ram(0x80000),
          inflate(ram, kRamBase, 16),
          deflate(ram, kRamBase + 0x4000, 16),
          report(ram, kRamBase + 0x8000, 16),
          t(std::make_unique<Balloon>(Balloon::Giver{[this](mm::GuestRange range) {
                                                         REQUIRE(ram.view.contains(range.pa, range.size));
                                                         REQUIRE(range.pa % 4096 == 0);
                                                         REQUIRE(range.size % 4096 == 0);
                                                         REQUIRE(range.size != 0);
                                                         given.push_back(range);
                                                         return !refuse;
                                                     },
                                                     [this] { return ram.view; }},
                                      Threading::inline_call),
            ram) {
        t.negotiate(t.offered());
        REQUIRE(t.read(0x70) == 0xB);
        t.set_up_queue(0, inflate.layout());
        t.set_up_queue(1, deflate.layout());
        t.set_up_queue(2, report.layout());
        t.driver_ok();
    }
    Balloon& balloon() { return static_cast<Balloon&>(t.transport.device()); }
    void list(Driver& driver, u32 queue, const std::vector<u32>& numbers) {
        for (std::size_t n = 0; n < numbers.size(); ++n) {
            ram.put<u32>(kList + 4 * n, numbers[n]);
        }
        driver.post(0, {{kList, static_cast<u32>(4 * numbers.size()), false}});
        t.notify(queue);
    }

    TestRam ram;
    std::vector<mm::GuestRange> given;
    bool refuse = false;
    Driver inflate;
    Driver deflate;
    Driver report;
    VirtioSetup t;
};

TEST_CASE("balloon: the guest is told the target and tells what it has given") {
    BalloonSetup s;
    CHECK(s.t.read(0x08) == 5);
    const u32 generation = s.t.read(0xFC);
    s.balloon().set_target(10 * 4096 + 5);
    CHECK(s.t.read(0x100) == 10);
    CHECK(s.t.read(0xFC) != generation);
    CHECK(s.t.read(0x60) == 2);
    CHECK(s.balloon().target() == 10 * 4096);
    s.t.write(0x104, 7);
    CHECK(s.balloon().given() == 7 * 4096);
    // The target is not the guest's to write, and there is nothing behind the end.
    s.t.write(0x100, 99);
    s.t.write(0x108, 99);
    s.t.transport.write({0x103, 8, 0}, ~u64{0});
    CHECK(s.balloon().target() == 10 * 4096);
    CHECK(s.balloon().given() == u64{~u32{0}} * 4096);
    s.t.write(0x70, 0);
    CHECK(s.balloon().given() == 0);
    CHECK(s.balloon().target() == 10 * 4096);
}

TEST_CASE("balloon: listed pages go back in runs, whatever their order; deflating needs nothing") {
    BalloonSetup s;
    const u32 first = kRamBase / 4096 + 0x30;
    s.list(s.inflate, 0, {first + 2, first, first + 1, first + 9, first + 9});
    REQUIRE(s.given.size() == 2);
    CHECK((s.given[0] == mm::GuestRange{kRamBase + 0x30000, 0x3000}));
    CHECK((s.given[1] == mm::GuestRange{kRamBase + 0x39000, 0x1000}));
    CHECK(s.inflate.used_index() == 1);
    s.list(s.deflate, 1, {first, first + 1});
    CHECK(s.given.size() == 2);
    CHECK(s.deflate.used_index() == 1);
    CHECK(s.t.irq.level);
}

TEST_CASE("balloon: numbers of pages that are none are ignored") {
    BalloonSetup s;
    const u32 last = kRamBase / 4096 + 0x7F;
    s.list(s.inflate, 0, {0, 1, ~0u, ~0u - 1, last + 1, kRamBase / 4096 - 1});
    CHECK(s.given.empty());
    // A run that leaves RAM is none.
    s.list(s.inflate, 0, {last, last + 1});
    CHECK(s.given.empty());
    s.list(s.inflate, 0, {last});
    CHECK(s.given.size() == 1);
}

TEST_CASE("balloon: reported pages go back, rounded inwards, and are counted where they did") {
    BalloonSetup s;
    s.report.post(
        0, {{kPages, 0x10000, true}, {kPages + 0x20001, 0x3000, true}, {kPages + 0x30001, 0x1000, true}});
    s.t.notify(2);
    REQUIRE(s.given.size() == 2);
    CHECK((s.given[0] == mm::GuestRange{kPages, 0x10000}));
    CHECK((s.given[1] == mm::GuestRange{kPages + 0x21000, 0x2000}));
    CHECK(s.balloon().reported() == 0x12000);
    s.refuse = true;
    s.report.post(0, {{kPages, 0x10000, true}});
    s.t.notify(2);
    CHECK(s.given.size() == 3);
    CHECK(s.balloon().reported() == 0x12000);
    CHECK(s.report.used_index() == 2);
}

TEST_CASE("balloon: random rings and lists harm nothing") {
    Rng rng(13);
    for (unsigned round = 0; round < 200; ++round) {
        BalloonSetup s;
        for (unsigned n = 0; n < 30; ++n) {
            for (Driver* driver : {&s.inflate, &s.deflate, &s.report}) {
                for (unsigned index = 0; index < 16; ++index) {
                    const u64 pa = rng.next() % 4 == 0 ? rng.next() : kRamBase + rng.next() % 0x88000;
                    driver->descriptor(driver->layout().descriptors, index, pa,
                                       static_cast<u32>(rng.next() >> (32 + rng.next() % 32)),
                                       static_cast<u16>(rng.next() % 8), static_cast<u16>(rng.next() % 18));
                }
                driver->publish(static_cast<u16>(rng.next() % 18));
            }
            s.t.notify(static_cast<u32>(rng.next() % 3));
        }
    }
    SUCCEED("alive");
}

}  // namespace
}  // namespace vmm::devices::virtio
