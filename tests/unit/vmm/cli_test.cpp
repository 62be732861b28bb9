#include "vmm/cli.h"

#include <catch2/catch.hpp>

#include "vmm/cli_spe.h"
#include "vmm/cli_values.h"

using namespace vmm;

namespace {

constexpr u64 kMiB = u64{1} << 20;
constexpr HostFacts kHost{2, u64{16} << 30};

Result<Command> parse(std::vector<const char*> arguments) {
    return parse_command_line(arguments, kHost);
}

MachineConfig config_of(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "run");
    auto command = parse(arguments);
    REQUIRE(command);
    REQUIRE(command->kind == Command::Kind::run);
    return command->config;
}

/// The one line that a refused command line gets.
std::string refusal_of(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), {"run", "-k", "Image"});
    auto command = parse(arguments);
    REQUIRE_FALSE(command);
    REQUIRE(command.error().status == ExitStatus::usage);
    REQUIRE(command.error().text.find('\n') == std::string::npos);
    return command.error().text;
}

}  // namespace

TEST_CASE("the command line of the profiling use case is taken as kvmtool takes it") {
    const MachineConfig config = config_of({"-k", "IMAGE", "-p", "earlycon kpti=off", "-c", "4", "-m", "2000",
                                            "--pmu", "--spe", "--spe-max-buffer-size=256M"});
    REQUIRE(config.kernel == "IMAGE");
    REQUIRE(config.params == "earlycon kpti=off");
    REQUIRE(config.cpus == 4);
    REQUIRE(config.memory == 2000 * kMiB);
    REQUIRE(config.pmu);
    REQUIRE(config.spe.enabled);
    REQUIRE(config.spe.max_buffer_size == 256 * kMiB);
    REQUIRE(kernel_command_line(config) == "console=ttyS0 earlycon kpti=off");
}

TEST_CASE("defaults are kvmtool's where it has them") {
    const MachineConfig config = config_of({"-k", "Image"});
    REQUIRE(config.cpus == 2);  // the host's
    REQUIRE(config.memory == 64 * (2 + 3) * kMiB);
    REQUIRE(config.kaslr_seed == 0);
    REQUIRE(config.console == ConsoleKind::serial);
    REQUIRE(config.clock == ClockKind::host);
    REQUIRE(config.engine == EngineKind::translator);
    REQUIRE_FALSE(config.pmu);
    REQUIRE_FALSE(config.spe.enabled);
    REQUIRE(config.spe.max_buffer_size == 4 * kMiB);
    REQUIRE(config.spe.pmsver == 3);
    REQUIRE(config.spe.pin == mm::PinChoice::automatic);
    REQUIRE(config.spe.pin_policy == mm::PinPolicy::eager);
    REQUIRE(config.spe.pin_age_seconds == 30);
    REQUIRE(config.spe.pin_budget == 0);
    REQUIRE(config.spe.pin_shortage == mm::ShortagePolicy::degrade);
    REQUIRE(config.spe.model == spe::ModelKind::basic);
    REQUIRE(config.cpu_model == "neoverse-n1");
    REQUIRE(config.name.starts_with("guest-"));
    REQUIRE(kernel_command_line(config) == "console=ttyS0");
}

TEST_CASE("default memory is limited by the host's and never below 64 MiB") {
    const char* const arguments[] = {"run", "-k", "Image"};
    REQUIRE(parse_command_line(arguments, {8, 500 * kMiB})->config.memory == 400 * kMiB);
    REQUIRE(parse_command_line(arguments, {8, 10 * kMiB})->config.memory == 64 * kMiB);
    REQUIRE(parse_command_line(arguments, {1000, u64{1} << 44})->config.cpus == 64);
}

