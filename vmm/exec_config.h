// What a scripted run shall do: plain data, part of MachineConfig.
#pragma once

#include <string>
#include <vector>

#include "vmm/base/types.h"

namespace vmm {

/// A path on one side and where it goes on the other.
struct CopyPaths {
    std::string from;
    std::string to;
};

/// What happens when the kernel complains but goes on: an oops, a BUG, a stall.
enum class OnOops : u8 {
    stop,    // the run ends
    finish,  // the commands go on; the run ends as if it had stopped
    ignore,  // nothing, but the console log has it
};

struct ExecConfig {
    std::vector<std::string> commands;  // for /bin/sh -c, one after the other until one fails
    std::string script;                 // a host file to execute after them; empty: none
    std::vector<std::string> environment;  // NAME=VALUE
    std::string cwd = "/";
    bool standard_input = false;      // they get ours
    std::vector<CopyPaths> copy_in;   // host → guest, before the first command
    std::vector<CopyPaths> copy_out;  // guest → host, after the last one
    std::string root;                 // a host folder or disk image that becomes the guest's root; empty: none
    bool root_image = false;          // ... it is an image
    std::string root_type = "ext4";   // ... with a file system of this type
    std::string modules;              // a host folder with the kernel's modules; empty: none
    std::vector<std::string> module_names;  // to load besides those that the machine's devices need
    u64 boot_timeout_seconds = 0;     // until the guest's init has started; 0: none
    u64 idle_timeout_seconds = 0;     // without anything printed; 0: none
    OnOops on_oops = OnOops::stop;
    std::string console_log;  // a host file for what the guest's console shows; empty: none

    /// Whether there is anything to run.
    bool enabled() const { return !commands.empty() || !script.empty(); }
};

}  // namespace vmm
