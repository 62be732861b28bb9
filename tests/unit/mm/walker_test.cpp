// The translation-table walk against tables built here. Level shifts are typed from the Arm ARM's tables D8-13 to D8-21.
#include "mm/walker.h"

#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "mm/range_walk.h"

using namespace vmm;
using namespace vmm::mm;

namespace {

constexpr u64 kAf = u64{1} << 10;
constexpr u64 kTableType = 3;
constexpr u64 kBlockType = 1;
constexpr u64 kPageType = 3;

/// Sparse descriptors; everything in it reads as zero unless set, and addresses in `holes` do not answer.
class Tables final : public DescriptorPort {
  public:
    bool read(u64 pa, u64& value) override {
        ++reads;
        if (pa >= hole && pa < hole + 0x10000) {
            return false;
        }
        const auto found = words.find(pa);
        value = found == words.end() ? 0 : found->second;
        return true;
    }
    bool compare_exchange(u64 pa, u64 expected, u64 desired) override {
        ++exchanges;
        if (race_with != 0) {
            words[pa] = std::exchange(race_with, 0);
        }
        if (words[pa] != expected) {
            return false;
        }
        words[pa] = desired;
        return true;
    }

    std::map<u64, u64> words;
    u64 hole = ~u64{0} - 0x20000;
    u64 race_with = 0;  // what another PE writes just before the next exchange
    unsigned reads = 0;
    unsigned exchanges = 0;
};

struct Shape {
    Granule granule;
    unsigned input_bits;
    unsigned start;           // first level
    unsigned shift[4];        // bytes mapped by a descriptor of each level, as log2; 0: no such level
    unsigned block_levels;    // bit per level
};

// clang-format off
const Shape kShapes[] = {
    {Granule::k4,  48, 0, {39, 30, 21, 12}, 0b0110},
    {Granule::k4,  40, 0, {39, 30, 21, 12}, 0b0110},
    {Granule::k4,  39, 1, {0,  30, 21, 12}, 0b0110},
    {Granule::k4,  31, 1, {0,  30, 21, 12}, 0b0110},
    {Granule::k4,  30, 2, {0,  0,  21, 12}, 0b0100},
    {Granule::k4,  25, 2, {0,  0,  21, 12}, 0b0100},
    {Granule::k16, 48, 0, {47, 36, 25, 14}, 0b0100},
    {Granule::k16, 47, 1, {0,  36, 25, 14}, 0b0100},
    {Granule::k16, 36, 2, {0,  0,  25, 14}, 0b0100},
    {Granule::k16, 25, 3, {0,  0,  0,  14}, 0b0000},
    {Granule::k64, 48, 1, {0,  42, 29, 16}, 0b0100},
    {Granule::k64, 42, 2, {0,  0,  29, 16}, 0b0100},
    {Granule::k64, 29, 3, {0,  0,  0,  16}, 0b0000},
};
// clang-format on

constexpr u64 kRoot = 0x4000'0000;

WalkParams params_of(const Shape& shape, bool upper = false) {
    WalkParams params;
    params.table = kRoot;
    params.granule = shape.granule;
    params.input_bits = static_cast<u8>(shape.input_bits);
    params.upper = upper;
    return params;
}

u64 table_at(unsigned level) {
    return kRoot + u64{level} * 0x10'0000;
}

/// Index of `va` in the table of `level`.
u64 index_of(const Shape& shape, unsigned level, u64 va) {
    const unsigned top = level == shape.start ? shape.input_bits : shape.shift[level - 1];
    return (va >> shape.shift[level]) % (u64{1} << (top - shape.shift[level]));
}

/// Tables that map `va` with `leaf` at `level`; returns the address of the leaf descriptor.
u64 map(Tables& tables, const Shape& shape, u64 va, unsigned level, u64 leaf, u64 table_attributes = 0) {
    u64 table = kRoot;
    for (unsigned l = shape.start; l < level; ++l) {
        tables.words[table + index_of(shape, l, va) * 8] = table_at(l + 1) | kTableType | table_attributes;
        table = table_at(l + 1);
    }
    const u64 at = table + index_of(shape, level, va) * 8;
    tables.words[at] = leaf;
    return at;
}

const Shape& k4k48 = kShapes[0];

}  // namespace

