#include "vmm/matrix/matrix_plan.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include <toml++/toml.h>

#include "vmm/control_socket.h"

namespace vmm {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxCells = 10'000;

struct AxisRow {
    const char* key;
    bool required;
};
constexpr std::array kAxes{AxisRow{"kernels", true}, AxisRow{"cpu-models", false}, AxisRow{"spe", false},
                           AxisRow{"commands", true}};

// What the matrix itself says to each run.
constexpr std::array<std::string_view, 5> kOwnOptions{"name", "control", "result", "junit", "console-log"};
// Options whose value begins with a path of the host, where ~/ stands for $HOME.
constexpr std::array<std::string_view, 10> kPathOptions{"kernel", "initrd", "root",    "modules",  "script",
                                                        "disk",   "9p",     "copy-in", "kallsyms", "vmlinux"};
// Options whose value begins with a file to write; of --copy-out it is the second part.
constexpr std::array<std::string_view, 3> kOutputOptions{"dump-dtb", "spe-host-trace", "copy-out"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

struct Setting {
    std::vector<std::string> values;
    bool is_flag = false;
    toml::source_position at;
};
using Settings = std::map<std::string, Setting>;

struct AxisValue {
    std::string name;
    Settings settings;
    toml::source_position at;
};

using Axes = std::array<std::vector<AxisValue>, kAxes.size()>;
using Choice = std::array<const AxisValue*, kAxes.size()>;  // nullptr: the file does not have this axis

/// One [[exclude]]: for each axis the names it holds for; empty: all.
using Exclusion = std::array<std::set<std::string>, kAxes.size()>;

class Loader {
  public:
    Loader(const std::string& file, const std::string& output, const HostFacts& host)
        : file_(file), output_(output), host_(host), options_(run_options()) {}

    Result<MatrixPlan> load();

  private:
    template <class... Args>
    tl::unexpected<Error> wrong(const toml::source_position& at, fmt::format_string<Args...> format,
                                Args&&... args) const {
        std::string text = fmt::format(format, std::forward<Args>(args)...);
        const auto not_shown = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; };
        std::replace_if(text.begin(), text.end(), not_shown, '?');
        return fail_usage("{}:{}:{}: {}", file_, at.line, at.column, text);
    }
    Result<> read_top(const toml::table& top);
    Result<> read_axis(const toml::node& node, std::size_t axis);
    Result<AxisValue> read_value(const toml::table& table, const char* axis) const;
    Result<Settings> read_settings(const toml::table& table, bool named) const;
    Result<Setting> read_setting(const std::string& key, const toml::node& node) const;
    Result<std::string> read_text(const std::string& key, const toml::node& node) const;
    Result<> read_exclusions(const toml::node& node);
    Result<> read_exclusion(const std::string& key, const toml::node& node, Exclusion& exclusion) const;
    bool excluded(const Choice& choice) const;
    Result<MatrixCell> make_cell(const Choice& choice) const;
    std::string argument(const std::string& cell, const std::string& key, const std::string& value) const;
    Result<> make_cells(MatrixPlan& plan) const;

    std::string file_, output_, name_;
    HostFacts host_;
    std::vector<RunOption> options_;
    Settings common_;
    Axes axes_;
    std::vector<Exclusion> exclusions_;
};

std::string home_of(const std::string& value) {
    const char* home = std::getenv("HOME");
    return value.starts_with("~/") && home != nullptr ? home + value.substr(1) : value;
}

Result<std::string> Loader::read_text(const std::string& key, const toml::node& node) const {
    if (const auto text = node.value_exact<std::string>()) {
        if (text->find('\0') != std::string::npos) {
            return wrong(node.source().begin, "\"{}\": must not contain a NUL", key);
        }
        return *text;
    }
    if (const auto number = node.value_exact<std::int64_t>()) {
        return std::to_string(*number);
    }
    return wrong(node.source().begin, "\"{}\": must be a string or an integer", key);
}

Result<Setting> Loader::read_setting(const std::string& key, const toml::node& node) const {
    const auto option = std::find_if(options_.begin(), options_.end(),
                                     [&](const RunOption& each) { return each.name == key; });
    const toml::source_position at = node.source().begin;
    if (contains(kOwnOptions, key)) {
        return wrong(at, "\"{}\": vmm matrix gives each run its own --{}", key, key);
    }
    if (option == options_.end()) {
        return wrong(at, "\"{}\": is not an option of 'vmm run' (long names, without --)", key);
    }
    Setting setting{{}, option->flag, at};
    if (option->flag) {
        const auto on = node.value_exact<bool>();
        if (!on) {
            return wrong(at, "\"{}\": must be true or false", key);
        }
        setting.values.assign(*on ? 1 : 0, "");
        return setting;
    }
    const toml::array* several = node.as_array();
    if (several == nullptr) {
        VMM_TRY(std::string text, read_text(key, node));
        setting.values.push_back(std::move(text));
        return setting;
    }
    if (!option->repeatable) {
        return wrong(at, "\"{}\": takes one value, not an array", key);
    }
    for (const toml::node& each : *several) {
        VMM_TRY(std::string text, read_text(key, each));
        setting.values.push_back(std::move(text));
    }
    return setting;
}

Result<Settings> Loader::read_settings(const toml::table& table, bool named) const {
    Settings settings;
    for (const auto& [key, node] : table) {
        const std::string name(key.str());
        if (named && name == "name") {
            continue;
        }
        VMM_TRY(Setting setting, read_setting(name, node));
        settings.emplace(name, std::move(setting));
    }
    return settings;
}

Result<AxisValue> Loader::read_value(const toml::table& table, const char* axis) const {
    const toml::node* name = table.get("name");
    if (name == nullptr) {
        return wrong(table.source().begin, "[[{}]]: needs a name", axis);
    }
    AxisValue value;
    value.at = table.source().begin;
    VMM_TRY(value.name, read_text("name", *name));
    if (!valid_guest_name(value.name)) {
        return wrong(
            name->source().begin,
            "name \"{}\": must be 1 to 64 letters, digits or . _ + -, and begin with a letter, digit, _ or +",
            value.name);
    }
    VMM_TRY(value.settings, read_settings(table, true));
    return value;
}

Result<> Loader::read_axis(const toml::node& node, std::size_t axis) {
    const char* key = kAxes[axis].key;
    const toml::array* tables = node.as_array();
    if (tables == nullptr || tables->empty() || !tables->is_homogeneous(toml::node_type::table)) {
        return wrong(node.source().begin, "\"{}\": must be tables that begin with [[{}]]", key, key);
    }
    for (const toml::node& each : *tables) {
        VMM_TRY(AxisValue value, read_value(*each.as_table(), key));
        for (const AxisValue& other : axes_[axis]) {
            if (other.name == value.name) {
                return wrong(value.at, "[[{}]]: there is another \"{}\" in line {}", key, value.name,
                             other.at.line);
            }
        }
        axes_[axis].push_back(std::move(value));
    }
    return {};
}

Result<> Loader::read_exclusion(const std::string& key, const toml::node& node, Exclusion& exclusion) const {
    std::size_t axis = 0;
    while (axis < kAxes.size() && key != kAxes[axis].key) {
        ++axis;
    }
    if (axis == kAxes.size()) {
        return wrong(node.source().begin, "[[exclude]]: \"{}\" is none of kernels, cpu-models, spe, commands",
                     key);
    }
    const auto add = [&](const toml::node& each) -> Result<> {
        VMM_TRY(const std::string name, read_text(key, each));
        const auto same = [&](const AxisValue& value) { return value.name == name; };
        if (std::none_of(axes_[axis].begin(), axes_[axis].end(), same)) {
            return wrong(each.source().begin, "[[exclude]]: there is no [[{}]] with the name \"{}\"", key,
                         name);
        }
        exclusion[axis].insert(name);
        return {};
    };
    const toml::array* several = node.as_array();
    if (several == nullptr) {
        return add(node);
    }
    if (several->empty()) {
        return wrong(node.source().begin, "[[exclude]]: \"{}\" is empty", key);
    }
    for (const toml::node& each : *several) {
        VMM_TRY_VOID(add(each));
    }
    return {};
}

Result<> Loader::read_exclusions(const toml::node& node) {
    const toml::array* tables = node.as_array();
    if (tables == nullptr || !tables->is_homogeneous(toml::node_type::table)) {
        return wrong(node.source().begin, "\"exclude\": must be tables that begin with [[exclude]]");
    }
    for (const toml::node& each : *tables) {
        Exclusion exclusion;
        for (const auto& [key, value] : *each.as_table()) {
            VMM_TRY_VOID(read_exclusion(std::string(key.str()), value, exclusion));
        }
        if (each.as_table()->empty()) {
            return wrong(each.source().begin, "[[exclude]]: would exclude every cell");
        }
        exclusions_.push_back(std::move(exclusion));
    }
    return {};
}

Result<> Loader::read_top(const toml::table& top) {
    for (const auto& [name, node] : top) {
        const std::string_view key = name.str();
        const auto axis =
            std::find_if(kAxes.begin(), kAxes.end(), [&](const AxisRow& row) { return key == row.key; });
        if (axis != kAxes.end()) {
            VMM_TRY_VOID(read_axis(node, static_cast<std::size_t>(axis - kAxes.begin())));
        } else if (key == "name") {
            VMM_TRY(name_, read_text("name", node));
        } else if (key == "run" && node.is_table()) {
            VMM_TRY(common_, read_settings(*node.as_table(), false));
        } else if (key == "run") {
            return wrong(node.source().begin, "\"run\": must be a table that begins with [run]");
        } else if (key != "exclude") {
            return wrong(node.source().begin,
                         "\"{}\": must be one of name, run, kernels, cpu-models, spe, commands, exclude",
                         key);
        }
    }
    for (std::size_t axis = 0; axis < kAxes.size(); ++axis) {
        if (kAxes[axis].required && axes_[axis].empty()) {
            return wrong({1, 1}, "needs at least one [[{}]]", kAxes[axis].key);
        }
    }
    const toml::node* exclude = top.get("exclude");
    return exclude == nullptr ? Result<>() : read_exclusions(*exclude);
}

bool Loader::excluded(const Choice& choice) const {
    return std::any_of(exclusions_.begin(), exclusions_.end(), [&](const Exclusion& exclusion) {
        for (std::size_t axis = 0; axis < kAxes.size(); ++axis) {
            if (!exclusion[axis].empty() && !exclusion[axis].contains(choice[axis]->name)) {
                return false;
            }
        }
        return true;
    });
}

/// --KEY=VALUE; relative names of files to write lead into the cell's folder.
std::string Loader::argument(const std::string& cell, const std::string& key,
                             const std::string& value) const {
    std::string text = contains(kPathOptions, key) ? home_of(value) : value;
    if (contains(kOutputOptions, key)) {
        const std::size_t colon = key == "copy-out" ? value.find(':') : std::string::npos;
        const std::size_t path = colon == std::string::npos ? 0 : colon + 1;
        if (path < value.size() && value[path] != '/' && (key != "copy-out" || path != 0)) {
            text.insert(path, output_ + "/" + cell + "/");
        }
    }
    return "--" + key + "=" + text;
}

Result<MatrixCell> Loader::make_cell(const Choice& choice) const {
    MatrixCell cell;
    Settings settings = common_;
    toml::source_position at;
    for (const AxisValue* value : choice) {
        if (value == nullptr) {
            continue;
        }
        cell.name += (cell.name.empty() ? "" : "/") + value->name;
        at = value->at;
        for (const auto& [key, setting] : value->settings) {
            settings[key] = setting;
        }
    }
    if (!settings.contains("exec") && !settings.contains("script")) {
        return wrong(at, "[[commands]] \"{}\": needs exec or script", choice.back()->name);
    }
    cell.arguments.emplace_back("run");
    for (const auto& [key, setting] : settings) {
        for (const std::string& value : setting.values) {
            cell.arguments.push_back(setting.is_flag ? "--" + key : argument(cell.name, key, value));
        }
    }
    std::vector<const char*> arguments;
    for (const std::string& each : cell.arguments) {
        arguments.push_back(each.c_str());
    }
    auto command = parse_command_line(arguments, host_);
    if (command && command->kind == Command::Kind::run) {
        cell.cpus = command->config.cpus;
        cell.memory = command->config.memory;
        return cell;
    }
    const std::string text = command ? "asks for help" : command.error().text;
    for (const auto& [key, setting] : settings) {
        if (text.starts_with("--" + key + " ") || text.starts_with("--" + key + ":")) {
            at = setting.at;
        }
    }
    return wrong(at, "{} (cell {})", text, cell.name);
}

Result<> Loader::make_cells(MatrixPlan& plan) const {
    std::size_t total = 1;
    for (const auto& values : axes_) {
        total *= std::max<std::size_t>(values.size(), 1);
        if (total > kMaxCells) {
            return wrong({1, 1}, "more than {} cells", kMaxCells);
        }
    }
    for (std::size_t n = 0; n < total; ++n) {
        Choice choice{};
        std::size_t rest = n;
        for (std::size_t axis = kAxes.size(); axis-- > 0;) {
            if (const auto& values = axes_[axis]; !values.empty()) {
                choice[axis] = &values[rest % values.size()];
                rest /= values.size();
            }
        }
        if (!excluded(choice)) {
            VMM_TRY(MatrixCell cell, make_cell(choice));
            plan.cells.push_back(std::move(cell));
        }
    }
    if (plan.cells.empty()) {
        return wrong({1, 1}, "[[exclude]] leaves no cell");
    }
    return {};
}

Result<MatrixPlan> Loader::load() {
    toml::table top;
    std::error_code error;
    if (fs::is_directory(file_, error)) {
        return fail_usage("{}: is a folder", file_);
    }
    try {
        top = toml::parse_file(file_);
    } catch (const toml::parse_error& wrong_text) {
        const toml::source_position at = wrong_text.source().begin;
        if (!at) {
            return fail_usage("{}: cannot be read", file_);
        }
        return wrong(at, "{}", wrong_text.description());
    }
    VMM_TRY_VOID(read_top(top));
    MatrixPlan plan;
    const fs::path path = fs::absolute(file_, error);
    plan.name = name_.empty() ? path.stem().string() : name_;
    plan.directory = path.parent_path().string();
    plan.output = output_;
    VMM_TRY_VOID(make_cells(plan));
    return plan;
}

}  // namespace

Result<MatrixPlan> load_matrix(const std::string& file, const std::string& output, const HostFacts& host) {
    return Loader(file, output, host).load();
}

}  // namespace vmm
