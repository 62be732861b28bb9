#include "devices/virtio/virtqueue.h"

#include <catch2/catch.hpp>

#include "devices/virtio/device.h"
#include "tests/unit/devices/virtio_ring.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::TestRam;
using Pop = Virtqueue::Pop;

constexpr u64 kData = kRamBase + 0x8000;

TEST_CASE("chains come out in order with their buffers, directly or through a table") {
    const bool indirect = GENERATE(false, true);
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 8);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), kFeatureIndirect));
    Chain chain;
    CHECK(queue.pop(chain) == Pop::empty);
    driver.post(3, {{kData, 16, false}, {kData + 0x100, 0, false}, {kData + 0x200, 32, true}, {kData + 0x300, 1, true}},
                indirect);
    REQUIRE(queue.pop(chain) == Pop::chain);
    CHECK(chain.head == 3);
    REQUIRE(chain.readable.size() == 1);  // empty buffers are skipped
    REQUIRE(chain.writable.size() == 2);
    CHECK(chain.readable[0].guest_data == ram.view.host(kData));
    CHECK(chain.writable_size() == 33);
    queue.push(3, 33);
    CHECK(driver.used_index() == 1);
    CHECK(driver.used_head(0) == 3);
    CHECK(driver.used_length(0) == 33);
    CHECK(queue.pop(chain) == Pop::empty);
}

TEST_CASE("copies cross segments and stop at the ends") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 8);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), 0));
    for (unsigned n = 0; n < 64; ++n) {
        ram.put<u8>(kData + n, static_cast<u8>(n));
    }
    driver.post(0, {{kData, 3, false}, {kData + 10, 4, false}, {kData + 0x100, 2, true}, {kData + 0x200, 2, true}});
    Chain chain;
    REQUIRE(queue.pop(chain) == Pop::chain);
    u8 out[8] = {};
    CHECK(chain.copy_out(out, 8) == 7);
    CHECK(out[2] == 2);
    CHECK(out[3] == 10);
    CHECK(out[6] == 13);
    CHECK(chain.copy_out(out, 2, 5) == 2);
    CHECK(out[0] == 12);
    CHECK(chain.copy_out(out, 2, 7) == 0);
    const u8 in[5] = {9, 8, 7, 6, 5};
    CHECK(chain.copy_in(in, 5, 1) == 3);
    CHECK(ram.get<u8>(kData + 0x101) == 9);
    CHECK(ram.get<u8>(kData + 0x200) == 8);
    CHECK(ram.get<u8>(kData + 0x201) == 7);
}

TEST_CASE("layouts outside RAM or out of shape are refused") {
    TestRam ram(0x4000);
    const QueueLayout good{16, kRamBase, kRamBase + 0x1000, kRamBase + 0x2000};
    Virtqueue queue;
    CHECK(queue.configure(ram.view, good, 0));
    for (const u16 size : {u16{0}, u16{3}, u16{255}, u16{0xFFFF}}) {
        QueueLayout bad = good;
        bad.size = size;
        CHECK_FALSE(queue.configure(ram.view, bad, 0));
        CHECK_FALSE(queue.ready());
    }
    for (const u64 address : {kRamBase + 1, u64{0}, kRamBase - 0x10, kRamBase + 0x4000 - 16, ~u64{0} - 15, ~u64{0}}) {
        QueueLayout bad = good;
        bad.descriptors = address;
        CHECK_FALSE(queue.configure(ram.view, bad, 0));
        bad = good;
        bad.used = address;
        CHECK_FALSE(queue.configure(ram.view, bad, 0));
        bad = good;
        bad.available = address;
        CHECK_FALSE(queue.configure(ram.view, bad, 0));
    }
}

TEST_CASE("a driver that breaks the rules breaks the queue, nothing else") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 8);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), kFeatureIndirect));
    const u64 table = driver.layout().descriptors;
    SECTION("head out of range") { driver.publish(8); }
    SECTION("loop") {
        driver.descriptor(table, 0, kData, 1, test::kNext, 1);
        driver.descriptor(table, 1, kData, 1, test::kNext, 0);
        driver.publish(0);
    }
    SECTION("next out of range") {
        driver.descriptor(table, 0, kData, 1, test::kNext, 8);
        driver.publish(0);
    }
    SECTION("buffer outside RAM") { driver.post(0, {{kRamBase + 0x10000 - 1, 2, true}}); }
    SECTION("buffer wraps around") { driver.post(0, {{~u64{0} - 1, 0xFFFF'FFFF, false}}); }
    SECTION("readable after writable") { driver.post(0, {{kData, 1, true}, {kData, 1, false}}); }
    SECTION("index runs ahead") { ram.put<u16>(driver.layout().available + 2, 9); }
    SECTION("indirect within indirect") {
        driver.descriptor(kData, 0, kData, 16, test::kIndirect, 0);
        driver.descriptor(table, 0, kData, 16, test::kIndirect, 0);
        driver.publish(0);
    }
    SECTION("indirect table of odd size") {
        driver.descriptor(table, 0, kData, 17, test::kIndirect, 0);
        driver.publish(0);
    }
    SECTION("indirect loop") {
        driver.descriptor(kData, 0, kData, 1, test::kNext, 0);
        driver.descriptor(table, 0, kData, 16, test::kIndirect, 0);
        driver.publish(0);
    }
    Chain chain;
    CHECK(queue.pop(chain) == Pop::broken);
    CHECK(queue.broken());
    driver.post(0, {{kData, 1, true}});
    CHECK(queue.pop(chain) == Pop::broken);
    REQUIRE(queue.configure(ram.view, driver.layout(), 0));
    CHECK_FALSE(queue.broken());
}

TEST_CASE("an indirect descriptor needs the feature") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 8);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), 0));
    driver.post(0, {{kData, 1, true}}, true);
    Chain chain;
    CHECK(queue.pop(chain) == Pop::broken);
}

