#include "vmm/manage.h"

#include <sys/socket.h>

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "vmm/control_socket.h"

namespace vmm {

namespace {

using namespace std::chrono_literals;

constexpr auto kListPatience = 2s;  // for a process that is stopped itself
constexpr auto kPatience = 30s;     // a machine may take this long to pause
constexpr std::size_t kMaxReply = 64 << 20;

/// One guest to talk to.
struct Target {
    std::string name;
    std::string path;
};

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
        text += text.empty() ? "" : ", ";
        text += name;
    }
    return text;
}

Result<> send_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return fail_errno(errno, "cannot send the request");
        }
        text.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
    return {};
}

/// The next line without its newline; an empty one at the end of the connection.
Result<std::string> receive_line(int fd) {
    std::string line;
    std::array<char, 4096> bytes;
    while (line.size() < kMaxReply) {
        const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? fail("it does not answer") : fail_errno(errno, "no answer");
        }
        if (n == 0) {
            return std::string();
        }
        line.append(bytes.data(), static_cast<std::size_t>(n));
        if (line.back() == '\n') {
            line.pop_back();
            return line;
        }
    }
    return fail("the answer is too long");
}

Result<Json> ask(const ControlConnection& connection, ControlRequest request) {
    VMM_TRY_VOID(send_all(connection.fd.get(), format_request(request)));
    VMM_TRY(const std::string line, receive_line(connection.fd.get()));
    if (line.empty()) {
        return fail("it has ended");
    }
    return parse_reply(line);
}

Result<std::vector<Target>> targets_of(const ManageCommand& command, std::string_view verb) {
    if (!command.control.empty()) {
        return std::vector<Target>{{command.control, command.control}};
    }
    std::vector<Target> targets;
    const std::vector<std::string> running = running_guests();
    for (const std::string& name : running) {
        if (command.all || name == command.name) {
            targets.push_back({name, control_path(name)});
        }
    }
    if (targets.empty() && !command.all) {
        return fail("{} \"{}\": no guest of that name runs ({})", verb, command.name,
                    running.empty() ? "none does" : "running: " + joined(running));
    }
    return targets;
}

// ── list ───────────────────────────────────────────────────────────────────────────────────────────────────

std::string uptime_text(f64 uptime) {
    const u64 seconds = static_cast<u64>(uptime);
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/// name, pid, state and uptime; nothing but name, pid and "unresponsive" where the process does not answer.
Json list_entry(const std::string& name) {
    Json entry{{"name", name}};
    auto connection = connect_control(control_path(name), kListPatience);
    if (!connection) {
        return {};  // it ended meanwhile
    }
    const auto info = ask(*connection, ControlRequest{});
    if (!info) {
        entry["pid"] = connection->pid;
        entry["state"] = "unresponsive";
        return entry;
    }
    for (const char* member : {"pid", "state", "reason", "uptime_seconds"}) {
        if (info->contains(member)) {
            entry[member] = (*info)[member];
        }
    }
    return entry;
}

void print_list(bool json) {
    Json guests = Json::array();
    for (const std::string& name : running_guests()) {
        if (Json entry = list_entry(name); !entry.is_null()) {
            guests.push_back(std::move(entry));
        }
    }
    if (json) {
        fmt::print("{}\n", guests.dump(2));
        return;
    }
    fmt::print("{:>7} {:<20} {:<12} {:>10}\n", "PID", "NAME", "STATE", "UPTIME");
    for (const Json& guest : guests) {
        const f64 uptime = guest.value("uptime_seconds", 0.0);
        fmt::print("{:>7} {:<20} {:<12} {:>10}\n", guest.value("pid", 0), guest.value("name", ""),
                   guest.value("state", ""), uptime_text(uptime));
    }
}

// ── The others ─────────────────────────────────────────────────────────────────────────────────────────────

struct ActionRow {
    ManageCommand::Action action;
    ControlCommand command;
    const char* verb;  // in errors
    const char* done;  // after "Guest NAME"; nullptr: the answer itself is printed
    const char* no_change;
};

constexpr ActionRow kActions[] = {
    {ManageCommand::Action::stat, ControlCommand::stat, "stat", nullptr, nullptr},
    {ManageCommand::Action::stop, ControlCommand::stop, "stop", "stopped", nullptr},
    {ManageCommand::Action::pause, ControlCommand::pause, "pause", "paused", "is already paused."},
    {ManageCommand::Action::resume, ControlCommand::resume, "resume", "resumed", "is still running."},
    {ManageCommand::Action::debug, ControlCommand::debug, "debug", nullptr, nullptr},
    {ManageCommand::Action::balloon, ControlCommand::balloon, "balloon", nullptr, nullptr},
    {ManageCommand::Action::spe_stop, ControlCommand::spe_stop, "spe stop", "has stopped profiling", nullptr},
    {ManageCommand::Action::spe_resume, ControlCommand::spe_resume, "spe resume", "profiles again", nullptr},
};

const ActionRow& row_of(ManageCommand::Action action) {
    for (const ActionRow& row : kActions) {
        if (row.action == action) {
            return row;
        }
    }
    return kActions[0];
}

void print_answer(const ManageCommand& command, const ActionRow& row, const std::string& name, Json answer) {
    if (row.command == ControlCommand::debug) {
        const std::string text = answer.value("text", "");
        std::fwrite(text.data(), 1, text.size(), stdout);
    } else if (row.done == nullptr) {
        answer.erase("ok");
        fmt::print("{}", command.json ? answer.dump(2) + '\n' : flatten(answer));
    } else {
        const bool changed = answer.value("changed", true);
        fmt::print("Guest {} {}\n", name, changed || row.no_change == nullptr ? row.done : row.no_change);
    }
}

Result<> serve_target(const ManageCommand& command, const ActionRow& row, const Target& target) {
    const auto named = [&](const Error& error) {
        return fail("{} \"{}\": {}", row.verb, target.name, error.text);
    };
    auto connection = connect_control(target.path, kPatience);
    if (!connection) {
        return named(connection.error());
    }
    auto answer = ask(*connection, {row.command, command.mode, command.bytes});
    if (!answer) {
        return named(answer.error());
    }
    if (row.command == ControlCommand::stop) {
        // The name is free, and the files are closed, when the connection is.
        if (const auto end = receive_line(connection->fd.get()); !end) {
            return named(end.error());
        }
    }
    print_answer(command, row, target.name, *std::move(answer));
    return {};
}

void flatten_into(const Json& value, const std::string& path, std::string& out) {
    if (!value.is_structured()) {
        out += path + ' ' + (value.is_string() ? value.get<std::string>() : value.dump()) + '\n';
        return;
    }
    for (const auto& item : value.items()) {
        flatten_into(item.value(), path.empty() ? item.key() : path + '.' + item.key(), out);
    }
}

}  // namespace

std::string flatten(const Json& value) {
    std::string out;
    flatten_into(value, "", out);
    return out;
}

Result<> run_manage(const ManageCommand& command) {
    if (command.action == ManageCommand::Action::list) {
        print_list(command.json);
        return {};
    }
    const ActionRow& row = row_of(command.action);
    VMM_TRY(const std::vector<Target> targets, targets_of(command, row.verb));
    Result<> result;
    for (const Target& target : targets) {
        if (auto served = serve_target(command, row, target); !served) {
            if (!result) {
                std::fprintf(stderr, "vmm: %s\n", result.error().text.c_str());
            }
            result = std::move(served);
        }
    }
    return result;
}

}  // namespace vmm
