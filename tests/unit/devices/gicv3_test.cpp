#include "devices/gicv3/gicv3.h"

#include <array>

#include <catch2/catch.hpp>

namespace vmm::devices {
namespace {

constexpr u64 kGicdCtlr = 0x0, kIgroupr = 0x80, kIsenabler = 0x100, kIcenabler = 0x180, kIspendr = 0x200, kIcpendr = 0x280,
              kIsactiver = 0x300, kIcactiver = 0x380, kIpriorityr = 0x400, kIcfgr = 0xC00, kIrouter = 0x6000;
constexpr u64 kWaker = 0x14, kSgiFrame = 0x10000;
constexpr unsigned kSpurious = 1023;

/// A GIC of `n` PEs with everything enabled: all interrupts in group 1 with priority 0xA0, PMR open.
struct Setup {
    explicit Setup(unsigned n = 1) : pins(n) {
        std::vector<GicPe> pes;
        for (unsigned i = 0; i < n; ++i) {
            pes.push_back({&pins[i], u64{0x80000000} | i / 16 << 8 | i % 16});
        }
        gic = std::make_unique<GicV3>(pes, 64);
        gicd(kGicdCtlr, 2);
        for (u64 w = 1; w < 3; ++w) {
            gicd(kIgroupr + 4 * w, ~0u);
        }
        for (u64 intid = 32; intid < 96; ++intid) {
            gicd8(kIpriorityr + intid, 0xA0);
        }
        for (unsigned i = 0; i < n; ++i) {
            gicr(i, kWaker, 0);
            gicr(i, kSgiFrame + kIgroupr, ~0u);
            gicr(i, kSgiFrame + kIsenabler, ~0u);
            for (u64 intid = 0; intid < 32; ++intid) {
                gic->redistributors().write({i * GicV3::kRedistributorSize + kSgiFrame + kIpriorityr + intid, 1, 0}, 0xA0);
            }
            icc(i).set_priority_mask(0xF8);
            icc(i).set_group_enable(1, 1);
        }
    }

    GicCpuInterface& icc(unsigned cpu = 0) { return gic->cpu_interface(cpu); }
    void gicd(u64 offset, u32 value) { gic->distributor().write({offset, 4, 0}, value); }
    void gicd8(u64 offset, u8 value) { gic->distributor().write({offset, 1, 0}, value); }
    u32 gicd(u64 offset) { return static_cast<u32>(gic->distributor().read({offset, 4, 0})); }
    void gicr(unsigned cpu, u64 offset, u32 value) {
        gic->redistributors().write({cpu * GicV3::kRedistributorSize + offset, 4, 0}, value);
    }
    u32 gicr(unsigned cpu, u64 offset) {
        return static_cast<u32>(gic->redistributors().read({cpu * GicV3::kRedistributorSize + offset, 4, 0}));
    }
    void enable_spi(unsigned intid) { gicd(kIsenabler + intid / 32 * 4, 1u << intid % 32); }
    void priority(unsigned intid, u8 value) { gicd8(kIpriorityr + intid, value); }
    void make_edge(unsigned intid) {
        const u64 offset = kIcfgr + intid / 16 * 4;
        gicd(offset, gicd(offset) | 2u << intid % 16 * 2);
    }
    bool irq(unsigned cpu = 0) const { return pins[cpu].irq(); }