TEST_CASE("walk: pages of every granule and input size, both halves") {
    const unsigned n = GENERATE(range(0u, static_cast<unsigned>(std::size(kShapes))));
    const bool upper = GENERATE(false, true);
    const Shape& shape = kShapes[n];
    INFO("shape " << n << " upper " << upper);
    const u64 low = 0x0000'0FED'CBA9'8764 & ones(shape.input_bits);
    const u64 va = upper ? low | ~ones(shape.input_bits) : low;
    const u64 pa = 0x0000'1234'5000'0000 & ~ones(shape.shift[3]);
    Tables tables;
    const u64 at = map(tables, shape, va, 3, pa | kAf | kPageType | 5u << 2);
    WalkTrail trail;
    const WalkResult r = walk(params_of(shape, upper), va, tables, &trail);
    REQUIRE(r.fault == WalkFault::none);
    CHECK(r.pa == (pa | (va & ones(shape.shift[3]))));
    CHECK(r.level == 3);
    CHECK(r.block_shift == shape.shift[3]);
    CHECK(r.attr_index == 5);
    CHECK(r.descriptor_pa == at);
    CHECK(r.global);
    CHECK(tables.reads == 4 - shape.start);
    REQUIRE(trail.count == 4 - shape.start);
    CHECK(trail.table[trail.count - 1] == at);
    CHECK(tables.exchanges == 0);
}

TEST_CASE("walk: blocks exist where the architecture has them, elsewhere they are translation faults") {
    const unsigned n = GENERATE(range(0u, static_cast<unsigned>(std::size(kShapes))));
    const Shape& shape = kShapes[n];
    const u64 va = 0x0000'0123'4567'89A8 & ones(shape.input_bits);
    for (unsigned level = shape.start; level < 3; ++level) {
        INFO("shape " << n << " level " << level);
        Tables tables;
        const unsigned shift = shape.shift[level];
        const u64 pa = shift < 40 ? u64{3} << shift : 0;
        map(tables, shape, va, level, pa | kAf | kBlockType);
        const WalkResult r = walk(params_of(shape), va, tables);
        CHECK(r.level == level);
        if ((shape.block_levels >> level & 1) != 0) {
            REQUIRE(r.fault == WalkFault::none);
            CHECK(r.pa == (pa | (va & ones(shift))));
            CHECK(r.block_shift == shift);
        } else {
            CHECK(r.fault == WalkFault::translation);
        }
    }
}

TEST_CASE("walk: invalid descriptors fault at their level") {
    const unsigned n = GENERATE(range(0u, static_cast<unsigned>(std::size(kShapes))));
    const Shape& shape = kShapes[n];
    const u64 va = 0x1000 & ones(shape.input_bits);
    for (unsigned level = shape.start; level <= 3; ++level) {
        for (const u64 invalid : {u64{0}, u64{2}, ~u64{3}}) {
            Tables tables;
            map(tables, shape, va, level, invalid);
            const WalkResult r = walk(params_of(shape), va, tables);
            INFO("shape " << n << " level " << level);
            CHECK(r.fault == WalkFault::translation);
            CHECK(r.level == level);
        }
    }
    Tables tables;  // 0b01 is reserved at level 3
    map(tables, shape, va, 3, kAf | 1);
    CHECK(walk(params_of(shape), va, tables).fault == WalkFault::translation);
    CHECK(walk(params_of(shape), va, tables).level == 3);
}

TEST_CASE("walk: addresses outside the half, EPD and the top byte") {
    const Shape shape = kShapes[2];  // 39 bits
    Tables tables;
    const u64 va = 0x12'3456'7000;
    map(tables, shape, va, 3, 0x5000 | kAf | kPageType);
    WalkParams params = params_of(shape);
    CHECK(walk(params, va, tables).fault == WalkFault::none);
    for (const u64 bad : {va | u64{1} << 39, va | u64{1} << 54, va | u64{1} << 56, va | u64{1} << 63}) {
        INFO(std::hex << bad);
        const WalkResult r = walk(params, bad, tables);
        CHECK(r.fault == WalkFault::translation);
        CHECK(r.level == 0);
    }
    params.top_byte_ignored = true;
    CHECK(walk(params, va | u64{0xA5} << 56, tables).fault == WalkFault::none);
    CHECK(walk(params, va | u64{1} << 54, tables).fault == WalkFault::translation);
    CHECK(walk(params, va | u64{1} << 39, tables).fault == WalkFault::translation);
    params.disabled = true;
    CHECK(walk(params, va, tables).fault == WalkFault::translation);
    CHECK(walk(params, va, tables).level == 0);

    WalkParams high = params_of(shape, true);
    const u64 high_va = va | ~ones(39);
    CHECK(walk(high, high_va, tables).fault == WalkFault::none);
    CHECK(walk(high, high_va & ~(u64{1} << 60), tables).fault == WalkFault::translation);
    CHECK(walk(high, high_va & ~(u64{1} << 40), tables).fault == WalkFault::translation);
    high.top_byte_ignored = true;
    CHECK(walk(high, high_va & ~(u64{1} << 60), tables).fault == WalkFault::none);
}

