#include "vmm/base/bits.h"

#include <catch2/catch.hpp>

using namespace vmm;

TEST_CASE("bits extracts an inclusive field and deposit puts it back") {
    REQUIRE(bits(0xABCD'1234, 15, 8) == 0x12);
    REQUIRE(bits(~u64{0}, 63, 0) == ~u64{0});
    REQUIRE(deposit(0, 63, 60, 0xF) == 0xF000'0000'0000'0000);
    REQUIRE(deposit(0xFFFF, 7, 4, 0) == 0xFF0F);
}

TEST_CASE("sign_extend copies the top bit of the field upwards") {
    REQUIRE(sign_extend(0x80, 8) == -128);
    REQUIRE(sign_extend(0x7F, 8) == 127);
    REQUIRE(sign_extend(~u64{0}, 64) == -1);
    REQUIRE(sign_extend(0x1FF, 8) == -1);  // bits above the width are ignored
}

TEST_CASE("replicate and rotate_right act within the element width") {
    REQUIRE(replicate(0b01, 2) == 0x5555'5555'5555'5555);
    REQUIRE(replicate(0xA5, 8) == 0xA5A5'A5A5'A5A5'A5A5);
    REQUIRE(rotate_right(0b0001, 1, 4) == 0b1000);
    REQUIRE(rotate_right(0x12345678, 0, 32) == 0x12345678);
    REQUIRE(rotate_right(1, 64, 64) == 1);
}
