// Reads the guest's console along: remembers the last lines, and recognises what Linux prints when it dies or hurts itself.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/byte_sink.h"
#include "vmm/run_end.h"

namespace vmm {

/// What a line of Linux's console says about the kernel: EndKind::panic, oops or stall; nullopt: nothing.
std::optional<EndKind> trouble_in(std::string_view line);

/// put() from any thread, the rest from any other.
class ConsoleWatch final : public devices::ByteSink {
  public:
    static constexpr std::size_t kKeptLines = 400;
    static constexpr std::size_t kMaxLine = 1000;  // longer ones are cut

    using Clock = std::chrono::steady_clock;

    /// `alarm` is called once for each trouble, from put()'s thread.
    /// Stalls and oopses count unless `panics_only`.
    ConsoleWatch(bool panics_only, std::function<void()> alarm);

    /// `sink` gets everything as it is. Before the first put().
    void copy_to(devices::ByteSink* sink) { next_ = sink; }

    void put(std::span<const u8> bytes) override;

    struct Trouble {
        EndKind kind = EndKind::panic;
        std::string line;
        bool complete = false;  // nothing more is to be expected about it
    };
    /// The worst so far: a panic goes before others, else the first.
    std::optional<Trouble> trouble() const;

    /// The last `count` lines, an unfinished one included.
    std::vector<std::string> last_lines(std::size_t count) const;
    /// Lines that warn ("WARNING: CPU: ..."), at most 100.
    std::vector<std::string> warnings() const;
    u64 lines() const;
    Clock::time_point last_output() const { return last_output_.load(std::memory_order_relaxed); }

  private:
    bool end_line();

    devices::ByteSink* next_ = nullptr;
    const bool panics_only_;
    const std::function<void()> alarm_;
    std::atomic<Clock::time_point> last_output_{Clock::now()};
    mutable std::mutex mutex_;
    std::string line_;
    std::deque<std::string> kept_;
    std::vector<std::string> warnings_;
    u64 lines_ = 0;
    std::optional<Trouble> trouble_;
};

}  // namespace vmm