TEST_CASE("every option reaches the configuration") {
    const MachineConfig config =
        config_of({"-k",     "Image",      "-i",     "initrd",        "--name", "x",
                   "-d",     "a.img",      "--disk", "b.img,ro",      "--rng",  "--console",
                   "virtio", "--dump-dtb", "t.dtb",  "--loglevel",    "debug",  "--kaslr-seed",
                   "0x10",   "--cpu",      "max",    "--spe-version", "1.0",    "--spe-pin",
                   "mlock",  "--clock",    "insn",   "--timeout",     "7",      "--spe-model",
                   "detailed", "--engine", "interpreter"});
    REQUIRE(config.initrd == "initrd");
    REQUIRE(config.name == "x");
    REQUIRE(config.disks.size() == 2);
    REQUIRE(config.disks[0].path == "a.img");
    REQUIRE_FALSE(config.disks[0].read_only);
    REQUIRE(config.disks[1].path == "b.img");
    REQUIRE(config.disks[1].read_only);
    REQUIRE(config.rng);
    REQUIRE(config.console == ConsoleKind::virtio);
    REQUIRE(config.dump_dtb == "t.dtb");
    REQUIRE(config.log_level == LogLevel::debug);
    REQUIRE(config.kaslr_seed == 16);
    REQUIRE(config.cpu_model == "max");
    REQUIRE(config.spe.pmsver == 1);
    REQUIRE(config.spe.pin == mm::PinChoice::mlock);
    REQUIRE(config.spe.model == spe::ModelKind::detailed);
    REQUIRE(config.clock == ClockKind::insn);
    REQUIRE(config.engine == EngineKind::interpreter);
    REQUIRE(config.timeout_seconds == 7);
    REQUIRE(kernel_command_line(config) == "console=hvc0 root=/dev/vda rw");
}

TEST_CASE("a positional argument is the kernel, and the last of repeated options counts") {
    REQUIRE(config_of({"Image"}).kernel == "Image");
    REQUIRE(config_of({"-k", "a", "-k", "b"}).kernel == "b");
    REQUIRE(config_of({"-d", "a", "-m", "512", "Image"}).kernel == "Image");
}

TEST_CASE("--nodefaults leaves only the user's parameters, and a root of theirs replaces ours") {
    REQUIRE(kernel_command_line(config_of({"Image", "--nodefaults", "-p", "quiet"})) == "quiet");
    REQUIRE(kernel_command_line(config_of({"Image", "-d", "x", "-p", "root=/dev/vdb"})) ==
            "console=ttyS0 root=/dev/vdb");
    REQUIRE(kernel_command_line(config_of({"Image", "-d", "x", "-p", "noroot=1"})) ==
            "console=ttyS0 root=/dev/vda rw noroot=1");
}

TEST_CASE("the profiling unit is configured by its options") {
    const SpeConfig plain = config_of({"Image", "--spe", "-c", "4"}).spe;
    REQUIRE(plain.intid == 21);
    REQUIRE((plain.on_cpu(0) && plain.on_cpu(3)));
    REQUIRE_FALSE(plain.features.strict_writes);
    REQUIRE_FALSE(plain.features.eager_faults);
    REQUIRE_FALSE(plain.features.higher_owner);
    REQUIRE_FALSE(config_of({"Image"}).spe.on_cpu(0));

    const SpeConfig spe = config_of({"Image", "--spe", "-c", "4", "--spe-version", "1.4", "--spe-features",
                                     "ernd=1,count-size=16,eft=1", "--spe-strict", "--spe-faults", "eager", "--spe-ppi", "20",
                                     "--spe-cpus", "0-1,3", "--spe-owner", "higher"})
                              .spe;
    REQUIRE(spe.features.ernd);
    REQUIRE(spe.features.eft);
    REQUIRE(spe.features.counter_bits == 16);
    REQUIRE(spe.features.strict_writes);
    REQUIRE(spe.features.eager_faults);
    REQUIRE(spe.features.higher_owner);
    REQUIRE(spe.intid == 20);
    REQUIRE(spe.cpus == 0b1011);
    REQUIRE_FALSE(spe.on_cpu(2));
    const SpeConfig usual = config_of({"Image", "--spe", "--spe-faults=lazy", "--spe-owner=el1", "--spe-ppi=16"}).spe;
    REQUIRE_FALSE(usual.features.eager_faults);
    REQUIRE_FALSE(usual.features.higher_owner);
    REQUIRE(usual.intid == 16);
}

