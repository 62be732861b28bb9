// The machine's device tree.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "mm/guest_ram.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// What the tree describes beyond the memory map.
struct FdtInput {
    unsigned cpus = 1;
    mm::GuestRange ram;
    mm::GuestRange initrd;  // size 0: none
    std::string command_line;
    u64 kaslr_seed = 0;
    std::array<u32, 16> rng_seed{};  // what the guest's random number generator begins with
    bool pmu = false;
    std::vector<bool> spe_cpus;   // which have SPE: none, or one entry for each
    unsigned spe_intid = 21;      // a private interrupt
    unsigned virtio_devices = 0;  // in slots 0..n-1
};

Result<std::vector<u8>> build_device_tree(const FdtInput& input);

}  // namespace vmm
