// Puts kernel, device tree and initrd into guest RAM as the arm64 boot protocol asks (Linux
// Documentation/arch/arm64/booting.rst): the kernel at the bottom of RAM, the device tree in the next 2 MiB
// that are free, the initrd after it. Nothing is limited to the first 256 MiB.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "mm/guest_ram.h"
#include "vmm/base/result.h"
#include "vmm/kernel_image.h"

namespace vmm {

/// Files as they will be loaded, again after every reset.
struct BootFiles {
    KernelImage kernel;
    std::vector<u8> initrd;  // empty: none
};

/// Where everything goes; guest-physical.
struct BootPlan {
    mm::GuestRange kernel;  // all of it, BSS included
    u64 dtb = 0;
    mm::GuestRange initrd;  // size 0: none
    u64 entry = 0;

    friend bool operator==(const BootPlan&, const BootPlan&) = default;
};

/// The most a device tree may measure.
inline constexpr u64 kMaxDtbBytes = u64{2} << 20;

/// Reads and checks the files; `ram_bytes` limits the initrd. Errors name the option and the file.
Result<BootFiles> load_boot_files(const std::string& kernel_path, const std::string& initrd_path,
                                  u64 ram_bytes);

/// Decides the placement in [ram_base, ram_base + ram_bytes).
Result<BootPlan> plan_boot(const BootFiles& files, mm::GuestRange ram);

/// Copies everything to where `plan` says. `ram` is as it was for plan_boot().
void place_boot_files(const BootFiles& files, const BootPlan& plan, std::span<const u8> dtb,
                      const mm::GuestRam& ram);

}  // namespace vmm
