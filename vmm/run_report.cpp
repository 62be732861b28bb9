#include "vmm/run_report.h"

#include <unistd.h>

#include <ctime>
#include <filesystem>

#include <fmt/chrono.h>

#include "vmm/output_file.h"
#include "vmm/scripted_run.h"
#include "vmm/xml.h"

#ifndef VMM_VERSION
#define VMM_VERSION "unknown"
#endif

namespace vmm {

namespace {

constexpr int kSchemaVersion = 1;
constexpr std::size_t kShownLines = 100;

std::string timestamp(std::chrono::system_clock::time_point time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

Json text_or_null(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

f64 to_seconds(u64 nanoseconds) {
    return static_cast<f64>(nanoseconds) / 1e9;
}

Json guest_of(const MachineConfig& config, const RunReport& report) {
    return Json{{"name", config.name},
                {"kernel", config.kernel},
                {"kernel_format", text_or_null(report.kernel_format)},
                {"initrd", text_or_null(config.initrd)},
                {"root", text_or_null(config.exec.root)},
                {"command_line", kernel_command_line(config)},
                {"cpus", config.cpus},
                {"memory_bytes", config.memory},
                {"cpu_model", config.cpu_model},
                {"clock", config.clock == ClockKind::insn ? "insn" : "host"},
                {"pmu", config.pmu},
                {"spe", config.spe.enabled}};
}

std::size_t wanted_commands(const ExecConfig& exec) {
    return exec.commands.size() + (exec.script.empty() ? 0 : 1);
}

const std::string& command_text(const ExecConfig& exec, std::size_t index) {
    return index < exec.commands.size() ? exec.commands[index] : exec.script;
}

Json commands_of(const ExecConfig& exec, const GuestChannel::Progress& progress) {
    Json commands = Json::array();
    for (std::size_t n = 0; n < wanted_commands(exec); ++n) {
        Json row{{n < exec.commands.size() ? "command" : "script", command_text(exec, n)},
                 {"state", "not-run"},
                 {"status", nullptr}};
        if (n < progress.commands.size()) {
            const GuestChannel::CommandResult& result = progress.commands[n];
            row["state"] = result.ended ? "ended" : "interrupted";
            if (result.ended) {
                row["status"] = result.status;
                row["seconds"] = to_seconds(result.nanoseconds);
            }
            row["stdout"] = Json{{"bytes", result.out_bytes}, {"tail", result.out_tail}};
            row["stderr"] = Json{{"bytes", result.err_bytes}, {"tail", result.err_tail}};
        }
        commands.push_back(std::move(row));
    }
    return commands;
}

Json artifacts_of(const GuestChannel::Progress& progress) {
    Json artifacts = Json::array();
    for (const CopySink::Copy& copy : progress.copies) {
        artifacts.push_back(Json{{"guest", copy.paths.from},
                                 {"host", text_or_null(copy.host_path)},
                                 {"complete", copy.ended && copy.error.empty()},
                                 {"files", copy.files},
                                 {"bytes", copy.bytes},
                                 {"error", text_or_null(copy.error)}});
    }
    return artifacts;
}

Json console_of(const ExecConfig& exec, const ConsoleWatch* console) {
    if (console == nullptr) {
        return nullptr;
    }
    return Json{{"lines", console->lines()},
                {"warnings", console->warnings()},
                {"last_lines", console->last_lines(kShownLines)},
                {"log", text_or_null(exec.console_log)}};
}

std::string element(const char* name, const std::string& message, const std::string& type, const std::string& text) {
    return fmt::format("      <{} message=\"{}\" type=\"{}\">{}</{}>\n", name, xml(message), xml(type), xml(text), name);
}

std::string lines_of(const ConsoleWatch* console) {
    std::string text;
    for (const std::string& line : console == nullptr ? std::vector<std::string>{} : console->last_lines(kShownLines)) {
        text += line + "\n";
    }
    return text;
}

/// Collects test cases and counts what became of them.
struct Suite {
    std::string cases;
    unsigned tests = 0, failures = 0, errors = 0, skipped = 0;

    void add(const std::string& suite, const std::string& name, f64 seconds, const std::string& content) {
        ++tests;
        cases += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", xml(suite), xml(name), seconds);
        cases += content.empty() ? "/>\n" : fmt::format(">\n{}    </testcase>\n", content);
    }
};

/// The test case of a command. True where it shows why the run ended as it did.
bool add_command(const MachineConfig& config, const RunReport& report, std::size_t index, Suite& suite) {
    const std::string& name = command_text(config.exec, index);
    if (index >= report.progress.commands.size()) {
        ++suite.skipped;
        suite.add(config.name, name, 0, "      <skipped/>\n");
        return false;
    }
    const GuestChannel::CommandResult& result = report.progress.commands[index];
    std::string content;
    if (!result.ended) {
        ++suite.errors;
        content = element("error", report.end.text, std::string(to_string(report.end.kind)), lines_of(report.console));
    } else if (result.status != 0) {
        ++suite.failures;
        content = element("failure", fmt::format("ended with status {}", result.status), "command-failed", result.err_tail);
    }
    if (!result.out_tail.empty()) {
        content += fmt::format("      <system-out>{}</system-out>\n", xml(result.out_tail));
    }
    if (!result.err_tail.empty()) {
        content += fmt::format("      <system-err>{}</system-err>\n", xml(result.err_tail));
    }
    suite.add(config.name, name, to_seconds(result.nanoseconds), content);
    return !result.ended || result.status != 0;
}

}  // namespace

Json to_json(const MachineConfig& config, const RunReport& report) {
    Json statistics = report.statistics;
    Json guest_time = report.progress.hello ? Json(to_seconds(report.progress.boot_nanoseconds)) : Json();
    return Json{{"schema", kSchemaVersion},
                {"version", VMM_VERSION},
                {"end", Json{{"kind", to_string(report.end.kind)},
                             {"status", report.status},
                             {"text", text_or_null(report.end.text)}}},
                {"guest", guest_of(config, report)},
                {"times", Json{{"started", timestamp(report.started)},
                               {"seconds", report.seconds},
                               {"boot_seconds", report.boot_seconds ? Json(*report.boot_seconds) : Json()},
                               {"boot_guest_seconds", std::move(guest_time)}}},
                {"commands", commands_of(config.exec, report.progress)},
                {"artifacts", artifacts_of(report.progress)},
                {"notes", report.progress.notes},
                {"console", console_of(config.exec, report.console)},
                {"statistics", std::move(statistics)}};
}

std::string to_junit(const MachineConfig& config, const RunReport& report) {
    Suite suite;
    const bool bad = report.end.kind != EndKind::ok;
    bool explained = !bad;
    if (config.exec.enabled()) {
        std::string content;
        if (!report.progress.hello) {
            ++suite.errors;
            content = element("error", report.end.text, std::string(to_string(report.end.kind)), lines_of(report.console));
            explained = true;
        }
        suite.add(config.name, "boot", report.boot_seconds.value_or(report.seconds), content);
        for (std::size_t n = 0; n < wanted_commands(config.exec); ++n) {
            explained |= add_command(config, report, n, suite);
        }
    } else {
        explained = false;
    }
    if (!explained) {
        std::string content;
        if (bad) {
            ++suite.errors;
            content = element("error", report.end.text, std::string(to_string(report.end.kind)), lines_of(report.console));
        }
        suite.add(config.name, config.exec.enabled() ? "end" : "run", config.exec.enabled() ? 0 : report.seconds, content);
    }
    const std::string counts =
        fmt::format("tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3f}\"", suite.tests,
                    suite.failures, suite.errors, suite.skipped, report.seconds);
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" {} timestamp=\"{}\">\n{}"
        "  </testsuite>\n</testsuites>\n",
        xml(config.name), counts, timestamp(report.started), suite.cases);
}

Result<> check_reports(const MachineConfig& config) {
    const std::pair<const char*, const std::string*> files[] = {{"--result", &config.result}, {"--junit", &config.junit}};
    for (const auto& [option, path] : files) {
        const std::filesystem::path parent = std::filesystem::path(*path).parent_path();
        if (!path->empty() && ::access(parent.empty() ? "." : parent.c_str(), W_OK | X_OK) != 0) {
            return fail_errno(errno, "{} \"{}\": cannot create", option, *path);
        }
        std::error_code error;
        if (!path->empty() && std::filesystem::is_directory(*path, error)) {
            return fail("{} \"{}\": is a folder", option, *path);
        }
    }
    return {};
}

Result<> write_reports(const MachineConfig& config, const RunReport& report) {
    const auto write = [](const char* option, const std::string& path, const std::string& text) -> Result<> {
        if (path.empty()) {
            return {};
        }
        if (auto written = write_file(path, {reinterpret_cast<const u8*>(text.data()), text.size()}); !written) {
            return fail("{} \"{}\": {}", option, path, written.error().text);
        }
        return {};
    };
    if (!config.result.empty()) {
        VMM_TRY_VOID(write("--result", config.result,
                           to_json(config, report).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
    }
    if (!config.junit.empty()) {
        VMM_TRY_VOID(write("--junit", config.junit, to_junit(config, report)));
    }
    return {};
}

}  // namespace vmm
