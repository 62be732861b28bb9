#include "vmm/fdt_tree.h"

#include <algorithm>

#include <libfdt.h>

#include <catch2/catch.hpp>

#include "vmm/fdt_writer.h"
#include "vmm/memory_map.h"

using namespace vmm;

namespace {

class Tree {
  public:
    explicit Tree(const FdtInput& input) : bytes_(*build_device_tree(input)) {
        REQUIRE(fdt_check_full(bytes_.data(), bytes_.size()) == 0);
        REQUIRE(fdt_totalsize(bytes_.data()) == bytes_.size());
    }

    bool has(const char* path) const { return fdt_path_offset(bytes_.data(), path) >= 0; }

    std::vector<u32> cells(const char* path, const char* property) const {
        int size = 0;
        const void* data = fdt_getprop(bytes_.data(), fdt_path_offset(bytes_.data(), path), property, &size);
        REQUIRE(data != nullptr);
        std::vector<u32> values;
        for (int i = 0; i < size / 4; ++i) {
            values.push_back(fdt32_ld(static_cast<const fdt32_t*>(data) + i));
        }
        return values;
    }

    u64 cell64(const char* path, const char* property, unsigned index = 0) const {
        const std::vector<u32> all = cells(path, property);
        REQUIRE(all.size() >= 2 * index + 2);
        return u64{all[2 * index]} << 32 | all[2 * index + 1];
    }

    std::string text(const char* path, const char* property) const {
        int size = 0;
        const void* data = fdt_getprop(bytes_.data(), fdt_path_offset(bytes_.data(), path), property, &size);
        REQUIRE(data != nullptr);
        return {static_cast<const char*>(data)};
    }

    bool has_property(const char* path, const char* property) const {
        return fdt_getprop(bytes_.data(), fdt_path_offset(bytes_.data(), path), property, nullptr) != nullptr;
    }

