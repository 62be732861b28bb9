// The host's end of what the guest's init says (vmm/guest_init/protocol.h): the commands' output and statuses, and files.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "devices/byte_sink.h"
#include "vmm/copy_sink.h"

namespace vmm {

/// put() comes from the device's thread, the rest from any other. A guest may send anything: what does not fit the protocol
/// ends the conversation.
class GuestChannel final : public devices::ByteSink {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kKeptOutput = 16384;  // bytes of each stream of each command

    struct CommandResult {
        bool ended = false;
        unsigned status = 0;
        u64 nanoseconds = 0;  // in the guest's time
        u64 out_bytes = 0;
        u64 err_bytes = 0;
        std::string out_tail;
        std::string err_tail;
    };
    struct Progress {
        bool hello = false;
        u64 boot_nanoseconds = 0;  // the guest's time when it said hello
        Clock::time_point hello_at;  // ... and the host's
        std::vector<CommandResult> commands;  // those that have begun
        std::vector<CopySink::Copy> copies;
        std::vector<std::string> notes;  // what the guest's init could not do
        bool done = false;
        unsigned status = 0;  // of the last command, or VMM_STATUS_NOT_RUN
        bool broken = false;  // the guest does not keep to the protocol
    };

    /// `out` and `err` get what the commands print. `event` is called whenever done or broken becomes true, and with each
    /// note.
    GuestChannel(devices::ByteSink& out, devices::ByteSink& err, const std::vector<CopyPaths>& copies,
                 std::function<void()> event);

    /// `want` is called with the number of bytes of input that the guest has room for. Without it, asking is no part of the
    /// protocol. Before the guest starts.
    void offer_input(std::function<void(u32)> want) { want_ = std::move(want); }

    void put(std::span<const u8> bytes) override;

    Progress progress() const;
    bool said_hello() const { return hello_.load(std::memory_order_relaxed); }
    /// Notes that were not taken yet.
    std::vector<std::string> take_notes();
    /// done or broken.
    bool over() const { return over_.load(std::memory_order_acquire); }
    Clock::time_point last_output() const { return last_output_.load(std::memory_order_relaxed); }

  private:
    void take_record(u8 type, std::span<const u8> payload);
    bool understand(u8 type, std::span<const u8> payload);
    bool output(u8 type, std::span<const u8> payload);
    void note(std::span<const u8> payload);

    devices::ByteSink& out_;
    devices::ByteSink& err_;
    const std::function<void()> event_;
    std::function<void(u32)> want_;  // empty: there is no input
    std::atomic<Clock::time_point> last_output_{Clock::now()};
    std::atomic<bool> hello_{false};
    std::atomic<bool> over_{false};
    std::vector<u8> waiting_;  // an incomplete record; put()'s thread only

    mutable std::mutex mutex_;
    CopySink sink_;
    Progress progress_;
    std::size_t notes_taken_ = 0;
};

}  // namespace vmm