    std::vector<arch::Pins> pins;
    std::unique_ptr<GicV3> gic;
};

TEST_CASE("a level-sensitive SPI fires, and again after EOI while its wire is high") {
    Setup t;
    t.enable_spi(40);
    arch::IrqLine& line = t.gic->spi(40);
    line.set(true);
    CHECK(t.irq());
    CHECK(t.icc().highest_pending(1) == 40);
    CHECK(t.icc().acknowledge(1) == 40);
    CHECK_FALSE(t.irq());
    CHECK(t.icc().acknowledge(1) == kSpurious);
    CHECK(t.icc().running_priority() == 0xA0);
    CHECK((t.gicd(kIsactiver + 4) >> 8 & 1) == 1);
    CHECK((t.gicd(kIspendr + 4) >> 8 & 1) == 1);
    t.icc().end_of_interrupt(1, 40);
    CHECK(t.irq());
    CHECK(t.icc().running_priority() == 0xFF);
    CHECK(t.icc().acknowledge(1) == 40);
    line.set(false);
    t.icc().end_of_interrupt(1, 40);
    CHECK_FALSE(t.irq());
    line.set(true);
    CHECK(t.irq());
    line.set(false);
    CHECK_FALSE(t.irq());
}

TEST_CASE("an edge-triggered SPI fires once for each rising edge") {
    Setup t;
    t.make_edge(50);
    t.enable_spi(50);
    arch::IrqLine& line = t.gic->spi(50);
    line.set(true);
    line.set(false);
    CHECK(t.irq());
    CHECK(t.icc().acknowledge(1) == 50);
    t.icc().end_of_interrupt(1, 50);
    CHECK_FALSE(t.irq());
    line.set(true);
    CHECK(t.icc().acknowledge(1) == 50);
    SECTION("an edge while active is kept") {
        line.set(false);
        line.set(true);
        CHECK_FALSE(t.irq());
        t.icc().end_of_interrupt(1, 50);
        CHECK(t.irq());
    }
    SECTION("a level that stays is not an edge") {
        t.icc().end_of_interrupt(1, 50);
        CHECK_FALSE(t.irq());
    }
}

TEST_CASE("the highest priority comes first, the lowest INTID among equals") {
    Setup t;
    for (const unsigned intid : {40u, 41u, 70u, 33u}) {
        t.enable_spi(intid);
        t.gic->spi(intid).set(true);
    }
    t.priority(70, 0x20);
    t.priority(33, 0xC0);
    CHECK(t.icc().acknowledge(1) == 70);
    t.gic->spi(70).set(false);
    t.icc().end_of_interrupt(1, 70);
    CHECK(t.icc().acknowledge(1) == 40);
    t.gic->spi(40).set(false);
    t.icc().end_of_interrupt(1, 40);
    CHECK(t.icc().acknowledge(1) == 41);
    t.gic->spi(41).set(false);
    t.icc().end_of_interrupt(1, 41);
    CHECK(t.icc().acknowledge(1) == 33);
}

TEST_CASE("a more urgent interrupt preempts, an equal one does not") {
    Setup t;
    for (const unsigned intid : {40u, 41u, 42u}) {
        t.enable_spi(intid);
    }
    t.priority(42, 0x48);
    t.gic->spi(40).set(true);
    CHECK(t.icc().acknowledge(1) == 40);
    t.gic->spi(41).set(true);
    CHECK_FALSE(t.irq());
    t.gic->spi(42).set(true);
    CHECK(t.irq());
    CHECK(t.icc().acknowledge(1) == 42);
    CHECK(t.icc().running_priority() == 0x48);
    t.gic->spi(42).set(false);
    t.icc().end_of_interrupt(1, 42);
    CHECK(t.icc().running_priority() == 0xA0);
    CHECK_FALSE(t.irq());
    t.gic->spi(40).set(false);
    t.icc().end_of_interrupt(1, 40);
    CHECK(t.icc().acknowledge(1) == 41);
}

TEST_CASE("the binary point makes priorities of one group equal for preemption") {
    Setup t;
    t.enable_spi(40);
    t.enable_spi(41);
    t.priority(41, 0x80);
    t.icc().set_binary_point(1, 6);  // group priority is bits 7:6
    CHECK(t.icc().binary_point(1) == 6);
    t.gic->spi(40).set(true);
    CHECK(t.icc().acknowledge(1) == 40);
    CHECK(t.icc().running_priority() == 0x80);
    t.gic->spi(41).set(true);
    CHECK_FALSE(t.irq());
    t.icc().set_binary_point(1, 0);
    CHECK(t.icc().binary_point(1) == 3);
    t.icc().set_binary_point(0, 0);
    CHECK(t.icc().binary_point(0) == 2);
}

TEST_CASE("every mask takes the interrupt away from the pin and gives it back") {
    Setup t;
    t.enable_spi(40);
    t.gic->spi(40).set(true);
    REQUIRE(t.irq());
    SECTION("PMR") {
        t.icc().set_priority_mask(0xA0);
        CHECK_FALSE(t.irq());
        CHECK(t.icc().acknowledge(1) == kSpurious);
        t.icc().set_priority_mask(0xA8);
        CHECK(t.icc().priority_mask() == 0xA8);
    }
    SECTION("IGRPEN1") {
        t.icc().set_group_enable(1, 0);
        CHECK_FALSE(t.irq());
        t.icc().set_group_enable(1, 1);
    }
    SECTION("GICD_CTLR") {
        t.gicd(kGicdCtlr, 0);
        CHECK_FALSE(t.irq());
        t.gicd(kGicdCtlr, 2);
        CHECK(t.gicd(kGicdCtlr) == 0x52);  // DS, ARE
    }
    SECTION("ICENABLER") {
        t.gicd(kIcenabler + 4, 1u << 8);
        CHECK_FALSE(t.irq());
        t.enable_spi(40);
    }
    SECTION("IPRIORITYR") {
        t.priority(40, 0xFF);
        CHECK_FALSE(t.irq());
        t.priority(40, 0x00);
    }
    SECTION("IGROUPR") {
        t.gicd(kIgroupr + 4, ~(1u << 8));
        CHECK_FALSE(t.irq());
        t.gicd(kIgroupr + 4, ~0u);
    }
    SECTION("GICR_WAKER") {
        t.gicr(0, kWaker, 2);
        CHECK(t.gicr(0, kWaker) == 6);
        CHECK_FALSE(t.irq());
        t.gicr(0, kWaker, 0);
        CHECK(t.gicr(0, kWaker) == 0);
    }
    SECTION("active by register") {
        t.gicd(kIsactiver + 4, 1u << 8);
        CHECK_FALSE(t.irq());
        t.gicd(kIcactiver + 4, 1u << 8);
    }
    SECTION("route") {
        t.gicd(kIrouter + 8 * 40, 7);  // no such PE
        CHECK_FALSE(t.irq());
        t.gicd(kIrouter + 8 * 40, 0);
    }
    CHECK(t.irq());
}

TEST_CASE("pending by register: a latch beside the wire") {
    Setup t;
    t.enable_spi(40);
    t.gicd(kIspendr + 4, 1u << 8);
    CHECK(t.irq());
    t.gicd(kIcpendr + 4, 1u << 8);
    CHECK_FALSE(t.irq());
    t.gic->spi(40).set(true);
    t.gicd(kIcpendr + 4, 1u << 8);  // cannot clear what the wire asserts
    CHECK(t.irq());
    t.gic->spi(40).set(false);
    t.gicd(kIspendr + 4, 1u << 8);
    CHECK(t.icc().acknowledge(1) == 40);
    t.icc().end_of_interrupt(1, 40);
    CHECK_FALSE(t.irq());
}

TEST_CASE("EOImode 1 separates priority drop and deactivation") {
    Setup t;
    t.icc().set_control(2);
    CHECK((t.icc().control() & 2) == 2);
    t.enable_spi(40);
    t.enable_spi(41);
    t.gic->spi(40).set(true);
    CHECK(t.icc().acknowledge(1) == 40);
    t.icc().end_of_interrupt(1, 40);
    CHECK(t.icc().running_priority() == 0xFF);
    CHECK_FALSE(t.irq());  // still active
    t.gic->spi(41).set(true);
    CHECK(t.icc().acknowledge(1) == 41);
    t.icc().deactivate(40);
    CHECK_FALSE(t.irq());  // 41 runs at the same priority
    t.icc().end_of_interrupt(1, 41);
    CHECK(t.irq());
    CHECK(t.icc().acknowledge(1) == 40);
}

TEST_CASE("ends of interrupts that do not exist change nothing") {
    Setup t;
    t.enable_spi(40);
    t.gic->spi(40).set(true);
    REQUIRE(t.icc().acknowledge(1) == 40);
    for (const u64 intid : {u64{1020}, u64{1021}, u64{1022}, u64{1023}, u64{96}, u64{0xFFFFFF}, ~u64{0}}) {
        t.icc().end_of_interrupt(1, intid);
        t.icc().deactivate(intid);
    }
    CHECK(t.icc().running_priority() == 0xA0);
    t.icc().end_of_interrupt(0, 40);  // the other group's register drops no priority of this one
    CHECK(t.icc().running_priority() == 0xA0);
}

TEST_CASE("SGIs reach exactly the listed PEs") {
    Setup t(64);
    const auto send = [&](unsigned from, unsigned intid, u64 aff1, u64 rs, u16 list) {
        t.icc(from).send_sgi(u64{intid} << 24 | aff1 << 16 | rs << 44 | list, true);
    };
    send(3, 5, 2, 0, 0x8001);
    for (unsigned cpu = 0; cpu < 64; ++cpu) {
        CHECK(t.irq(cpu) == (cpu == 32 || cpu == 47));
    }
    CHECK(t.icc(47).acknowledge(1) == 5);
    t.icc(47).end_of_interrupt(1, 5);
    CHECK_FALSE(t.irq(47));
    CHECK(t.irq(32));
    send(0, 0, 2, 1, 0xFFFF);  // Aff0 16..31: nobody
    CHECK_FALSE(t.irq(47));

    t.icc(9).send_sgi(u64{1} << 40 | u64{15} << 24, true);  // all but self
    for (unsigned cpu = 0; cpu < 64; ++cpu) {
        CHECK(t.irq(cpu) == (cpu != 9));
    }
    send(9, 1, 0, 0, 1 << 9);  // to itself
    CHECK(t.icc(9).acknowledge(1) == 1);
}

TEST_CASE("group 0 SGI registers do not generate group 1 SGIs") {
    Setup t(2);
    t.icc(0).send_sgi(2, false);
    CHECK_FALSE(t.irq(1));
    t.gicr(1, kSgiFrame + kIgroupr, ~1u);
    t.icc(0).send_sgi(2, false);
    CHECK_FALSE(t.irq(1));  // group 0 does not drive IRQ
    CHECK((t.gicr(1, kSgiFrame + kIspendr) & 1) == 1);
    t.gicd(kGicdCtlr, 3);
    t.icc(1).set_group_enable(0, 1);
    CHECK(t.icc(1).acknowledge(1) == kSpurious);
    CHECK(t.icc(1).acknowledge(0) == 0);
    t.icc(1).end_of_interrupt(0, 0);
    CHECK(t.icc(1).running_priority() == 0xFF);
}

TEST_CASE("PPIs belong to one PE") {
    Setup t(2);
    t.gic->ppi(1, 27).set(true);
    CHECK_FALSE(t.irq(0));
    CHECK(t.irq(1));
    CHECK(t.icc(0).acknowledge(1) == kSpurious);
    CHECK(t.icc(1).acknowledge(1) == 27);
    t.gic->ppi(1, 27).set(false);
    t.icc(1).end_of_interrupt(1, 27);
    CHECK_FALSE(t.irq(1));
    // A PPI can be made edge-triggered, an SGI cannot be made level-sensitive.
    t.gicr(1, kSgiFrame + kIcfgr, 0);
    CHECK(t.gicr(1, kSgiFrame + kIcfgr) == 0xAAAA'AAAA);
    t.gicr(1, kSgiFrame + kIcfgr + 4, 2);
    CHECK(t.gicr(1, kSgiFrame + kIcfgr + 4) == 2);
}

TEST_CASE("a pending SPI follows a change of its route") {
    Setup t(17);
    t.enable_spi(60);
    t.gic->spi(60).set(true);
    CHECK(t.irq(0));
    t.gicd(kIrouter + 8 * 60, 0x100);  // Aff1 = 1: PE 16
    CHECK_FALSE(t.irq(0));
    CHECK(t.irq(16));
    CHECK(t.icc(16).acknowledge(1) == 60);
    t.gicd(kIrouter + 8 * 60, 0);
    CHECK_FALSE(t.irq(0));  // active over there
    t.icc(16).end_of_interrupt(1, 60);
    CHECK(t.irq(0));
}

TEST_CASE("identification registers") {
    Setup t(3);
    CHECK((t.gicd(4) & 0x1F) == 2);          // 96 INTIDs
    CHECK((t.gicd(4) >> 17 & 1) == 0);       // no LPIs
    CHECK((t.gicd(0xFFE8) & 0xF0) == 0x30);  // GICv3
    CHECK((t.gicr(2, 0xFFE8) & 0xF0) == 0x30);
    for (unsigned cpu = 0; cpu < 3; ++cpu) {
        const u64 typer = t.gic->redistributors().read({cpu * GicV3::kRedistributorSize + 8, 8, 0});
        CHECK(typer >> 32 == cpu);
        CHECK((typer >> 8 & 0xFFFF) == cpu);
        CHECK((typer >> 4 & 1) == (cpu == 2));
    }
    CHECK((t.icc().control() >> 8 & 7) == 4);
    CHECK(t.gicd(kIsenabler) == 0);  // INTIDs 0..31 are not the distributor's
    CHECK(t.gicd(kIsenabler + 4 * 3) == 0);
}

TEST_CASE("reset masks everything and keeps the wires") {
    Setup t;
    t.enable_spi(40);
    t.gic->spi(40).set(true);
    REQUIRE(t.icc().acknowledge(1) == 40);
    t.gic->reset();
    CHECK_FALSE(t.irq());
    CHECK(t.icc().running_priority() == 0xFF);
    CHECK(t.icc().priority_mask() == 0);
    CHECK(t.gicr(0, kWaker) == 6);
    CHECK((t.gicd(kIspendr + 4) >> 8 & 1) == 1);
    CHECK(t.gicd(kIsenabler + 4) == 0);
}

TEST_CASE("any access of any size is harmless") {
    Setup t(2);
    for (Device* frame : {&t.gic->distributor(), &t.gic->redistributors()}) {
        for (const unsigned size : {1u, 2u, 4u, 8u}) {
            for (u64 offset = 0; offset < 2 * GicV3::kRedistributorSize; offset += 3) {
                frame->write({offset, size, 0}, 0xA5A5'A5A5'A5A5'A5A5);
                frame->read({offset, size, 1});
            }
        }
    }
    CHECK(t.gicd(4) != 0);
}

TEST_CASE("rows of the CPU interface have distinct encodings") {
    const auto rows = GicCpuInterface::rows();
    CHECK(rows.size() == 20);
    for (const auto& a : rows) {
        for (const auto& b : rows) {
            CHECK((&a == &b || a.key != b.key));
        }
    }
}

}  // namespace
}  // namespace vmm::devices
