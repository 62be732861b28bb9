// What enabling a buffer costs, and what it holds, over translation tables that the test controls.
#include <set>

#include "tests/unit/spe/pin_bench.h"
#include "vmm/base/rng.h"
#include "vmm/base/sanitizers.h"

namespace vmm::spe::test {

TEST_CASE("pin cache: a hundred enables of one buffer walk and pin once", "[spe][pin_cache]") {
    PinWorld world;
    for (int i = 0; i < 100; ++i) {
        world.enable(0, 256);
        world.cache->disable();
    }
    const PinCacheStats stats = world.cache->stats();
    CHECK(stats.enables == 100);
    CHECK(stats.walks == 1);
    CHECK(stats.hits == 99);
    CHECK(stats.table_hits == 1);  // the one that began to watch the tables
    CHECK(world.regime->fences == 1);
    CHECK(world.memory->pin_stats().pin_ops == 1);
    CHECK(stats.bytes == 260 * kPage);  // buffer and one table of each level
    CHECK(world.memory->is_pinned({world.regime->root(), kPage}));
    CHECK(world.pinned(0));
    CHECK(world.pinned(255));
    CHECK_FALSE(world.pinned(256));
}

TEST_CASE("pin cache: windows inside or alternating between halves of one range stay hits", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 128);
    world.enable(128, 256);
    CHECK(world.cache->stats().walks == 2);
    for (int i = 0; i < 20; ++i) {
        world.enable(i % 2 != 0 ? 128 : 0, i % 2 != 0 ? 256 : 128);
        world.enable(60, 200);
    }
    CHECK(world.cache->stats().walks == 2);
    CHECK(world.cache->stats().hits == 40);
    CHECK(world.memory->pin_stats().delta_pinned_pages == 128);
    CHECK(world.memory->pin_stats().delta_unpinned_pages == 0);
}

TEST_CASE("pin cache: a pointer inside a page pins the whole page", "[spe][pin_cache]") {
    PinWorld world;
    world.cache->enable(kVa + 5 * kPage + 64, kVa + 6 * kPage, *world.regime);
    CHECK(world.pinned(5));
    CHECK_FALSE(world.pinned(4));
    CHECK_FALSE(world.pinned(6));
}

TEST_CASE("pin cache: a changed mapping is seen at every level, with and without TLB maintenance", "[spe][pin_cache]") {
    const auto granule = GENERATE(mm::Granule::k4, mm::Granule::k16, mm::Granule::k64);
    const unsigned level = GENERATE(0u, 1u, 2u, 3u);
    const int how = GENERATE(0, 1, 2, 3);  // store; store and TLBI; unseen store and TLBI; store, nothing watched
    const bool quiet_before = GENERATE(false, true);
    PinWorld world({}, granule);
    TableRegime& regime = *world.regime;
    if (level < regime.first_level()) {
        return;
    }
    CAPTURE(level, how, quiet_before);
    regime.watched = how != 3;
    const u64 bytes = regime.granule_bytes();
    world.cache->enable(kVa, kVa + 4 * bytes, regime);
    for (int i = 0; quiet_before && i < 3; ++i) {
        world.cache->enable(kVa, kVa + 4 * bytes, regime);
    }
    // Tables from `level` down that lead elsewhere, and the one descriptor that selects them.
    const u64 elsewhere = kBase + 40 * kMiB;
    const u64 at = regime.descriptor(kVa, level);
    u64 fresh = elsewhere | TableRegime::kValid;
    for (unsigned l = 3; l > level; --l) {
        const u64 table = regime.new_table();
        regime.store(table + kVa % (u64{1} << 48) / regime.span(l) % (bytes / 8) * 8, fresh);
        if (l == 3) {
            for (u64 i = 1; i < 4; ++i) {
                regime.store(table + (bits(kVa, 47, 0) / regime.span(3) % (bytes / 8) + i) * 8, (elsewhere + i * bytes) | TableRegime::kValid);
            }
        }
        fresh = table | 3;
    }
    const u64 walks = world.cache->stats().walks;
    how == 2 ? regime.store_unseen(at, fresh) : regime.store(at, fresh);
    if (how == 1 || how == 2) {
        regime.tlbi();
    }
    world.cache->enable(kVa, kVa + 4 * bytes, regime);
    CHECK(world.cache->stats().walks == walks + 1);
    CHECK(world.memory->is_pinned({elsewhere, bytes}));
    CHECK_FALSE(world.memory->is_pinned({kBuffer, bytes}));
    CHECK(world.memory->is_pinned({kBuffer + bytes, bytes}) == (level == 3));
    CHECK(world.memory->is_pinned({elsewhere + bytes, bytes}) == (level != 3));
}

