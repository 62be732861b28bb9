// The commands that talk to running guests: list, stat, stop, pause, resume, debug, balloon, spe.
#pragma once

#include <optional>
#include <string>

#include "vmm/control_protocol.h"

namespace vmm {

struct ManageCommand {
    enum class Action : u8 {
        list,
        stat,
        stop,
        pause,
        resume,
        debug,
        balloon,
        spe_stop,
        spe_resume
    } action = Action::list;
    std::string name;     // of one guest; or
    bool all = false;     // every guest of this user; or
    std::string control;  // the socket of one
    bool json = false;
    spe::StopMode mode = spe::StopMode::trap;
    std::optional<u64> bytes;  // of balloon
};

/// Prints the outcome on standard output. An error is the one line for the user; with `all`, guests after the
/// one that failed are still served.
Result<> run_manage(const ManageCommand& command);

/// The text form of `stat`: one line "path value" for every number, text and flag.
std::string flatten(const Json& value);

}  // namespace vmm
