#include "vmm/config.h"

#include "vmm/guest_files.h"

namespace vmm {

namespace {

std::string line_of_user(const MachineConfig& config) {
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

}  // namespace

std::string kernel_command_line(const MachineConfig& config) {
    std::string line = line_of_user(config);
    if (config.exec.enabled()) {
        // What goes wrong before the console's driver is there shall be seen.
        if (!config.nodefaults && (" " + line).find(" earlycon") == std::string::npos) {
            line += " earlycon";
        }
        line += line.empty() ? "" : " ";
        line += kInitParameter;
    }
    return line;
}

const char* name_of(EngineKind kind) {
    switch (kind) {
        case EngineKind::translator: return "translator";
        case EngineKind::interpreter: return "interpreter";
        case EngineKind::reference: return "reference";
    }
    return "?";
}

}  // namespace vmm