TEST_CASE("pin cache: one remapped page costs one page pinned and one unpinned", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 512);
    world.regime->map(kVa + 100 * kPage, kBase + 40 * kMiB);
    world.regime->tlbi();
    world.enable(0, 512);
    CHECK(world.cache->stats().walks == 2);
    CHECK(world.memory->pin_stats().delta_pinned_pages == 1);
    CHECK(world.memory->pin_stats().delta_unpinned_pages == 1);
    CHECK(world.memory->is_pinned({kBase + 40 * kMiB, kPage}));
    CHECK_FALSE(world.pinned(100));
    CHECK(world.pinned(99));
    CHECK(world.pinned(101));
    CHECK(world.memory->pin_service_stats().unpins[static_cast<unsigned>(mm::UnpinCause::stale)] == 1);
}

TEST_CASE("pin cache: maintenance and stores that concern others cost nothing or a comparison", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 64);
    world.enable(0, 64);
    const u64 before = world.cache->stats().table_hits;
    world.regime->maintenance_.half[0] += 5;
    world.regime->maintenance_.by_asid += 5;  // the pages are global
    world.enable(0, 64);
    CHECK(world.cache->stats().table_hits == before);
    world.regime->tlbi();
    world.enable(0, 64);
    CHECK(world.cache->stats().table_hits == before + 1);
    world.regime->map(kVa + 300 * kPage, kBase + 50 * kMiB);  // same table, other page: it does not read the same
    world.enable(0, 64);
    CHECK(world.cache->stats().walks == 2);
    CHECK(world.memory->pin_stats().delta_pinned_pages == 0);
}

TEST_CASE("pin cache: maintenance by ASID concerns pages that are not global", "[spe][pin_cache]") {
    PinWorld world;
    world.regime->map(kVa + 3 * kPage, kBuffer + 3 * kPage, mm::descriptor::kNotGlobal);
    world.enable(0, 8);
    world.enable(0, 8);
    const u64 before = world.cache->stats().table_hits;
    ++world.regime->maintenance_.by_asid;
    world.enable(0, 8);
    CHECK(world.cache->stats().table_hits == before + 1);
}

TEST_CASE("pin cache: another translation base walks anew", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 64);
    const u64 copy = world.regime->new_table();
    for (u64 i = 0; i < 512; ++i) {
        world.regime->store(copy + i * 8, world.regime->load(world.regime->root() + i * 8));
    }
    world.regime->set_root(copy);
    world.enable(0, 64);
    CHECK(world.cache->stats().walks == 2);
    CHECK(world.memory->is_pinned({copy, kPage}));
    CHECK_FALSE(world.memory->is_pinned({kTables, kPage}));
}

TEST_CASE("pin cache: two buffers are held, a third takes the place of the older one", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 16);
    world.enable(100, 116);
    world.enable(0, 16);
    CHECK(world.cache->stats().walks == 2);
    world.enable(200, 216);
    CHECK(world.pinned(0));
    CHECK_FALSE(world.pinned(100));
    CHECK(world.pinned(200));
    CHECK(world.memory->pin_service_stats().unpins[static_cast<unsigned>(mm::UnpinCause::replaced)] == 1);
}

