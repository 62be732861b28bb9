// The whole unit on a vCPU that executes code: registers by name, exact sample positions, the buffer in guest memory.
#include <array>
#include <cstring>
#include <map>
#include <string>

#include <catch2/catch.hpp>

#include "arch/cpu_model.h"
#include "arch/engine.h"
#include "arch/pmu.h"
#include "arch/vcpu.h"
#include "mm/host_memory.h"
#include "spe/profiling_unit.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kMiB = 1024 * 1024;
constexpr u64 kBase = 0x80000000;
constexpr u64 kCode = kBase + 0x10000;
constexpr u64 kVectors = kBase + 0x20000;
constexpr u64 kData = kBase + 0x30000;
constexpr u64 kBuffer = kBase + 4 * kMiB;
constexpr u64 kTables = kBase + 1 * kMiB;
constexpr u64 kS = 0x20000;
constexpr u64 kDl = 0x80000;

class FixedCounter final : public arch::CounterPort {
  public:
    u64 count() const override { return value; }
    u64 frequency() const override { return 1'000'000'000; }
    u64 value = 0x1122334455;
};

class CountingFirmware final : public arch::FirmwarePort {
  public:
    arch::Exec call(arch::Vcpu&) override {
        ++calls;
        return arch::Exec::next;
    }
    unsigned calls = 0;
};

class RecordingIrq final : public arch::IrqLine {
  public:
    void set(bool value) override {
        rises += value && !level;
        level = value;
    }
    bool level = false;
    unsigned rises = 0;
};

struct World {
    explicit World(ProfilingConfig config = {}, mm::PinChoice pins = mm::PinChoice::off, const char* cpu = "neoverse-n1")
        : memory(make_memory(pins)), v(vcpu_config(config.pmsver, cpu)), unit(v, config, memory.get()) {
        unit.set_irq(&irq);
        unit.attach();
        v.reset(kCode, 0);
        unit.reset();
        // ldr x1, [x2] ; add x1, x1, #1 ; str x1, [x2] ; b .-12
        code({0xf9400041, 0x91000421, 0xf9000041, 0x17fffffd});
        v.s.x[2] = kData;
        v.s.vbar_el1 = kVectors;
    }

    static std::unique_ptr<mm::HostMemory> make_memory(mm::PinChoice pins) {
        auto result = mm::HostMemory::create({.size = 64 * kMiB,
                                              .guest_base = kBase,
                                              .huge_pages = false,
                                              .pin_backend = pins,
                                              .pins = {.synchronous = true}});
        if (!result) {
            FAIL(result.error().text);
        }
        return std::move(*result);
    }

    arch::VcpuConfig vcpu_config(u8 pmsver, const char* cpu) {
        arch::VcpuConfig config;
        config.model = arch::find_cpu_model(cpu);
        config.ram = memory->ram();
        config.counter = &counter;
        config.firmware = &firmware;
        config.interconnect = &interconnect;
        config.pmu = true;
        config.pmsver = pmsver;
        return config;
    }

    void code(std::initializer_list<u32> words) {
        u64 pa = kCode;
        for (const u32 word : words) {
            mm::store_relaxed<u32>(memory->ram().host(pa), word);
            pa += 4;
        }
        v.engine().invalidate_all_code();
    }

    /// From here on at EL0: svc #0 ; b .-4      with the vector: add x5, x5, #1 ; eret
    void call_the_kernel_for_ever() {
        code({0xd4000001, 0x17ffffff});
        mm::store_relaxed<u32>(memory->ram().host(kVectors + 0x400), 0x910004a5);
        mm::store_relaxed<u32>(memory->ram().host(kVectors + 0x404), 0xd69f03e0);
        v.switch_el(0, 0);
        v.context_changed();
    }

    static arch::SysregKey key(const std::string& name) {
        static const std::map<std::string, std::array<unsigned, 2>> kNames{
            {"PMSCR_EL1", {9, 0}},   {"PMSNEVFR_EL1", {9, 1}}, {"PMSICR_EL1", {9, 2}},    {"PMSIRR_EL1", {9, 3}},
            {"PMSFCR_EL1", {9, 4}},  {"PMSEVFR_EL1", {9, 5}},  {"PMSLATFR_EL1", {9, 6}},  {"PMSIDR_EL1", {9, 7}},
            {"PMSDSFR_EL1", {10, 4}}, {"PMBPTR_EL1", {10, 1}}, {"PMBSR_EL1", {10, 3}},   {"PMBLIMITR_EL1", {10, 0}}, {"PMBIDR_EL1", {10, 7}}};
        const auto& [crm, op2] = kNames.at(name);
        return arch::sysreg_key(3, 0, 9, crm, op2);
    }

    u64 read(const std::string& name) { return v.sysregs.peek(v, key(name)); }
    /// As MSR executes it, between two operations.
    void write(const std::string& name, u64 value) {
        arch::SysregBank::Entry* entry = v.sysregs.find(key(name));
        REQUIRE(entry != nullptr);
        if (entry->write != nullptr) {
            entry->write(entry->self, v, value);
        } else {
            *entry->storage = (value & entry->writable) | entry->fixed;
        }
    }

    /// As Linux starts a session.
    void start(u64 pointer, u64 limit, u64 interval, u64 pmscr = 3, u64 pmsicr = 0) {
        write("PMBPTR_EL1", pointer);
        write("PMBLIMITR_EL1", limit | 1);
        write("PMSIRR_EL1", interval);
        write("PMSICR_EL1", pmsicr);
        write("PMSCR_EL1", pmscr);
    }

    void run(u64 ops) {
        const u64 end = v.ops_executed() + ops;
        while (v.ops_executed() < end) {
            const u64 before = v.ops_executed();
            v.run(end - before);
            REQUIRE(v.ops_executed() > before);
        }
    }

    u64 records() const { return unit.stats().records; }
    Record record(u64 index) const {
        Record bytes{};
        std::memcpy(bytes.data(), memory->ram().host(kBuffer + index * 64, 64), 64);
        return bytes;
    }
    /// PC of a record without context packet.
    u64 record_pc(u64 index) const {
        const Record bytes = record(index);
        for (std::size_t at = 0; at + 9 <= bytes.size(); at += 3) {  // latencies precede it, three bytes each
            if (bytes[at] == 0xB0) {
                u64 pc = 0;
                std::memcpy(&pc, &bytes[at + 1], 8);
                return pc & ones(56);
            }
        }
        return 0;
    }

