#include "devices/host_io/fd_sink.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace vmm::devices {

namespace {

constexpr auto kGather = std::chrono::microseconds(500);

/// A pipe that is writable takes this much without blocking.
constexpr std::size_t kChunk = 4096;

/// Writes all of `bytes`; false when the descriptor is of no use any more, or not ready although `abandoned`.
bool write_all(int fd, std::span<const u8> bytes, const std::atomic<bool>& abandoned) {
    while (!bytes.empty()) {
        pollfd wait{fd, POLLOUT, 0};
        if (::poll(&wait, 1, 100) <= 0) {
            if (abandoned) {
                return false;
            }
            continue;
        }
        const ssize_t n = ::write(fd, bytes.data(), std::min(bytes.size(), kChunk));
        if (n > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        } else if (n >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return false;
        }
    }
    return true;
}

}  // namespace

FdSink::FdSink(int fd, std::size_t limit) : fd_(fd), limit_(limit), thread_([this] { run(); }) {}

FdSink::~FdSink() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    work_.notify_one();
    thread_.join();
}

void FdSink::put(std::span<const u8> bytes) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return failed_ || abandoned_ || !limited_ || waiting_.size() < limit_; });
    if (failed_ || (limited_ && waiting_.size() >= limit_)) {
        return;
    }
    const bool was_idle = waiting_.empty() && !writing_;
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    lock.unlock();
    if (was_idle) {
        work_.notify_one();
    }
}

void FdSink::flush() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return failed_ || (waiting_.empty() && !writing_); });
}

bool FdSink::flush_for(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return room_.wait_for(lock, timeout, [&] { return failed_ || (waiting_.empty() && !writing_); });
}

void FdSink::set_limited(bool limited) {
    const std::lock_guard lock(mutex_);
    limited_ = limited;
    room_.notify_all();
}

void FdSink::abandon() {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    room_.notify_all();
}

void FdSink::run() {
    std::vector<u8> batch;
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) {
            return;
        }
        // Guests print byte by byte: a short wait turns many small writes into one, and spares the guest the
        // wake-ups.
        work_.wait_for(lock, kGather, [&] { return stopping_; });
        batch.clear();
        batch.swap(waiting_);
        writing_ = true;
        lock.unlock();
        const bool written = write_all(fd_, batch, abandoned_);
        lock.lock();
        writing_ = false;
        if (!written) {
            failed_ = true;
            waiting_.clear();
        }
        room_.notify_all();
    }
}

}  // namespace vmm::devices
