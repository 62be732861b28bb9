// The bookkeeping of pins, with a backend that remembers what it holds.
#include <array>
#include <map>
#include <thread>

#include <catch2/catch.hpp>

#include "mm/pin_manager.h"
#include "vmm/base/check.h"
#include "vmm/base/rng.h"

namespace vmm::mm::test {

namespace {

constexpr u64 kBase = 0x4000'0000;
constexpr u64 kSize = u64{256} << 20;
constexpr u64 kPage = 4096;

/// Never dereferenced: the fake backends only do arithmetic on it.
GuestRam fake_ram() { return GuestRam(reinterpret_cast<u8*>(u64{0x10'0000'0000}), kBase, kSize); }

class FakeBackend final : public PinBackend {
  public:
    explicit FakeBackend(u64 slots, PinKind kind = PinKind::uring) : slots_(slots), kind_(kind) {}

    PinKind kind() const override { return kind_; }
    u64 free_slots() const override { return slots_ - held.size(); }
    u64 max_bytes_per_slot() const override { return max_bytes; }
    bool nests() const override { return true; }
    void prepare(HostRange) override {}
    tl::expected<u32, int> pin(HostRange range) override {
        if (held.size() == slots_) {
            return tl::make_unexpected(ENOSPC);
        }
        if (fail_after == 0) {
            return tl::make_unexpected(ENOMEM);
        }
        --fail_after;
        held[++next_] = range;
        return next_;
    }
    void unpin(u32 token, HostRange range) override {
        VMM_CHECK(held.at(token).address == range.address && held.at(token).bytes == range.bytes);
        held.erase(token);
    }

    u64 charged_bytes() const override {
        u64 bytes = 0;
        for (const auto& [token, range] : held) {
            bytes += range.bytes;
        }
        return bytes;
    }

    bool covers(GuestRange range) const {
        u8* const start = fake_ram().host(range.pa, range.size);
        for (u64 offset = 0; offset < range.size; offset += kPage) {
            unsigned holders = 0;
            for (const auto& [token, extent] : held) {
                holders += start + offset >= extent.address && start + offset < extent.address + extent.bytes;
            }
            if (holders != 1) {
                return false;
            }
        }
        return true;
    }

    std::map<u32, HostRange> held;
    u64 max_bytes = u64{1} << 30;
    u64 fail_after = ~u64{0};

  private:
    u64 slots_;
    PinKind kind_;
    u32 next_ = 0;
};

struct World {
    explicit World(u64 slots = 1024, u64 budget = 0, u64 weak_slots = 0) {
        PinBackendChain chain;
        auto strong_owned = std::make_unique<FakeBackend>(slots);
        strong = strong_owned.get();
        chain.backends.push_back(std::move(strong_owned));
        if (weak_slots != 0) {
            auto weak_owned = std::make_unique<FakeBackend>(weak_slots, PinKind::mlock);
            weak = weak_owned.get();
            chain.backends.push_back(std::move(weak_owned));
        }
        manager = std::make_unique<PinManager>(fake_ram(), std::move(chain), PinManager::Options{.budget = budget});
    }

