// Standard input for the commands in a guest: read as the init in the guest asks for it, so that what nobody reads stays where
// it is. Only the init's own buffer and a pipe in the guest fill up ahead of the commands.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <thread>

#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// Whether commands get what `fd` has: something other than a terminal, /dev/null or a closed descriptor.
bool offers_input(int fd);

/// Reads `fd` on a thread of its own until its end, which it tells the guest. Nothing waits for input that does not come.
class GuestInput {
  public:
    /// `deliver` takes bytes for the guest and returns how many it could take; what it leaves is offered again a little
    /// later.
    GuestInput(int fd, std::function<std::size_t(std::span<const u8>)> deliver);
    ~GuestInput();
    GuestInput(const GuestInput&) = delete;
    GuestInput& operator=(const GuestInput&) = delete;

    /// The guest has room for so many bytes (1 to VMM_MAX_INPUT): one record follows; any thread.
    void want(u32 size);

  private:
    void run();
    void wake();
    void wait(int timeout_ms, bool for_input, bool& readable);
    bool deliver_all(std::span<const u8> bytes);

    const int fd_;
    const std::function<std::size_t(std::span<const u8>)> deliver_;
    UniqueFd wakeup_;  // eventfd
    std::atomic<u32> wanted_{0};
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace vmm