TEST_CASE("--spe-features help prints the list, whatever else is said") {
    for (const char* word : {"help", "list"}) {
        auto command = parse({"run", "--spe-features", word});
        REQUIRE(command);
        REQUIRE(command->kind == Command::Kind::print);
        REQUIRE(command->text.find("count-size") != std::string::npos);
    }
}

TEST_CASE("a list of CPUs is a mask") {
    REQUIRE(parse_cpu_list("-x", "0", 1) == 1);
    REQUIRE(parse_cpu_list("-x", "0-63", 64) == ~u64{0});
    REQUIRE(parse_cpu_list("-x", "63", 64) == u64{1} << 63);
    REQUIRE(parse_cpu_list("-x", "3,1,1-2", 4) == 0b1110);
    for (const char* bad : {"", ",", "0,", ",0", "-", "0-", "-1", "0--1", "2-1", "4", "0-4", "a", "0 1", "0x1",
                            "99999999999999999999", "0-18446744073709551615"}) {
        CAPTURE(bad);
        REQUIRE_FALSE(parse_cpu_list("-x", bad, 4));
    }
}

TEST_CASE("a refused value is named together with its option and what would be accepted") {
    struct Case {
        std::vector<const char*> arguments;
        const char* start;
        const char* accepted;
    };
    const Case cases[] = {
        {{"-c", "0"}, "--cpus \"0\":", "1 to 64"},
        {{"-c", "513"}, "--cpus \"513\":", "1 to 64"},
        {{"-c", "-1"}, "--cpus \"-1\":", "1 to 64"},
        {{"-c", "two"}, "--cpus \"two\":", "1 to 64"},
        {{"-c", "1x"}, "--cpus \"1x\":", "1 to 64"},
        {{"-c", "18446744073709551617"}, "--cpus \"18446744073709551617\":", "1 to 64"},
        {{"-m", "256Q"}, "--mem \"256Q\":", "K, M, G or T"},
        {{"-m", ""}, "--mem \"\":", "K, M, G or T"},
        {{"-m", "M"}, "--mem \"M\":", "K, M, G or T"},
        {{"-m", "0"}, "--mem \"0\":", "32M"},
        {{"-m", "-5"}, "--mem \"-5\":", "K, M, G or T"},
        {{"-m", "1.5G"}, "--mem \"1.5G\":", "K, M, G or T"},
        {{"-m", "99999999T"}, "--mem \"99999999T\":", "K, M, G or T"},
        {{"-m", "2T"}, "--mem \"2T\":", "512G"},
        {{"-m", "67108865B"}, "--mem \"67108865B\":", "multiple of 4K"},
        {{"-d", "a,rw"}, "--disk \"a,rw\":", ",ro ,cow"},
        {{"-d", ",ro"}, "--disk \"", ",ro ,cow"},
        {{"--cpu", "z80"}, "--cpu \"z80\":", "neoverse-n1"},
        {{"--console", "hv"}, "--console \"hv\":", "serial, virtio"},
        {{"--clock", "tsc"}, "--clock \"tsc\":", "host, insn"},
        {{"--check=kvm"}, "--check \"kvm\":", "translator, interpreter, reference"},
        {{"--check=translator"}, "--check \"translator\":", "another one"},
        {{"--check", "--clock", "host"}, "--check:", "--clock=host"},
        {{"--check", "-d", "a.img"}, "--check:", "--disk"},
        {{"--engine", "kvm"}, "--engine \"kvm\":", "translator, interpreter, reference"},
        {{"--loglevel", "all"}, "--loglevel \"all\":", "error, warning, info, debug"},
        {{"--kaslr-seed", "abc"}, "--kaslr-seed \"abc\":", "64-bit number"},
        {{"--kaslr-seed", "0x"}, "--kaslr-seed \"0x\":", "64-bit number"},
        {{"--timeout", "0"}, "--timeout \"0\":", "from 1"},
        {{"--timeout", "1h"}, "--timeout \"1h\":", "seconds"},
        {{"--spe-version", "1.5"}, "--spe-version \"1.5\":", "1.0, 1.1, 1.2, 1.3, 1.4"},
        {{"--spe-model", "exact"}, "--spe-model \"exact\":", "basic, detailed"},
        {{"--spe-pin", "maybe"}, "--spe-pin \"maybe\":", "auto, uring, mlock, populate, off"},
        {{"--spe-pin-policy", "some"}, "--spe-pin-policy \"some\":", "lazy, eager, all"},
        {{"--spe-pin-age", "-1"}, "--spe-pin-age \"-1\":", "0 to 31536000"},
        {{"--spe-pin-age", "31536001"}, "--spe-pin-age \"31536001\":", "0 to 31536000"},
        {{"--spe-pin-budget", "1X"}, "--spe-pin-budget \"1X\":", "K, M, G or T"},
        {{"--spe-pin-shortage", "panic"}, "--spe-pin-shortage \"panic\":", "degrade, inject, stop"},
        {{"--spe-max-buffer-size", "256Q"}, "--spe-max-buffer-size \"256Q\":", "K, M, G or T"},
        {{"--spe-max-buffer-size", "5000"}, "--spe-max-buffer-size \"5000\":", "8192"},
        {{"--spe-max-buffer-size", "4194308K"}, "--spe-max-buffer-size \"4194308K\":", "nearest"},
        {{"--spe-max-buffer-size", "2K"}, "--spe-max-buffer-size \"2K\":", "4096"},
        {{"--spe-max-buffer-size", "8193K"}, "--spe-max-buffer-size \"8193K\":", "8388608"},
        {{"--spe-max-buffer-size", "4093T"}, "--spe-max-buffer-size \"4093T\":", "largest"},
        {{"--spe-features", "erd=1"}, "--spe-features \"erd=1\":", "ernd, pbt"},
        {{"--spe-features", "pbt=2"}, "--spe-features \"pbt=2\":", "0 or 1"},
        {{"--spe-features", "count-size=13"}, "--spe-features \"count-size=13\":", "12 or 16"},
        {{"--spe-features", "eft=1"}, "--spe-features \"eft=1\":", "version 1.4"},
        {{"--spe-features", "pbt=1", "--spe-version", "1.0"}, "--spe-features \"pbt=1\":", "version 1.2"},
        {{"--spe-faults", "never"}, "--spe-faults \"never\":", "lazy, eager"},
        {{"--spe-owner", "el2"}, "--spe-owner \"el2\":", "el1, higher"},
        {{"--spe-ppi", "5"}, "--spe-ppi \"5\":", "16 to 31"},
        {{"--spe-ppi", "32"}, "--spe-ppi \"32\":", "16 to 31"},
        {{"--spe-ppi", "x"}, "--spe-ppi \"x\":", "16 to 31"},
        {{"--spe-ppi", "23"}, "--spe-ppi \"23\":", "the PMU"},
        {{"--spe-ppi", "27"}, "--spe-ppi \"27\":", "the timer"},
        {{"--spe-ppi", "30"}, "--spe-ppi \"30\":", "the timer"},
        {{"--spe-ppi", "26"}, "--spe-ppi \"26\":", "the timer"},
        {{"--spe-ppi", "29"}, "--spe-ppi \"29\":", "the timer"},
        {{"--spe-cpus", ""}, "--spe-cpus \"\":", "0 to 1"},
        {{"--spe-cpus", "2"}, "--spe-cpus \"2\":", "no CPU 2"},
        {{"--spe-cpus", "1-0"}, "--spe-cpus \"1-0\":", "backwards"},
        {{"--spe-cpus", "all"}, "--spe-cpus \"all\":", "'all' is no CPU"},
        {{"extra"}, "run: unexpected argument \"extra\"", "--kernel"},
        {{"--no-such-option"}, "The following argument", "--help"},
    };
    for (const Case& c : cases) {
        const std::string text = refusal_of(c.arguments);
        INFO(text);
        REQUIRE(text.starts_with(c.start));
        REQUIRE(text.find(c.accepted) != std::string::npos);
    }
}

