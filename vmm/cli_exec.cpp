#include "vmm/cli_exec.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "vmm/cli_values.h"

namespace vmm {

namespace {

constexpr u64 kMaxSeconds = 31'536'000;

CLI::Option* add_repeatable(CLI::App& run, const char* name, std::vector<std::string>& values, const char* help) {
    return run.add_option(name, values, help)->take_all()->allow_extra_args(false)->group("Commands in the guest");
}

CLI::Option* add_single(CLI::App& run, const char* name, std::optional<std::string>& value, const char* help) {
    return run.add_option(name, value, help)->group("Commands in the guest");
}

Result<CopyPaths> parse_copy(const char* option, const std::string& text) {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
        return fail_usage("{} \"{}\": must be FROM:TO", option, text);
    }
    CopyPaths paths{text.substr(0, colon), text.substr(colon + 1)};
    const std::string& in_guest = std::strcmp(option, "--copy-in") == 0 ? paths.to : paths.from;
    if (in_guest.front() != '/') {
        return fail_usage("{} \"{}\": the guest's path \"{}\" must begin with /", option, text, in_guest);
    }
    return paths;
}

/// NAME=VALUE, or NAME for the value it has here.
Result<std::string> parse_setting(const std::string& text) {
    const std::string name = text.substr(0, text.find('='));
    const auto fits = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    if (name.empty() || !std::all_of(name.begin(), name.end(), fits) ||
        std::isdigit(static_cast<unsigned char>(name.front())) != 0) {
        return fail_usage("--env \"{}\": must be NAME=VALUE, or the NAME of a variable that is set here", text);
    }
    if (name.size() < text.size()) {
        return text;
    }
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
        return fail_usage("--env \"{}\": is not set here; say {}=VALUE", text, name);
    }
    return name + "=" + value;
}

Result<u64> parse_seconds(const char* option, const std::optional<std::string>& text) {
    if (!text) {
        return 0;
    }
    const std::optional<u64> seconds = parse_u64(*text);
    if (!seconds || *seconds < 1 || *seconds > kMaxSeconds) {
        return fail_usage("{} \"{}\": must be a number of seconds from 1 to {}", option, *text, kMaxSeconds);
    }
    return *seconds;
}

Result<> parse_modules(const std::string& text, ExecConfig& exec) {
    std::string_view rest = text;
    const auto take = [&rest] {
        const std::string_view part = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(part.size() + 1, rest.size()));
        return std::string(part);
    };
    exec.modules = take();
    while (!rest.empty()) {
        exec.module_names.push_back(take());
    }
    const auto empty = [](const std::string& name) { return name.empty(); };
    if (exec.modules.empty() || text.ends_with(',') ||
        std::any_of(exec.module_names.begin(), exec.module_names.end(), empty)) {
        return fail_usage("--modules \"{}\": must be DIR[,NAME...]", text);
    }
    return {};
}

Result<> parse_root(const std::string& text, ExecConfig& exec) {
    constexpr std::string_view kType = ",fstype=";
    const auto fits = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    const std::size_t comma = text.rfind(kType);
    exec.root = text.substr(0, comma);
    std::error_code ignored;
    exec.root_image = !std::filesystem::is_directory(exec.root, ignored);
    if (comma != std::string::npos) {
        exec.root_type = text.substr(comma + kType.size());
        if (!exec.root_image || !std::all_of(exec.root_type.begin(), exec.root_type.end(), fits)) {
            exec.root.clear();
        }
    }
    if (exec.root.empty() || exec.root_type.empty()) {
        return fail_usage("--root \"{}\": must be a folder, or a disk image as IMAGE[,fstype=TYPE]", text);
    }
    return {};
}

/// The first option that makes no sense without commands; nullptr: none was given.
const char* lone_option(const RawExecOptions& raw) {
    const struct {
        const char* name;
        bool given;
    } options[] = {{"--env", !raw.environment.empty()}, {"--copy-in", !raw.copy_in.empty()},
                   {"--copy-out", !raw.copy_out.empty()}, {"--cwd", raw.cwd.has_value()},
                   {"--root", raw.root.has_value()}, {"--modules", raw.modules.has_value()},
                   {"--boot-timeout", raw.boot_timeout.has_value()}, {"--idle-timeout", raw.idle_timeout.has_value()},
                   {"--on-oops", raw.on_oops.has_value()}, {"--console-log", raw.console_log.has_value()}};
    for (const auto& option : options) {
        if (option.given) {
            return option.name;
        }
    }
    return nullptr;
}

