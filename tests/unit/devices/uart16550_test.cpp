#include "devices/uart16550.h"

#include <catch2/catch.hpp>

#include "tests/unit/devices/fakes.h"

namespace vmm::devices {
namespace {

enum : u64 { kData = 0, kIer = 1, kIir = 2, kFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7 };

struct Setup {
    test::RecordingIrq irq;
    test::RecordingSink sink;
    Uart16550 uart{irq, sink};
    u8 read(u64 offset) { return static_cast<u8>(uart.read({offset, 1, 0})); }
    void write(u64 offset, u8 value) { uart.write({offset, 1, 0}, value); }
    void push(const std::string& text) { REQUIRE(uart.push_input(test::bytes_of(text)) == text.size()); }
    std::string drain() {
        std::string text;
        while ((read(kLsr) & 1) != 0) {
            text += static_cast<char>(read(kData));
        }
        return text;
    }
};

TEST_CASE("bytes written to THR reach the sink; LSR says empty") {
    Setup t;
    for (const char c : std::string("Hi\n")) {
        CHECK((t.read(kLsr) & 0x60) == 0x60);
        t.write(kData, static_cast<u8>(c));
    }
    CHECK(t.sink.take() == "Hi\n");
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("divisor latch hides data and IER") {
    Setup t;
    t.write(kIer, 0x05);
    t.write(kLcr, 0x83);
    t.write(kData, 0x12);
    t.write(kIer, 0x34);
    CHECK(t.read(kData) == 0x12);
    CHECK(t.read(kIer) == 0x34);
    t.write(kLcr, 0x03);
    CHECK(t.read(kIer) == 0x05);
    CHECK(t.sink.take().empty());
}

TEST_CASE("a driver's probing finds a 16550A") {
    Setup t;
    // IER has four bits, scratch has eight.
    t.write(kIer, 0);
    CHECK(t.read(kIer) == 0);
    t.write(kIer, 0xFF);
    CHECK(t.read(kIer) == 0x0F);
    t.write(kIer, 0);
    t.write(kScr, 0x5A);
    CHECK(t.read(kScr) == 0x5A);
    // Loopback of modem lines.
    t.write(kMcr, 0x10 | 0x0A);
    CHECK((t.read(kMsr) & 0xF0) == 0x90);
    t.write(kMcr, 0x10 | 0x05);
    CHECK((t.read(kMsr) & 0xF0) == 0x60);
    t.write(kMcr, 0);
    CHECK((t.read(kMsr) & 0xF0) == 0xB0);
    // FIFOs.
    CHECK((t.read(kIir) & 0xC0) == 0);
    t.write(kFcr, 0x01);
    CHECK((t.read(kIir) & 0xC0) == 0xC0);
    // No 64-byte mode bit as in the 16750.
    t.write(kLcr, 0x80);
    t.write(kFcr, 0x21);
    CHECK((t.read(kIir) & 0x20) == 0);
}

TEST_CASE("data loops back inside the UART") {
    Setup t;
    t.write(kFcr, 1);
    t.write(kMcr, 0x10);
    t.write(kData, 'x');
    CHECK((t.read(kLsr) & 1) == 1);
    CHECK(t.read(kData) == 'x');
    CHECK((t.read(kLsr) & 1) == 0);
    CHECK(t.sink.take().empty());
    for (unsigned n = 0; n < 65; ++n) {
        t.write(kData, static_cast<u8>(n));
    }
    CHECK((t.read(kLsr) & 3) == 3);  // overrun, told once
    CHECK((t.read(kLsr) & 3) == 1);
}

TEST_CASE("the transmit interrupt follows enable, IIR read and transmission") {
    Setup t;
    t.write(kIer, 2);
    CHECK(t.irq.level);
    CHECK(t.read(kIir) == 0x02);
    CHECK_FALSE(t.irq.level);
    CHECK(t.read(kIir) == 0x01);
    t.write(kData, 'a');
    CHECK(t.irq.level);
    t.write(kIer, 0);
    CHECK_FALSE(t.irq.level);
    t.write(kIer, 2);
    CHECK(t.irq.level);
    CHECK(t.read(kIir) == 0x02);
    t.write(kIer, 2);  // no change: no new interrupt
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("input raises the receive interrupt until it is read") {
    Setup t;
    t.write(kFcr, 0x81);
    t.write(kIer, 1);
    CHECK_FALSE(t.irq.level);
    t.push("ab");
    CHECK(t.irq.level);
    CHECK(t.read(kIir) == 0xCC);  // below the trigger level of 32: timeout
    CHECK(t.read(kData) == 'a');
    CHECK(t.irq.level);
    CHECK(t.read(kData) == 'b');
    CHECK_FALSE(t.irq.level);
    CHECK(t.read(kIir) == 0xC1);
    t.push(std::string(40, 'z'));
    CHECK(t.read(kIir) == 0xC4);
}

TEST_CASE("more input than the FIFO holds comes out in order") {
    Setup t;
    std::string text;
    for (unsigned n = 0; n < 1000; ++n) {
        text += static_cast<char>('a' + n % 26);
    }
    t.write(kFcr, 1);
    t.push(text);
    t.write(kIer, 1);
    CHECK(t.drain() == text);
    CHECK_FALSE(t.irq.level);
}

TEST_CASE("input that comes before the driver is ready survives its start-up") {
    Setup t;
    t.push("login\n");
    t.write(kFcr, 1);
    t.write(kFcr, 7);  // clear
    t.write(kFcr, 0);
    t.read(kLsr);      // what a driver reads to get rid of stale state
    CHECK(t.read(kData) == 0);
    t.read(kIir);
    t.read(kMsr);
    t.write(kFcr, 7);
    t.write(kFcr, 0x81);
    t.read(kLsr);
    t.read(kLsr);  // waits for the transmitter
    t.write(kIer, 2);
    t.read(kIir);
    t.write(kIer, 0);
    t.read(kLsr);
    t.read(kData);
    t.write(kIer, 5);
    CHECK(t.irq.level);
    CHECK(t.drain() == "login\n");
}

TEST_CASE("a polling driver gets input without enabling interrupts") {
    Setup t;
    t.push("q");
    unsigned polls = 0;
    while ((t.read(kLsr) & 1) == 0 && polls < 10) {
        ++polls;
    }
    CHECK(polls < 10);
    CHECK(t.read(kData) == 'q');
}

TEST_CASE("input is limited and any access is harmless") {
    Setup t;
    const std::string much(Uart16550::kInputLimit + 5, 'x');
    CHECK(t.uart.push_input(test::bytes_of(much)) == Uart16550::kInputLimit);
    CHECK(t.uart.push_input(test::bytes_of("y")) == 0);
    for (u64 offset = 0; offset < 0x20; ++offset) {
        for (const unsigned size : {1u, 2u, 4u, 8u}) {
            t.uart.write({offset, size, 0}, 0xFFFF'FFFF'FFFF'FFFF);
            t.uart.read({offset, size, 0});
        }
    }
    t.uart.reset();
    CHECK_FALSE(t.irq.level);
    CHECK(t.read(kIer) == 0);
}

}  // namespace
}  // namespace vmm::devices
