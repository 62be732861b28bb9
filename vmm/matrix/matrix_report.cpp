#include "vmm/matrix/matrix_report.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "vmm/output_file.h"
#include "vmm/xml.h"

namespace vmm {

namespace {

namespace fs = std::filesystem;

constexpr int kManifestSchema = 1;
constexpr u64 kMaxFile = u64{64} << 20;
constexpr const char* kManifest = "cells.json";
constexpr const char* kCellFiles[] = {"result.json", "console.log", "stdout", "stderr"};

std::string cell_file(const std::string& output, const std::string& cell, const char* file) {
    return output + "/" + cell + "/" + file;
}

std::string read_text(const std::string& path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error || size > kMaxFile) {
        return {};
    }
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string last_line(std::string text) {
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text.substr(text.rfind('\n') + 1).substr(0, 500);
}

/// What a guest printed must not move the cursor of who reads the table.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; },
        ' ');
    return text;
}

void read_commands(const Json& commands, CellResult& cell) {
    for (const Json& command : commands) {
        if (command.contains("stdout")) {
            cell.out = command.at("stdout").at("tail").get<std::string>();
            cell.err = command.at("stderr").at("tail").get<std::string>();
        }
    }
}

void read_result(const Json& result, CellResult& cell) {
    const Json& end = result.at("end");
    cell.kind = end.at("kind").get<std::string>();
    cell.status = end.at("status").get<int>();
    cell.text = end.at("text").is_string() ? end.at("text").get<std::string>() : "";
    cell.seconds = result.at("times").at("seconds").get<f64>();
    read_commands(result.at("commands"), cell);
}

std::string test_case(const std::string& name, const CellResult& result) {
    std::string text = fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", xml(name),
                                   xml(result.name), result.seconds);
    if (result.passed()) {
        return text + "/>\n";
    }
    text += ">\n";
    if (result.kind == "not-run") {
        text += "      <skipped/>\n";
    } else {
        const char* element = result.kind == "command-failed" ? "failure" : "error";
        text += fmt::format("      <{} message=\"{}\" type=\"{}\"/>\n", element, xml(result.text),
                            xml(result.kind));
    }
    if (!result.out.empty()) {
        text += fmt::format("      <system-out>{}</system-out>\n", xml(result.out));
    }
    if (!result.err.empty()) {
        text += fmt::format("      <system-err>{}</system-err>\n", xml(result.err));
    }
    return text + "    </testcase>\n";
}

std::size_t count(const std::vector<CellResult>& results, std::string_view kind) {
    return static_cast<std::size_t>(std::count_if(
        results.begin(), results.end(), [&](const CellResult& result) { return result.kind == kind; }));
}

}  // namespace

std::vector<std::string> cell_arguments(const MatrixPlan& plan, const MatrixCell& cell) {
    std::vector<std::string> arguments = cell.arguments;
    arguments.push_back("--result=" + cell_file(plan.output, cell.name, "result.json"));
    arguments.push_back("--console-log=" + cell_file(plan.output, cell.name, "console.log"));
    return arguments;
}

Result<> prepare_output(const MatrixPlan& plan) {
    Json cells = Json::array();
    std::error_code error;
    for (const MatrixCell& cell : plan.cells) {
        const std::string folder = plan.output + "/" + cell.name;
        fs::create_directories(folder, error);
        if (error) {
            return fail("\"{}\": cannot make this folder: {}", folder, error.message());
        }
        for (const char* file : kCellFiles) {
            fs::remove(cell_file(plan.output, cell.name, file), error);
            if (error) {
                return fail("\"{}\": cannot remove {}: {}", folder, file, error.message());
            }
        }
        cells.push_back(Json{{"name", cell.name}, {"arguments", cell_arguments(plan, cell)}});
    }
    const std::string text = Json{{"schema", kManifestSchema},
                                  {"name", plan.name},
                                  {"directory", plan.directory},
                                  {"cells", std::move(cells)}}
                                 .dump(2, ' ', false, Json::error_handler_t::replace) +
                             "\n";
    return write_file(plan.output + "/" + kManifest, {reinterpret_cast<const u8*>(text.data()), text.size()});
}

CellResult read_cell(const std::string& output, const std::string& cell) {
    CellResult result;
    const std::string path = cell_file(output, cell, "result.json");
    std::error_code error;
    const bool there = fs::exists(path, error);
    try {
        if (there) {
            read_result(Json::parse(read_text(path)), result);
        }
    } catch (const Json::exception&) {
        result = {};
    }
    result.name = cell;
    if (result.kind.empty()) {
        const std::string last = last_line(read_text(cell_file(output, cell, "stderr")));
        result.kind = "no-result";
        result.text = there ? "result.json is damaged" : last.empty() ? "there is no result.json" : last;
    }
    result.text = printable(result.text);
    return result;
}

Result<MatrixPlan> read_manifest(const std::string& output) {
    const std::string path = output + "/" + kManifest;
    MatrixPlan plan;
    plan.output = output;
    try {
        const Json manifest = Json::parse(read_text(path));
        if (manifest.at("schema") == kManifestSchema) {
            plan.name = manifest.at("name").get<std::string>();
            for (const Json& cell : manifest.at("cells")) {
                plan.cells.push_back({cell.at("name").get<std::string>(), {}, 0, 0});
            }
        }
    } catch (const Json::exception&) {
        plan.cells.clear();
    }
    if (plan.cells.empty()) {
        return fail("\"{}\": is not there, or not what vmm matrix has written", path);
    }
    return plan;
}

std::string cell_line(const CellResult& result) {
    return fmt::format("{} {} {:.1f} s{}{}{}", result.passed() ? "PASS" : "FAIL", result.name, result.seconds,
                       result.passed() ? "" : " " + result.kind, result.text.empty() ? "" : ": ",
                       result.text);
}

std::string matrix_table(const std::vector<CellResult>& results, f64 seconds) {
    std::size_t width = 4;
    for (const CellResult& result : results) {
        width = std::max(width, result.name.size());
    }
    std::string text =
        fmt::format("{:<{}}  {:<14} {:>6} {:>8}\n", "CELL", width, "RESULT", "STATUS", "SECONDS");
    for (const CellResult& result : results) {
        const bool ran = result.kind != "no-result" && result.kind != "not-run";
        const std::string status = ran ? std::to_string(result.status) : "-";
        const std::string took = ran ? fmt::format("{:.1f}", result.seconds) : "-";
        text += fmt::format("{:<{}}  {:<14} {:>6} {:>8}", result.name, width, result.kind, status, took);
        text += (result.text.empty() ? "" : "  " + result.text) + "\n";
    }
    const std::size_t passed = count(results, "ok");
    const std::size_t skipped = count(results, "not-run");
    return text + fmt::format("{} cells: {} passed, {} failed, {} not run, {:.1f} s\n", results.size(),
                              passed, results.size() - passed - skipped, skipped, seconds);
}

std::string matrix_junit(const std::string& name, const std::vector<CellResult>& results, f64 seconds) {
    const std::size_t failures = count(results, "command-failed");
    const std::size_t skipped = count(results, "not-run");
    std::string text = fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" "
        "failures=\"{}\" "
        "errors=\"{}\" skipped=\"{}\" time=\"{:.3f}\">\n",
        xml(name), results.size(), failures, results.size() - count(results, "ok") - failures - skipped,
        skipped, seconds);
    for (const CellResult& result : results) {
        text += test_case(name, result);
    }
    return text + "  </testsuite>\n</testsuites>\n";
}

}  // namespace vmm
