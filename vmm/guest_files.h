// What a scripted run gives its guest: an initramfs with the project's own init, the commands, and the user's files.
#pragma once

#include <vector>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace vmm {

/// The kernel parameter that starts our init.
inline constexpr const char* kInitParameter = "rdinit=/.vmm/init";

/// `initrd` (may be empty), or the content of config.exec.root, with everything for config.exec appended. At most `limit`
/// bytes. Errors name the option and the file.
Result<std::vector<u8>> make_scripted_initrd(const MachineConfig& config, std::vector<u8> initrd, u64 limit);

}  // namespace vmm