    FakeBackend* strong = nullptr;
    FakeBackend* weak = nullptr;
    std::unique_ptr<PinManager> manager;
};

constexpr GuestRange pages(u64 first, u64 count) { return {kBase + first * kPage, count * kPage}; }

}  // namespace

TEST_CASE("pin manager: adjacent, overlapping and unsorted ranges become one extent", "[mm][pin_manager]") {
    World world;
    const auto pin = world.manager->pin(std::array{pages(5, 2), pages(2, 1), pages(3, 2), pages(6, 4)});
    REQUIRE(pin);
    REQUIRE(world.strong->held.size() == 1);
    CHECK(world.strong->held.begin()->second.bytes == 8 * kPage);
    CHECK(pin->bytes() == 8 * kPage);
}

TEST_CASE("pin manager: a range of odd bytes holds the pages around it", "[mm][pin_manager]") {
    World world;
    const auto pin = world.manager->pin(std::array{GuestRange{kBase + kPage - 1, 2}});
    REQUIRE(pin);
    CHECK(pin->bytes() == 2 * kPage);
    CHECK(world.strong->covers(pages(0, 2)));
}

TEST_CASE("pin manager: shared pages stay until the last user is gone", "[mm][pin_manager]") {
    World world;
    auto first = world.manager->pin(std::array{pages(0, 10)});
    auto second = world.manager->pin(std::array{pages(5, 10)});
    REQUIRE((first && second));
    CHECK(world.manager->stats().pinned_bytes == 15 * kPage);
    first->release();
    CHECK(world.strong->covers(pages(5, 10)));
    second->release();
    CHECK(world.strong->held.empty());
    CHECK(world.manager->stats().pinned_bytes == 0);
    CHECK(world.manager->stats().peak_bytes == 15 * kPage);
}

TEST_CASE("pin manager: a request across older extents fills only the gaps", "[mm][pin_manager]") {
    World world;
    auto a = world.manager->pin(std::array{pages(2, 2)});
    auto b = world.manager->pin(std::array{pages(6, 2)});
    auto c = world.manager->pin(std::array{pages(0, 10)});
    REQUIRE((a && b && c));
    CHECK(world.strong->held.size() == 5);
    CHECK(world.strong->covers(pages(0, 10)));
    a->release();
    b->release();
    CHECK(world.strong->covers(pages(0, 10)));
    c->release();
    CHECK(world.strong->held.empty());
}

TEST_CASE("pin manager: ranges beyond what a slot takes are split", "[mm][pin_manager]") {
    World world;
    world.strong->max_bytes = 4 * kPage;
    const auto pin = world.manager->pin(std::array{pages(0, 10)});
    REQUIRE(pin);
    CHECK(world.strong->held.size() == 3);
    CHECK(world.strong->covers(pages(0, 10)));
}

TEST_CASE("pin manager: more runs than slots are widened to a coarser granule", "[mm][pin_manager]") {
    World world(8);
    std::vector<GuestRange> scattered;
    for (u64 i = 0; i < 64; ++i) {
        scattered.push_back(pages(i * 2, 1));
    }
    auto pin = world.manager->pin(scattered);
    REQUIRE(pin);
    CHECK(world.manager->stats().widened == 1);
    CHECK(world.strong->held.size() == 1);
    CHECK(world.strong->covers(pages(0, 128)));
    pin->release();
    CHECK(world.strong->held.empty());
}

TEST_CASE("pin manager: widening at the end of RAM stays within RAM", "[mm][pin_manager]") {
    World world(1);
    const u64 last = kSize / kPage - 1;
    auto pin = world.manager->pin(std::array{pages(last, 1), pages(last - 2, 1)});
    REQUIRE(pin);
    CHECK(world.strong->covers(pages(last - 2, 3)));
}

TEST_CASE("pin manager: what the strong backend refuses a weaker one holds", "[mm][pin_manager]") {
    World world(1024, 0, 1024);
    world.strong->fail_after = 0;
    auto pin = world.manager->pin(std::array{pages(0, 4)});
    REQUIRE(pin);
    CHECK(pin->kind() == PinKind::mlock);
    CHECK(world.weak->covers(pages(0, 4)));
    CHECK(world.manager->stats().degraded == 1);
    CHECK(world.manager->stats().long_term_bytes == 0);
    pin->release();
    CHECK(world.weak->held.empty());
}

TEST_CASE("pin manager: a request that fails half-way leaves nothing pinned", "[mm][pin_manager]") {
    World world;
    auto older = world.manager->pin(std::array{pages(100, 1)});
    world.strong->fail_after = 2;
    CHECK(!world.manager->pin(std::array{pages(0, 1), pages(2, 1), pages(4, 1), pages(100, 1)}));
    CHECK(world.strong->held.size() == 1);
    CHECK(world.manager->stats().failures == 1);
    CHECK(world.manager->stats().pinned_bytes == kPage);
}

TEST_CASE("pin manager: the budget bounds what is held", "[mm][pin_manager]") {
    World world(1024, 8 * kPage);
    auto first = world.manager->pin(std::array{pages(0, 8)});
    REQUIRE(first);
    CHECK(!world.manager->pin(std::array{pages(20, 1)}));
    CHECK(world.manager->pin(std::array{pages(3, 2)}));
    first->release();
    CHECK(world.manager->pin(std::array{pages(20, 1)}));
}

TEST_CASE("pin manager: long runs are cut into pieces, shorter ones the more slots there are", "[mm][pin_manager]") {
    const u64 slots = GENERATE(1024, 16, 4);
    World world(slots);
    const auto pin = world.manager->pin(std::array{pages(256, 16384)});  // 64 MiB from 1 MiB on
    REQUIRE(pin);
    CHECK(world.strong->held.size() == (slots == 1024 ? 33 : slots == 16 ? 3 : 1));
    for (const auto& [token, range] : world.strong->held) {
        if (slots == 1024) {
            CHECK(range.bytes <= 2 << 20);
        }
    }
}

TEST_CASE("pin manager: replacing a request exchanges only the pages that differ", "[mm][pin_manager]") {
    World world;
    auto old = world.manager->pin(std::array{pages(0, 1024), pages(3000, 1)});
    REQUIRE(old);
    CHECK(world.strong->held.size() == 3);
    auto now = world.manager->pin(std::array{pages(0, 700), pages(701, 323), pages(3000, 1), pages(2000, 1)}, &*old);
    REQUIRE(now);
    old->release();
    CHECK_FALSE(world.manager->is_pinned(pages(700, 1)));
    CHECK(world.strong->covers(pages(0, 700)));
    CHECK(world.strong->covers(pages(701, 323)));
    CHECK(world.strong->covers(pages(2000, 1)));
    CHECK(world.strong->covers(pages(3000, 1)));
    const PinStats stats = world.manager->stats();
    CHECK(stats.delta_pinned_pages == 1);
    CHECK(stats.delta_unpinned_pages == 1);
    CHECK(stats.pinned_bytes == 1025 * kPage);
    CHECK(stats.slices == 3 + 3);  // the piece that held the page, in two parts, and the new page
    now->release();
    CHECK(world.strong->held.empty());
    CHECK(world.manager->stats().pinned_bytes == 0);
}

TEST_CASE("pin manager: what others share is not split, and a failed replacement changes nothing", "[mm][pin_manager]") {
    World world;
    auto old = world.manager->pin(std::array{pages(0, 16)});
    auto other = world.manager->pin(std::array{pages(3, 1)});
    REQUIRE((old && other));
    auto now = world.manager->pin(std::array{pages(0, 8)}, &*old);
    REQUIRE(now);
    CHECK(world.strong->held.size() == 1);
    other->release();
    now->release();
    CHECK(world.strong->covers(pages(0, 16)));
    world.strong->fail_after = 1;
    CHECK(!world.manager->pin(std::array{pages(0, 8), pages(9, 7)}, &*old));
    CHECK(world.strong->held.size() == 1);
    CHECK(world.strong->covers(pages(0, 16)));
    CHECK(world.manager->stats().pinned_bytes == 16 * kPage);
}

TEST_CASE("pin manager: refusals say why and how much is missing", "[mm][pin_manager]") {
    World world(1024, 8 * kPage);
    const auto budget = world.manager->pin(std::array{pages(0, 11)});
    REQUIRE(!budget);
    CHECK(budget.error().cause == PinError::Cause::budget);
    CHECK(budget.error().missing_bytes == 3 * kPage);
    world.strong->fail_after = 1;
    const auto limit = world.manager->pin(std::array{pages(0, 2), pages(4, 3)});
    REQUIRE(!limit);
    CHECK(limit.error().cause == PinError::Cause::limit);
    CHECK(limit.error().missing_bytes == 3 * kPage);
    const auto outside = world.manager->pin(std::array{GuestRange{0, kPage}});
    REQUIRE(!outside);
    CHECK(outside.error().cause == PinError::Cause::not_ram);
}

TEST_CASE("pin manager: ranges outside RAM are refused", "[mm][pin_manager]") {
    World world;
    CHECK(!world.manager->pin(std::array{GuestRange{kBase - kPage, kPage}}));
    CHECK(!world.manager->pin(std::array{GuestRange{kBase + kSize, kPage}}));
    CHECK(!world.manager->pin(std::array{GuestRange{kBase, kSize + kPage}}));
    CHECK(!world.manager->pin(std::array{GuestRange{~u64{0} - 10, 100}}));
    CHECK(!world.manager->pin(std::array{GuestRange{kBase, 0}}));
    CHECK(world.strong->held.empty());
}

TEST_CASE("pin manager: random requests from several threads always hold what was asked", "[mm][pin_manager]") {
    World world(64);
    const auto work = [&world](u64 seed) {
        Rng rng(seed);
        std::vector<PinHandle> handles;
        for (int i = 0; i < 300; ++i) {
            std::array<GuestRange, 2> ranges{pages(rng.below(4000), 1 + rng.below(40)),
                                             pages(rng.below(4000), 1 + rng.below(4))};
            if (auto pin = world.manager->pin(ranges)) {
                VMM_CHECK(world.manager->is_pinned(ranges[0]) && world.manager->is_pinned(ranges[1]));
                handles.push_back(std::move(*pin));
            }
            if (handles.size() > 10) {
                handles.erase(handles.begin() + static_cast<s64>(rng.below(handles.size())));
            }
        }
    };
    std::thread other(work, 1);
    work(2);
    other.join();
    CHECK(world.strong->held.empty());
    CHECK(world.manager->stats().pinned_bytes == 0);
    CHECK(world.manager->stats().extents == 0);
    CHECK(world.manager->stats().pin_ops > 100);
}

}  // namespace vmm::mm::test
