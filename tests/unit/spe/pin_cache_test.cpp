// What enabling a buffer costs, and what it holds, against a translation that the test controls.
#include <map>

#include <catch2/catch.hpp>

#include "mm/guest_access.h"
#include "spe/pin_cache.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kMiB = 1024 * 1024;
constexpr u64 kBase = 0x80000000;
constexpr u64 kTable = kBase;  // one page of table descriptors, mapping page i of the buffer with word i % 512
constexpr u64 kVa = 0xFFFF800010000000;
constexpr u64 kPage = 4096;

std::unique_ptr<mm::HostMemory> make_memory(u64 budget = 0) {
    auto memory = mm::HostMemory::create(
        {.size = 64 * kMiB, .guest_base = kBase, .pin_backend = mm::PinChoice::uring, .pin_budget = budget});
    if (!memory) {
        FAIL(memory.error().text);
    }
    return std::move(*memory);
}

/// One level of translation: the word in the table is the page's physical address, 0 = unmapped.
class FakeRegime final : public BufferRegime {
  public:
    explicit FakeRegime(const mm::GuestRam& ram) : ram_(ram) {}

    RegimeKey key(u64) const override { return key_; }
    u64 generation() const override { return generation_; }
    BufferPage walk(u64 va, std::vector<mm::GuestRange>& tables) override {
        ++walks;
        tables.push_back({kTable, kPage});
        const u64 pa = mm::load_relaxed<u64>(word(va));
        return {pa != 0, pa + (va & (kPage - 1)), kPage};
    }

    u8* word(u64 va) const { return ram_.host(kTable + (va - kVa) / kPage % 512 * 8); }
    void map(u64 va, u64 pa) { mm::store_relaxed<u64>(word(va), pa); }
    void map_all(u64 pa) {
        for (u64 i = 0; i < 512; ++i) {
            map(kVa + i * kPage, pa + i * kPage);
        }
    }

    RegimeKey key_{.table_base = kTable, .controls = 1, .enabled = true};
    u64 generation_ = 1;
    u64 walks = 0;

  private:
    mm::GuestRam ram_;
};

struct World {
    explicit World(u64 budget = 0) : memory(make_memory(budget)), regime(memory->ram()), cache(*memory) {
        regime.map_all(kBase + 16 * kMiB);
    }
    void enable(u64 from_page, u64 to_page) {
        cache.enable(kVa + from_page * kPage, kVa + to_page * kPage, regime);
    }
    bool pinned(u64 page) const { return memory->is_pinned({kBase + 16 * kMiB + page * kPage, kPage}); }

    std::unique_ptr<mm::HostMemory> memory;
    FakeRegime regime;
    PinCache cache;
};

}  // namespace

TEST_CASE("pin cache: a hundred enables of one buffer walk and pin once", "[spe][pin_cache]") {
    World world;
    for (int i = 0; i < 100; ++i) {
        world.enable(0, 256);
    }
    const PinCacheStats stats = world.cache.stats();
    CHECK(stats.enables == 100);
    CHECK(stats.walks == 1);
    CHECK(stats.hits == 99);
    CHECK(world.regime.walks == 256);
    CHECK(world.memory->pin_stats().pin_ops == 1);
    CHECK(stats.bytes == 257 * kPage);  // buffer and table
    CHECK(world.memory->is_pinned({kTable, kPage}));
    CHECK(world.pinned(0));
    CHECK(world.pinned(255));
    CHECK_FALSE(world.pinned(256));
}

TEST_CASE("pin cache: windows inside or alternating between halves of one range stay hits", "[spe][pin_cache]") {
    World world;
    world.enable(0, 128);
    world.enable(128, 256);
    CHECK(world.cache.stats().walks == 2);
    for (int i = 0; i < 20; ++i) {
        world.enable(i % 2 != 0 ? 128 : 0, i % 2 != 0 ? 256 : 128);
        world.enable(60, 200);
    }
    CHECK(world.cache.stats().walks == 2);
    CHECK(world.cache.stats().hits == 40);
    CHECK(world.regime.walks == 256);
}

