#include "vmm/run_end.h"

#include <array>

#include "vmm/base/check.h"

namespace vmm {

namespace {

struct EndRow {
    EndKind kind;
    std::string_view name;
    int status;
};

constexpr std::array kEnds{
    EndRow{EndKind::ok, "ok", 0},
    EndRow{EndKind::command_failed, "command-failed", 1},  // if it has no status of its own
    EndRow{EndKind::usage, "usage", 222},
    EndRow{EndKind::host_error, "host-error", 223},
    EndRow{EndKind::guest_ended, "guest-ended", 224},
    EndRow{EndKind::internal_error, "internal-error", 225},
    EndRow{EndKind::panic, "panic", 226},
    EndRow{EndKind::oops, "oops", 227},
    EndRow{EndKind::stall, "stall", 228},
    EndRow{EndKind::reset, "reset", 229},
    EndRow{EndKind::boot_timeout, "boot-timeout", 230},
    EndRow{EndKind::timeout, "timeout", 231},
    EndRow{EndKind::idle_timeout, "idle-timeout", 232},
    EndRow{EndKind::stopped, "stopped", 233},
};

const EndRow& row_of(EndKind kind) {
    const EndRow& row = kEnds.at(static_cast<std::size_t>(kind));
    VMM_CHECK(row.kind == kind);
    return row;
}

}  // namespace

std::string_view to_string(EndKind kind) { return row_of(kind).name; }

int exit_status(EndKind kind) { return row_of(kind).status; }

int exit_status(const RunEnd& end) {
    return end.kind == EndKind::command_failed && end.command_status != 0 ? end.command_status
                                                                          : exit_status(end.kind);
}

EndKind plain_end(int status) {
    switch (static_cast<ExitStatus>(status)) {
        case ExitStatus::ok: return EndKind::ok;
        case ExitStatus::usage: return EndKind::usage;
        case ExitStatus::host_error: return EndKind::host_error;
        case ExitStatus::guest_error: return EndKind::guest_ended;
        case ExitStatus::timeout: return EndKind::timeout;
        case ExitStatus::internal_error: return EndKind::internal_error;
        case ExitStatus::signal_base: break;
    }
    return EndKind::stopped;
}

int exit_status(ExitStatus status, bool scripted) {
    if (!scripted) {
        return static_cast<int>(status);
    }
    switch (status) {
        case ExitStatus::ok: return exit_status(EndKind::ok);
        case ExitStatus::usage: return exit_status(EndKind::usage);
        case ExitStatus::host_error: return exit_status(EndKind::host_error);
        case ExitStatus::guest_error: return exit_status(EndKind::guest_ended);
        case ExitStatus::internal_error: return exit_status(EndKind::internal_error);
        case ExitStatus::timeout: return exit_status(EndKind::timeout);
        case ExitStatus::signal_base: return exit_status(EndKind::stopped);
    }
    return exit_status(EndKind::internal_error);
}

}  // namespace vmm
