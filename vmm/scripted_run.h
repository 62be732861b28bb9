// A run that executes commands in its guest (vmm run --exec): what the guest gets, what it says, and how the run ends.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/host_io/fd_sink.h"
#include "vmm/base/unique_fd.h"
#include "vmm/config.h"
#include "vmm/console_watch.h"
#include "vmm/guest_channel.h"
#include "vmm/guest_input.h"
#include "vmm/run_control.h"
#include "vmm/run_end.h"

namespace vmm {

/// The machine asks it, on its main thread. console() and channel() take bytes from any.
class ScriptedRun {
  public:
    using Clock = std::chrono::steady_clock;

    /// `out` gets the commands' standard output; `wake` is called when check() may have something new to say. Both outlive
    /// the run.
    ScriptedRun(const MachineConfig& config, devices::ByteSink& out, std::function<void()> wake);

    /// Creates the console's log, if there is to be one; before begin().
    Result<> open_log();

    /// What the guest's console prints.
    devices::ByteSink& console() { return console_; }
    /// What the guest's init says.
    devices::ByteSink& channel() { return channel_; }
    /// Commands get what standard input has; `deliver` as for GuestInput takes it to the guest's init.
    void start_input(std::function<std::size_t(std::span<const u8>)> deliver);
    /// Calls `deliver` no more. While the guest does not execute.
    void stop_input();

    /// The guest starts now: timeouts count from here.
    void begin();
    /// Prints what the guest's init could not do; an end when the run shall end.
    std::optional<RunEnd> check();
    /// Whether the guest's init has said everything.
    bool over() const { return channel_.over(); }
    /// For how long check() says the same unless `wake` is called.
    std::chrono::milliseconds patience() const;
    /// The end of a run whose guest has stopped by itself; nullopt where `reason` is none for an end.
    std::optional<RunEnd> end_of_guest(StopReason reason);

    /// As for devices::FdSink.
    void set_limited(bool limited);
    void drain(std::chrono::milliseconds patience);

    GuestChannel::Progress progress() const { return channel_.progress(); }
    Clock::time_point begun() const { return begun_; }
    const ConsoleWatch& watch() const { return console_; }

  private:
    RunEnd end_of_commands(const GuestChannel::Progress& progress) const;
    std::optional<RunEnd> end_by_trouble() const;
    std::optional<RunEnd> end_by_time() const;
    void print_notes();

    const ExecConfig exec_;
    const u64 timeout_seconds_;
    UniqueFd log_file_;
    std::unique_ptr<devices::FdSink> log_;  // nullptr: none
    devices::FdSink err_{2};
    ConsoleWatch console_;
    GuestChannel channel_;
    std::unique_ptr<GuestInput> input_;  // nullptr: none
    Clock::time_point begun_ = Clock::now();
    std::optional<Clock::time_point> trouble_at_;
};

/// One line for people: "command 2 of 3".
std::string command_name(const ExecConfig& exec, std::size_t index);

}  // namespace vmm
