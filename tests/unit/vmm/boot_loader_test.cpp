#include "vmm/boot_loader.h"

#include <catch2/catch.hpp>

#include "vmm/memory_map.h"

using namespace vmm;

namespace {

constexpr u64 kMiB = u64{1} << 20;

BootFiles image_files(u64 memory_bytes, u64 text_offset, std::size_t initrd_bytes) {
    BootFiles files;
    files.kernel.kind = KernelImage::Kind::image;
    files.kernel.text_offset = text_offset;
    files.kernel.memory_bytes = memory_bytes;
    files.kernel.bytes.assign(4096, 0xEE);
    files.initrd.assign(initrd_bytes, 0x11);
    return files;
}

BootFiles elf_files(u64 pa, u64 bytes) {
    BootFiles files;
    files.kernel.kind = KernelImage::Kind::elf;
    files.kernel.bytes.assign(16, 0xEE);
    files.kernel.segments.push_back({pa, 0, 16, bytes});
    files.kernel.entry = pa;
    return files;
}

bool overlap(const mm::GuestRange& a, const mm::GuestRange& b) {
    return a.pa < b.end() && b.pa < a.end();
}

}  // namespace

TEST_CASE("kernel, device tree and initrd lie apart, aligned, in RAM") {
    const mm::GuestRange ram{kRamBase, 512 * kMiB};
    const BootFiles files = image_files(35 * kMiB + 123, 0x80000, 300 * kMiB + 1);
    const auto plan = plan_boot(files, ram);
    REQUIRE(plan);
    REQUIRE(plan->kernel.pa == kRamBase + 0x80000);
    REQUIRE(plan->entry == plan->kernel.pa);
    REQUIRE(plan->dtb % (2 * kMiB) == 0);
    REQUIRE(plan->initrd.size == 300 * kMiB + 1);
    const mm::GuestRange dtb{plan->dtb, kMaxDtbBytes};
    REQUIRE_FALSE(overlap(plan->kernel, dtb));
    REQUIRE_FALSE(overlap(plan->kernel, plan->initrd));
    REQUIRE_FALSE(overlap(dtb, plan->initrd));
    REQUIRE(plan->initrd.end() <= ram.end());
}

TEST_CASE("an initrd that fits exactly is taken; one byte more is refused with the room there is") {
    const mm::GuestRange ram{kRamBase, 64 * kMiB};
    REQUIRE(plan_boot(image_files(10 * kMiB, 0, 52 * kMiB), ram));
    const auto refused = plan_boot(image_files(10 * kMiB, 0, 52 * kMiB + 1), ram);
    REQUIRE_FALSE(refused);
    REQUIRE(refused.error().text.find("room for 52 MiB") != std::string::npos);
    REQUIRE(refused.error().text.find("--mem") != std::string::npos);
}

TEST_CASE("a kernel larger than RAM is refused") {
    const auto refused = plan_boot(image_files(100 * kMiB, 0, 0), {kRamBase, 64 * kMiB});
    REQUIRE(refused.error().text.find("needs 100 MiB") != std::string::npos);
}

TEST_CASE("a bare-metal program may sit anywhere in RAM, and nowhere else") {
    const mm::GuestRange ram{kRamBase, 64 * kMiB};
    REQUIRE(plan_boot(elf_files(kRamBase + 0x1000, 0x1000), ram)->entry == kRamBase + 0x1000);
    // At the very top, the device tree goes below it.
    const auto high = plan_boot(elf_files(kRamBase + 64 * kMiB - 0x1000, 0x1000), ram);
    REQUIRE(high);
    REQUIRE(high->dtb == kRamBase);
    for (const u64 pa :
         {u64{0}, kRamBase - 0x800, kRamBase + 64 * kMiB - 0x800, ~u64{0} - 0xFFF, u64{1} << 63}) {
        REQUIRE_FALSE(plan_boot(elf_files(pa, 0x1000), ram));
    }
    REQUIRE_FALSE(plan_boot(elf_files(kRamBase, ~u64{0}), ram));
}

TEST_CASE("an entry point outside of the program or not on an instruction is refused") {
    BootFiles files = elf_files(kRamBase, 0x1000);
    for (const u64 entry : {kRamBase + 0x1000, kRamBase - 4, u64{0}, kRamBase + 2, ~u64{3}}) {
        files.kernel.entry = entry;
        REQUIRE_FALSE(plan_boot(files, {kRamBase, 64 * kMiB}));
    }
}

TEST_CASE("everything is copied to its place and BSS is zeroed") {
    const mm::GuestRange range{kRamBase, 32 * kMiB};
    std::vector<u8> backing(range.size, 0xAA);
    const mm::GuestRam ram(backing.data(), range.pa, range.size);
    const BootFiles files = image_files(8192, 0, 100);
    const auto plan = plan_boot(files, range);
    REQUIRE(plan);
    const std::vector<u8> dtb(64, 0x77);
    place_boot_files(files, *plan, dtb, ram);
    REQUIRE(*ram.host(plan->kernel.pa) == 0xEE);
    REQUIRE(*ram.host(plan->kernel.pa + 4095) == 0xEE);
    REQUIRE(*ram.host(plan->kernel.pa + 4096) == 0);
    REQUIRE(*ram.host(plan->kernel.pa + 8191) == 0);
    REQUIRE(*ram.host(plan->kernel.pa + 8192) == 0xAA);
    REQUIRE(*ram.host(plan->dtb + 63) == 0x77);
    REQUIRE(*ram.host(plan->initrd.pa + 99) == 0x11);
    REQUIRE(*ram.host(plan->initrd.pa + 100) == 0xAA);
}
