#include "devices/virtio/mmio_transport.h"

#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include "devices/virtio/console.h"
#include "devices/virtio/entropy.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::TestRam;
using test::VirtioSetup;

constexpr u64 kData = kRamBase + 0x8000;

Entropy::Source counting_source() {
    return [](std::span<u8> bytes) {
        for (std::size_t n = 0; n < bytes.size(); ++n) {
            bytes[n] = static_cast<u8>(n + 1);
        }
    };
}

TEST_CASE("the transport identifies itself and negotiates features") {
    TestRam ram(0x10000);
    VirtioSetup t(std::make_unique<Entropy>(), ram);
    CHECK(t.read(0x000) == 0x74726976);
    CHECK(t.read(0x004) == 2);
    CHECK(t.read(0x008) == 4);
    CHECK(t.read(0x00C) == 0x4D564B4C);
    CHECK(t.read(0x034) == 256);
    CHECK((t.offered() & kFeatureVersion1) != 0);

    t.negotiate(kFeatureVersion1 | kFeatureEventIdx);
    CHECK(t.read(0x70) == 0xB);
    t.negotiate(kFeatureVersion1 | u64{1} << 40);  // never offered
    CHECK(t.read(0x70) == 3);
    t.driver_ok();
    CHECK((t.read(0x70) & 4) == 0);
    t.negotiate(kFeatureEventIdx);  // legacy drivers are turned away
    CHECK((t.read(0x70) & 8) == 0);
    t.write(0x70, 0);
    CHECK(t.read(0x70) == 0);

    t.write(0x30, 1);  // no such queue
    CHECK(t.read(0x34) == 0);
    t.write(0x44, 1);
    CHECK(t.read(0x44) == 0);
    CHECK(t.read(0xB0) == 0xFFFF'FFFF);
}

TEST_CASE("entropy fills buffers and interrupts, on its own thread or within the notification") {
    const Threading threading = GENERATE(Threading::own_thread, Threading::inline_call);
    TestRam ram(0x10000);
    VirtioSetup t(std::make_unique<Entropy>(counting_source(), threading), ram);
    Driver driver(ram, kRamBase, 8);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(0, driver.layout());
    t.driver_ok();
    driver.post(0, {{kData, 3, true}, {kData + 0x100, 3, true}});
    t.notify(0);
    if (threading == Threading::own_thread) {
        REQUIRE(VirtioSetup::eventually([&] { return t.irq.level.load(); }));
    }
    CHECK(t.irq.level);
    CHECK(driver.used_index() == 1);
    CHECK(driver.used_length(0) == 6);
    CHECK(ram.get<u8>(kData + 2) == 3);
    CHECK(ram.get<u8>(kData + 0x102) == 6);
    CHECK(t.read(0x60) == 1);
    t.write(0x64, 1);
    CHECK(t.read(0x60) == 0);
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("host entropy differs from one buffer to the next") {
    TestRam ram(0x10000);
    VirtioSetup t(std::make_unique<Entropy>(Entropy::host_source(), Threading::inline_call), ram);
    Driver driver(ram, kRamBase, 8);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(0, driver.layout());
    t.driver_ok();
    driver.post(0, {{kData, 16, true}});
    driver.post(1, {{kData + 0x100, 16, true}});
    t.notify(0);
    REQUIRE(driver.used_index() == 2);
    CHECK(ram.get<u64>(kData) != ram.get<u64>(kData + 0x100));
}

TEST_CASE("a broken queue asks for a reset, after which the device works again") {
    TestRam ram(0x10000);
    VirtioSetup t(std::make_unique<Entropy>(counting_source(), Threading::inline_call), ram);
    Driver driver(ram, kRamBase, 8);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(0, driver.layout());
    t.driver_ok();
    driver.publish(99);
    t.notify(0);
    CHECK((t.read(0x70) & 0x40) != 0);
    CHECK(t.read(0x60) == 2);
    CHECK(t.irq.level);
    t.notify(0);

    ram.bytes.assign(ram.bytes.size(), 0);
    Driver again(ram, kRamBase, 8);
    t.negotiate(kFeatureVersion1);
    CHECK_FALSE(t.irq.level);
    t.set_up_queue(0, again.layout());
    t.driver_ok();
    again.post(0, {{kData, 1, true}});
    t.notify(0);
    CHECK(again.used_index() == 1);
    CHECK(t.read(0x70) == 0xF);
}

TEST_CASE("queues outside RAM make the device ask for a reset") {
    TestRam ram(0x10000);
    VirtioSetup t(std::make_unique<Entropy>(), ram);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(0, {8, 0x1000, 0x2000, 0x3000});
    t.driver_ok();
    CHECK((t.read(0x70) & 0x40) != 0);
    t.notify(0);
}

TEST_CASE("console output and input") {
    const Threading threading = GENERATE(Threading::own_thread, Threading::inline_call);
    TestRam ram(0x20000);
    test::RecordingSink sink;
    auto owned = std::make_unique<Console>(sink, threading);
    Console& console = *owned;
    console.set_size(132, 50);
    VirtioSetup t(std::move(owned), ram);
    CHECK(t.transport.read({0x100, 2, 0}) == 132);
    CHECK(t.transport.read({0x102, 2, 0}) == 50);
    CHECK(t.transport.read({0x104, 4, 0}) == 1);

    console.push_input(test::bytes_of("early "));  // before the driver is there
    Driver receive(ram, kRamBase, 8);
    Driver transmit(ram, kRamBase + 0x4000, 8);
    t.negotiate(kFeatureVersion1 | kFeatureEventIdx | kFeatureIndirect);
    t.set_up_queue(0, receive.layout());
    t.set_up_queue(1, transmit.layout());
    t.driver_ok();

    std::memcpy(ram.view.host(kData, 5), "hello", 5);
    transmit.post(0, {{kData, 2, false}, {kData + 2, 3, false}});
    t.notify(1);
    CHECK(VirtioSetup::eventually([&] { return transmit.used_index() == 1; }));
    CHECK(sink.take() == "hello");

    receive.post(0, {{kData + 0x1000, 4, true}});
    t.notify(0);
    CHECK(VirtioSetup::eventually([&] { return receive.used_index() == 1; }));
    CHECK(receive.used_length(0) == 4);
    CHECK(ram.get<u32>(kData + 0x1000) == 0x6C726165);  // "earl"
    receive.post(1, {{kData + 0x2000, 100, true}});
    t.notify(0);
    CHECK(VirtioSetup::eventually([&] { return receive.used_index() == 2; }));
    CHECK(receive.used_length(1) == 2);
    receive.post(2, {{kData + 0x3000, 100, true}});
    t.notify(0);
    console.push_input(test::bytes_of("later"));
    CHECK(VirtioSetup::eventually([&] { return receive.used_index() == 3; }));
    CHECK(receive.used_length(2) == 5);
}

TEST_CASE("what a console prints is the same however often the sink reads it") {
    /// A guest that changes its buffer while it is printed.
    struct ChangingSink final : devices::ByteSink {
        explicit ChangingSink(TestRam& memory) : ram(memory) {}
        void put(std::span<const u8> bytes) override {
            const std::string first(bytes.begin(), bytes.end());
            ram.bytes.assign(ram.bytes.size(), 0);
            steady = steady && first == std::string(bytes.begin(), bytes.end());
            text += first;
        }
        TestRam& ram;
        std::string text;
        bool steady = true;
    };
    TestRam ram(0x20000);
    ChangingSink sink(ram);
    VirtioSetup t(std::make_unique<Console>(sink, Threading::inline_call), ram);
    Driver transmit(ram, kRamBase, 8);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(1, transmit.layout());
    t.driver_ok();
    std::memcpy(ram.view.host(kData, 5), "hello", 5);
    transmit.post(0, {{kData, 5, false}});
    t.notify(1);
    CHECK(sink.text == "hello");
    CHECK(sink.steady);
}

TEST_CASE("console input waits for a guest that is setting up") {
    TestRam ram(0x20000);
    test::RecordingSink sink;
    auto owned = std::make_unique<Console>(sink);
    Console& console = *owned;
    VirtioSetup t(std::move(owned), ram);
    console.push_input(test::bytes_of("x"));
    Driver receive(ram, kRamBase, 8);
    Driver transmit(ram, kRamBase + 0x4000, 8);
    t.negotiate(kFeatureVersion1);
    t.set_up_queue(0, receive.layout());
    t.set_up_queue(1, transmit.layout());
    receive.post(0, {{kData + 0x1000, 4, true}});
    const auto start = std::chrono::steady_clock::now();
    t.driver_ok();
    const bool prints = GENERATE(true, false);
    if (prints) {
        for (u16 n = 0; n < 5; ++n) {
            transmit.post(n, {{kData, 1, false}});
            t.notify(1);
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
    CHECK(VirtioSetup::eventually([&] { return receive.used_index() == 1; }));
    const auto waited = std::chrono::steady_clock::now() - start;
    CHECK(waited >= (prints ? Console::kQuiet + std::chrono::milliseconds(40) : Console::kPatience));
    // From then on there is no delay.
    receive.post(1, {{kData + 0x1000, 4, true}});
    t.notify(0);
    console.push_input(test::bytes_of("y"));
    CHECK(VirtioSetup::eventually([&] { return receive.used_index() == 2; }));
}

TEST_CASE("random register traffic with random rings is harmless") {
    TestRam ram(0x10000);
    test::RecordingSink sink;
    Rng rng(7);
    VirtioSetup console(std::make_unique<Console>(sink), ram);
    VirtioSetup entropy(std::make_unique<Entropy>(), ram);
    static constexpr u32 kOffsets[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80,
                                       0x84, 0x90, 0x94, 0xA0, 0xA4, 0x100, 0x1FC};
    static constexpr u32 kStatuses[] = {0, 1, 3, 0xB, 0xF, 0x4F, 0x80};
    for (unsigned n = 0; n < 200'000; ++n) {
        VirtioSetup& t = rng.below(2) != 0 ? console : entropy;
        const u32 offset = kOffsets[rng.below(std::size(kOffsets))];
        u32 value = static_cast<u32>(rng.next());
        if (offset == 0x70) {
            value = rng.below(50) == 0 ? 0 : kStatuses[rng.below(std::size(kStatuses))];
        } else if (offset >= 0x80 && offset < 0x100) {
            value = (offset & 4) != 0 ? 0 : static_cast<u32>(kRamBase + (value & 0xFFF0));
        } else if (offset == 0x38) {
            value = 1u << (value & 15);
        } else if (offset == 0x20) {
            value = rng.below(2) == 0 ? 1 : value;
        } else {
            value &= 3;
        }
        if (rng.below(8) == 0) {
            t.negotiate(kFeatureVersion1 | (rng.below(2) != 0 ? kFeatureIndirect | kFeatureEventIdx : 0));
            t.set_up_queue(0, {8, kRamBase, kRamBase + 0x1000, kRamBase + 0x2000});
            t.driver_ok();
            t.notify(0);
        }
        t.write(offset, value);
        t.read(offset);
        ram.put<u16>(kRamBase + 0x1002, static_cast<u16>(rng.below(8)));
        ram.put<u64>(kRamBase + rng.below(16) * 16, kRamBase + rng.below(0x10000));
        ram.put<u64>(kRamBase + rng.below(16) * 16 + 8, rng.next() & 0x0007'0003'0000'0FFF);
    }
    CHECK(console.read(0) == 0x74726976);
}

}  // namespace
}  // namespace vmm::devices::virtio