TEST_CASE("pin cache: an unmapped page ends the walk, and is looked at again when tables change", "[spe][pin_cache]") {
    PinWorld world;
    world.regime->unmap(kVa + 8 * kPage);
    world.enable(0, 16);
    CHECK(world.pinned(7));
    CHECK_FALSE(world.pinned(8));
    CHECK_FALSE(world.pinned(9));
    world.enable(0, 16);
    world.enable(0, 16);
    CHECK(world.cache->stats().walks == 1);
    world.regime->map(kVa + 8 * kPage, kBuffer + 8 * kPage);
    world.enable(0, 16);
    CHECK(world.pinned(8));
    CHECK(world.pinned(15));
}

TEST_CASE("pin cache: read-only pages and pages outside RAM end the walk", "[spe][pin_cache]") {
    PinWorld world;
    SECTION("outside RAM") { world.regime->map(kVa + 3 * kPage, 0x1000); }
    SECTION("read-only") { world.regime->map(kVa + 3 * kPage, kBuffer + 3 * kPage, mm::descriptor::kApReadOnly); }
    SECTION("no access flag") { world.regime->store(world.regime->descriptor(kVa + 3 * kPage), (kBuffer + 3 * kPage) | 3); }
    world.enable(0, 16);
    CHECK(world.pinned(2));
    CHECK_FALSE(world.pinned(3));
    CHECK_FALSE(world.pinned(4));
}

TEST_CASE("pin cache: hardware management of the Access flag and dirty state counts as mapped", "[spe][pin_cache]") {
    PinWorld world;
    world.regime->regime_.params.set_access_flag = true;
    world.regime->regime_.hardware_dirty = true;
    const u64 clean = mm::descriptor::kApReadOnly | mm::descriptor::kDirtyModifier;
    const u64 at = world.regime->descriptor(kVa + 3 * kPage);
    world.regime->store(at, (kBuffer + 3 * kPage) | clean | 3);
    world.enable(0, 16);
    CHECK(world.pinned(15));
    CHECK(world.regime->load(at) == ((kBuffer + 3 * kPage) | clean | 3));  // looking changes nothing
}

TEST_CASE("pin cache: blocks", "[spe][pin_cache]") {
    PinWorld world;
    const u64 va = align_down(kVa, u64{1} << 30) + (u64{64} << 20);
    world.regime->store(world.regime->descriptor(va, 2), (kBase + 20 * kMiB) | 0x401);
    world.regime->store(world.regime->descriptor(va + 2 * kMiB, 2), (kBase + 30 * kMiB) | 0x401);
    world.cache->enable(va + kPage, va + 3 * kMiB, *world.regime);
    CHECK(world.memory->is_pinned({kBase + 22 * kMiB - kPage, kPage}));
    CHECK(world.memory->is_pinned({kBase + 31 * kMiB - kPage, kPage}));
    CHECK_FALSE(world.memory->is_pinned({kBase + 31 * kMiB, kPage}));
    CHECK_FALSE(world.memory->is_pinned({kBase + 20 * kMiB, kPage}));
}

TEST_CASE("pin cache: with translation disabled the buffer is where its addresses say", "[spe][pin_cache]") {
    PinWorld world;
    world.regime->regime_ = {};
    world.cache->enable(kBuffer, kBuffer + 4 * kPage, *world.regime);
    CHECK(world.pinned(3));
    CHECK(world.cache->stats().bytes == 4 * kPage);
    world.cache->enable(0x1000, 0x3000, *world.regime);
    CHECK(world.cache->stats().bytes == 4 * kPage);
}

TEST_CASE("pin cache: an endless buffer is walked up to a bound", "[spe][pin_cache]") {
    PinWorld world;
    // Every level-2 entry leads to the same table: the 2 MiB repeat.
    const u64 leaf = world.regime->load(world.regime->descriptor(kVa, 2));
    for (u64 i = 0; i < 512; ++i) {
        world.regime->store(align_down(world.regime->descriptor(kVa, 2), kPage) + i * 8, leaf);
    }
    world.cache->enable(kVa, ~u64{0xFFF}, *world.regime);
    CHECK(world.cache->stats().pages_walked < 2 * PinCache::kMaxWindow / kPage);
    world.cache->enable(kVa, kVa, *world.regime);
    world.cache->enable(kVa + kPage, kVa, *world.regime);
    CHECK(world.cache->stats().walks == 1);
}

