#include "vmm/config.h"

namespace vmm {

std::string kernel_command_line(const MachineConfig& config) {
    if (config.nodefaults) {
        return config.params;
    }
    std::string line = config.console == ConsoleKind::virtio ? "console=hvc0" : "console=ttyS0";
    if (!config.disks.empty() && (" " + config.params).find(" root=") == std::string::npos) {
        line += " root=/dev/vda rw";
    }
    if (!config.params.empty()) {
        line += ' ';
        line += config.params;
    }
    return line;
}

}  // namespace vmm