TEST_CASE("without a kernel or with a bad root of the command line, nothing is run") {
    REQUIRE(parse({"run"}).error().text.find("--kernel FILE") != std::string::npos);
    REQUIRE(parse({"frobnicate"}).error().status == ExitStatus::usage);
    REQUIRE(parse({"-k", "Image"}).error().status == ExitStatus::usage);
    REQUIRE(parse({"run", "-k"}).error().status == ExitStatus::usage);
}

TEST_CASE("a command line longer than Linux takes is refused") {
    const std::string longest(2048 - 1 - std::string("console=ttyS0 ").size(), 'x');
    REQUIRE(config_of({"Image", "-p", longest.c_str()}).params == longest);
    const std::string too_long = longest + "x";
    REQUIRE(refusal_of({"-p", too_long.c_str()}).find("2047") != std::string::npos);
}

TEST_CASE("more virtio devices than slots are refused") {
    std::vector<const char*> arguments(64);
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        arguments[i] = "-d";
        arguments[i + 1] = "x";
    }
    std::vector<const char*> with_kernel = arguments;
    with_kernel.push_back("Image");
    REQUIRE(config_of(with_kernel).disks.size() == 32);
    arguments.push_back("--rng");
    REQUIRE(refusal_of(arguments).find("at most 32") != std::string::npos);
}

