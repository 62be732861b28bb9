// Kernel files of any content: recognised, unpacked and put into a small guest.
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/target.h"
#include "vmm/boot_loader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm;
    constexpr u64 kRam = 0x8000'0000;
    constexpr u64 kRamSize = u64{8} << 20;
    static fuzz::GuardedRam ram(kRam, kRamSize);

    auto kernel = parse_kernel({data, data + size});
    if (!kernel) {
        VMM_CHECK(!kernel.error().text.empty() && kernel.error().text.find('\n') == std::string::npos);
        return 0;
    }
    BootFiles files;
    files.kernel = *std::move(kernel);
    files.initrd.resize(size % 3 * 1000);
    const auto plan = plan_boot(files, {kRam, kRamSize});
    if (plan) {
        const std::vector<u8> dtb(4096, 0xD7);
        place_boot_files(files, *plan, dtb, ram.view());
        VMM_CHECK(ram.view().contains(plan->entry, 4));
    }
    return 0;
}
