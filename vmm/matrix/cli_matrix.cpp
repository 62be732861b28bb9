#include "vmm/matrix/cli_matrix.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "vmm/cli_values.h"
#include "vmm/matrix/matrix_report.h"
#include "vmm/matrix/matrix_run.h"
#include "vmm/matrix/slurm.h"
#include "vmm/output_file.h"
#include "vmm/run_report.h"

namespace vmm {

namespace {

namespace fs = std::filesystem;

constexpr unsigned kMaxJobs = 1024;
constexpr int kSomeFailed = 1;

constexpr const char* kExitStatusHelp =
    "Exit status:\n"
    "  0    all cells passed\n"
    "  1    some did not\n"
    "  2    bad command line, or FILE is wrong\n"
    "  3    the host: a file, a limit or a system call\n"
    "  128+N  ended by signal N (SIGHUP, SIGINT, SIGTERM)\n";

Result<std::string> absolute(const std::string& path) {
    std::error_code error;
    const fs::path full = fs::absolute(path, error);
    if (error) {
        return fail("\"{}\": {}", path, error.message());
    }
    const std::string text = full.lexically_normal().string();
    return text.size() > 1 && text.back() == '/' ? text.substr(0, text.size() - 1) : text;
}

Result<std::string> output_folder(const MatrixCommand& command) {
    if (!command.slurm.empty()) {
        return absolute(command.slurm);
    }
    return absolute(command.output.empty() ? fs::path(command.file).stem().string() + "-results"
                                           : command.output);
}

/// Table, JUnit file and exit status.
Result<int> tell(const MatrixCommand& command, const MatrixPlan& plan, const MatrixOutcome& outcome,
                 f64 seconds) {
    std::fputs(matrix_table(outcome.results, seconds).c_str(), stdout);
    const std::string path = command.junit.empty() ? plan.output + "/junit.xml" : command.junit;
    const std::string junit = matrix_junit(plan.name, outcome.results, seconds);
    if (const auto written = write_file(path, {reinterpret_cast<const u8*>(junit.data()), junit.size()});
        !written) {
        return fail("--junit \"{}\": {}", path, written.error().text);
    }
    if (std::fflush(stdout) != 0) {
        return fail_errno(errno, "standard output");
    }
    if (outcome.signal != 0) {
        return static_cast<int>(ExitStatus::signal_base) + outcome.signal;
    }
    const bool passed = std::all_of(outcome.results.begin(), outcome.results.end(),
                                    [](const CellResult& result) { return result.passed(); });
    return passed ? 0 : kSomeFailed;
}

Result<int> collect(const MatrixCommand& command) {
    VMM_TRY(const std::string folder, absolute(command.collect));
    VMM_TRY(const MatrixPlan plan, read_manifest(folder));
    MatrixOutcome outcome;
    f64 seconds = 0;
    for (const MatrixCell& cell : plan.cells) {
        outcome.results.push_back(read_cell(folder, cell.name));
        seconds += outcome.results.back().seconds;
    }
    return tell(command, plan, outcome, seconds);
}

Result<int> emit_slurm(const MatrixCommand& command, const MatrixPlan& plan) {
    VMM_TRY_VOID(prepare_output(plan));
    VMM_TRY_VOID(write_slurm(plan, command.jobs));
    std::printf("%s\n",
                fmt::format("{} cells. Submit them, wait, and collect the results:\n  sbatch --wait {}; {}",
                            plan.cells.size(), shell_quote(plan.output + "/job.sh"),
                            shell_quote(plan.output + "/collect.sh"))
                    .c_str());
    return 0;
}

unsigned default_jobs(const MatrixPlan& plan, const HostFacts& host) {
    unsigned cpus = 1;
    for (const MatrixCell& cell : plan.cells) {
        cpus = std::max(cpus, cell.cpus);
    }
    return std::max(1u, host.online_cpus / cpus);
}

}  // namespace

MatrixCommandLine::MatrixCommandLine(CLI::App& app) {
    app_ = app.add_subcommand("matrix", "Run kernels x CPU models x SPE settings x commands, as a file says");
    app_->footer(kExitStatusHelp);
    app_->add_option("FILE", raw_.file, "The matrix, in TOML");
    app_->add_option("-j,--jobs", jobs_,
                     "Most runs at a time (default: the host's online CPUs / the guests')")
        ->type_name("N");
    app_->add_option("-o,--output", raw_.output,
                     "Folder of the results (default: NAME-results for NAME.toml)")
        ->type_name("DIR");
    app_->add_option("--junit", raw_.junit,
                     "JUnit XML file (default: junit.xml in the folder of the results)")
        ->type_name("FILE");
    app_->add_flag("--list", raw_.list, "Print the names of the cells");
    app_->add_option("--slurm", raw_.slurm, "Run nothing; write a Slurm job array and its collector to DIR")
        ->type_name("DIR");
    app_->add_option("--collect", raw_.collect, "Run nothing; tell what the cells have left in DIR")
        ->type_name("DIR");
}

std::optional<Result<MatrixCommand>> MatrixCommandLine::command() const {
    if (!app_->parsed()) {
        return std::nullopt;
    }
    MatrixCommand command = raw_;
    if (command.file.empty() == command.collect.empty()) {
        return fail_usage("matrix: needs FILE.toml, or --collect DIR");
    }
    if (!command.slurm.empty() && (!command.output.empty() || !command.collect.empty())) {
        return fail_usage("--slurm \"{}\": excludes --output and --collect", command.slurm);
    }
    if (!command.collect.empty() && !command.output.empty()) {
        return fail_usage("--collect \"{}\": excludes --output", command.collect);
    }
    if (jobs_) {
        const std::optional<u64> jobs = parse_u64(*jobs_);
        if (!jobs || *jobs < 1 || *jobs > kMaxJobs) {
            return fail_usage("--jobs \"{}\": must be a number from 1 to {}", *jobs_, kMaxJobs);
        }
        command.jobs = static_cast<unsigned>(*jobs);
    }
    return command;
}

Result<int> run_matrix(const MatrixCommand& command, const HostFacts& host) {
    MachineConfig reports;
    reports.junit = command.junit;
    VMM_TRY_VOID(check_reports(reports));  // not after an hour of runs
    if (!command.collect.empty()) {
        return collect(command);
    }
    VMM_TRY(const std::string output, output_folder(command));
    VMM_TRY(const MatrixPlan plan, load_matrix(command.file, output, host));
    if (command.list) {
        for (const MatrixCell& cell : plan.cells) {
            std::printf("%s\n", cell.name.c_str());
        }
        return std::fflush(stdout) == 0 ? 0 : static_cast<int>(ExitStatus::host_error);
    }
    if (!command.slurm.empty()) {
        return emit_slurm(command, plan);
    }
    VMM_TRY_VOID(prepare_output(plan));
    const auto started = std::chrono::steady_clock::now();
    VMM_TRY(const MatrixOutcome outcome,
            run_cells(plan, command.jobs == 0 ? default_jobs(plan, host) : command.jobs));
    return tell(command, plan, outcome,
                std::chrono::duration<f64>(std::chrono::steady_clock::now() - started).count());
}

}  // namespace vmm