TEST_CASE("help and version print and end well") {
    for (const std::vector<const char*>& arguments :
         std::vector<std::vector<const char*>>{{}, {"help"}, {"--help"}, {"run", "--help"}}) {
        auto command = parse(arguments);
        REQUIRE(command);
        REQUIRE(command->kind == Command::Kind::print);
        REQUIRE(command->text.find("Exit status:") != std::string::npos);
        REQUIRE(command->text.find("124") != std::string::npos);
    }
    for (const char* spelling : {"version", "--version"}) {
        REQUIRE(parse({spelling})->text.starts_with("vmm "));
    }
    REQUIRE(parse({"run", "--help"})->text.find("--spe-max-buffer-size") != std::string::npos);
}

TEST_CASE("sizes are numbers with suffixes of either case") {
    REQUIRE(parse_size("-x", "7", 1) == 7);
    REQUIRE(parse_size("-x", "7", kMiB) == 7 * kMiB);
    REQUIRE(parse_size("-x", "7B", kMiB) == 7);
    REQUIRE(parse_size("-x", "2k", 1) == 2048);
    REQUIRE(parse_size("-x", "3G", 1) == u64{3} << 30);
    REQUIRE(parse_size("-x", "1T", 1) == u64{1} << 40);
    REQUIRE_FALSE(parse_size("-x", "16777216T", 1));  // 2^64
    REQUIRE_FALSE(parse_size("-x", " 1", 1));
    REQUIRE_FALSE(parse_size("-x", "0x10", 1));
}

TEST_CASE("--spe-host-trace takes a file, a period and a model, and needs no --spe") {
    const MachineConfig plain = config_of({"-k", "Image", "--spe-host-trace", "guest.data"});
    REQUIRE(plain.host_trace.path == "guest.data");
    REQUIRE(plain.host_trace.period == 4096);
    REQUIRE(plain.host_trace.model == spe::ModelKind::basic);
    REQUIRE_FALSE(plain.spe.enabled);
    const MachineConfig full =
        config_of({"-k", "Image", "--spe", "--spe-host-trace=a/b.data,model=detailed,period=4294967040"});
    REQUIRE(full.host_trace.path == "a/b.data");
    REQUIRE(full.host_trace.period == 4294967040);
    REQUIRE(full.host_trace.model == spe::ModelKind::detailed);
    REQUIRE(full.spe.model == spe::ModelKind::basic);
    REQUIRE(config_of({"-k", "Image"}).host_trace.path.empty());
    REQUIRE(refusal_of({"--spe-host-trace", "x,period=4294967296"}).find("4294967040") != std::string::npos);
}