    FixedCounter counter;
    CountingFirmware firmware;
    RecordingIrq irq;
    arch::Interconnect interconnect;
    std::unique_ptr<mm::HostMemory> memory;
    arch::Vcpu v;
    ProfilingUnit unit;
};

}  // namespace

TEST_CASE("profiling unit: registers keep exactly their bits, per version", "[spe][profiling_unit]") {
    struct Row {
        u8 pmsver;
        u64 pmsfcr, pmsevfr, pmblimitr, pmsidr;
        bool pmsnevfr;
    };
    const Row row = GENERATE(values<Row>({
        {1, 0x70007, 0x0000AA, 0xFFFFFFFFFFFFF007, 0x2641F, false},
        {2, 0x70007, 0x0008AA, 0xFFFFFFFFFFFFF007, 0x2641F, false},
        {3, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027, 0x2645F, true},
        {4, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027, 0x2645F, true},
        {5, 0x7001F, 0x180BFE, 0xFFFFFFFFFFFFF027, 0x20264DF, true},  // EV10 and EV21..23 never happen
    }));
    World world({.pmsver = row.pmsver});
    const std::map<std::string, u64> expected{
        {"PMSCR_EL1", 0x7B},  // PCT reads as 0b01 without EL2
        {"PMSICR_EL1", 0xFFFFFFFF},
        {"PMSIRR_EL1", 0xFFFFFF01},
        {"PMSFCR_EL1", row.pmsfcr},
        {"PMSEVFR_EL1", row.pmsevfr},
        {"PMSLATFR_EL1", 0xFFF},
        {"PMBPTR_EL1", ~u64{0}},
        {"PMBLIMITR_EL1", row.pmblimitr},
        {"PMBSR_EL1", 0xFC0FFFFF},
    };
    world.write("PMBSR_EL1", kS);  // nothing is enabled while all bits are tried
    for (const auto& [name, bits] : expected) {
        CAPTURE(row.pmsver, name);
        world.write(name, ~u64{0});
        CHECK(world.read(name) == bits);
    }
    world.write("PMSCR_EL1", 0);
    CHECK(world.read("PMSCR_EL1") == 0x40);
    CHECK(world.read("PMSIDR_EL1") == row.pmsidr);
    CHECK(world.read("PMBIDR_EL1") == 0x126);
    CHECK((world.v.sysregs.find(World::key("PMSNEVFR_EL1")) != nullptr) == row.pmsnevfr);
    CHECK(world.v.sysregs.find(World::key("PMSIDR_EL1"))->access == arch::SysregAccess::ro_el1);
    world.unit.reset();
    CHECK(world.read("PMBLIMITR_EL1") == 0);
    CHECK(world.read("PMBSR_EL1") == 0);
    CHECK_FALSE(world.irq.level);
}

TEST_CASE("profiling unit: samples are exactly INTERVAL + 1 operations apart", "[spe][profiling_unit]") {
    World world;
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.run(257 * 100);
    CHECK(world.records() == 100);
    CHECK(world.unit.stats().population == 257 * 100);
    for (u64 i = 0; i < 100; ++i) {
        CAPTURE(i);
        REQUIRE(world.record_pc(i) == kCode + 4 * ((256 + 257 * i) % 4));
    }
    CHECK(world.read("PMBPTR_EL1") == kBuffer + 100 * 64);
    CHECK(world.read("PMBSR_EL1") == 0);
    CHECK(world.read("PMSICR_EL1") == 0);
}

TEST_CASE("profiling unit: PMSICR is live, is kept while profiling is off, and continues", "[spe][profiling_unit]") {
    World world;
    world.start(kBuffer, kBuffer + kMiB, 1024, 3, 1000);
    world.run(300);
    CHECK(world.read("PMSICR_EL1") == 700);
    world.write("PMSCR_EL1", 0);
    world.run(300);
    CHECK(world.read("PMSICR_EL1") == 700);
    CHECK(world.unit.stats().population == 300);
    world.write("PMSCR_EL1", 3);
    world.run(699);
    CHECK(world.records() == 0);
    world.run(1);
    CHECK(world.records() == 1);
}

TEST_CASE("profiling unit: the guest reads its counter while it runs", "[spe][profiling_unit]") {
    World world;
    // nop x5 ; mrs x3, PMSICR_EL1 ; b .
    world.code({0xd503201f, 0xd503201f, 0xd503201f, 0xd503201f, 0xd503201f, 0xd5389943, 0x14000000});
    world.start(kBuffer, kBuffer + kMiB, 1024, 3, 1000);
    world.run(20);
    CHECK(world.v.x(3) == 1000 - 6);
}

TEST_CASE("profiling unit: a counter written while it runs counts from the next operation", "[spe][profiling_unit]") {
    World world;
    // nop x3 ; msr PMSICR_EL1, x4 ; nop x3 ; b .
    world.code({0xd503201f, 0xd503201f, 0xd503201f, 0xd5189944, 0xd503201f, 0xd503201f, 0xd503201f, 0x14000000});
    world.v.s.x[4] = 2;
    world.start(kBuffer, kBuffer + kMiB, 4096, 3, 1000);
    world.run(6);
    REQUIRE(world.records() == 1);
    CHECK(world.record_pc(0) == kCode + 5 * 4);
}

TEST_CASE("profiling unit: an operation that rewrites the counter as it is sampled keeps what it wrote", "[spe][profiling_unit]") {
    World world;
    world.code({0xd503201f, 0xd5189944, 0xd503201f, 0x14000000});
    world.v.s.x[4] = 500;
    world.start(kBuffer, kBuffer + kMiB, 4096, 3, 2);
    world.run(2);
    CHECK(world.records() == 1);
    CHECK(world.record_pc(0) == kCode + 4);
    CHECK(world.read("PMSICR_EL1") == 500);
}

TEST_CASE("profiling unit: only the selected Exception level is sampled", "[spe][profiling_unit]") {
    const u64 pmscr = GENERATE(1, 2);
    World world;
    world.call_the_kernel_for_ever();
    world.start(kBuffer, kBuffer + kMiB, 256, pmscr);
    world.run(4 * 257 * 10);
    // Two of four operations belong to each level.
    CHECK(world.unit.stats().population == 2 * 257 * 10);
    CHECK(world.records() == 20);
    const u64 first = pmscr == 1 ? kCode : kVectors + 0x400;
    for (u64 i = 0; i < 20; ++i) {
        REQUIRE((world.record_pc(i) & ~u64{4}) == first);
        const Record bytes = world.record(i);
        REQUIRE(bytes[14] == (pmscr == 1 ? 0x80 : 0xA0));  // NS and EL above the PC
    }
}

