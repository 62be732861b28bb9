// A ByteSink that writes to a file descriptor from a thread of its own, so that the guest never waits for a
// terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "devices/byte_sink.h"

namespace vmm::devices {

class FdSink final : public ByteSink {
  public:
    /// Writes to `fd` (not owned). At most `limit` bytes wait to be written; when the reader of `fd` is
    /// slower than that, put() blocks.
    explicit FdSink(int fd, std::size_t limit = 1 << 20);
    /// Writes what is left, then ends the thread.
    ~FdSink() override;

    void put(std::span<const u8> bytes) override;

    /// Blocks until everything put so far has been written (or the descriptor has failed).
    void flush();
    /// As flush(), but for `timeout` at most. False where it was not enough.
    bool flush_for(std::chrono::milliseconds timeout);

    /// Without a limit put() does not block, whoever reads or does not: for a moment in which those who put have to come
    /// back. Nothing is lost.
    void set_limited(bool limited);

    /// For when the run has to end although nobody reads: from now on, what the descriptor does not take at
    /// once is dropped, and nothing blocks any more.
    void abandon();

  private:
    void run();

    const int fd_;
    const std::size_t limit_;
    std::mutex mutex_;
    std::condition_variable work_;  // bytes to write, or stopping
    std::condition_variable room_;  // bytes were written
    std::vector<u8> waiting_;
    bool writing_ = false;
    bool failed_ = false;
    bool stopping_ = false;
    bool limited_ = true;
    std::atomic<bool> abandoned_{false};
    std::thread thread_;
};

}  // namespace vmm::devices
