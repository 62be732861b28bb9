// Options for devices that reach files, folders and networks of the host: their text forms.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace CLI {
class App;
}

namespace vmm {

/// What the user wrote.
struct RawDeviceOptions {
    std::vector<std::string> disks, shares, networks;
    bool balloon = false;
    std::vector<std::string> console_ports = {};
};

void add_device_options(CLI::App& run, RawDeviceOptions& raw);

/// Fills in the devices of `config`; errors name the option and what it accepts.
Result<> parse_device_options(const RawDeviceOptions& raw, MachineConfig& config);

/// Once everything is known: the number of devices, and what goes with what.
Result<> check_devices(const MachineConfig& config);

}  // namespace vmm
