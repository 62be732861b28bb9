// Guest RAM, translation tables that a test builds in it, and a regime that walks them.
#pragma once

#include <map>
#include <memory>

#include <catch2/catch.hpp>

#include "mm/guest_access.h"
#include "spe/pin_cache.h"

namespace vmm::spe::test {

inline constexpr u64 kMiB = 1024 * 1024;
inline constexpr u64 kPage = 4096;
inline constexpr u64 kBase = 0x8000'0000;
inline constexpr u64 kVa = 0xFFFF'8000'1000'0000;
inline constexpr u64 kTables = kBase;  // tables are made from here on
inline constexpr u64 kBuffer = kBase + 16 * kMiB;

/// Pins nothing, but knows what would be pinned.
class FakeBackend final : public mm::PinBackend {
  public:
    explicit FakeBackend(u64 slots = 1024) : slots_(slots) {}

    mm::PinKind kind() const override { return mm::PinKind::uring; }
    u64 free_slots() const override { return slots_ - held.size(); }
    u64 max_bytes_per_slot() const override { return u64{1} << 30; }
    bool nests() const override { return true; }
    void prepare(mm::HostRange) override {}
    tl::expected<u32, int> pin(mm::HostRange range) override {
        if (held.size() == slots_ || refuse) {
            return tl::make_unexpected(ENOMEM);
        }
        held[++next_] = range;
        bytes_ += range.bytes;
        return next_;
    }
    void unpin(u32 token, mm::HostRange range) override {
        REQUIRE(held.at(token).address == range.address);
        REQUIRE(held.at(token).bytes == range.bytes);
        held.erase(token);
        bytes_ -= range.bytes;
    }
    u64 charged_bytes() const override { return bytes_; }

    std::map<u32, mm::HostRange> held;
    bool refuse = false;

  private:
    u64 slots_;
    u64 bytes_ = 0;
    u32 next_ = 0;
};

/// Upper half, 48-bit addresses.
class TableRegime final : public BufferRegime {
  public:
    TableRegime(mm::HostMemory& memory, mm::Granule granule) : memory_(memory), granule_(granule) {
        regime_.enabled = true;
        regime_.params.granule = granule;
        regime_.params.upper = true;
        set_root(new_table());
    }

    mm::RangeRegime regime(u64) const override { return regime_; }
    arch::TlbMaintenance maintenance() const override { return maintenance_; }
    bool start_fence(arch::StoreFence&, const mm::TableWatch&) override {
        ++fences;
        return watched;
    }

    u64 granule_bytes() const { return u64{1} << mm::granule_shift(granule_); }
    u64 new_table() {
        const u64 pa = next_table_;
        next_table_ += granule_bytes();
        return pa;
    }
    void set_root(u64 pa) { regime_.params.table = pa; }
    u64 root() const { return regime_.params.table; }

    unsigned first_level() const { return granule_ == mm::Granule::k64 ? 1 : 0; }
    /// Bytes that a descriptor at `level` maps.
    u64 span(unsigned level) const {
        const unsigned shift = mm::granule_shift(granule_);
        return u64{1} << (shift + (shift - 3) * (3 - level));
    }
    /// Address of the descriptor for `va`; makes the tables above it.
    u64 descriptor(u64 va, unsigned level = 3) {
        u64 table = root();
        for (unsigned l = first_level();; ++l) {
            const u64 at = table + bits(va, 47, 0) / span(l) % (granule_bytes() / 8) * 8;
            if (l == level) {
                return at;
            }
            if ((load(at) & 1) == 0) {
                store(at, new_table() | 3);
            }
            table = mm::descriptor::address(load(at), mm::granule_shift(granule_));
        }
    }
    void map(u64 va, u64 pa, u64 attributes = 0) { store(descriptor(va), pa | attributes | kValid); }
    void map_range(u64 va, u64 pa, u64 bytes) {
        for (u64 at = 0; at < bytes; at += granule_bytes()) {
            map(va + at, pa + at);
        }
    }
    void unmap(u64 va) { store(descriptor(va), 0); }

    u64 load(u64 pa) const { return mm::load_relaxed<u64>(memory_.ram().host(pa, 8)); }
    /// As a PE does it.
    void store(u64 pa, u64 value) {
        memory_.table_watch().note_store(pa);
        store_unseen(pa, value);
    }
    /// As a device does it.
    void store_unseen(u64 pa, u64 value) { mm::store_relaxed<u64>(memory_.ram().host(pa, 8), value); }
    void tlbi() { ++maintenance_.half[1]; }

    static constexpr u64 kValid = 0x403;  // page, AF
    arch::TlbMaintenance maintenance_;
    mm::RangeRegime regime_;
    unsigned fences = 0;
    bool watched = true;

  private:
    mm::HostMemory& memory_;
    mm::Granule granule_;
    u64 next_table_ = kTables;
};

struct PinWorld {
    explicit PinWorld(mm::HostMemory::Options options = {}, mm::Granule granule = mm::Granule::k4, u64 slots = 1024) {
        options.size = options.size == 0 ? 64 * kMiB : options.size;
        options.guest_base = kBase;
        options.huge_pages = false;  // pages of 4 KiB are pinned one by one
        options.pins.synchronous = true;
        mm::PinBackendChain chain;
        auto owned = std::make_unique<FakeBackend>(slots);
        backend = owned.get();
        chain.backends.push_back(std::move(owned));
        auto made = mm::HostMemory::create(options, std::move(chain));
        if (!made) {
            FAIL(made.error().text);
        }
        memory = std::move(*made);
        regime = std::make_unique<TableRegime>(*memory, granule);
        cache = std::make_unique<PinCache>(*memory);
        regime->map_range(kVa, kBuffer, 2 * kMiB);
    }
    void enable(u64 from_page, u64 to_page) {
        cache->enable(kVa + from_page * kPage, kVa + to_page * kPage, *regime);
    }
    bool pinned(u64 page) const { return memory->is_pinned({kBuffer + page * kPage, kPage}); }

    FakeBackend* backend = nullptr;
    std::unique_ptr<mm::HostMemory> memory;
    std::unique_ptr<TableRegime> regime;
    std::unique_ptr<PinCache> cache;
};

}  // namespace vmm::spe::test
