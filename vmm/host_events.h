// What the main thread waits for while the guest runs: signals, the end of the run, and the passage of time.
#pragma once

#include <chrono>
#include <optional>

#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// Blocks SIGHUP, SIGINT, SIGTERM, SIGQUIT and SIGCONT in the calling thread and all it creates from now on; they
/// arrive here. SIGPIPE is ignored: a closed standard output is an error of write().
class HostEvents {
  public:
    static Result<HostEvents> create();

    /// Waits for a signal, for `fd` to become readable, or for `timeout`. Returns the signal's number, or
    /// nullopt.
    std::optional<int> wait(int fd, std::chrono::milliseconds timeout);

  private:
    UniqueFd signals_;
};

}  // namespace vmm
