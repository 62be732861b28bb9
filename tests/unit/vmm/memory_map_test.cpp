#include "vmm/memory_map.h"

#include <catch2/catch.hpp>

using namespace vmm;

TEST_CASE("the memory map is refused when windows or interrupts coincide") {
    using Rows = std::array<MemoryMapRow, 2>;
    REQUIRE(memory_map_is_sound(kMemoryMap));
    REQUIRE(memory_map_is_sound(Rows{{{"a", 0x1000, 0x1000, 32, 2}, {"b", 0x2000, 0x1000, 34, 1}}}));
    REQUIRE_FALSE(memory_map_is_sound(Rows{{{"a", 0x1000, 0x1001}, {"b", 0x2000, 0x1000}}}));
    REQUIRE_FALSE(memory_map_is_sound(Rows{{{"a", 0x1000, 0x1000, 32, 3}, {"b", 0x2000, 0x1000, 34, 1}}}));
    REQUIRE_FALSE(memory_map_is_sound(Rows{{{"a", 0x1000, 0}, {"b", 0x2000, 0x1000}}}));
    REQUIRE_FALSE(memory_map_is_sound(Rows{{{"a", ~u64{0}, 2}, {"b", 0x2000, 0x1000}}}));
    REQUIRE_FALSE(memory_map_is_sound(Rows{{{"a", 0x1000, 0x1000, 31, 1}, {"b", 0x2000, 0x1000}}}));
    REQUIRE_FALSE(private_intids_are_sound(std::array<unsigned, 2>{21, 21}));
    REQUIRE_FALSE(private_intids_are_sound(std::array<unsigned, 2>{21, 32}));
}

TEST_CASE("addresses are kvmtool's") {
    REQUIRE(uart_window(0).base == 0x0100'0000);
    REQUIRE(uart_window(3).base == 0x0100'3000);
    REQUIRE(kRtcWindow.base == 0x0101'0000);
    REQUIRE(virtio_window(1).base == 0x0300'0200);
    REQUIRE(gic_redistributor_base(1) == 0x3FFF'0000 - 0x2'0000);
    REQUIRE(kRamBase == 0x8000'0000);
    REQUIRE(kSpeIntid == 21);
    REQUIRE(kPmuIntid == 23);
}

TEST_CASE("no two CPUs share an affinity, and a cluster has sixteen") {
    REQUIRE(cpu_affinity(0) == 0);
    REQUIRE(cpu_affinity(15) == 15);
    REQUIRE(cpu_affinity(16) == 0x100);
    REQUIRE(cpu_affinity(63) == 0x30F);
}