namespace {

Result<ManageCommand> manage_of(std::vector<const char*> arguments) {
    auto command = parse(std::move(arguments));
    if (!command) {
        return tl::make_unexpected(command.error());
    }
    REQUIRE(command->kind == Command::Kind::manage);
    return command->manage;
}

}  // namespace

TEST_CASE("commands for running guests name one of them, all, or a socket") {
    using Action = ManageCommand::Action;
    REQUIRE(manage_of({"list"})->action == Action::list);
    REQUIRE(manage_of({"list", "--json"})->json);
    REQUIRE(manage_of({"stat", "web"})->name == "web");
    REQUIRE(manage_of({"stat", "-n", "web", "--json"})->json);
    REQUIRE(manage_of({"pause", "--name", "web"})->action == Action::pause);
    REQUIRE(manage_of({"resume", "-a"})->all);
    REQUIRE(manage_of({"stop", "--control", "/tmp/x"})->control == "/tmp/x");
    REQUIRE(manage_of({"debug", "web"})->action == Action::debug);
    REQUIRE(manage_of({"spe", "stop", "web"})->mode == spe::StopMode::trap);
    REQUIRE(manage_of({"spe", "stop", "web", "--mode", "exit"})->mode == spe::StopMode::exit);
    REQUIRE(manage_of({"spe", "resume", "web"})->action == Action::spe_resume);
    for (const auto& bad : std::vector<std::vector<const char*>>{{"stop"},
                                                                 {"stop", "web", "--all"},
                                                                 {"stop", "web", "-n", "web"},
                                                                 {"debug", "--all"},
                                                                 {"spe"},
                                                                 {"spe", "stop"},
                                                                 {"spe", "stop", "web", "--mode", "none"},
                                                                 {"pause", "web", "extra"}}) {
        const auto command = manage_of(bad);
        REQUIRE_FALSE(command);
        REQUIRE(command.error().status == ExitStatus::usage);
        REQUIRE(command.error().text.find('\n') == std::string::npos);
    }
}

TEST_CASE("a guest has a control socket unless it is told otherwise") {
    REQUIRE(config_of({"-k", "Image"}).control.enabled);
    REQUIRE_FALSE(config_of({"-k", "Image"}).control.name_given);
    REQUIRE(config_of({"-k", "Image", "--name", "web"}).control.name_given);
    REQUIRE(config_of({"-k", "Image", "--control", "x.sock"}).control.path == "x.sock");
    REQUIRE_FALSE(config_of({"-k", "Image", "--no-control"}).control.enabled);
    REQUIRE(refusal_of({"--name", "a/b"}).find("--name \"a/b\"") == 0);
    REQUIRE(refusal_of({"--no-control", "--control", "x"}).find("--control") == 0);
}

TEST_CASE("--gdb takes a port or the path of a socket") {
    REQUIRE_FALSE(config_of({"-k", "Image"}).gdb.enabled);
    const MachineConfig tcp = config_of({"-k", "Image", "--gdb", "1234"});
    REQUIRE((tcp.gdb.enabled && tcp.gdb.port == 1234 && tcp.gdb.path.empty() && !tcp.gdb.wait));
    const MachineConfig file = config_of({"-k", "Image", "--gdb", "unix:/run/x", "--gdb-wait"});
    REQUIRE((file.gdb.path == "/run/x" && file.gdb.wait));
    for (const char* bad : {"", "65536", "unix:", "localhost:1", "1x"}) {
        REQUIRE(refusal_of({"--gdb", bad}).find("unix:PATH") != std::string::npos);
    }
    REQUIRE(refusal_of({"--gdb-wait"}).find("--gdb") != std::string::npos);
}