TEST_CASE("pin cache: a lazy policy keeps ahead of the write pointer", "[spe][pin_cache]") {
    PinWorld world({.pin_policy = mm::PinPolicy::lazy});
    world.regime->map_range(kVa, kBuffer, 16 * kMiB);
    world.enable(0, 4096);
    CHECK(world.pinned(1023));
    CHECK_FALSE(world.pinned(1024));
    CHECK(world.cache->mark() == kVa + 2 * kMiB);
    CHECK(world.cache->wants_attention(kVa + 2 * kMiB));
    CHECK_FALSE(world.cache->wants_attention(kVa + 2 * kMiB - 64));
    world.cache->advance(kVa + 2 * kMiB, kVa + 16 * kMiB, *world.regime);
    CHECK(world.pinned(1535));
    CHECK_FALSE(world.pinned(1536));
    CHECK(world.cache->stats().enables == 1);
    CHECK(world.cache->stats().advances == 1);
    world.cache->advance(kVa + 14 * kMiB, kVa + 16 * kMiB, *world.regime);
    CHECK(world.pinned(4095));
    CHECK(world.cache->mark() == PinCache::kNoMark);
}

TEST_CASE("pin cache: with all of RAM pinned nothing is walked", "[spe][pin_cache]") {
    PinWorld world({.pin_policy = mm::PinPolicy::all});
    CHECK(world.memory->all_pinned());
    CHECK(world.memory->pin_stats().pinned_bytes == 64 * kMiB);
    world.enable(0, 256);
    CHECK(world.cache->stats().hits == 1);
    CHECK(world.cache->stats().walks == 0);
    CHECK(!world.memory->discard({kBuffer, kPage}));
    CHECK(world.memory->discard({kBase, 64 * kMiB}));  // a machine reset
    CHECK(world.memory->all_pinned());
}

TEST_CASE("pin cache: a refused pin is counted, and asked for again later or elsewhere", "[spe][pin_cache]") {
    PinWorld world({.pin_budget = 12 * kPage});
    world.enable(0, 64);
    CHECK(world.cache->stats().failures == 1);
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    world.enable(0, 64);
    CHECK(world.cache->stats().walks == 1);  // not at once
    world.enable(100, 104);
    CHECK(world.cache->stats().failures == 1);
    CHECK(world.pinned(103));
    CHECK_FALSE(world.cache->take_shortage());  // the policy is to go on
}

TEST_CASE("pin cache: disabled buffers make room, the one unused longest first", "[spe][pin_cache]") {
    PinWorld world({.pin_budget = 42 * kPage});
    PinCache other(*world.memory);
    world.enable(0, 16);
    world.cache->disable();
    other.enable(kVa + 100 * kPage, kVa + 116 * kPage, *world.regime);
    CHECK(world.pinned(0));
    world.enable(200, 216);  // does not fit
    CHECK_FALSE(world.pinned(0));
    CHECK(world.pinned(100));
    CHECK(world.pinned(200));
    CHECK(world.memory->pin_service_stats().unpins[static_cast<unsigned>(mm::UnpinCause::budget)] == 1);
    other.enable(kVa + 300 * kPage, kVa + 316 * kPage, *world.regime);  // nothing is idle but what it replaces
    CHECK(world.memory->pin_stats().pinned_bytes <= 42 * kPage);
}

TEST_CASE("pin cache: what the service took back is pinned again when it is enabled", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 16);
    world.memory->pin_service().relieve();
    CHECK(world.pinned(0));  // in use
    world.cache->disable();
    SECTION("host memory pressure") { world.memory->pin_service().relieve(); }
    SECTION("discard") { CHECK(world.memory->discard({kBuffer + 3 * kPage, kPage})); }
    SECTION("take") { CHECK(world.memory->take({kBuffer, 2 * kMiB})); }
    CHECK_FALSE(world.pinned(0));
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
    world.enable(0, 16);
    CHECK(world.pinned(0));
    CHECK(world.cache->stats().walks == 2);
}

