#include "vmm/cli.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include <CLI/CLI.hpp>

#include "arch/cpu_model.h"
#include "spe/feature_options.h"
#include "vmm/base/bits.h"
#include "vmm/cli_devices.h"
#include "vmm/cli_documents.h"
#include "vmm/cli_exec.h"
#include "vmm/cli_gdb.h"
#include "vmm/cli_host_trace.h"
#include "vmm/cli_spe.h"
#include "vmm/cli_values.h"
#include "vmm/control_socket.h"
#include "vmm/manage_cli.h"
#include "vmm/matrix/cli_matrix.h"
#include "vmm/memory_map.h"

#ifndef VMM_VERSION
#define VMM_VERSION "unknown"
#endif

namespace vmm {

namespace {

constexpr u64 kMiB = u64{1} << 20;
constexpr u64 kMinMemory = 32 * kMiB;
constexpr u64 kRamGranule = 4096;
constexpr std::size_t kMaxParams = 2048;  // COMMAND_LINE_SIZE of arm64 Linux

constexpr const char* kExitStatusHelp =
    "Exit status:\n"
    "  0    the guest powered itself off (PSCI SYSTEM_OFF), or Ctrl-A x or vmm stop ended it\n"
    "  2    bad command line\n"
    "  3    the host: a file, a limit or a system call\n"
    "  4    the guest cannot go on (all its CPUs are off)\n"
    "  5    internal error of vmm\n"
    "  124  --timeout expired\n"
    "  128+N  ended by signal N (SIGHUP, SIGINT, SIGTERM)\n"
    "With --exec or --script it is the status of the last command, or\n"
    "  222  bad command line         223  the host, or --copy-out failed\n"
    "  224  the guest ended too soon 225  internal error of vmm\n"
    "  226  kernel panic             227  oops or BUG\n"
    "  228  RCU stall, lockup, hung task\n"
    "  229  reset                    230  --boot-timeout\n"
    "  231  --timeout                232  --idle-timeout\n"
    "  233  ended by a signal or vmm stop\n"
    "\n"
    "Console: Ctrl-A x ends the machine, Ctrl-A Ctrl-A sends Ctrl-A. SIGQUIT prints the state of all CPUs.\n";

constexpr Choice<EngineKind> kEngines[] = {{"translator", EngineKind::translator},
                                           {"interpreter", EngineKind::interpreter},
                                           {"reference", EngineKind::reference}};

/// What the user wrote, before any checking.
struct RawOptions {
    std::string kernel, positional_kernel, initrd, params, name, dump_dtb, control;
    std::optional<std::string> cpus, mem, console, log_level, kaslr_seed, cpu, clock, engine, check, sandbox, timeout,
        host_trace;
    bool rng = false, nodefaults = false, pmu = false, no_control = false;
    RawSpeOptions spe;
    RawDeviceOptions devices;
    RawExecOptions exec;
    RawGdbOptions gdb;
};

void add_boot_options(CLI::App& run, RawOptions& raw) {
    run.add_option("-k,--kernel", raw.kernel,
                   "Kernel: Image, Image.gz, EFI zboot (gzip, zstd) or bare-metal ELF")
        ->type_name("FILE");
    run.add_option("KERNEL", raw.positional_kernel, "The same as --kernel");
    run.add_option("-i,--initrd", raw.initrd, "Initial RAM disk")->type_name("FILE");
    run.add_option("-p,--params", raw.params, "Kernel parameters, added to 'console=ttyS0'")
        ->type_name("TEXT");
    run.add_flag("--nodefaults", raw.nodefaults, "Give the kernel only what --params says");
    run.add_option("--kaslr-seed", raw.kaslr_seed, "KASLR seed (default 0: no KASLR, so that KPTI stays off)")
        ->type_name("U64");
    run.add_option("--dump-dtb", raw.dump_dtb, "Write the device tree to FILE")->type_name("FILE");
}

void add_machine_options(CLI::App& run, RawOptions& raw) {
    run.add_option("--name", raw.name, "Name of the guest (default guest-PID)")->type_name("NAME");
    run.add_option("-c,--cpus", raw.cpus, "Virtual CPUs, 1 to 64 (default: the host's online CPUs)")
        ->type_name("N");
    run.add_option("-m,--mem", raw.mem,
                   "Memory; a bare number is MiB; suffixes K M G T (default 64 MiB x (cpus + 3))")
        ->type_name("SIZE");
    run.add_option("--cpu", raw.cpu, "CPU model (default neoverse-n1)")->type_name("MODEL");
    run.add_flag("--rng", raw.rng, "Add a virtio entropy device");
    run.add_option("--console", raw.console,
                   "Guest console: serial (ttyS0) or virtio (hvc0) (default serial)")
        ->type_name("serial|virtio");
    run.add_flag("--pmu", raw.pmu, "Give the CPUs a PMUv3");
    run.add_option("--engine", raw.engine,
                   "translator: guest code that is executed often becomes host code (default); interpreter: "
                   "none does, for comparison; reference: every instruction by its own handler")
        ->type_name("translator|interpreter|reference");
    run.add_flag("--check{interpreter}", raw.check,
                 "Run the guest a second time beside, by another engine (--check alone: interpreter; --check=reference: every "
                 "instruction by its own handler), compare after every 10000 operations and stop at the first difference. "
                 "With --clock=insn; without devices whose work depends on the host");
    run.add_option("--sandbox", raw.sandbox,
                   "on: give up what a running machine does not need - programs, other files, most system calls (default); "
                   "off: keep it, for debuggers and profilers of vmm itself")
        ->type_name("on|off");
    run.add_option("--clock", raw.clock,
                   "host: guest time follows the host (default); insn: it advances with executed operations, "
                   "and runs "
                   "repeat exactly")
        ->type_name("host|insn");
    run.add_option("--timeout", raw.timeout, "End the run after this many seconds with status 124")
        ->type_name("SECONDS");
    run.add_option("--control", raw.control,
                   "The control socket, instead of the one that 'vmm list' finds by the guest's name")
        ->type_name("PATH");
    run.add_flag("--no-control", raw.no_control, "No control socket");
    run.add_option("--loglevel", raw.log_level, "error, warning, info or debug (default warning)")
        ->type_name("error|warning|info|debug");
}

Result<unsigned> parse_cpus(const std::optional<std::string>& text, const HostFacts& host) {
    if (!text) {
        return std::clamp(host.online_cpus, 1u, kMaxCpus);
    }
    const std::optional<u64> cpus = parse_u64(*text);
    if (!cpus || *cpus < 1 || *cpus > kMaxCpus) {
        return fail_usage("--cpus \"{}\": must be a number from 1 to {}", *text, kMaxCpus);
    }
    return static_cast<unsigned>(*cpus);
}

Result<u64> parse_memory(const std::optional<std::string>& text, unsigned cpus, const HostFacts& host) {
    if (!text) {
        const u64 wanted = 64 * kMiB * (cpus + 3);
        return std::max(64 * kMiB, align_down(std::min(wanted, host.memory / 5 * 4), kMiB));
    }
    VMM_TRY(const u64 memory, parse_size("--mem", *text, kMiB));
    if (memory < kMinMemory || memory > kMaxRam || !is_aligned(memory, kRamGranule)) {
        return fail_usage("--mem \"{}\": must be a multiple of 4K from {}M to {}G", *text, kMinMemory / kMiB,
                          kMaxRam >> 30);
    }
    return memory;
}

Result<std::string> parse_cpu_model(const std::optional<std::string>& text) {
    if (!text) {
        return std::string(arch::cpu_models().front().name);
    }
    if (arch::find_cpu_model(*text) != nullptr) {
        return *text;
    }
    std::string accepted;
    for (const arch::CpuModel& model : arch::cpu_models()) {
        accepted += accepted.empty() ? "" : ", ";
        accepted += model.name;
    }
    return fail_usage("--cpu \"{}\": must be one of {}", *text, accepted);
}

Result<> parse_kinds(const RawOptions& raw, MachineConfig& config) {
    if (raw.console) {
        static constexpr Choice<ConsoleKind> kConsoles[] = {{"serial", ConsoleKind::serial},
                                                            {"virtio", ConsoleKind::virtio}};
        VMM_TRY(config.console, choose("--console", *raw.console, kConsoles));
    }
    if (raw.clock) {
        static constexpr Choice<ClockKind> kClocks[] = {{"host", ClockKind::host}, {"insn", ClockKind::insn}};
        VMM_TRY(config.clock, choose("--clock", *raw.clock, kClocks));
    }
    if (raw.engine) {
        VMM_TRY(config.engine, choose("--engine", *raw.engine, kEngines));
    }
    if (raw.sandbox) {
        static constexpr Choice<bool> kSwitch[] = {{"on", true}, {"off", false}};
        VMM_TRY(config.sandbox, choose("--sandbox", *raw.sandbox, kSwitch));
    }
    if (raw.check) {
        VMM_TRY(config.check, choose("--check", *raw.check, kEngines));
        config.clock = raw.clock ? config.clock : ClockKind::insn;
    }
    if (raw.log_level) {
        static constexpr Choice<LogLevel> kLevels[] = {{"error", LogLevel::error},
                                                       {"warning", LogLevel::warning},
                                                       {"info", LogLevel::info},
                                                       {"debug", LogLevel::debug}};
        VMM_TRY(config.log_level, choose("--loglevel", *raw.log_level, kLevels));
    }
    return {};
}

Result<> parse_numbers(const RawOptions& raw, MachineConfig& config) {
    if (raw.kaslr_seed) {
        const std::optional<u64> seed = parse_u64(*raw.kaslr_seed, true);
        if (!seed) {
            return fail_usage("--kaslr-seed \"{}\": must be a 64-bit number, decimal or 0x...",
                              *raw.kaslr_seed);
        }
        config.kaslr_seed = *seed;
    }
    if (raw.timeout) {
        constexpr u64 kMaxTimeout = 31'536'000;
        const std::optional<u64> seconds = parse_u64(*raw.timeout);
        if (!seconds || *seconds < 1 || *seconds > kMaxTimeout) {
            return fail_usage("--timeout \"{}\": must be a number of seconds from 1 to {}", *raw.timeout,
                              kMaxTimeout);
        }
        config.timeout_seconds = *seconds;
    }
    return {};
}

Result<> parse_control(const RawOptions& raw, MachineConfig& config) {
    config.name = raw.name.empty() ? fmt::format("guest-{}", ::getpid()) : raw.name;
    if (!valid_guest_name(config.name)) {
        return fail_usage(
            "--name \"{}\": must be 1 to 64 letters, digits or . _ + -, and begin with a letter, digit, _ or "
            "+",
            config.name);
    }
    if (raw.no_control && !raw.control.empty()) {
        return fail_usage("--control \"{}\": --no-control excludes it", raw.control);
    }
    config.control = {!raw.no_control, raw.control, !raw.name.empty()};
    return {};
}

/// Both guests of --check must meet the same surroundings at the same operations.
Result<> check_comparison(const MachineConfig& config) {
    if (!config.check) {
        return {};
    }
    if (*config.check == config.engine) {
        return fail_usage("--check \"{}\": that is the guest's --engine; compare with another one", name_of(*config.check));
    }
    const struct {
        const char* option;
        bool given;
    } others[] = {{"--clock=host", config.clock == ClockKind::host},
                  {"--disk", !config.disks.empty()},
                  {"--9p", !config.shares.empty()},
                  {"--network", !config.networks.empty()},
                  {"--rng", config.rng},
                  {"--balloon", config.balloon},
                  {"--console-port", !config.console_ports.empty()},
                  {"--console=virtio", config.console == ConsoleKind::virtio},
                  {"--copy-out", !config.exec.copy_out.empty()},
                  {"--spe-host-trace", !config.host_trace.path.empty()},
                  {"--gdb", config.gdb.enabled}};
    for (const auto& other : others) {
        if (other.given) {
            return fail_usage("--check: {} excludes it, since both guests must run alike", other.option);
        }
    }
    return {};
}

Result<MachineConfig> check(const RawOptions& raw, const HostFacts& host) {
    MachineConfig config;
    config.kernel = raw.kernel.empty() ? raw.positional_kernel : raw.kernel;
    if (config.kernel.empty()) {
        return fail_usage("run: needs a kernel: --kernel FILE");
    }
    if (!raw.kernel.empty() && !raw.positional_kernel.empty()) {
        return fail_usage("run: unexpected argument \"{}\": the kernel is given by --kernel already",
                          raw.positional_kernel);
    }
    config.initrd = raw.initrd;
    config.params = raw.params;
    config.dump_dtb = raw.dump_dtb;
    config.rng = raw.rng;
    config.nodefaults = raw.nodefaults;
    config.pmu = raw.pmu;
    VMM_TRY(config.cpus, parse_cpus(raw.cpus, host));
    VMM_TRY(config.memory, parse_memory(raw.mem, config.cpus, host));
    VMM_TRY_VOID(parse_device_options(raw.devices, config));
    VMM_TRY(config.cpu_model, parse_cpu_model(raw.cpu));
    VMM_TRY(config.spe, parse_spe_options(raw.spe, config.cpus));
    if (raw.host_trace) {
        VMM_TRY(config.host_trace, parse_host_trace(*raw.host_trace));
    }
    VMM_TRY(config.gdb, parse_gdb_options(raw.gdb));
    VMM_TRY(config.exec, parse_exec_options(raw.exec));
    config.result = raw.exec.result;
    config.junit = raw.exec.junit;
    if (!config.exec.root.empty() && !config.initrd.empty()) {
        return fail_usage("--root \"{}\": --initrd excludes it", config.exec.root);
    }
    VMM_TRY_VOID(parse_kinds(raw, config));
    VMM_TRY_VOID(parse_numbers(raw, config));
    VMM_TRY_VOID(parse_control(raw, config));
    VMM_TRY_VOID(check_devices(config));
    VMM_TRY_VOID(check_comparison(config));
    if (kernel_command_line(config).size() >= kMaxParams) {
        return fail_usage("--params: the kernel command line is {} bytes long; at most {} are accepted",
                          kernel_command_line(config).size(), kMaxParams - 1);
    }
    return config;
}

void add_run_options(CLI::App& run, RawOptions& raw) {
    add_boot_options(run, raw);
    add_machine_options(run, raw);
    add_device_options(run, raw.devices);
    add_spe_options(run, raw.spe);
    add_host_trace_option(run, raw.host_trace);
    add_exec_options(run, raw.exec);
    add_gdb_options(run, raw.gdb);
}

/// The first line of what CLI11 says, which is all that matters.
std::string first_line(std::string text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

HostFacts host_facts() {
    const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page_size = ::sysconf(_SC_PAGESIZE);
    return {cpus < 1 ? 1u : static_cast<unsigned>(cpus),
            pages < 1 || page_size < 1 ? 0 : static_cast<u64>(pages) * static_cast<u64>(page_size)};
}

std::vector<RunOption> run_options() {
    CLI::App run;
    run.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    RawOptions raw;
    add_run_options(run, raw);
    std::vector<RunOption> options;
    for (const CLI::Option* option : run.get_options([](const CLI::Option* each) { return !each->get_lnames().empty(); })) {
        if (option != run.get_help_ptr()) {
            options.push_back({option->get_lnames().front(), option->get_expected_max() == 0,
                               option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll});
        }
    }
    return options;
}

Result<Command> parse_command_line(std::span<const char* const> arguments, const HostFacts& host) {
    CLI::App app("Runs arm64 guests on this machine, with a Statistical Profiling Extension", "vmm");
    app.footer(kExitStatusHelp);
    app.set_version_flag("--version", "vmm " VMM_VERSION);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app.require_subcommand(0, 1);
    RawOptions raw;
    CLI::App* run = app.add_subcommand("run", "Run a guest");
    run->footer(kExitStatusHelp);
    add_run_options(*run, raw);
    const ManageCommandLine manage(app);
    const MatrixCommandLine matrix(app);
    CLI::App* version = app.add_subcommand("version", "Print the version");
    CLI::App* help = app.add_subcommand("help", "Print this help");
    const DocumentCommandLine documents(*help);

    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // the order CLI11 wants
    try {
        app.parse(std::move(reversed));
    } catch (const CLI::CallForHelp&) {
        const auto chosen = app.get_subcommands();
        return Command{Command::Kind::print, {}, {}, (chosen.empty() ? &app : chosen.front())->help(), {}};
    } catch (const CLI::CallForVersion&) {
        return Command{Command::Kind::print, {}, {}, "vmm " VMM_VERSION "\n", {}};
    } catch (const CLI::ParseError& error) {
        const auto chosen = app.get_subcommands();
        return fail_usage("{} (see 'vmm {} --help')", first_line(error.what()),
                          chosen.empty() ? "run" : chosen.front()->get_name());
    }
    if (version->parsed()) {
        return Command{Command::Kind::print, {}, {}, "vmm " VMM_VERSION "\n", {}};
    }
    if (auto managed = manage.command()) {
        VMM_TRY(ManageCommand command, *std::move(managed));
        return Command{Command::Kind::manage, {}, std::move(command), {}, {}};
    }
    if (auto planned = matrix.command()) {
        VMM_TRY(MatrixCommand command, *std::move(planned));
        return Command{Command::Kind::matrix, {}, {}, {}, std::move(command)};
    }
    if (!run->parsed() || help->parsed()) {
        return Command{Command::Kind::print, {}, {}, documents.text(app), {}};
    }
    if (raw.spe.asks_for_features()) {
        return Command{Command::Kind::print, {}, {}, spe::feature_table(), {}};
    }
    VMM_TRY(MachineConfig config, check(raw, host));
    return Command{Command::Kind::run, std::move(config), {}, {}, {}};
}

}  // namespace vmm
