// The control protocol: one JSON object per line in each direction. README.md, "Control protocol", describes
// it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "spe/profiling_unit.h"
#include "vmm/base/result.h"
#include "vmm/json.h"

namespace vmm {

enum class ControlCommand : u8 { info, stat, stop, pause, resume, debug, balloon, spe_stop, spe_resume };

struct ControlRequest {
    ControlCommand command = ControlCommand::info;
    spe::StopMode mode = spe::StopMode::trap;  // of spe_stop
    std::optional<u64> bytes;                  // of balloon: what the guest is to give in total
};

/// The longest request, its newline included.
inline constexpr std::size_t kMaxRequestBytes = 4096;
inline constexpr unsigned kControlProtocolVersion = 1;

/// One request without its newline. The error says what was wrong with it.
Result<ControlRequest> parse_request(std::string_view line);
/// As parse_request() takes it, with its newline.
std::string format_request(const ControlRequest& request);

/// "trap" or "exit".
std::optional<spe::StopMode> parse_stop_mode(std::string_view text);

Json ok_reply();
Json error_reply(std::string_view text);
/// One line with its newline. Bytes that are not UTF-8 are replaced.
std::string format_reply(const Json& reply);
/// A reply as the client gets it: its members, or the error it carries.
Result<Json> parse_reply(std::string_view line);

}  // namespace vmm
