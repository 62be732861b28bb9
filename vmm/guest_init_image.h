// The guest's init for scripted runs (vmm/guest_init), an arm64 program that the build embeds into this one.
#pragma once

#include <span>

#include "vmm/base/types.h"

namespace vmm {

/// The ELF file.
std::span<const u8> guest_init_image();

}  // namespace vmm