TEST_CASE("walk: output addresses beyond the size in force are address size faults") {
    const u64 va = 0x7654'3210'0000;
    WalkParams params = params_of(k4k48);
    params.output_bits = 40;
    const u64 big = u64{1} << 40;
    for (unsigned level = 0; level < 3; ++level) {
        Tables tables;
        map(tables, k4k48, va, level, big | kTableType);
        const WalkResult r = walk(params, va, tables);
        CHECK(r.fault == WalkFault::address_size);
        CHECK(r.level == level);
    }
    for (unsigned level = 1; level <= 3; ++level) {
        Tables tables;
        map(tables, k4k48, va, level, big | kAf | (level == 3 ? kPageType : kBlockType));
        const WalkResult r = walk(params, va, tables);
        CHECK(r.fault == WalkFault::address_size);
        CHECK(r.level == level);
    }
    Tables tables;
    params.table = big;
    CHECK(walk(params, va, tables).fault == WalkFault::address_size);
    CHECK(walk(params, va, tables).level == 0);
    CHECK(tables.reads == 0);
}

TEST_CASE("walk: a table that does not answer is an external abort at its level") {
    const u64 va = 0x7654'3210'0000;
    for (unsigned level = 0; level <= 3; ++level) {
        Tables tables;
        map(tables, k4k48, va, 3, kAf | kPageType);
        tables.hole = table_at(level);
        if (level == 0) {
            tables.hole = kRoot;
        }
        const WalkResult r = walk(params_of(k4k48), va, tables);
        CHECK(r.fault == WalkFault::external_abort);
        CHECK(r.level == level);
    }
}

TEST_CASE("walk: access flag") {
    const u64 va = 0x1234'5000;
    for (unsigned level = 1; level <= 3; ++level) {
        Tables tables;
        const u64 leaf = level == 3 ? kPageType : kBlockType;
        const u64 at = map(tables, k4k48, va, level, leaf);
        WalkParams params = params_of(k4k48);
        CHECK(walk(params, va, tables).fault == WalkFault::access_flag);
        CHECK(walk(params, va, tables).level == level);
        CHECK(tables.words[at] == leaf);
        params.set_access_flag = true;
        CHECK(walk(params, va, tables).fault == WalkFault::none);
        CHECK(tables.words[at] == (leaf | kAf));
        CHECK(tables.exchanges == 1);
        CHECK(walk(params, va, tables).fault == WalkFault::none);
        CHECK(tables.exchanges == 1);
    }
}

TEST_CASE("walk: a descriptor that changes under the update is read again") {
    const u64 va = 0x1234'5000;
    Tables tables;
    const u64 at = map(tables, k4k48, va, 3, 0x7000 | kPageType);
    WalkParams params = params_of(k4k48);
    params.set_access_flag = true;
    SECTION("into another page") {
        tables.race_with = 0x9000 | kPageType;
        WalkTrail trail;
        const WalkResult r = walk(params, va, tables, &trail);
        CHECK(r.fault == WalkFault::none);
        CHECK(r.pa == 0x9000);
        CHECK(tables.words[at] == (0x9000 | kPageType | kAf));
        CHECK(trail.count == 4);
    }
    SECTION("into an invalid one") {
        tables.race_with = 2;
        CHECK(walk(params, va, tables).fault == WalkFault::translation);
        CHECK(tables.words[at] == 2);
    }
}

