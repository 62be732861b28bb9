#include <algorithm>
#include <map>
#include <set>

#include <catch2/catch.hpp>

#include "spe/profiling_buffer.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kBuffer = 0xFFFF800010000000;
constexpr u64 kS = 0x20000;
constexpr u64 kColl = 0x10000;
constexpr u64 kEnable = 1;
constexpr u64 kDiscard = 4;

class FakeSink final : public RecordSink {
  public:
    StoreResult store(u64 va, std::span<const u8> bytes) override {
        if (faults.count(va & ~u64{0xFFF}) != 0) {
            return {StoreResult::Kind::fault, 0x07};
        }
        if (holes.count(va & ~u64{0xFFF}) != 0) {
            return {StoreResult::Kind::external_abort, 0};
        }
        REQUIRE(bytes.size() == sizeof(Record));
        std::copy(bytes.begin(), bytes.end(), stored[va].begin());
        return {};
    }
    std::map<u64, Record> stored;
    std::set<u64> faults;
    std::set<u64> holes;
};

class RecordingIrq final : public arch::IrqLine {
  public:
    void set(bool value) override { level = value; }
    bool level = false;
};

struct World {
    explicit World(u64 max_bytes = 0, u8 pmsver = 3) : buffer(resolve(pmsver), max_bytes) {
        buffer.set_irq(&irq);
    }
    void program(u64 pointer, u64 limit, u64 flags = kEnable) {
        buffer.set_pointer(pointer);
        buffer.set_limitr(limit | flags);
    }
    BufferEvent append() { return buffer.append({record, sizeof(Record)}, sink); }

    ProfilingBuffer buffer;
    RecordingIrq irq;
    FakeSink sink;
    Record record{1, 2, 3};
};

}  // namespace

TEST_CASE("profiling buffer: records follow one another from PMBPTR on", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 128, kBuffer + 4096);
    REQUIRE(world.buffer.check() == BufferEvent::ready);
    CHECK(world.append() == BufferEvent::written);
    CHECK(world.append() == BufferEvent::written);
    CHECK(world.buffer.pointer() == kBuffer + 256);
    CHECK(world.sink.stored.at(kBuffer + 128) == world.record);
    CHECK(world.sink.stored.at(kBuffer + 192) == world.record);
    CHECK_FALSE(world.irq.level);
}

TEST_CASE("profiling buffer: the record that leaves no room for another raises buffer full", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 4096 - 128, kBuffer + 4096);
    CHECK(world.append() == BufferEvent::written);
    CHECK(world.append() == BufferEvent::filled);
    CHECK(world.buffer.pointer() == kBuffer + 4096);
    CHECK(world.buffer.status() == (kS | 1));
    CHECK(world.irq.level);
    CHECK_FALSE(world.buffer.enabled());
    CHECK(world.sink.stored.size() == 2);
    CHECK(world.sink.stored.rbegin()->first + 64 == kBuffer + 4096);  // nothing beyond the limit
}

TEST_CASE("profiling buffer: clearing S lowers the interrupt and resumes", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 4096 - 64, kBuffer + 4096);
    REQUIRE(world.append() == BufferEvent::filled);
    world.program(kBuffer, kBuffer + 4096);
    CHECK_FALSE(world.buffer.enabled());
    CHECK(world.irq.level);
    world.buffer.set_status(0);
    CHECK(world.buffer.enabled());
    CHECK_FALSE(world.irq.level);
    CHECK(world.append() == BufferEvent::written);
}

TEST_CASE("profiling buffer: software may set S itself", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer, kBuffer + 4096);
    world.buffer.set_status(~u64{0});
    CHECK(world.buffer.status() == 0xFC0FFFFF);
    CHECK(world.irq.level);
    CHECK_FALSE(world.buffer.enabled());
}

