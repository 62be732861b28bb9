// How a scripted run can end, and which exit status says so.
#pragma once

#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

enum class EndKind : u8 {
    ok,              // all commands succeeded
    command_failed,  // one did not; its status is the run's
    usage,
    host_error,
    guest_ended,  // powered off, all CPUs off, or its init could not do its work
    internal_error,
    panic,
    oops,
    stall,
    reset,
    boot_timeout,
    timeout,
    idle_timeout,
    stopped,  // by a signal, vmm stop
};

struct RunEnd {
    EndKind kind = EndKind::ok;
    std::string text;    // one line, without a final full stop; empty for ok
    int command_status = 0;  // of the last command, 0 to 255
};

/// A word such as "boot-timeout".
std::string_view to_string(EndKind kind);

/// The exit status for a kind: part of the interface. Commands have 0 to 255, so these are where they seldom are.
int exit_status(EndKind kind);
int exit_status(const RunEnd& end);

/// How a run without commands has ended that has this status.
EndKind plain_end(int status);

/// A run without commands has the status as it is; one with commands its counterpart.
int exit_status(ExitStatus status, bool scripted);

}  // namespace vmm