TEST_CASE("interrupts and notifications without event indices") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 4);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), 0));
    CHECK_FALSE(queue.interrupt_wanted());
    queue.push(0, 0);
    CHECK(queue.interrupt_wanted());
    CHECK_FALSE(queue.interrupt_wanted());
    driver.set_available_flags(1);
    queue.push(0, 0);
    CHECK_FALSE(queue.interrupt_wanted());

    queue.disable_notifications();
    CHECK(driver.used_flags() == 1);
    CHECK(queue.enable_notifications());
    CHECK(driver.used_flags() == 0);
    driver.post(0, {{kData, 1, true}});
    CHECK_FALSE(queue.enable_notifications());
}

TEST_CASE("interrupts and notifications with event indices") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 4);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), kFeatureEventIdx));
    driver.set_used_event(0);
    queue.push(0, 0);
    CHECK(queue.interrupt_wanted());  // element 0 was waited for
    driver.set_used_event(3);
    queue.push(0, 0);
    queue.push(0, 0);
    CHECK_FALSE(queue.interrupt_wanted());
    queue.push(0, 0);
    CHECK(queue.interrupt_wanted());
    CHECK_FALSE(queue.interrupt_wanted());
    queue.push(0, 0);
    CHECK_FALSE(queue.interrupt_wanted());

    Chain chain;
    driver.post(0, {{kData, 1, true}});
    REQUIRE(queue.pop(chain) == Pop::chain);
    CHECK(queue.enable_notifications());
    CHECK(driver.available_event() == 1);
}

TEST_CASE("indices wrap") {
    TestRam ram(0x10000);
    Driver driver(ram, kRamBase, 2);
    Virtqueue queue;
    REQUIRE(queue.configure(ram.view, driver.layout(), kFeatureEventIdx));
    Chain chain;
    for (unsigned n = 0; n < 70'000; ++n) {
        driver.set_used_event(static_cast<u16>(n));
        driver.post(n & 1, {{kData, 1, true}});
        if (queue.pop(chain) != Pop::chain || chain.head != (n & 1)) {
            FAIL("chain " << n);
        }
        queue.push(chain.head, 1);
        if (!queue.interrupt_wanted() || driver.used_index() != static_cast<u16>(n + 1)) {
            FAIL("interrupt " << n);
        }
    }
    CHECK(queue.pop(chain) == Pop::empty);
}

TEST_CASE("random rings never lead outside RAM") {
    // Runs under ASan in CI: RAM is a heap block, so any access beyond it is caught; every segment is touched.
    TestRam ram(0x4000);
    Rng rng(42);
    unsigned chains = 0;
    unsigned broken = 0;
    for (unsigned round = 0; round < 20'000; ++round) {
        const auto size = static_cast<u16>(1u << rng.below(7));
        const QueueLayout layout{size, kRamBase + rng.below(0x400) * 16, kRamBase + rng.below(0x2000) * 2,
                                 kRamBase + rng.below(0x1000) * 4};
        // Mostly plausible descriptors, with some noise.
        for (u64 at = 0; at < 0x4000; at += 16) {
            const bool wild = rng.below(16) == 0;
            ram.put<u64>(kRamBase + at, wild ? rng.next() : kRamBase + rng.below(0x4000));
            ram.put<u32>(kRamBase + at + 8, static_cast<u32>(wild ? rng.next() : rng.below(64) * 16));
            ram.put<u16>(kRamBase + at + 12, static_cast<u16>(rng.below(8)));
            ram.put<u16>(kRamBase + at + 14, static_cast<u16>(rng.below(wild ? 0x10000 : size)));
        }
        Virtqueue queue;
        if (!queue.configure(ram.view, layout, rng.below(2) != 0 ? kFeatureIndirect | kFeatureEventIdx : 0)) {
            continue;
        }
        ram.put<u16>(layout.available + 2, static_cast<u16>(rng.below(size) + 1));
        Chain chain;
        for (unsigned n = 0; n < 200; ++n) {
            const Pop popped = queue.pop(chain);
            if (popped != Pop::chain) {
                broken += popped == Pop::broken;
                break;
            }
            ++chains;
            u8 buffer[256] = {};
            chain.copy_out(buffer, sizeof(buffer), rng.below(32));
            chain.copy_in(buffer, sizeof(buffer), rng.below(32));
            for (const Segment& segment : chain.writable) {
                segment.guest_data[segment.size - 1] ^= 1;
            }
            queue.push(chain.head, 1);
            queue.interrupt_wanted();
            queue.enable_notifications();
        }
    }
    CHECK(chains > 1000);
    CHECK(broken > 1000);
}

}  // namespace
}  // namespace vmm::devices::virtio
