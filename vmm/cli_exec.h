// The options of `vmm run` for commands in the guest.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/exec_config.h"

namespace CLI {
class App;
}

namespace vmm {

/// What the user wrote, before any checking. --result and --junit are for runs without commands, too.
struct RawExecOptions {
    std::vector<std::string> commands, environment, copy_in, copy_out;
    std::optional<std::string> script, cwd, root, modules, boot_timeout, idle_timeout, on_oops, console_log;
    std::string result, junit;
};

/// Adds the options to `run`; parsing fills `raw`, which outlives it.
void add_exec_options(CLI::App& run, RawExecOptions& raw);

/// An error is one line that names the option, the value and what would be accepted.
Result<ExecConfig> parse_exec_options(const RawExecOptions& raw);

/// Whether the user wants commands to be executed, as far as that shows without parsing: decides what statuses mean.
bool is_scripted(std::span<const char* const> arguments);

}  // namespace vmm
