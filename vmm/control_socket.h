// Where the control sockets of running guests are, and how they come, are found, and go.
//
// Guests are found by name in one directory of the user's own. A socket nobody listens to is left over from a
// run that was killed; it is removed by whoever meets it. Making and removing happen under a lock on the
// directory itself.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// Names of guests are file names: 1 to 64 letters, digits, '.', '_', '+', '-', and no '.' or '-' in front.
bool valid_guest_name(std::string_view name);

/// $XDG_RUNTIME_DIR/vmm, or /tmp/vmm-UID where that is not set.
std::string control_directory();
/// The socket of a guest in control_directory().
std::string control_path(std::string_view name);

/// The end that a machine listens on. Move-only; the file goes with it.
class ControlListener {
  public:
    /// `path` is taken as it is; its directory exists. Fails where another process listens there, or where
    /// something that is not a socket is in the way.
    static Result<ControlListener> at_path(const std::string& path);
    /// In control_directory(), which is made where it is missing and must be the user's alone. A name of
    /// which a guest runs fails with `in_use` set.
    static Result<ControlListener> for_name(std::string_view name, bool* in_use);

    ControlListener(ControlListener&&) noexcept = default;
    ControlListener& operator=(ControlListener&&) noexcept = default;
    ~ControlListener();

    int fd() const { return socket_.get(); }

  private:
    ControlListener() = default;
    static Result<ControlListener> listen(UniqueFd directory, const std::string& path, bool* in_use);

    UniqueFd socket_;
};

/// Removes the file of this process's listener, if there is one and it still is its own. Idempotent and
/// async-signal-safe: also for the ways out that run no destructors.
void remove_control_socket();

/// A connection to the guest that listens at `path`, and whose process that is.
struct ControlConnection {
    UniqueFd fd;
    pid_t pid = 0;
};
/// Nothing blocks for longer than `timeout`: neither this nor a single send or receive afterwards.
Result<ControlConnection> connect_control(const std::string& path, std::chrono::milliseconds timeout);

/// The names that have a live socket in control_directory(), sorted. Removes stale ones.
std::vector<std::string> running_guests();

}  // namespace vmm