TEST_CASE("profiling unit: a sampled call into the kernel is recorded with its exception", "[spe][profiling_unit]") {
    World world;
    world.code({0xd4000001, 0x17ffffff});
    mm::store_relaxed<u32>(world.memory->ram().host(kVectors + 0x400), 0xd69f03e0);
    world.v.switch_el(0, 0);
    world.v.context_changed();
    world.start(kBuffer, kBuffer + kMiB, 256, 1, 1);
    world.run(1);
    REQUIRE(world.records() == 1);
    const Record bytes = world.record(0);
    CHECK(world.record_pc(0) == kCode);
    CHECK(bytes[14] == 0x80);  // the level it was executed at
    CHECK(bytes[17] == 0x52);
    CHECK(bytes[18] == 0x03);  // exception, retired
}

TEST_CASE("profiling unit: a sampled call to the firmware is recorded with its exception", "[spe][profiling_unit]") {
    World world;
    world.code({0xd4000002, 0x17ffffff});  // hvc #0 ; b .-4
    world.start(kBuffer, kBuffer + kMiB, 256, 2, 1);
    world.run(1);
    REQUIRE(world.records() == 1);
    CHECK(world.record(0)[18] == 0x03);
    CHECK(world.firmware.calls == 1);
    CHECK(world.v.exceptions_taken == 0);
}

TEST_CASE("profiling unit: a buffer for EL0 may be programmed at EL1 in any order", "[spe][profiling_unit]") {
    World world;
    world.write("PMSCR_EL1", 1);
    world.write("PMBPTR_EL1", kBuffer + kMiB);  // no room
    world.write("PMBLIMITR_EL1", (kBuffer + kMiB) | 1);
    world.run(100);
    CHECK(world.read("PMBSR_EL1") == 0);
    const bool mended = GENERATE(true, false);
    if (mended) {
        world.write("PMBPTR_EL1", kBuffer);
    }
    world.v.switch_el(0, 0);
    world.v.context_changed();
    world.run(1);
    CHECK(world.read("PMBSR_EL1") == (mended ? 0 : kS | 1));
    CHECK(world.irq.level == !mended);
}

TEST_CASE("profiling unit: context, physical address and timestamp are collected when asked for", "[spe][profiling_unit]") {
    World world;
    world.v.s.contextidr_el1 = 0x4D2;
    world.start(kBuffer, kBuffer + kMiB, 256, 0x3B, 1);
    world.run(1);  // the load
    REQUIRE(world.records() == 1);
    const Record bytes = world.record(0);
    CHECK(bytes[0] == 0x64);
    CHECK(bytes[1] == 0xD2);
    CHECK(bytes[2] == 0x04);
    u64 va = 0;
    u64 pa = 0;
    u64 timestamp = 0;
    REQUIRE(bytes[0x17] == 0xB2);
    std::memcpy(&va, &bytes[0x18], 8);
    REQUIRE(bytes[0x20] == 0xB3);
    std::memcpy(&pa, &bytes[0x21], 8);
    REQUIRE(bytes[0x30] == 0x71);
    std::memcpy(&timestamp, &bytes[0x31], 8);
    CHECK(va == kData);
    CHECK(pa == (kData | u64{1} << 63));
    CHECK(timestamp == world.counter.value);
    CHECK(bytes[0x2B] == 0x49);
    CHECK(bytes[0x2C] == 0x00);

    world.write("PMSCR_EL1", 3);
    world.write("PMSICR_EL1", 1);
    world.run(1);  // the addition
    const Record plain = world.record(1);
    CHECK(plain[0] == 0x98);
    CHECK(plain[15] == 0x48);
    CHECK(plain[20] == 0x01);  // end
}

TEST_CASE("profiling unit: a full buffer interrupts once, stops, and resumes when S is cleared", "[spe][profiling_unit]") {
    World world;
    world.start(kBuffer, kBuffer + 4096, 256);
    world.run(257 * 64);
    CHECK(world.irq.level);
    CHECK(world.read("PMBSR_EL1") == (kS | 1));
    CHECK(world.read("PMBPTR_EL1") == kBuffer + 4096);
    const u64 frozen = world.read("PMSICR_EL1");
    world.run(257 * 10);
    CHECK(world.records() == 64);
    CHECK(world.read("PMSICR_EL1") == frozen);
    CHECK(world.unit.stats().population == 257 * 64);
    // As the interrupt handler of Linux: pointers first, status last.
    world.write("PMBPTR_EL1", kBuffer + 4096);
    world.write("PMBLIMITR_EL1", (kBuffer + 8192) | 1);
    CHECK(world.irq.level);
    world.write("PMBSR_EL1", 0);
    CHECK_FALSE(world.irq.level);
    world.run(257 * 64);
    CHECK(world.records() == 128);
    CHECK(world.irq.rises == 2);
    CHECK(world.unit.stats().buffer_full == 2);
}

TEST_CASE("profiling unit: clearing S without a new window interrupts again at once", "[spe][profiling_unit]") {
    World world;
    world.start(kBuffer, kBuffer + 4096, 256);
    world.run(257 * 64);
    REQUIRE(world.irq.rises == 1);
    world.write("PMBSR_EL1", 0);
    CHECK(world.irq.level);
    CHECK(world.irq.rises == 2);
    CHECK(world.records() == 64);
}

TEST_CASE("profiling unit: the buffer limit applies when profiling becomes enabled", "[spe][profiling_unit]") {
    World world({.max_buffer_size = 8192});
    CHECK(world.read("PMBIDR_EL1") == 0x0000000200000126);
    world.write("PMBPTR_EL1", kBuffer);
    world.write("PMBLIMITR_EL1", (kBuffer + 3 * 4096) | 1);
    CHECK(world.read("PMBSR_EL1") == 0);
    world.write("PMSCR_EL1", 3);
    CHECK(world.read("PMBSR_EL1") == (kS | 4));
    CHECK(world.irq.level);
    CHECK(world.unit.stats().too_large == 1);
}

TEST_CASE("profiling unit: discard mode counts and filters but writes nothing", "[spe][profiling_unit]") {
    World world;
    world.start(3, 0, 256);  // garbage
    world.write("PMBSR_EL1", 0);
    world.write("PMBLIMITR_EL1", 5);
    world.write("PMBSR_EL1", 0);
    const u64 already = world.unit.stats().samples;
    world.run(257 * 10);
    CHECK(world.unit.stats().samples - already == 10);
    CHECK(world.unit.stats().discarded == 10);
    CHECK(world.records() == 0);
    CHECK(world.read("PMBSR_EL1") == 0);
    CHECK(world.read("PMBPTR_EL1") == 3);
}