TEST_CASE("pin cache: pages of an enabled buffer can be taken, but not discarded", "[spe][pin_cache]") {
    PinWorld world;
    world.enable(0, 16);
    CHECK(!world.memory->discard({kBuffer, kPage}));
    CHECK(world.pinned(0));
    CHECK(world.memory->take({kBuffer, kPage}));
    CHECK_FALSE(world.pinned(0));
    CHECK(world.memory->pin_service_stats().lost == 1);
    world.enable(0, 16);
    CHECK(world.pinned(0));
}

TEST_CASE("pin cache: on shortage the guest is told where the policy says so", "[spe][pin_cache]") {
    PinWorld world({.pin_budget = 4 * kPage, .pins = {.shortage = mm::ShortagePolicy::inject}});
    world.enable(0, 16);
    CHECK(world.cache->wants_attention(kVa));
    CHECK(world.cache->take_shortage());
    CHECK_FALSE(world.cache->take_shortage());
    world.enable(0, 16);
    CHECK(world.cache->take_shortage());
}

TEST_CASE("pin cache: on shortage the machine is stopped where the policy says so, and can go on", "[spe][pin_cache]") {
    PinWorld world({.pins = {.shortage = mm::ShortagePolicy::stop}});
    std::vector<u64> missing;
    world.memory->pin_service().set_stop_handler([&](const mm::PinShortage& s) { missing.push_back(s.missing_bytes); });
    world.backend->refuse = true;
    world.enable(0, 16);
    CHECK(missing == std::vector<u64>{20 * kPage});
    const auto still = world.memory->pin_service().retry();
    REQUIRE(still);
    CHECK(still->cause == mm::PinError::Cause::limit);
    world.backend->refuse = false;
    CHECK_FALSE(world.memory->pin_service().retry());
    CHECK(world.pinned(0));
    world.cache->clear();
    CHECK(world.memory->pin_stats().pinned_bytes == 0);
}

TEST_CASE("pin cache: more runs than slots", "[spe][pin_cache]") {
    PinWorld world({}, mm::Granule::k4, 16);
    for (u64 i = 0; i < 64; ++i) {
        world.regime->map(kVa + i * kPage, kBuffer + i * 16 * kPage);
    }
    world.enable(0, 64);
    for (u64 i = 0; i < 64; ++i) {
        CHECK(world.pinned(i * 16));
    }
    CHECK(world.memory->pin_stats().widened != 0);
    world.cache->clear();
    CHECK(world.backend->held.empty());
}

namespace {

/// Two buffers of 64 pages each, remapped at random within 96 pages of their own, against what the tables say.
class RandomWalk {
  public:
    explicit RandomWalk(u64 seed) : rng_(seed) {
        for (u64 b = 0; b < 2; ++b) {
            for (u64 i = 0; i < kPages; ++i) {
                remap(b, i, i);
            }
        }
    }

    void step() {
        const u64 b = rng_.below(2);
        switch (rng_.below(16)) {
            case 0:
                remap(b, rng_.below(kPages), rng_.below(kFrames));
                break;
            case 1:
                w.regime->unmap(va(b) + rng_.below(kPages) * kPage);
                break;
            case 2: w.regime->tlbi(); break;
            case 3: copy_root(); break;
            case 4:
                w.cache->disable();
                w.memory->pin_service().relieve();
                REQUIRE(w.backend->held.empty());
                break;
            case 5: w.cache->clear(); REQUIRE(w.backend->held.empty()); break;
            case 6: static_cast<void>(w.memory->take({frame(b, rng_.below(kFrames)), kPage})); break;
            case 7: w.backend->refuse = rng_.below(8) == 0; break;
            case 8: w.cache->disable(); break;
            default: enable(b); break;
        }
    }

