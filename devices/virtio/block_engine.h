// The I/O side of virtio block: requests from the queue, host I/O, completions. For block.cpp only.
#pragma once

#include <sys/uio.h>

#include <liburing.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "devices/virtio/block.h"

namespace vmm::devices::virtio {

/// Request status (virtio 1.2, 5.2.6).
enum class BlockStatus : u8 { ok = 0, io_error = 1, unsupported = 2 };

class Block::Engine {
  public:
    /// At most this many requests are with the host at a time.
    static constexpr unsigned kMaxInFlight = 256;
    static constexpr u32 kMaxRanges = 64;  // of a discard or write-zeroes request

    /// `image`, where there is one, instead of `fd`: one request at a time then.
    Engine(int fd, disk::Image* image, u64 capacity, const BlockOptions& options);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    bool uses_io_uring() const { return uring_; }
    void start(Virtqueue& queue, Notifier& notifier);
    void notify();
    void stop();

  private:
    enum class Operation : u8 { none, read, write, flush };

    struct Request {
        Chain chain;
        Operation operation = Operation::none;
        std::vector<iovec> guest_buffers;  // what is still to be transferred, from next_buffer on
        std::size_t next_buffer = 0;
        u64 file_offset = 0;
        u64 left = 0;                      // bytes
        u32 transferred = 0;               // bytes written into the chain, without the status
        u8* guest_status = nullptr;
    };

    // The thread.
    void run();
    void wait_for_work();
    void reap();
    void take_requests();
    void arm_wakeup();

    // One request. A prepare function returns the status where that settles it, or sets request.operation.
    void begin(Request& request);
    BlockStatus prepare(Request& request);
    BlockStatus prepare_transfer(Request& request, u64 sector, bool is_write);
    BlockStatus change_ranges(const Request& request, bool zero);
    BlockStatus discard(u64 offset, u64 size);
    BlockStatus write_zeroes(u64 offset, u64 size, bool may_unmap);
    BlockStatus get_id(Request& request);
    /// Runs a request on image_.
    BlockStatus run_on_image(Request& request);
    void submit(Request& request);
    void run_synchronously(Request& request);
    /// Takes the result of a host operation; true when the request has come to its end, with `status` set.
    bool advance(Request& request, int result, BlockStatus& status);
    void complete(Request& request, BlockStatus status);
    void signal();

    const int fd_;
    disk::Image* const image_;  // nullptr: the file
    const u64 capacity_;
    const bool read_only_;
    const Threading threading_;
    std::string id_;

    bool uring_ = false;
    io_uring ring_{};
    UniqueFd wakeup_;         // eventfd
    u64 wakeup_count_ = 0;    // where the ring reads wakeup_ to

    std::vector<std::unique_ptr<Request>> free_;
    std::vector<std::unique_ptr<Request>> in_flight_;

    bool started_ = false;            // for start() and stop(), which come one at a time
    std::atomic<bool> stopping_{false};  // stop() waits for the thread to come to rest

    std::mutex mutex_;            // what follows
    std::condition_variable idle_;
    Virtqueue* queue_ = nullptr;  // nullptr while stopped
    Notifier* notifier_ = nullptr;
    bool quit_ = false;
    std::thread thread_;
};

}  // namespace vmm::devices::virtio