  private:
    std::vector<u8> bytes_;
};

FdtInput full_input() {
    FdtInput input;
    input.cpus = 18;
    input.ram = {kRamBase, u64{2000} << 20};
    input.initrd = {0x8800'0000, 0x123};
    input.command_line = "console=ttyS0 earlycon";
    input.pmu = true;
    input.spe_cpus.assign(18, true);
    input.virtio_devices = 3;
    return input;
}

}  // namespace

TEST_CASE("the tree tells Linux how it was started") {
    const Tree tree(full_input());
    REQUIRE(tree.text("/chosen", "bootargs") == "console=ttyS0 earlycon");
    REQUIRE(tree.text("/chosen", "stdout-path") == "serial0");
    REQUIRE(tree.text("/aliases", "serial0") == "/serial@1000000");
    REQUIRE(tree.has("/serial@1000000"));
    REQUIRE(tree.cell64("/chosen", "kaslr-seed") == 0);
    REQUIRE(tree.cell64("/chosen", "linux,initrd-start") == 0x8800'0000);
    REQUIRE(tree.cell64("/chosen", "linux,initrd-end") == 0x8800'0123);
    REQUIRE(tree.cell64("/memory@80000000", "reg", 0) == kRamBase);
    REQUIRE(tree.cell64("/memory@80000000", "reg", 1) == u64{2000} << 20);
}

TEST_CASE("seeds are passed on as they are, and no initrd leaves no trace") {
    FdtInput input;
    input.ram = {kRamBase, u64{64} << 20};
    input.kaslr_seed = 0x0123'4567'89AB'CDEF;
    input.rng_seed = {0x8899'AABB, 0xCCDD'EEFF};
    const Tree tree(input);
    REQUIRE(tree.cell64("/chosen", "rng-seed") == 0x8899'AABB'CCDD'EEFF);
    REQUIRE(tree.cell64("/chosen", "kaslr-seed") == 0x0123'4567'89AB'CDEF);
    REQUIRE_FALSE(tree.has_property("/chosen", "linux,initrd-start"));
}

TEST_CASE("the profiling unit, the PMU and the timers are described with their private interrupts") {
    const Tree tree(full_input());
    REQUIRE(tree.text("/spe", "compatible") == "arm,statistical-profiling-extension-v1");
    REQUIRE(tree.cells("/spe", "interrupts") == std::vector<u32>{1, 5, 4});
    REQUIRE(tree.text("/pmu", "compatible") == "arm,armv8-pmuv3");
    REQUIRE(tree.cells("/pmu", "interrupts") == std::vector<u32>{1, 7, 4});
    REQUIRE(tree.cells("/timer", "interrupts") == std::vector<u32>{1, 13, 8, 1, 14, 8, 1, 11, 8, 1, 10, 8});
}

TEST_CASE("the profiling interrupt can be another one") {
    FdtInput input = full_input();
    input.spe_intid = 24;
    REQUIRE(Tree(input).cells("/spe", "interrupts") == std::vector<u32>{1, 8, 4});
}

TEST_CASE("where only some CPUs have SPE its interrupt is theirs, and all specifiers have four cells") {
    const Tree whole(full_input());
    REQUIRE(whole.cells("/intc", "#interrupt-cells") == std::vector<u32>{3});
    REQUIRE_FALSE(whole.has("/intc/ppi-partitions"));
    REQUIRE_FALSE(whole.has_property("/cpus/cpu@1", "phandle"));

    FdtInput input = full_input();
    input.spe_cpus.assign(18, false);
    input.spe_cpus[1] = input.spe_cpus[17] = true;
    const Tree tree(input);
    const char* const partition = "/intc/ppi-partitions/interrupt-partition-0";
    REQUIRE(tree.cells("/intc", "#interrupt-cells") == std::vector<u32>{4});
    REQUIRE(tree.cells(partition, "affinity") ==
            std::vector<u32>{tree.cells("/cpus/cpu@1", "phandle")[0], tree.cells("/cpus/cpu@101", "phandle")[0]});
    REQUIRE(tree.cells("/spe", "interrupts") == std::vector<u32>{1, 5, 4, tree.cells(partition, "phandle")[0]});
    REQUIRE(tree.cells("/pmu", "interrupts") == std::vector<u32>{1, 7, 4, 0});
    REQUIRE(tree.cells("/timer", "interrupts") ==
            std::vector<u32>{1, 13, 8, 0, 1, 14, 8, 0, 1, 11, 8, 0, 1, 10, 8, 0});
    REQUIRE(tree.cells("/serial@1001000", "interrupts") == std::vector<u32>{0, 1, 4, 0});
    REQUIRE(tree.cells("/rtc@1010000", "interrupts") == std::vector<u32>{0, 4, 4, 0});
    REQUIRE(tree.cells("/virtio@3000400", "interrupts") == std::vector<u32>{0, 18, 4, 0});
    // No phandle means two things.
    std::vector<u32> phandles{tree.cells("/intc", "phandle")[0], tree.cells("/apb-pclk", "phandle")[0],
                              tree.cells(partition, "phandle")[0]};
    for (const char* cpu : {"/cpus/cpu@0", "/cpus/cpu@f", "/cpus/cpu@100", "/cpus/cpu@101"}) {
        phandles.push_back(tree.cells(cpu, "phandle")[0]);
    }
    std::sort(phandles.begin(), phandles.end());
    REQUIRE(std::adjacent_find(phandles.begin(), phandles.end()) == phandles.end());
}

TEST_CASE("what the machine does not have is not described") {
    FdtInput input;
    input.ram = {kRamBase, u64{64} << 20};
    const Tree tree(input);
    REQUIRE_FALSE(tree.has("/spe"));
    REQUIRE_FALSE(tree.has("/pmu"));
    REQUIRE_FALSE(tree.has("/virtio@3000000"));
    REQUIRE_FALSE(tree.has("/cpus/cpu@1"));
    REQUIRE_FALSE(tree.has_property("/cpus/cpu@0", "enable-method"));
}

TEST_CASE("CPUs beyond the sixteenth are in the next cluster, and PSCI starts them all") {
    const Tree tree(full_input());
    REQUIRE(tree.cells("/cpus/cpu@f", "reg") == std::vector<u32>{0xF});
    REQUIRE(tree.cells("/cpus/cpu@100", "reg") == std::vector<u32>{0x100});
    REQUIRE(tree.cells("/cpus/cpu@101", "reg") == std::vector<u32>{0x101});
    REQUIRE_FALSE(tree.has("/cpus/cpu@102"));
    REQUIRE(tree.text("/cpus/cpu@0", "enable-method") == "psci");
    REQUIRE(tree.text("/psci", "method") == "hvc");
}

TEST_CASE("windows and interrupts are the memory map's") {
    const Tree tree(full_input());
    REQUIRE(tree.cell64("/intc", "reg", 0) == 0x3FFF'0000);
    REQUIRE(tree.cell64("/intc", "reg", 2) == 0x3FFF'0000 - 18 * 0x2'0000);
    REQUIRE(tree.cell64("/intc", "reg", 3) == 18 * 0x2'0000);
    REQUIRE(tree.cell64("/serial@1001000", "reg", 1) == 8);
    REQUIRE(tree.cells("/serial@1001000", "interrupts") == std::vector<u32>{0, 1, 4});
    REQUIRE(tree.cells("/serial@1000000", "clock-frequency") == std::vector<u32>{1843200});
    REQUIRE(tree.cells("/rtc@1010000", "clocks") == tree.cells("/apb-pclk", "phandle"));
    REQUIRE(tree.cell64("/virtio@3000400", "reg", 0) == 0x0300'0400);
    REQUIRE(tree.has_property("/virtio@3000400", "dma-coherent"));
    REQUIRE_FALSE(tree.has("/virtio@3000600"));
    REQUIRE(tree.cells("/", "interrupt-parent") == tree.cells("/intc", "phandle"));
}

TEST_CASE("a tree larger than the first buffer grows") {
    FdtWriter fdt;
    {
        const auto root = fdt.node("");
        for (int i = 0; i < 1000; ++i) {
            const auto node = fdt.node("node@" + std::to_string(i));
            fdt.text("text", std::string(100, 'x'));
        }
    }
    const auto bytes = fdt.finish();
    REQUIRE(bytes);
    REQUIRE(fdt_check_full(bytes->data(), bytes->size()) == 0);
    REQUIRE(fdt_path_offset(bytes->data(), "/node@999") > 0);
}

TEST_CASE("an unfinished tree is an error, not a tree") {
    FdtWriter fdt;
    const auto root = fdt.node("");
    REQUIRE_FALSE(fdt.finish());
}