    PinWorld w{};
    u64 checked = 0;

  private:
    static constexpr u64 kPages = 64;
    static constexpr u64 kFrames = 96;

    static u64 va(u64 b) { return kVa + (b * 128 + 64) * kMiB; }
    static u64 frame(u64 b, u64 i) { return kBuffer + b * 8 * kMiB + i * kPage; }
    void remap(u64 b, u64 page, u64 i) { w.regime->map(va(b) + page * kPage, frame(b, i)); }

    /// What fork does to the tables: another root over the same lower tables.
    void copy_root() {
        const u64 from = w.regime->root();
        const u64 to = from == roots_[0] ? roots_[1] : roots_[0];
        for (u64 i = 0; i < 512; ++i) {
            w.regime->store(to + i * 8, w.regime->load(from + i * 8));
        }
        w.regime->set_root(to);
    }

    std::set<u64> mapped(u64 b, u64 from, u64 to, bool up_to_hole) {
        std::set<u64> out;
        for (u64 i = from; i < to; ++i) {
            const u64 value = w.regime->load(w.regime->descriptor(va(b) + i * kPage));
            if ((value & 1) == 0 && up_to_hole) {
                break;
            }
            if ((value & 1) != 0) {
                out.insert(mm::descriptor::address(value, 12));
            }
        }
        return out;
    }

    void enable(u64 b) {
        // All windows overlap, so that a buffer is one interval: another one would be looked at when it is enabled itself.
        if (rng_.below(2) == 0) {
            from_ = rng_.below(kPages / 2);
            to_ = kPages / 2 + 1 + rng_.below(kPages / 2);
        }
        const u64 from = from_;
        const u64 to = to_;
        w.cache->enable(va(b) + from * kPage + rng_.below(64) * 64, va(b) + to * kPage, *w.regime);
        if (w.backend->refuse || w.cache->stats().failures != failures_) {
            failures_ = w.cache->stats().failures;
            w.cache->clear();  // a refused buffer is not looked at again for a while
            return;
        }
        ++checked;
        std::set<u64> held;
        const u8* const start = w.memory->ram().host(frame(b, 0));
        for (const auto& [token, range] : w.backend->held) {
            for (u64 at = 0; at < range.bytes; at += kPage) {
                const u64 offset = static_cast<u64>(range.address + at - start);
                if (range.address + at >= start && offset < kFrames * kPage) {
                    REQUIRE(held.insert(frame(b, 0) + offset).second);  // pinned once
                }
            }
        }
        const std::set<u64> wanted = mapped(b, from, to, true);
        const std::set<u64> allowed = mapped(b, 0, kPages, false);
        REQUIRE(std::includes(held.begin(), held.end(), wanted.begin(), wanted.end()));
        REQUIRE(std::includes(allowed.begin(), allowed.end(), held.begin(), held.end()));
        REQUIRE(w.memory->pin_stats().pinned_bytes == w.backend->charged_bytes());
    }

    Rng rng_;
    u64 failures_ = 0;
    u64 from_ = 0;
    u64 to_ = kPages / 2 + 1;
    const u64 roots_[2] = {w.regime->root(), w.regime->new_table()};
};

}  // namespace

TEST_CASE("pin cache: random enables, disables, remaps, maintenance and forks against the tables", "[spe][pin_cache]") {
    constexpr u64 kSteps = kSanitized ? 100'000 : 1'000'000;
    RandomWalk walk(1);
    for (u64 i = 0; i < kSteps; ++i) {
        CAPTURE(i);
        walk.step();
    }
    CHECK(walk.checked > kSteps / 4);
    const PinCacheStats stats = walk.w.cache->stats();
    CHECK(stats.hits > kSteps / 100);
    CHECK(stats.walks > kSteps / 100);
    walk.w.cache->clear();
    CHECK(walk.w.backend->held.empty());
    CHECK(walk.w.memory->pin_stats().pinned_bytes == 0);
    CHECK(walk.w.memory->pin_stats().extents == 0);
}

}  // namespace vmm::spe::test
