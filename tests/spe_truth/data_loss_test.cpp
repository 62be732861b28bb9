// Records that are aligned to less than their size can be cut off by a fault: PMBSR_EL1.DL. The pages are
// mapped as the architecture does it, so the guest is the whole unit with translation.
#include <iostream>

#include "tests/spe_truth/statistics.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kWindow = kBase + kRamBytes;  // two pages; the first is kBuffer
constexpr u64 kLevel3 = kTables + 0x3000;
constexpr u64 kGoodPage = (kBuffer + 0x1000) | 0x703;
constexpr u64 kFault = 0x90020000;
constexpr u64 kDl = 0x80000;

}  // namespace

TEST_CASE("spe truth: a fault inside a record sets DL, one between records does not", "[spe][truth]") {
    struct Row {
        const char* features;
        u64 bytes;  // of a record of NOP with PMSCR_EL1.TS: 9 PC + 6 latencies + 2 type + 3 events + 9 time,
                    // padded
        u64 room;   // from PMBPTR_EL1 to the end of the first page
        u64 second_page;   // its descriptor
        u64 status;        // PMBSR_EL1 after three samples
        u64 before_event;  // complete records
    };
    const Row rows[] = {
        {"align=16", 32, 32, 0, kFault | 7, 1},
        {"align=16", 32, 64, 0, kFault | 7, 2},
        {"align=16", 32, 16, 0, kFault | 7 | kDl, 0},
        {"align=16", 32, 48, 0, kFault | 7 | kDl, 1},
        {"align=16", 32, 48, kGoodPage | 0x80, kFault | 0xF | kDl, 1},          // read-only
        {"align=16", 32, 48, kGoodPage & ~u64{0x400}, kFault | 0xB | kDl, 1},   // Access flag
        {"align=16", 32, 48, kGoodPage | u64{1} << 41, kFault | 0x3 | kDl, 1},  // address size
        {"align=1", 29, 1, 0, kFault | 7 | kDl, 0},
        {"align=1", 29, 28, 0, kFault | 7 | kDl, 0},
        {"align=1", 29, 29, 0, kFault | 7, 1},
        {"align=1", 29, 30, 0, kFault | 7 | kDl, 1},
        {"align=1", 29, 30, kGoodPage, 0, 3},
        {"align=16", 32, 48, kGoodPage, 0, 3},
        {"align=32,size=128", 32, 32, 0, kFault | 7, 1},
        {"align=64", 64, 64, 0, kFault | 7, 1},
        {"align=64", 64, 128, 0, kFault | 7, 2},
    };
    for (const Row& row : rows) {
        CAPTURE(row.features, row.room, row.second_page);
        BareGuest guest(kSpeV1p2, row.features);
        guest.map_memory();
        guest.put(kTables + 0x1000 + 8 * (kRamBytes >> 21), kLevel3 | 3);
        guest.put(kLevel3, kBuffer | 0x703);
        guest.put(kLevel3 + 8, row.second_page);
        guest.put(kLevel3 + 16, (kBuffer + 0x2000) | 0x703);
        const std::vector<u32> code(1000, kNop);
        guest.load(kCode, code);
        const u64 start = kWindow + 0x1000 - row.room;
        REQUIRE(guest.write(kPmbptr, start));
        REQUIRE(guest.write(kPmblimitr, (kWindow + 0x3000) | 1));
        REQUIRE(guest.write(kPmsirr, 256));
        REQUIRE(guest.write(kPmsicr, 1));
        REQUIRE(guest.write(kPmscr, kE1 | kTs));
        guest.v.s.pc = kCode;
        guest.v.s.esr_el1 = 0x5A5A;
        guest.run(2 * 257 + 1);
        CHECK(guest.peek(kPmbsr) == row.status);
        CHECK(guest.irq.level == (row.status != 0));
        const u64 event_at = row.status != 0 ? kWindow + 0x1000 : start + 3 * row.bytes;
        CHECK(guest.peek(kPmbptr) == event_at);
        CHECK(guest.v.s.esr_el1 == 0x5A5A);
        CHECK(guest.unit->stats().records == row.before_event);
        // The complete records are readable, and nothing is behind the fault.
        const u8* const first = guest.memory->ram().host(kBuffer + 0x1000 - row.room, row.before_event * row.bytes);
        const std::vector<u8> bytes(first, first + row.before_event * row.bytes);
        CHECK(parse(bytes).size() == row.before_event);
        if (row.status != 0) {
            CHECK(guest.get(kBuffer + 0x1000) == 0);
        }
        // DL stays until software clears it, through the events that follow.
        if ((row.status & kDl) != 0) {
            REQUIRE(guest.write(kPmbsr, kDl));
            guest.v.s.pc = kCode;
            guest.run(257);
            CHECK(guest.peek(kPmbsr) == row.status);  // faults again, this time between records
            REQUIRE(guest.write(kPmbsr, 0));
            guest.v.s.pc = kCode;
            guest.run(257);
            CHECK(guest.peek(kPmbsr) == (row.status & ~kDl));
        }
    }
    std::cout << "rows: " << std::size(rows) << " of faults in and between records\n";
    CHECK(std::size(rows) >= 16);
}

}  // namespace vmm::spe::test
