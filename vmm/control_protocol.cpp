#include "vmm/control_protocol.h"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

namespace vmm {

namespace {

struct CommandName {
    ControlCommand command;
    std::string_view name;
};

constexpr CommandName kCommands[] = {
    {ControlCommand::info, "info"},         {ControlCommand::stat, "stat"},
    {ControlCommand::stop, "stop"},         {ControlCommand::pause, "pause"},
    {ControlCommand::resume, "resume"},     {ControlCommand::debug, "debug"},
    {ControlCommand::balloon, "balloon"},
    {ControlCommand::spe_stop, "spe-stop"}, {ControlCommand::spe_resume, "spe-resume"},
};

/// nullptr where there is no such member or it is not text.
const std::string* text_member(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

Result<Json> parse_object(std::string_view line) {
    Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
        return fail("not a JSON object");
    }
    return object;
}

std::string accepted_commands() {
    std::string names;
    for (const CommandName& row : kCommands) {
        names += names.empty() ? "" : ", ";
        names += row.name;
    }
    return names;
}

}  // namespace

std::optional<spe::StopMode> parse_stop_mode(std::string_view text) {
    if (text == "trap") {
        return spe::StopMode::trap;
    }
    if (text == "exit") {
        return spe::StopMode::exit;
    }
    return std::nullopt;
}

Result<ControlRequest> parse_request(std::string_view line) {
    VMM_TRY(const Json object, parse_object(line));
    const std::string* name = text_member(object, "command");
    const auto found = std::find_if(std::begin(kCommands), std::end(kCommands), [&](const CommandName& row) {
        return name != nullptr && row.name == *name;
    });
    if (found == std::end(kCommands)) {
        return fail("\"command\" must be one of {}", accepted_commands());
    }
    ControlRequest request{found->command};
    std::size_t known = 1;
    if (request.command == ControlCommand::spe_stop && object.contains("mode")) {
        const std::string* text = text_member(object, "mode");
        const auto mode = text != nullptr ? parse_stop_mode(*text) : std::nullopt;
        if (!mode) {
            return fail("\"mode\" must be \"trap\" or \"exit\"");
        }
        request.mode = *mode;
        ++known;
    }
    if (request.command == ControlCommand::balloon && object.contains("bytes")) {
        if (!object["bytes"].is_number_unsigned()) {
            return fail("\"bytes\" must be a number");
        }
        request.bytes = object["bytes"].get<u64>();
        ++known;
    }
    // Whoever misspells a member shall hear of it.
    if (object.size() != known) {
        return fail("\"{}\" takes \"command\"{} and nothing else", found->name,
                    request.command == ControlCommand::spe_stop  ? ", \"mode\""
                    : request.command == ControlCommand::balloon ? ", \"bytes\""
                                                                 : "");
    }
    return request;
}

std::string format_request(const ControlRequest& request) {
    const auto row = std::find_if(std::begin(kCommands), std::end(kCommands),
                                  [&](const CommandName& each) { return each.command == request.command; });
    Json object{{"command", row->name}};
    if (request.command == ControlCommand::spe_stop) {
        object["mode"] = request.mode == spe::StopMode::exit ? "exit" : "trap";
    }
    if (request.bytes) {
        object["bytes"] = *request.bytes;
    }
    return object.dump() + '\n';
}

Json ok_reply() {
    return Json{{"ok", true}};
}

Json error_reply(std::string_view text) {
    return Json{{"ok", false}, {"error", text}};
}

std::string format_reply(const Json& reply) {
    return reply.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

Result<Json> parse_reply(std::string_view line) {
    VMM_TRY(Json object, parse_object(line));
    const auto ok = object.find("ok");
    if (ok == object.end() || !ok->is_boolean()) {
        return fail("the answer is not one of vmm's");
    }
    if (!ok->get<bool>()) {
        const std::string* text = text_member(object, "error");
        return fail("{}", text != nullptr ? *text : std::string("refused"));
    }
    return object;
}

}  // namespace vmm