TEST_CASE("profiling buffer: a fault reports its status and leaves PMBPTR at the faulting address", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 4096 - 64, kBuffer + 3 * 4096);
    world.sink.faults.insert(kBuffer + 4096);
    CHECK(world.append() == BufferEvent::written);
    CHECK(world.append() == BufferEvent::fault);
    CHECK(world.buffer.status() == 0x90020007);  // EC 0x24, S, FSC 7; DL clear: the pointer is at a record boundary
    CHECK(world.buffer.pointer() == kBuffer + 4096);
    CHECK(world.irq.level);
    CHECK(world.sink.stored.size() == 1);
}

TEST_CASE("profiling buffer: a management event replaces the syndrome and keeps COLL", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 4096 - 64, kBuffer + 4096);
    world.buffer.set_status(kColl | 0x9000003F);
    CHECK(world.append() == BufferEvent::filled);
    CHECK(world.buffer.status() == (kS | kColl | 1));
}

TEST_CASE("profiling buffer: a misaligned pointer is an alignment fault", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer + 32, kBuffer + 4096);
    CHECK(world.buffer.check() == BufferEvent::misaligned);
    CHECK(world.buffer.status() == (0x90000000 | kS | 0x21));
    CHECK(world.buffer.pointer() == kBuffer + 32);
}

TEST_CASE("profiling buffer: without room for one record nothing is written", "[spe][profiling_buffer]") {
    struct Row {
        u64 pointer, limit;
    };
    const Row row = GENERATE(values<Row>({{kBuffer + 4096, kBuffer + 4096},
                                          {kBuffer + 8192, kBuffer + 4096},
                                          {0, 0},
                                          {~u64{63}, 0},
                                          {~u64{63}, ~u64{0xFFF}}}));
    World world;
    world.program(row.pointer, row.limit);
    CHECK(world.buffer.check() == BufferEvent::filled);
    CHECK(world.buffer.status() == (kS | 1));
    CHECK(world.sink.stored.empty());
}

TEST_CASE("profiling buffer: a buffer above the advertised limit is refused, one equal to it is not", "[spe][profiling_buffer]") {
    World world(8192);
    world.program(kBuffer, kBuffer + 8192);
    CHECK(world.buffer.check() == BufferEvent::ready);
    world.program(kBuffer, kBuffer + 3 * 4096);
    CHECK(world.buffer.check() == BufferEvent::too_large);
    CHECK(world.buffer.status() == (kS | 4));
    World unlimited(0);
    unlimited.program(kBuffer, kBuffer + (u64{1} << 40));
    CHECK(unlimited.buffer.check() == BufferEvent::ready);
}

TEST_CASE("profiling buffer: discard mode ignores the pointers", "[spe][profiling_buffer]") {
    World world(8192);
    world.program(kBuffer + 3, 0, kEnable | kDiscard);
    CHECK(world.buffer.discards());
    CHECK(world.buffer.check() == BufferEvent::ready);
    CHECK(world.buffer.status() == 0);
    World old(0, 2);  // before SPEv1p2 the value is reserved
    old.program(kBuffer, kBuffer + 4096, kEnable | kDiscard);
    CHECK_FALSE(old.buffer.discards());
}

TEST_CASE("profiling buffer: writes to addresses without memory are ignored and counted as such", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer, kBuffer + 4096);
    world.sink.holes.insert(kBuffer);
    CHECK(world.append() == BufferEvent::ignored);
    CHECK(world.buffer.status() == 0);
    CHECK(world.buffer.pointer() == kBuffer + 64);
}

TEST_CASE("profiling buffer: PMBPTR survives disabling, reset clears all", "[spe][profiling_buffer]") {
    World world;
    world.program(kBuffer, kBuffer + 4096);
    world.append();
    world.buffer.set_limitr(0);
    CHECK(world.buffer.pointer() == kBuffer + 64);
    world.buffer.set_status(kS);
    world.buffer.reset();
    CHECK(world.buffer.pointer() == 0);
    CHECK(world.buffer.limitr() == 0);
    CHECK_FALSE(world.irq.level);
}

}  // namespace vmm::spe::test
