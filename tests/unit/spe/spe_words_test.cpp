// Register bits per version, typed here from the register descriptions rather than derived from the fields.
#include <catch2/catch.hpp>

#include "spe/max_buffer_size.h"
#include "spe/spe_words.h"

namespace vmm::spe::test {

TEST_CASE("spe words: every version has exactly its register bits", "[spe][spe_words]") {
    struct Row {
        u8 pmsver;
        u64 pmsfcr, pmsevfr, pmblimitr, pmsidr;
    };
    const Row row = GENERATE(values<Row>({
        {1, 0x70007, 0x0000AA, 0xFFFFFFFFFFFFF007, 0x2641F},
        {2, 0x70007, 0x0008AA, 0xFFFFFFFFFFFFF007, 0x2641F},
        {3, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027, 0x2645F},
        {4, 0x7000F, 0x0008EA, 0xFFFFFFFFFFFFF027, 0x2645F},
        {5, 0x7001F, 0xF80FFE, 0xFFFFFFFFFFFFF027, 0x20264DF},
    }));
    CAPTURE(row.pmsver);
    const RegisterMasks masks = register_masks(resolve(row.pmsver));
    CHECK(masks.pmscr == 0x3B);
    CHECK(masks.pmsicr == 0xFFFFFFFF);
    CHECK(masks.pmsirr == 0xFFFFFF01);
    CHECK(masks.pmsfcr == row.pmsfcr);
    CHECK(masks.pmsevfr == row.pmsevfr);
    CHECK(masks.pmslatfr == 0xFFF);
    CHECK(masks.pmblimitr == row.pmblimitr);
    CHECK(masks.pmbptr == ~u64{0});
    CHECK(masks.pmbsr == 0xFC0FFFFF);
    CHECK(pmsidr_value(resolve(row.pmsver)) == row.pmsidr);
}

TEST_CASE("spe words: 16-bit counters widen PMSLATFR and show in PMSIDR", "[spe][spe_words]") {
    CHECK(register_masks(resolve(3, {.counter_bits = 16})).pmslatfr == 0xFFFF);
    CHECK(pmsidr_value(resolve(3, {.counter_bits = 16})) == 0x3645F);
}

TEST_CASE("spe words: PMBIDR shows alignment, dirty management, abort handling and the buffer limit", "[spe][spe_words]") {
    CHECK(pmbidr_value(Features{}, 0) == 0x126);
    CHECK(pmbidr_value(Features{}, 0x400) == 0x0000'0400'0000'0126);
}

TEST_CASE("max buffer size: known sizes have their published encoding", "[spe][max_buffer_size]") {
    struct Row {
        u64 bytes;
        u16 field;
    };
    const Row row = GENERATE(values<Row>({
        {0, 0x0000},
        {u64{4} << 10, 0x0001},
        {u64{64} << 10, 0x0010},
        {u64{1} << 20, 0x0100},
        {(u64{2} << 20) - 4096, 0x01FF},
        {u64{2} << 20, 0x0200},
        {u64{3} << 20, 0x0300},
        {(u64{4} << 20) - 4096, 0x03FF},
        {u64{4} << 20, 0x0400},
        {u64{6} << 20, 0x0500},
        {u64{16} << 20, 0x0800},
        {u64{256} << 20, 0x1000},
        {u64{1} << 30, 0x1400},
        {u64{1023} << 42, 0x3FFF},
    }));
    CAPTURE(row.bytes);
    REQUIRE(encode_max_buffer_size(row.bytes));
    CHECK(*encode_max_buffer_size(row.bytes) == row.field);
    CHECK(decode_max_buffer_size(row.field) == row.bytes);
}

TEST_CASE("max buffer size: every field value but the aliases of none round-trips and grows", "[spe][max_buffer_size]") {
    u64 previous = 0;
    for (u16 field = 1; field < 0x4000; ++field) {
        const u64 bytes = decode_max_buffer_size(field);
        REQUIRE(bytes > previous);
        REQUIRE(encode_max_buffer_size(bytes) == field);
        previous = bytes;
    }
}

TEST_CASE("max buffer size: what cannot be represented names its neighbours", "[spe][max_buffer_size]") {
    struct Row {
        u64 bytes;
        const char* neighbour;
    };
    const Row row = GENERATE(values<Row>({
        {1, "at least 4096"},
        {4097, "4096 and 8192"},
        {(u64{2} << 20) - 1, "2093056 and 2097152"},
        {(u64{4} << 20) + 4096, "4194304 and 4202496"},
        {(u64{1023} << 42) + 4096, "the largest is 4499201580859392"},
        {~u64{0}, "the largest is 4499201580859392"},
    }));
    CAPTURE(row.bytes);
    const auto result = encode_max_buffer_size(row.bytes);
    REQUIRE(!result);
    CHECK(result.error().status == ExitStatus::usage);
    CHECK_THAT(result.error().text, Catch::Matchers::Contains(row.neighbour));
}

}  // namespace vmm::spe::test
