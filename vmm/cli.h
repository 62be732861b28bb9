// The command line: argv → Command. Pure but for two questions about the host (CPUs, memory), which are
// parameters.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/config.h"
#include "vmm/manage.h"
#include "vmm/matrix/matrix_command.h"

namespace vmm {

/// What defaults depend on.
struct HostFacts {
    unsigned online_cpus = 1;
    u64 memory = 0;  // bytes of physical memory
};
HostFacts host_facts();

struct Command {
    enum class Kind : u8 { run, manage, matrix, print } kind = Kind::print;
    MachineConfig config;  // for run
    ManageCommand manage;  // for manage
    std::string text;      // for print
    MatrixCommand matrix;  // for matrix
};

/// `arguments` is argv without the program name. An error is one line that names the option, the value and
/// what would be accepted.
Result<Command> parse_command_line(std::span<const char* const> arguments, const HostFacts& host);

/// An option of `vmm run`.
struct RunOption {
    std::string name;  // the long one, without --
    bool flag = false;
    bool repeatable = false;
};
std::vector<RunOption> run_options();

}  // namespace vmm