TEST_CASE("walk: dirty state") {
    const u64 va = 0x1234'5000;
    constexpr u64 kReadOnly = u64{1} << 7;
    constexpr u64 kDbm = u64{1} << 51;
    Tables tables;
    const u64 leaf = kPageType | kAf | kReadOnly | kDbm;
    const u64 at = map(tables, k4k48, va, 3, leaf);
    WalkResult r = walk(params_of(k4k48), va, tables);
    CHECK(r.read_only);
    CHECK(r.dirty_modifier);
    SECTION("marked") {
        CHECK(mark_dirty(r, tables));
        CHECK(tables.words[at] == (leaf & ~kReadOnly));
        CHECK_FALSE(r.read_only);
    }
    SECTION("changed meanwhile") {
        tables.words[at] = 0;
        CHECK_FALSE(mark_dirty(r, tables));
        CHECK(tables.words[at] == 0);
    }
}

TEST_CASE("walk: attributes of the leaf and of the tables above it") {
    const u64 va = 0x1234'5000;
    struct Case {
        u64 leaf;
        u64 table;
        bool user, read_only, pxn, uxn, global, contiguous;
    };
    constexpr auto b = [](unsigned n) { return u64{1} << n; };
    const Case cases[] = {
        {0, 0, false, false, false, false, true, false},
        {b(6), 0, true, false, false, false, true, false},
        {b(7), 0, false, true, false, false, true, false},
        {b(6) | b(7) | b(11), 0, true, true, false, false, false, false},
        {b(53), 0, false, false, true, false, true, false},
        {b(54), 0, false, false, false, true, true, false},
        {b(52), 0, false, false, false, false, true, true},
        {b(6), b(61), false, false, false, false, true, false},         // APTable[0]: nothing for EL0
        {b(6), b(62), true, true, false, false, true, false},           // APTable[1]: read-only
        {0, b(59), false, false, true, false, true, false},             // PXNTable
        {0, b(60), false, false, false, true, true, false},             // UXNTable
        {b(6), b(59) | b(60) | b(61) | b(62), false, true, true, true, true, false},
    };
    for (const Case& c : cases) {
        for (const bool ignore : {false, true}) {
            Tables tables;
            map(tables, k4k48, va, 3, kPageType | kAf | c.leaf, c.table);
            WalkParams params = params_of(k4k48);
            params.ignore_hierarchy = ignore;
            const WalkResult r = walk(params, va, tables);
            INFO(std::hex << c.leaf << " " << c.table << " HPD " << ignore);
            REQUIRE(r.fault == WalkFault::none);
            const bool plain = ignore && c.table != 0;
            CHECK(r.user == (plain ? (c.leaf & b(6)) != 0 : c.user));
            CHECK(r.read_only == (plain ? (c.leaf & b(7)) != 0 : c.read_only));
            CHECK(r.privileged_never == (plain ? false : c.pxn));
            CHECK(r.user_never == (plain ? false : c.uxn));
            CHECK(r.global == c.global);
            CHECK(r.contiguous == c.contiguous);
        }
    }
}

TEST_CASE("walk: the first table is aligned to its own size") {
    // 4 KiB granule, 31 bits: the level 1 table has two entries, 16 bytes.
    const Shape shape = kShapes[3];
    Tables tables;
    tables.words[0x4000'0030 + 8] = 0x4000'0000 | kAf | kBlockType;
    WalkParams params = params_of(shape);
    params.table = 0x4000'0038;  // bit 3 is below the alignment
    const WalkResult r = walk(params, 0x4000'1234, tables);
    REQUIRE(r.fault == WalkFault::none);
    CHECK(r.pa == 0x4000'1234);
}

TEST_CASE("range walk: without translation, tags are part of the address unless the top byte is ignored") {
    constexpr u64 kRam = 0x8000'0000;
    constexpr u64 kTag = u64{0x5A} << 56;
    std::vector<u8> memory(0x4000);
    const GuestRam ram(memory.data(), kRam, memory.size());
    RangeRegime regime;
    RangeWalk plain(ram, regime);
    CHECK(plain.add(kRam + 0x1000, kRam + 0x3000) == kRam + 0x3000);
    RangeWalk tagged(ram, regime);
    CHECK(tagged.add(kTag | (kRam + 0x1000), kTag | (kRam + 0x3000)) == (kTag | (kRam + 0x1000)));
    CHECK(tagged.pages().empty());
    regime.params.top_byte_ignored = true;
    RangeWalk ignored(ram, regime);
    CHECK(ignored.add(kTag | (kRam + 0x1000), kTag | (kRam + 0x5000)) == (kTag | (kRam + 0x4000)));
    REQUIRE(ignored.pages().size() == 1);
    CHECK(ignored.pages()[0].pa == kRam + 0x1000);
    CHECK(ignored.pages()[0].size == 0x3000);
}