TEST_CASE("profiling unit: filters drop what they must", "[spe][profiling_unit]") {
    World world;
    world.write("PMSFCR_EL1", 0x40002);  // stores only
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.run(257 * 100);
    CHECK(world.unit.stats().samples == 100);
    CHECK(world.records() == 25);
    CHECK(world.unit.stats().filtered == 75);
    for (u64 i = 0; i < 25; ++i) {
        REQUIRE(world.record_pc(i) == kCode + 8);
    }
}

TEST_CASE("profiling unit: equal seeds give equal bytes, with jitter", "[spe][profiling_unit]") {
    World a({.seed = 5});
    World b({.seed = 5});
    World c({.seed = 6});
    for (World* world : {&a, &b, &c}) {
        world->start(kBuffer, kBuffer + kMiB, 256 | 1);
        world->run(100'000);
    }
    const auto bytes = [](const World& world) {
        const u8* host = world.memory->ram().host(kBuffer, kMiB);
        return std::vector<u8>(host, host + kMiB);
    };
    CHECK(a.records() > 200);
    CHECK(bytes(a) == bytes(b));
    CHECK(bytes(a) != bytes(c));
}

TEST_CASE("profiling unit: how a run is cut into slices changes nothing", "[spe][profiling_unit]") {
    World whole({.seed = 1});
    World slices({.seed = 1});
    whole.start(kBuffer, kBuffer + kMiB, 256 | 1);
    slices.start(kBuffer, kBuffer + kMiB, 256 | 1);
    whole.run(50'000);
    Rng rng(3);
    for (u64 left = 50'000; left != 0;) {
        const u64 ops = std::min(left, 1 + rng.below(700));
        slices.run(ops);
        left -= ops;
    }
    CHECK(whole.records() == slices.records());
    CHECK(std::memcmp(whole.memory->ram().host(kBuffer), slices.memory->ram().host(kBuffer), 64 * 100) == 0);
}

TEST_CASE("profiling unit: the detailed model samples the same operations as the basic one", "[spe][profiling_unit]") {
    const u64 interval = GENERATE(u64{256}, u64{256 | 1}, u64{4096 | 1});
    World basic({.seed = 3});
    World detailed({.seed = 3, .model = ModelKind::detailed});
    for (World* world : {&basic, &detailed}) {
        // ldr, add, str, add x4; tst x4, #15; b.ne; and each 16th time: nop or msr pmsicr_el1, x3; b
        const u32 rewrite = interval == (4096 | 1) ? 0xd5189943 : 0xd503201f;
        world->code({0xf9400041, 0x91000421, 0xf9000041, 0x91000484, 0xf2400c9f, 0x54ffff61, rewrite, 0x17fffff9});
        world->v.s.x[3] = 60;
        world->start(kBuffer, kBuffer + kMiB, interval, 3, interval == 256 ? 300 : 0);
        world->run(30'000);
        world->write("PMSCR_EL1", 1);  // EL0 only: nothing is sampled, nothing counted
        world->run(1000);
        world->write("PMSCR_EL1", 3);
        world->run(60'000);
    }
    REQUIRE(basic.records() == detailed.records());
    CHECK(basic.unit.stats().population == detailed.unit.stats().population);
    CHECK(basic.unit.stats().samples == detailed.unit.stats().samples);
    CHECK(basic.read("PMSICR_EL1") == detailed.read("PMSICR_EL1"));
    CHECK(basic.read("PMBPTR_EL1") == detailed.read("PMBPTR_EL1"));
    CHECK(basic.records() > 100);
    for (u64 i = 0; i < basic.records(); ++i) {
        CAPTURE(i);
        REQUIRE(basic.record_pc(i) == detailed.record_pc(i));
    }
}

TEST_CASE("profiling unit: the buffer is pinned when enabled, once, and given back at reset", "[spe][profiling_unit]") {
    World world({}, mm::PinChoice::uring);
    world.start(kBuffer, kBuffer + 2 * kMiB, 256);
    CHECK(world.memory->is_pinned({kBuffer, 2 * kMiB}));
    CHECK(world.memory->pin_stats().pinned_bytes == 2 * kMiB);
    for (int i = 0; i < 99; ++i) {
        world.write("PMSCR_EL1", 0);
        world.write("PMBLIMITR_EL1", 0);
        world.start(kBuffer + 64 * static_cast<u64>(i), kBuffer + 2 * kMiB, 256);
    }
    CHECK(world.unit.stats().pins.walks == 1);
    CHECK(world.memory->pin_stats().pin_ops == 1);
    world.unit.reset();
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    CHECK(world.unit.stats().pins.bytes == 0);
}

// ── With translation ───────────────────────────────────────────────────────────────────────────────────────

namespace {

/// The first GiB of RAM mapped one to one through TTBR0 (4 KiB granule, 39-bit addresses), and 512 pages at kHigh mapped
/// through TTBR1 to the buffer.
constexpr u64 kHigh = 0xFFFFFF8000000000;
constexpr u64 kTable0 = kTables;           // level 1 of TTBR0
constexpr u64 kTable1 = kTables + 0x1000;  // levels 1, 2, 3 of TTBR1
constexpr u64 kTable2 = kTables + 0x2000;
constexpr u64 kTable3 = kTables + 0x3000;

void map_high(World& world) {
    const auto put = [&](u64 table, u64 index, u64 value) {
        mm::store_relaxed<u64>(world.memory->ram().host(table + 8 * index), value);
    };
    constexpr u64 kBlock = 0x701;  // valid block, AF, inner shareable, EL1 read/write
    constexpr u64 kPageEntry = 0x703;
    put(kTable0, kBase >> 30, kBase | kBlock);
    put(kTable1, 0, kTable2 | 3);
    put(kTable2, 0, kTable3 | 3);
    for (u64 i = 0; i < 512; ++i) {
        put(kTable3, i, (kBuffer + i * 4096) | kPageEntry);
    }
    world.v.s.mair_el1 = 0xFF;
    // T0SZ = T1SZ = 25, write-back cacheable, inner shareable, 4 KiB granules, IPS 40 bits.
    world.v.s.tcr_el1 = 25 | u64{25} << 16 | u64{0x35} << 8 | u64{0x35} << 24 | u64{2} << 30 | u64{2} << 32;
    world.v.s.ttbr0_el1 = kTable0;
    world.v.s.ttbr1_el1 = kTable1;
    world.v.s.sctlr_el1 = 1;
    world.v.context_changed();
}

void set_high_page(World& world, u64 index, u64 descriptor) {
    mm::store_relaxed<u64>(world.memory->ram().host(kTable3 + 8 * index), descriptor);
    world.v.mmu().tlbi(arch::TlbiOp::all, 0, 0);
}

}  // namespace

TEST_CASE("profiling unit: records go through the owner's translation", "[spe][profiling_unit]") {
    World world;
    map_high(world);
    world.start(kHigh, kHigh + 2 * kMiB, 256);
    world.run(257 * 10);
    CHECK(world.records() == 10);
    CHECK(world.record_pc(0) == kCode);
    CHECK(world.record_pc(1) == kCode + 4);
    CHECK(world.read("PMBPTR_EL1") == kHigh + 640);
}

TEST_CASE("profiling unit: a page that cannot be written faults when it is reached, not before", "[spe][profiling_unit]") {
    struct Row {
        u64 descriptor;
        u64 pmbsr;
    };
    const Row row = GENERATE(values<Row>({
        {0, 0x90020007},                             // translation fault, level 3
        {(kBuffer + 4096) | 0x783, 0x9002000F},      // read-only: permission fault, level 3
        {(kBuffer + 4096) | 0x303, 0x9002000B},      // Access flag fault, level 3
    }));
    CAPTURE(row.pmbsr);
    World world({}, mm::PinChoice::uring);
    map_high(world);
    set_high_page(world, 1, row.descriptor);
    world.start(kHigh, kHigh + 2 * kMiB, 256);
    CHECK(world.read("PMBSR_EL1") == 0);
    world.run(257 * 64);
    CHECK(world.read("PMBSR_EL1") == 0);
    world.run(257);
    CHECK(world.read("PMBSR_EL1") == row.pmbsr);
    CHECK(world.read("PMBPTR_EL1") == kHigh + 4096);
    CHECK(world.irq.level);
    CHECK(world.records() == 64);
    CHECK(world.unit.stats().faults == 1);
    CHECK(world.v.s.esr_el1 == 0);  // never an exception
    // The handler maps the page and goes on where it stopped.
    set_high_page(world, 1, (kBuffer + 4096) | 0x703);
    world.write("PMBSR_EL1", 0);
    world.run(257);
    CHECK(world.records() == 65);
}

TEST_CASE("profiling unit: PAN does not apply to buffer writes", "[spe][profiling_unit]") {
    World world;
    map_high(world);
    for (u64 i = 0; i < 512; ++i) {
        set_high_page(world, i, (kBuffer + i * 4096) | 0x743);  // EL0 may write, too
    }
    world.v.s.pan = 1;
    world.v.context_changed();
    world.start(kHigh, kHigh + kMiB, 256);
    world.run(257 * 3);
    CHECK(world.records() == 3);
    CHECK(world.read("PMBSR_EL1") == 0);
}

TEST_CASE("profiling unit: buffer pages and translation tables are pinned", "[spe][profiling_unit]") {
    World world({}, mm::PinChoice::uring);
    map_high(world);
    world.start(kHigh, kHigh + 64 * 4096, 256);
    CHECK(world.memory->is_pinned({kBuffer, 4096}));
    CHECK(world.memory->is_pinned({kBuffer + 63 * 4096, 4096}));
    CHECK_FALSE(world.memory->is_pinned({kBuffer + 64 * 4096, 4096}));
    CHECK(world.memory->is_pinned({kTable1, 4096}));
    CHECK(world.memory->is_pinned({kTable2, 4096}));
    CHECK(world.memory->is_pinned({kTable3, 4096}));
    CHECK_FALSE(world.memory->is_pinned({kTable0, 4096}));
    CHECK(world.memory->pin_stats().pinned_bytes == 67 * 4096);
    // TLB maintenance of somebody else's pages costs a comparison, not a walk.
    world.v.mmu().tlbi(arch::TlbiOp::all, 0, 0);
    world.write("PMBLIMITR_EL1", 0);
    world.start(kHigh, kHigh + 64 * 4096, 256);
    CHECK(world.unit.stats().pins.walks == 1);
    CHECK(world.unit.stats().pins.table_hits == 1);
}

TEST_CASE("profiling unit: records for addresses without memory are ignored", "[spe][profiling_unit]") {
    World world;
    map_high(world);
    set_high_page(world, 0, 0x40000000 | 0x703);
    world.start(kHigh, kHigh + 2 * kMiB, 256);
    world.run(257 * 3);
    CHECK(world.unit.stats().ignored_aborts == 3);
    CHECK(world.read("PMBPTR_EL1") == kHigh + 192);
    CHECK(world.read("PMBSR_EL1") == 0);
}

// ── Stopped by the host ────────────────────────────────────────────────────────────────────────────────────

TEST_CASE("profiling unit: stopped, registers go on and profiling does not", "[spe][profiling_unit][stop]") {
    const StopMode mode = GENERATE(StopMode::trap, StopMode::exit);
    World world({}, mm::PinChoice::populate);
    world.unit.set_stop(mode);
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.run(257 * 10);
    CHECK(world.unit.stats().population == 0);
    CHECK(world.unit.stats().samples == 0);
    CHECK(world.records() == 0);
    CHECK(world.record(0) == Record{});
    CHECK(world.unit.stats().pins.enables == 0);
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    CHECK_FALSE(world.unit.armed());
    // All as written.
    CHECK(world.read("PMBPTR_EL1") == kBuffer);
    CHECK(world.read("PMBLIMITR_EL1") == ((kBuffer + kMiB) | 1));
    CHECK(world.read("PMSCR_EL1") == 0x43);
    CHECK(world.read("PMSIRR_EL1") == 256);
    CHECK(world.read("PMBSR_EL1") == 0);
    CHECK((world.read("PMBIDR_EL1") & 0x10) == 0);  // P
    // A buffer that could not be used is no event either, until it is used.
    world.write("PMBPTR_EL1", kBuffer + kMiB);
    CHECK(world.read("PMBSR_EL1") == 0);
    CHECK_FALSE(world.irq.level);
    world.unit.set_stop(StopMode::none);
    CHECK((world.read("PMBSR_EL1") & kS) != 0);
    CHECK(world.irq.level);
}

TEST_CASE("profiling unit: resumed, it profiles with what was programmed meanwhile", "[spe][profiling_unit][stop]") {
    World world({}, mm::PinChoice::populate);
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.run(257 * 4);
    REQUIRE(world.records() == 4);
    REQUIRE(world.memory->pin_stats().pinned_bytes > 0);
    world.unit.set_stop(StopMode::trap);
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    world.run(257 * 10);
    CHECK(world.records() == 4);
    CHECK(world.read("PMBPTR_EL1") == kBuffer + 4 * 64);
    world.unit.set_stop(StopMode::none);
    CHECK(world.memory->pin_stats().pinned_bytes > 0);
    world.run(257 * 6);
    CHECK(world.records() == 10);
    CHECK(world.unit.stats().population == 257 * 10);
}

TEST_CASE("profiling unit: StopMode::exit tells when the guest would profile", "[spe][profiling_unit][stop]") {
    World world;
    unsigned told = 0;
    world.unit.set_exit_hook([&] { ++told; });
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.write("PMSCR_EL1", 0);
    CHECK(told == 0);
    world.unit.set_stop(StopMode::exit);
    CHECK_FALSE(world.unit.wants_exit());  // no Exception level is selected
    for (const u64 selected : {1, 2}) {
        CAPTURE(selected);
        told = 0;
        world.write("PMSCR_EL1", selected);
        CHECK(world.unit.wants_exit());
        CHECK(told == 1);
        world.write("PMSCR_EL1", 0);
        CHECK_FALSE(world.unit.wants_exit());
        CHECK(told == 1);
    }
    world.write("PMSCR_EL1", 3);
    world.write("PMBSR_EL1", kS);
    CHECK_FALSE(world.unit.wants_exit());  // the interrupt is pending
    world.write("PMBSR_EL1", 0);
    CHECK(world.unit.wants_exit());
    world.write("PMBLIMITR_EL1", kBuffer + kMiB);
    CHECK_FALSE(world.unit.wants_exit());  // E is 0
    world.write("PMBLIMITR_EL1", (kBuffer + kMiB) | 1);
    // The last call counts, and a reset of the PE is not one.
    world.unit.set_stop(StopMode::trap);
    CHECK_FALSE(world.unit.wants_exit());
    world.unit.set_stop(StopMode::exit);
    CHECK(world.unit.wants_exit());
    world.unit.reset();
    CHECK(world.unit.stop_mode() == StopMode::exit);
    CHECK_FALSE(world.unit.wants_exit());
}

// ── Options ────────────────────────────────────────────────────────────────────────────────────────────────

TEST_CASE("profiling unit: events that the model never shows cannot be filtered by", "[spe][profiling_unit]") {
    const auto [pmsver, model, mask] = GENERATE(table<u8, ModelKind, u64>({
        {u8{5}, ModelKind::basic, 0x180BFE},
        {u8{5}, ModelKind::detailed, 0xF80BFE},
        {u8{3}, ModelKind::basic, 0x8EA},
        {u8{3}, ModelKind::detailed, 0x8EA},
    }));
    World world({.pmsver = pmsver, .model = model});
    for (const char* name : {"PMSEVFR_EL1", "PMSNEVFR_EL1"}) {
        world.write(name, ~u64{0});
        CHECK(world.read(name) == mask);
    }
}

TEST_CASE("profiling unit: a buffer of a higher Exception level is out of reach", "[spe][profiling_unit]") {
    World world({.features = {.higher_owner = true}});
    CHECK(world.read("PMBIDR_EL1") == 0x136);
    for (const char* name : {"PMBPTR_EL1", "PMBLIMITR_EL1", "PMBSR_EL1"}) {
        CHECK(world.v.sysregs.find(World::key(name)) == nullptr);
    }
    world.write("PMSIRR_EL1", 256);
    world.write("PMSCR_EL1", 3);
    world.run(10'000);
    CHECK(world.unit.stats().population == 0);
    CHECK(world.read("PMSIDR_EL1") == 0x2645F);
}

TEST_CASE("profiling unit: eager faults come when the buffer is enabled", "[spe][profiling_unit]") {
    constexpr u64 kFaultSyndrome = 0x90000000 | kS;  // EC 0x24
    World world({.features = {.eager_faults = true}});
    map_high(world);
    const u64 limit = kHigh + 512 * 4096;
    world.start(kHigh, limit, 256, 0);
    CHECK(world.read("PMBSR_EL1") == 0);
    struct Row {
        u64 page;
        u64 descriptor_bits;  // of the page's descriptor
        u64 fsc;
    };
    const Row rows[] = {
        {0, 0, 7}, {100, 0, 7}, {511, 0, 7},  // not mapped
        {100, 0x303, 0xB},                    // no Access flag, not managed by hardware
        {100, 0x783, 0xF},                    // read-only
    };
    for (const Row& row : rows) {
        CAPTURE(row.page, row.fsc);
        set_high_page(world, row.page, row.descriptor_bits == 0 ? 0 : (kBuffer + row.page * 4096) | row.descriptor_bits);
        world.write("PMBLIMITR_EL1", 0);
        world.write("PMBSR_EL1", 0);
        world.write("PMBPTR_EL1", kHigh + 64);
        CHECK_FALSE(world.irq.level);
        world.write("PMBLIMITR_EL1", limit | 1);  // sampling is off: no record would be written
        const u64 skipped = row.page == 0 ? 0 : kDl;  // memory without records below PMBPTR
        CHECK(world.read("PMBSR_EL1") == (kFaultSyndrome | skipped | row.fsc));
        CHECK(world.read("PMBPTR_EL1") == (row.page == 0 ? kHigh + 64 : kHigh + row.page * 4096));
        CHECK(world.irq.level);
        // Clearing S enables the buffer again, and finds the same.
        world.write("PMBSR_EL1", 0);
        CHECK(world.read("PMBSR_EL1") == (kFaultSyndrome | row.fsc));
        // A buffer that ends before the page is none of its business, and discard mode has no buffer.
        world.write("PMBSR_EL1", kS);
        if (row.page != 0) {
            world.write("PMBPTR_EL1", kHigh);
            world.write("PMBLIMITR_EL1", (kHigh + row.page * 4096) | 1);
            world.write("PMBSR_EL1", 0);
            CHECK(world.read("PMBSR_EL1") == 0);
        }
        world.write("PMBLIMITR_EL1", limit | 5);
        world.write("PMBSR_EL1", 0);
        CHECK(world.read("PMBSR_EL1") == 0);
        set_high_page(world, row.page, (kBuffer + row.page * 4096) | 0x703);
    }
    CHECK(world.unit.stats().faults == 2 * std::size(rows));
    // Good pages: it works as ever.
    world.start(kHigh, limit, 256);
    world.run(257 * 10);
    CHECK(world.records() == 10);
    // Eager about the other mistakes, too.
    world.write("PMSCR_EL1", 0);
    world.write("PMBLIMITR_EL1", 0);
    world.write("PMBPTR_EL1", limit);
    world.write("PMBLIMITR_EL1", limit | 1);
    CHECK(world.read("PMBSR_EL1") == (kS | 1));
}

TEST_CASE("profiling unit: eager faults wait while the host has stopped the unit", "[spe][profiling_unit][stop]") {
    World world({.features = {.eager_faults = true}});
    map_high(world);
    set_high_page(world, 3, 0);
    world.unit.set_stop(StopMode::trap);
    world.start(kHigh, kHigh + 512 * 4096, 256, 0);
    CHECK(world.read("PMBSR_EL1") == 0);
    world.unit.set_stop(StopMode::none);
    CHECK(world.read("PMBSR_EL1") == (0x90000000 | kDl | kS | 7));
    CHECK(world.read("PMBPTR_EL1") == kHigh + 3 * 4096);
}

TEST_CASE("profiling unit: eager faults at the end of the address space", "[spe][profiling_unit]") {
    World world({.features = {.eager_faults = true}});
    map_high(world);
    world.write("PMBPTR_EL1", ~u64{0xFFF} - 0x1000);
    world.write("PMBLIMITR_EL1", ~u64{0xFFF} | 1);
    CHECK(world.read("PMBSR_EL1") == (0x90000000 | kS | 5));  // nothing at level 1
    CHECK(world.read("PMBPTR_EL1") == ~u64{0xFFF} - 0x1000);
    // The last GiB as one block: what follows it is not address 0.
    mm::store_relaxed<u64>(world.memory->ram().host(kTable1 + 8 * 511), kBase | 0x701);
    world.v.mmu().tlbi(arch::TlbiOp::all, 0, 0);
    world.write("PMBSR_EL1", 0);
    CHECK(world.read("PMBSR_EL1") == 0);
}

// ── Performance monitors ───────────────────────────────────────────────────────────────────────────────────

namespace {

/// Programs event counter `n` for `event` at all Exception levels, or reads it.
void program_counter(World& world, unsigned n, u64 event) {
    world.v.pmu().set_event_type(n, event);
    world.v.pmu().set_counter(n, 0);
    world.v.pmu().set_enabled(world.v.pmu().enabled() | u64{1} << n);
    world.v.pmu().set_pmcr(1);
}
u64 counted(World& world, unsigned n) {
    world.v.pmu().sync();
    return world.v.pmu().counter(n);
}

}  // namespace

// The loop is load, add, store, branch: with 257 operations between samples each is sampled in turn.
TEST_CASE("profiling unit: the PMU counts samples by kind, whatever filters are enabled", "[spe][profiling_unit]") {
    constexpr u64 kSamples = 400;
    struct Row {
        const char* what;
        u16 event;
        u64 expected;
        u8 pmsver = 3;
        u64 pmsfcr = 0, pmsevfr = 0, pmsnevfr = 0, pmslatfr = 0, pmsdsfr = 0;
    };
    const Row rows[] = {
        {.what = "SAMPLE_POP", .event = 0x4000, .expected = kSamples * 257},
        {.what = "SAMPLE_FEED", .event = 0x4001, .expected = kSamples},
        {.what = "SAMPLE_FILTRATE, no filter", .event = 0x4002, .expected = kSamples},
        {.what = "SAMPLE_FILTRATE, loads", .event = 0x4002, .expected = kSamples / 4, .pmsfcr = 0x20002},
        {.what = "SAMPLE_COLLISION", .event = 0x4003, .expected = 0},
        {.what = "SAMPLE_FEED_BR", .event = 0x812A, .expected = kSamples / 4},
        {.what = "SAMPLE_FEED_LD", .event = 0x812B, .expected = kSamples / 4},
        {.what = "SAMPLE_FEED_LD, though only stores are kept", .event = 0x812B, .expected = kSamples / 4, .pmsfcr = 0x40002},
        {.what = "SAMPLE_FEED_ST", .event = 0x812C, .expected = kSamples / 4},
        {.what = "SAMPLE_FEED_ST of version 1.1", .event = 0x812C, .expected = 0, .pmsver = 2},
        {.what = "SAMPLE_FEED_OP, no type selected", .event = 0x812D, .expected = 0},
        {.what = "SAMPLE_FEED_OP, filter disabled", .event = 0x812D, .expected = kSamples / 2, .pmsfcr = 0x60000},
        {.what = "SAMPLE_FEED_EVENT, nothing selected", .event = 0x812E, .expected = kSamples},
        {.what = "SAMPLE_FEED_EVENT, retired", .event = 0x812E, .expected = kSamples, .pmsevfr = 2},
        {.what = "SAMPLE_FEED_EVENT, not retired", .event = 0x812E, .expected = 0, .pmsnevfr = 2},
        {.what = "SAMPLE_FEED_LAT, all", .event = 0x812F, .expected = kSamples},
        {.what = "SAMPLE_FEED_LAT, none", .event = 0x812F, .expected = 0, .pmslatfr = 0xFFF},
        {.what = "SAMPLE_FEED_DS, any source", .event = 0x8122, .expected = kSamples / 4, .pmsver = 5, .pmsdsfr = ~u64{0}},
        {.what = "SAMPLE_FEED_DS, no source", .event = 0x8122, .expected = 0, .pmsver = 5},
        {.what = "SAMPLE_FEED_DS without FDS", .event = 0x8122, .expected = 0},
        {.what = "an event that is none of ours", .event = 0x4010, .expected = 0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        World world({.pmsver = row.pmsver});
        world.write("PMSFCR_EL1", row.pmsfcr);
        world.write("PMSEVFR_EL1", row.pmsevfr);
        if (row.pmsver >= 3) {
            world.write("PMSNEVFR_EL1", row.pmsnevfr);
        }
        if (row.pmsver >= 5) {
            world.write("PMSDSFR_EL1", row.pmsdsfr);
        }
        world.write("PMSLATFR_EL1", row.pmslatfr);
        program_counter(world, 0, row.event);
        world.start(kBuffer, kBuffer + kMiB, 256);
        world.run(257 * kSamples);
        CHECK(world.unit.stats().samples == kSamples);
        CHECK(counted(world, 0) == row.expected);
    }
}

TEST_CASE("profiling unit: the PMU counts sampled FP and SIMD operations, with EFT", "[spe][profiling_unit]") {
    const bool eft = GENERATE(true, false);
    World world({.pmsver = 5, .features = {.eft = eft}});
    world.v.s.cpacr_el1 = 3u << 20;
    world.v.context_changed();
    // fadd d0, d0, d1 ; add v2.4s, v2.4s, v3.4s ; fadd v4.4s, v4.4s, v5.4s ; b .-12
    world.code({0x1e612800, 0x4ea38442, 0x4e25d484, 0x17fffffd});
    program_counter(world, 0, 0x8348);
    program_counter(world, 1, 0x8349);
    world.start(kBuffer, kBuffer + kMiB, 256);
    world.run(257 * 400);
    CHECK(counted(world, 0) == (eft ? 200 : 0));
    CHECK(counted(world, 1) == (eft ? 200 : 0));
}

TEST_CASE("profiling unit: the PMU counts operations at the Exception level that executed them", "[spe][profiling_unit]") {
    constexpr u64 kNotAtEl1 = u64{1} << 31, kNotAtEl0 = u64{1} << 30;
    const u64 pmscr = GENERATE(1, 2);
    World world;
    world.call_the_kernel_for_ever();
    program_counter(world, 0, 0x4000 | kNotAtEl1);
    program_counter(world, 1, 0x4000 | kNotAtEl0);
    program_counter(world, 2, 0x4001 | kNotAtEl1);
    program_counter(world, 3, 0x4001 | kNotAtEl0);
    world.start(kBuffer, kBuffer + kMiB, 256, pmscr);
    world.run(4 * 257 * 10);
    const u64 operations = 2 * 257 * 10;
    CHECK(counted(world, 0) == (pmscr == 1 ? operations : 0));
    CHECK(counted(world, 1) == (pmscr == 2 ? operations : 0));
    CHECK(counted(world, 2) == (pmscr == 1 ? 20 : 0));
    CHECK(counted(world, 3) == (pmscr == 2 ? 20 : 0));
}

TEST_CASE("profiling unit: SAMPLE_POP is exact when it is read and when it is stopped", "[spe][profiling_unit]") {
    constexpr u64 kRounds = 1000;
    World world;
    // 0: mrs x3, pmevcntr0_el0 ; 3 nops ; mrs x4, pmevcntr0_el0 ; subs x7, x7, #1 ; b.ne 0
    // msr pmcntenclr_el0, x5 ; mrs x6, pmevcntr0_el0 ; b .
    world.code({0xd53be803, 0xd503201f, 0xd503201f, 0xd503201f, 0xd53be804, 0xf10004e7, 0x54ffff41,
                0xd51b9c45, 0xd53be806, 0x14000000});
    world.v.s.x[5] = 1;
    world.v.s.x[7] = kRounds;
    program_counter(world, 0, 0x4000);
    world.start(kBuffer, kBuffer + kMiB, 0xFFFFFF00);
    world.run(7 * kRounds + 100);
    CHECK(world.v.s.x[4] - world.v.s.x[3] == 4);
    CHECK(world.v.s.x[6] == 7 * kRounds + 1);
}

TEST_CASE("profiling unit: a sample of the operation that switches the buffer off is fed, and lost", "[spe][profiling_unit]") {
    World world;
    world.code({0xd5189a1f, 0x17ffffff});  // msr pmblimitr_el1, xzr
    program_counter(world, 0, 0x4001);
    program_counter(world, 1, 0x4002);
    world.start(kBuffer, kBuffer + kMiB, 256, 2, 1);
    world.run(2);
    CHECK(world.records() == 0);
    CHECK(world.unit.stats().dropped == 1);
    CHECK(counted(world, 0) == 1);
    CHECK(counted(world, 1) == 0);
}

TEST_CASE("profiling unit: the PMU counts full buffers and collisions", "[spe][profiling_unit]") {
    World world({.features = {.collisions = true}});
    program_counter(world, 0, 0x8123);
    program_counter(world, 1, 0x4003);
    world.start(kBuffer, kBuffer + 4096, 256);
    world.run(257 * 64);
    CHECK(counted(world, 0) == 1);
    CHECK(counted(world, 1) == world.unit.stats().collisions);
}

TEST_CASE("profiling unit: a stopped buffer freezes the counters that ask for it", "[spe][profiling_unit]") {
    constexpr u64 kE = 1, kDp = 1 << 5, kFzs = u64{1} << 32;
    constexpr u64 kPmfz = 0x20;
    struct Row {
        const char* what;
        const char* cpu;
        u8 pmsver;
        u64 pmcr, limitr;
        bool events_freeze, cycles_freeze;
    };
    const Row rows[] = {
        {"FZS and PMFZ", "max", 3, kE | kFzs, kPmfz, true, false},
        {"with DP the cycle counter, too", "max", 3, kE | kFzs | kDp, kPmfz, true, true},
        {"DP alone", "max", 3, kE | kDp, kPmfz, false, false},
        {"no PMFZ", "max", 3, kE | kFzs | kDp, 0, false, false},
        {"no FZS", "max", 3, kE, kPmfz, false, false},
        {"SPE version 1.1 has neither", "max", 2, kE | kFzs | kDp, kPmfz, false, false},
        {"PMUv3p1 has no FZS", "neoverse-n1", 3, kE | kFzs | kDp, kPmfz, false, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        World world({.pmsver = row.pmsver}, mm::PinChoice::off, row.cpu);
        program_counter(world, 0, 0x08);  // INST_RETIRED
        world.v.pmu().set_enabled(1 | u64{1} << 31);
        world.v.pmu().set_pmcr(row.pmcr);
        // Room for four records: the fifth interval finds the unit stopped.
        world.start(kBuffer + 4096 - 256, (kBuffer + 4096) | row.limitr, 256);
        world.run(257 * 4);
        REQUIRE(world.read("PMBSR_EL1") == (kS | 1));
        CHECK(counted(world, 0) == 257 * 4);  // the operation that filled the buffer is the last one counted
        CHECK(world.v.pmu().cycles() == 257 * 4);
        world.run(1000);
        CHECK(counted(world, 0) == 257 * 4 + (row.events_freeze ? 0 : 1000));
        CHECK(world.v.pmu().cycles() == 257 * 4 + (row.cycles_freeze ? 0 : 1000));
        // Either condition gone, it goes on.
        world.write("PMBLIMITR_EL1", 0);
        world.run(100);
        CHECK(counted(world, 0) == 257 * 4 + 100 + (row.events_freeze ? 0 : 1000));
        world.unit.reset();
        world.run(100);
        CHECK(counted(world, 0) == 257 * 4 + 200 + (row.events_freeze ? 0 : 1000));
    }
}

}  // namespace vmm::spe::test