Result<> parse_texts(const RawExecOptions& raw, ExecConfig& exec) {
    const auto empty = [](const std::string& text) { return text.empty(); };
    if (std::any_of(raw.commands.begin(), raw.commands.end(), empty)) {
        return fail_usage("--exec \"\": must be a command for /bin/sh");
    }
    exec.commands = raw.commands;
    exec.script = raw.script.value_or("");
    for (const std::string& text : raw.environment) {
        VMM_TRY(std::string setting, parse_setting(text));
        exec.environment.push_back(std::move(setting));
    }
    for (const std::string& text : raw.copy_in) {
        VMM_TRY(CopyPaths paths, parse_copy("--copy-in", text));
        exec.copy_in.push_back(std::move(paths));
    }
    for (const std::string& text : raw.copy_out) {
        VMM_TRY(CopyPaths paths, parse_copy("--copy-out", text));
        exec.copy_out.push_back(std::move(paths));
    }
    return {};
}

}  // namespace

void add_exec_options(CLI::App& run, RawExecOptions& raw) {
    add_repeatable(run, "--exec", raw.commands,
                   "Boot, run the command in the guest's /bin/sh, and end with its status; repeated ones run in order until "
                   "one fails")
        ->type_name("COMMAND");
    add_single(run, "--script", raw.script, "Execute this file of the host in the guest, after what --exec says")
        ->type_name("FILE");
    add_repeatable(run, "--env", raw.environment, "Environment of the commands; without a value, the one it has here")
        ->type_name("NAME[=VALUE]");
    add_single(run, "--cwd", raw.cwd, "Working directory of the commands (default /)")->type_name("DIR");
    add_repeatable(run, "--copy-in", raw.copy_in, "Put a file or folder of the host into the guest")->type_name("FROM:TO");
    add_repeatable(run, "--copy-out", raw.copy_out,
                   "Take a file or folder out of the guest when the commands have ended, failed ones too")
        ->type_name("FROM:TO");
    add_single(run, "--root", raw.root,
               "A folder of the host as the guest's root, copied into the guest's memory, or a disk image with a file system "
               "(ext4 unless said otherwise); both stay as they are")
        ->type_name("DIR|IMAGE[,fstype=TYPE]");
    add_single(run, "--modules", raw.modules,
               "The kernel's lib/modules/VERSION: loads drivers of this machine's devices (arm_spe_pmu with --spe), and the "
               "modules named")
        ->type_name("DIR[,NAME...]");
    add_single(run, "--boot-timeout", raw.boot_timeout, "Give up when the guest has not booted after so long")
        ->type_name("SECONDS");
    add_single(run, "--idle-timeout", raw.idle_timeout, "Give up when commands and kernel print nothing for so long")
        ->type_name("SECONDS");
    add_single(run, "--on-oops", raw.on_oops,
               "After an oops, BUG or stall of the guest's kernel: stop the run (default), finish the commands first, or "
               "ignore it")
        ->type_name("stop|finish|ignore");
    run.add_option("--result", raw.result, "Write how the run ended, what it took and what it counted to FILE, as JSON")
        ->type_name("FILE");
    run.add_option("--junit", raw.junit, "The same for CI systems, as JUnit XML")->type_name("FILE");
    add_single(run, "--console-log", raw.console_log, "Write what the guest's console shows to FILE")->type_name("FILE");
}

Result<ExecConfig> parse_exec_options(const RawExecOptions& raw) {
    ExecConfig exec;
    VMM_TRY_VOID(parse_texts(raw, exec));
    if (const char* option = lone_option(raw); option != nullptr && !exec.enabled()) {
        return fail_usage("{}: needs --exec or --script", option);
    }
    if (raw.cwd) {
        if (raw.cwd->empty() || raw.cwd->front() != '/') {
            return fail_usage("--cwd \"{}\": must begin with /", *raw.cwd);
        }
        exec.cwd = *raw.cwd;
    }
    if (raw.root) {
        VMM_TRY_VOID(parse_root(*raw.root, exec));
    }
    if (raw.modules) {
        VMM_TRY_VOID(parse_modules(*raw.modules, exec));
    }
    VMM_TRY(exec.boot_timeout_seconds, parse_seconds("--boot-timeout", raw.boot_timeout));
    VMM_TRY(exec.idle_timeout_seconds, parse_seconds("--idle-timeout", raw.idle_timeout));
    if (raw.on_oops) {
        static constexpr Choice<OnOops> kChoices[] = {
            {"stop", OnOops::stop}, {"finish", OnOops::finish}, {"ignore", OnOops::ignore}};
        VMM_TRY(exec.on_oops, choose("--on-oops", *raw.on_oops, kChoices));
    }
    exec.console_log = raw.console_log.value_or("");
    return exec;
}

bool is_scripted(std::span<const char* const> arguments) {
    return std::any_of(arguments.begin(), arguments.end(), [](std::string_view argument) {
        return argument == "--exec" || argument.starts_with("--exec=") || argument == "--script" ||
               argument.starts_with("--script=");
    });
}

}  // namespace vmm