TEST_CASE("pin cache: a pointer inside a page pins the whole page", "[spe][pin_cache]") {
    World world;
    world.cache.enable(kVa + 5 * kPage + 64, kVa + 6 * kPage, world.regime);
    CHECK(world.pinned(5));
    CHECK_FALSE(world.pinned(4));
}

TEST_CASE("pin cache: maintenance that changed no table is found by comparing tables", "[spe][pin_cache]") {
    World world;
    world.enable(0, 64);
    world.regime.generation_ = 2;
    world.enable(0, 64);
    CHECK(world.cache.stats().table_hits == 1);
    CHECK(world.cache.stats().walks == 1);
    CHECK(world.cache.stats().hits == 1);
}

TEST_CASE("pin cache: a remapped page is pinned in place of the old one", "[spe][pin_cache]") {
    World world;
    world.enable(0, 64);
    world.regime.map(kVa + 10 * kPage, kBase + 40 * kMiB);
    world.regime.generation_ = 2;
    world.enable(0, 64);
    CHECK(world.cache.stats().walks == 2);
    CHECK(world.memory->is_pinned({kBase + 40 * kMiB, kPage}));
    world.cache.clear();
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
}

TEST_CASE("pin cache: another translation base walks anew", "[spe][pin_cache]") {
    World world;
    world.enable(0, 64);
    world.regime.key_.table_base += kPage;
    world.enable(0, 64);
    CHECK(world.cache.stats().walks == 2);
}

TEST_CASE("pin cache: two buffers are held, a third takes the place of the older one", "[spe][pin_cache]") {
    World world;
    world.enable(0, 16);
    world.enable(100, 116);
    world.enable(0, 16);
    CHECK(world.cache.stats().walks == 2);
    world.enable(200, 216);
    CHECK(world.pinned(0));
    CHECK_FALSE(world.pinned(100));
    CHECK(world.pinned(200));
}

TEST_CASE("pin cache: an unmapped page ends the walk and is looked at again next time", "[spe][pin_cache]") {
    World world;
    world.regime.map(kVa + 8 * kPage, 0);
    world.enable(0, 16);
    CHECK(world.pinned(7));
    CHECK_FALSE(world.pinned(8));
    CHECK_FALSE(world.pinned(9));
    CHECK(world.regime.walks == 9);
    world.regime.map(kVa + 8 * kPage, kBase + 16 * kMiB + 8 * kPage);
    world.enable(0, 16);
    CHECK(world.pinned(8));
    CHECK(world.pinned(15));
}

TEST_CASE("pin cache: pages outside RAM end the walk", "[spe][pin_cache]") {
    World world;
    world.regime.map(kVa + 3 * kPage, 0x1000);
    world.enable(0, 16);
    CHECK(world.pinned(2));
    CHECK(world.regime.walks == 4);
}

TEST_CASE("pin cache: an endless buffer is walked up to a bound", "[spe][pin_cache]") {
    World world;
    world.cache.enable(kVa, ~u64{0xFFF}, world.regime);  // the table repeats every 2 MiB
    CHECK(world.regime.walks == PinCache::kMaxWindow / kPage);
    world.cache.enable(kVa, kVa, world.regime);
    world.cache.enable(kVa + kPage, kVa, world.regime);
    CHECK(world.regime.walks == PinCache::kMaxWindow / kPage);
}

TEST_CASE("pin cache: a refused pin is counted and tried again", "[spe][pin_cache]") {
    World world(8 * kPage);
    world.enable(0, 64);
    CHECK(world.cache.stats().failures == 1);
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    world.enable(0, 4);
    CHECK(world.cache.stats().failures == 1);
    CHECK(world.pinned(3));
}

TEST_CASE("pin cache: destroying it gives everything back", "[spe][pin_cache]") {
    auto memory = make_memory();
    {
        FakeRegime regime(memory->ram());
        regime.map_all(kBase + 16 * kMiB);
        PinCache cache(*memory);
        cache.enable(kVa, kVa + 64 * kPage, regime);
        CHECK(memory->pin_stats().pinned_bytes == 65 * kPage);
    }
    CHECK(memory->pin_stats().pinned_bytes == 0);
}

}  // namespace vmm::spe::test
