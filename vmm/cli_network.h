// --network: its text form.
#pragma once

#include <string_view>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace vmm {

/// mode=user and what may follow it, or mode=none; adds to config.networks. Errors name the option and what it accepts.
Result<> parse_network(std::string_view text, MachineConfig& config);

}  // namespace vmm
