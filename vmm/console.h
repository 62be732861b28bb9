// The host's side of the guest console: raw terminal, escape keys, and the thread that reads standard input.
#pragma once

#include <sys/eventfd.h>

#include <functional>
#include <span>
#include <thread>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

/// Takes Ctrl-A sequences out of what the user types: Ctrl-A x quits, Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-A and
/// anything else is passed on as it is.
class EscapeFilter {
  public:
    /// Appends to `out` what the guest shall get. True: the user wants to quit; the rest of `in` is dropped.
    bool feed(std::span<const u8> in, std::vector<u8>& out);

  private:
    static constexpr u8 kEscape = 1;  // Ctrl-A
    bool escaped_ = false;
};

/// Puts a terminal into raw mode; leaves anything else alone. restore_terminal() undoes it, on every way out.
void make_terminal_raw(int fd);
/// Idempotent and async-signal-safe.
void restore_terminal();

/// Reads `fd` on a thread of its own until the end of the file, which is not an error.
class ConsoleInput {
  public:
    /// `deliver` takes bytes and returns how many it could take; what it leaves is offered again a little
    /// later. `quit` is called once when the user asks for it. Both on the console's thread.
    ConsoleInput(int fd, std::function<std::size_t(std::span<const u8>)> deliver, std::function<void()> quit);
    ~ConsoleInput();
    ConsoleInput(const ConsoleInput&) = delete;
    ConsoleInput& operator=(const ConsoleInput&) = delete;

  private:
    void run();
    bool deliver_all(std::span<const u8> bytes);
    /// True when the destructor wants the thread to end; waits up to `timeout_ms`, with `readable` also for
    /// input.
    bool stopped(int timeout_ms, bool* readable);

    const int fd_;
    const std::function<std::size_t(std::span<const u8>)> deliver_;
    const std::function<void()> quit_;
    UniqueFd stop_;
    std::thread thread_;
};

}  // namespace vmm
