// vmm: parse, build, run, exit status. The only place that catches what libraries throw.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "vmm/base/check.h"
#include "vmm/cli.h"
#include "vmm/cli_exec.h"
#include "vmm/control_socket.h"
#include "vmm/guest_input.h"
#include "vmm/host_events.h"
#include "vmm/lockstep/lockstep.h"
#include "vmm/machine.h"
#include "vmm/matrix/cli_matrix.h"
#include "vmm/run_end.h"
#include "vmm/run_report.h"
#include "vmm/sandbox.h"

namespace {

using namespace vmm;

const Machine* running_machine = nullptr;
bool scripted = false;  // what exit statuses mean

/// A failed check: the terminal as it was, the state of the machine, and the exit status for it.
void report_crash() {
    restore_terminal();
    remove_control_socket();
    if (running_machine != nullptr) {
        std::fputs(running_machine->dump_unsafely().c_str(), stderr);
    }
    ::_exit(exit_status(ExitStatus::internal_error, scripted));
}

/// A system call that the sandbox forbids: in a signal handler.
void end_forbidden(bool may_remove_files) {
    restore_terminal();
    if (may_remove_files) {
        remove_control_socket();  // else whoever meets it removes it
    }
    ::_exit(exit_status(ExitStatus::internal_error, scripted));
}

int report(const Error& error) {
    std::fprintf(stderr, "vmm: %s\n", error.text.c_str());
    return exit_status(error.status, scripted);
}

/// There is a result even where the guest could not start.
int report_never_run(const MachineConfig& config, const Error& error) {
    RunReport result;
    result.status = report(error);
    result.end = {plain_end(static_cast<int>(error.status)), error.text, 0};
    result.started = std::chrono::system_clock::now();
    if (const auto written = write_reports(config, result); !written) {
        return report(written.error());
    }
    return result.status;
}

int run_guest(const MachineConfig& config, SliceObserver* slices = nullptr) {
    InheritedDescriptors inherited;
    set_log_level(config.log_level);
    auto events = HostEvents::create();
    if (!events) {
        return report(events.error());
    }
    if (const auto possible = check_reports(config); !possible) {
        return report(possible.error());
    }
    auto machine = Machine::create(config, slices);
    if (!machine) {
        return report_never_run(config, machine.error());
    }
    if (config.sandbox) {
        inherited.close_all();
        enter_sandbox(sandbox_paths(config), end_forbidden);
    }
    running_machine = machine->get();
    set_crash_hook(report_crash);
    const int status = (*machine)->run(*events);
    set_crash_hook(nullptr);
    return status;
}

int run(std::span<const char* const> arguments) {
    scripted = is_scripted(arguments);
    auto command = parse_command_line(arguments, host_facts());
    if (!command) {
        return report(command.error());
    }
    if (command->kind == Command::Kind::print) {
        std::fputs(command->text.c_str(), stdout);
        return static_cast<int>(std::fflush(stdout) == 0 ? ExitStatus::ok : ExitStatus::host_error);
    }
    if (command->kind == Command::Kind::manage) {
        const auto done = run_manage(command->manage);
        return done ? static_cast<int>(std::fflush(stdout) == 0 ? ExitStatus::ok : ExitStatus::host_error)
                    : report(done.error());
    }
    if (command->kind == Command::Kind::matrix) {
        const auto status = run_matrix(command->matrix, host_facts());
        return status ? *status : report(status.error());
    }
    if (command->config.check) {
        return lockstep::run_checked(command->config, [](const MachineConfig& config, SliceObserver& slices) {
            return run_guest(config, &slices);
        });
    }
    command->config.exec.standard_input = offers_input(STDIN_FILENO);
    return run_guest(command->config);
}

/// Descriptors that are closed must not become files of ours, which others then read or print to. What is put there instead
/// has no input and takes no output.
void occupy_standard_descriptors() {
    int fd = 0;
    while (fd <= STDERR_FILENO) {
        fd = ::open("/dev/null", O_RDONLY);
        if (fd < 0) {
            return;
        }
    }
    ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
    occupy_standard_descriptors();
    try {
        return run(
            std::span<const char* const>(argv, static_cast<std::size_t>(argc)).subspan(argc > 0 ? 1 : 0));
    } catch (const std::bad_alloc&) {
        vmm::restore_terminal();
        return report({"out of memory", vmm::ExitStatus::host_error});
    } catch (const std::exception& error) {
        vmm::restore_terminal();
        return report({error.what(), vmm::ExitStatus::internal_error});
    }
}
