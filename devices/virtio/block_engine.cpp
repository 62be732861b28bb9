#include "devices/virtio/block_engine.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mm/guest_access.h"
#include "vmm/base/check.h"

namespace vmm::devices::virtio {

namespace {

// Request types (virtio 1.2, 5.2.6).
enum RequestType : u32 { kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13 };

struct RequestHeader {
    u32 type;
    u32 reserved;
    u64 sector;
};
static_assert(sizeof(RequestHeader) == 16);

struct Range {
    u64 sector;
    u32 count;
    u32 flags;
};
static_assert(sizeof(Range) == 16);

constexpr u32 kUnmap = 1;  // flag of write-zeroes
constexpr std::size_t kIdSize = 20;

/// Whether [sector, sector + count) lies within `capacity` sectors.
bool in_bounds(u64 sector, u64 count, u64 capacity) { return sector <= capacity && count <= capacity - sector; }

}  // namespace

Block::Engine::Engine(int fd, disk::Image* image, u64 capacity, const BlockOptions& options)
    : fd_(fd), image_(image), capacity_(capacity), read_only_(options.read_only), threading_(options.threading), id_(options.id) {
    id_.resize(kIdSize);
    for (unsigned n = 0; n < kMaxInFlight; ++n) {
        free_.push_back(std::make_unique<Request>());
    }
    if (threading_ == Threading::inline_call) {
        return;
    }
    wakeup_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    VMM_CHECK(wakeup_);
    uring_ = options.io_uring && image_ == nullptr && ::io_uring_queue_init(2 * kMaxInFlight, &ring_, 0) == 0;
    thread_ = std::thread([this] { run(); });
}

Block::Engine::~Engine() {
    stop();
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            quit_ = true;
        }
        notify();
        thread_.join();
    }
    if (uring_) {
        ::io_uring_queue_exit(&ring_);
    }
}

// ── Called from vCPU threads ───────────────────────────────────────────────────────────────────────────────

void Block::Engine::start(Virtqueue& queue, Notifier& notifier) {
    {
        const std::lock_guard lock(mutex_);
        queue_ = &queue;
        notifier_ = &notifier;
    }
    started_ = true;
    notify();
}

void Block::Engine::notify() {
    if (threading_ == Threading::inline_call) {
        const std::lock_guard lock(mutex_);
        take_requests();
        signal();
        return;
    }
    const u64 one = 1;
    const ssize_t written = ::write(wakeup_.get(), &one, sizeof(one));
    VMM_CHECK(written == sizeof(one));
}

void Block::Engine::stop() {
    if (!started_) {
        return;
    }
    started_ = false;
    if (threading_ == Threading::own_thread) {
        stopping_ = true;
        notify();
    }
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !stopping_; });
    queue_ = nullptr;
    notifier_ = nullptr;
}

// ── The thread ─────────────────────────────────────────────────────────────────────────────────────────────

void Block::Engine::run() {
    if (uring_) {
        arm_wakeup();
    }
    for (;;) {
        wait_for_work();
        const std::lock_guard lock(mutex_);
        if (quit_) {
            return;
        }
        if (uring_) {
            reap();
        }
        if (!stopping_) {
            take_requests();
        }
        signal();
        if (stopping_ && in_flight_.empty()) {
            queue_ = nullptr;  // before anyone can wake the thread again
            notifier_ = nullptr;
            stopping_ = false;
            idle_.notify_all();
        }
    }
}

/// Sleeps until there may be something to do.
void Block::Engine::wait_for_work() {
    if (uring_) {
        const int submitted = ::io_uring_submit_and_wait(&ring_, 1);
        VMM_CHECK(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
        return;
    }
    const ssize_t n = ::read(wakeup_.get(), &wakeup_count_, sizeof(wakeup_count_));
    VMM_CHECK(n == sizeof(wakeup_count_) || errno == EINTR);
}

void Block::Engine::arm_wakeup() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    VMM_CHECK(sqe != nullptr);
    ::io_uring_prep_read(sqe, wakeup_.get(), &wakeup_count_, sizeof(wakeup_count_), 0);
    ::io_uring_sqe_set_data(sqe, nullptr);
}

/// Handles everything that has come out of the ring.
void Block::Engine::reap() {
    io_uring_cqe* cqe = nullptr;
    while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
        auto* request = static_cast<Request*>(::io_uring_cqe_get_data(cqe));
        const int result = cqe->res;
        ::io_uring_cqe_seen(&ring_, cqe);
        if (request == nullptr) {
            arm_wakeup();
            continue;
        }
        BlockStatus status{};
        if (advance(*request, result, status)) {
            complete(*request, status);
        } else {
            submit(*request);
        }
    }
}

/// Takes what the driver has made available, as long as requests are free.
void Block::Engine::take_requests() {
    if (queue_ == nullptr) {
        return;
    }
    do {
        queue_->disable_notifications();
        while (!free_.empty()) {
            Request& request = *free_.back();
            const Virtqueue::Pop popped = queue_->pop(request.chain);
            if (popped == Virtqueue::Pop::broken) {
                notifier_->needs_reset();
                return;
            }
            if (popped == Virtqueue::Pop::empty) {
                break;
            }
            in_flight_.push_back(std::move(free_.back()));
            free_.pop_back();
            begin(request);
            if (stopping_) {
                return;
            }
        }
        // With no request free, completions bring us back here.
    } while (!queue_->enable_notifications() && !free_.empty());
}

void Block::Engine::signal() {
    if (queue_ != nullptr && queue_->interrupt_wanted()) {
        notifier_->buffers_used();
    }
}

// ── One request ────────────────────────────────────────────────────────────────────────────────────────────

void Block::Engine::begin(Request& request) {
    request.operation = Operation::none;
    request.guest_buffers.clear();
    request.next_buffer = 0;
    request.left = 0;
    request.transferred = 0;
    request.guest_status = nullptr;
    const BlockStatus status = prepare(request);
    if (request.operation == Operation::none) {
        complete(request, status);
    } else if (image_ != nullptr) {
        complete(request, run_on_image(request));
    } else if (uring_) {
        submit(request);
    } else {
        run_synchronously(request);
    }
}

BlockStatus Block::Engine::prepare(Request& request) {
    std::vector<Segment>& writable = request.chain.writable;
    if (writable.empty()) {
        return BlockStatus::io_error;  // nowhere to say so
    }
    // The very last byte is the status; the rest of the writable part is data.
    request.guest_status = writable.back().guest_data + writable.back().size - 1;
    if (--writable.back().size == 0) {
        writable.pop_back();
    }
    RequestHeader header{};
    if (request.chain.copy_out(&header, sizeof(header)) != sizeof(header)) {
        return BlockStatus::io_error;
    }
    switch (header.type) {
        case kIn: return prepare_transfer(request, header.sector, false);
        case kOut: return read_only_ ? BlockStatus::io_error : prepare_transfer(request, header.sector, true);
        case kFlush:
            request.operation = Operation::flush;
            return BlockStatus::ok;
        case kGetId: return get_id(request);
        case kDiscard:
        case kWriteZeroes:
            return read_only_ ? BlockStatus::io_error : change_ranges(request, header.type == kWriteZeroes);
        default: return BlockStatus::unsupported;
    }
}

BlockStatus Block::Engine::prepare_transfer(Request& request, u64 sector, bool is_write) {
    u64 skip = is_write ? sizeof(RequestHeader) : 0;
    for (const Segment& segment : is_write ? request.chain.readable : request.chain.writable) {
        const u64 skipped = std::min<u64>(skip, segment.size);
        skip -= skipped;
        if (segment.size > skipped) {
            request.guest_buffers.push_back({segment.guest_data + skipped, segment.size - skipped});
            request.left += segment.size - skipped;
        }
    }
    // 2 GiB: what one used-ring element can count, and more than any driver asks for.
    if (request.left % kSectorSize != 0 || request.left > 0x8000'0000 ||
        !in_bounds(sector, request.left / kSectorSize, capacity_)) {
        return BlockStatus::io_error;
    }
    if (request.left != 0) {
        request.operation = is_write ? Operation::write : Operation::read;
        request.file_offset = sector * kSectorSize;
    }
    return BlockStatus::ok;
}

BlockStatus Block::Engine::get_id(Request& request) {
    request.transferred = static_cast<u32>(request.chain.copy_in(id_.data(), kIdSize));
    return BlockStatus::ok;
}

BlockStatus Block::Engine::change_ranges(const Request& request, bool zero) {
    const u64 size = request.chain.readable_size() - sizeof(RequestHeader);
    if (size % sizeof(Range) != 0 || size / sizeof(Range) > kMaxRanges) {
        return BlockStatus::io_error;
    }
    for (u64 at = 0; at < size; at += sizeof(Range)) {
        Range range{};
        request.chain.copy_out(&range, sizeof(range), sizeof(RequestHeader) + at);
        if ((range.flags & ~(zero ? kUnmap : 0u)) != 0) {
            return BlockStatus::unsupported;
        }
        if (!in_bounds(range.sector, range.count, capacity_)) {
            return BlockStatus::io_error;
        }
        if (range.count == 0) {
            continue;
        }
        const u64 offset = range.sector * kSectorSize;
        const u64 bytes = u64{range.count} * kSectorSize;
        const BlockStatus status =
            zero ? write_zeroes(offset, bytes, (range.flags & kUnmap) != 0) : discard(offset, bytes);
        if (status != BlockStatus::ok) {
            return status;
        }
    }
    return BlockStatus::ok;
}

BlockStatus Block::Engine::discard(u64 offset, u64 size) {
    if (image_ != nullptr) {
        return image_->zero(offset, size) == 0 ? BlockStatus::ok : BlockStatus::io_error;
    }
    const int result = ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                   static_cast<off_t>(size));
    // A discard is a hint: a file system that cannot do it has nothing to do.
    return result == 0 || errno == EOPNOTSUPP ? BlockStatus::ok : BlockStatus::io_error;
}

BlockStatus Block::Engine::write_zeroes(u64 offset, u64 size, bool may_unmap) {
    if (image_ != nullptr) {
        return image_->zero(offset, size) == 0 ? BlockStatus::ok : BlockStatus::io_error;
    }
    const int mode = may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    if (::fallocate(fd_, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size)) == 0) {
        return BlockStatus::ok;
    }
    if (errno != EOPNOTSUPP) {
        return BlockStatus::io_error;
    }
    static constexpr std::array<u8, 1 << 16> kZeroes{};
    while (size != 0) {
        const ssize_t n = ::pwrite(fd_, kZeroes.data(), std::min<u64>(size, kZeroes.size()), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return BlockStatus::io_error;
        }
        offset += static_cast<u64>(n);
        size -= static_cast<u64>(n);
    }
    return BlockStatus::ok;
}

BlockStatus Block::Engine::run_on_image(Request& request) {
    if (request.operation == Operation::flush) {
        return image_->flush() == 0 ? BlockStatus::ok : BlockStatus::io_error;
    }
    u64 offset = request.file_offset;
    for (const iovec& buffer : request.guest_buffers) {
        const std::span<u8> guest(static_cast<u8*>(buffer.iov_base), buffer.iov_len);
        const bool read = request.operation == Operation::read;
        if ((read ? image_->read(offset, guest) : image_->write(offset, guest)) != 0) {
            return BlockStatus::io_error;
        }
        offset += guest.size();
        request.transferred += read ? static_cast<u32>(guest.size()) : 0;
    }
    return BlockStatus::ok;
}

void Block::Engine::submit(Request& request) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
        ::io_uring_submit(&ring_);
        sqe = ::io_uring_get_sqe(&ring_);
    }
    VMM_CHECK(sqe != nullptr);  // the ring has room for twice what may be in flight
    const iovec* buffers = request.guest_buffers.data() + request.next_buffer;
    const auto count = static_cast<unsigned>(request.guest_buffers.size() - request.next_buffer);
    switch (request.operation) {
        case Operation::read: ::io_uring_prep_readv(sqe, fd_, buffers, count, request.file_offset); break;
        case Operation::write: ::io_uring_prep_writev(sqe, fd_, buffers, count, request.file_offset); break;
        case Operation::flush: ::io_uring_prep_fsync(sqe, fd_, IORING_FSYNC_DATASYNC); break;
        case Operation::none: VMM_CHECK(false); break;
    }
    ::io_uring_sqe_set_data(sqe, &request);
}

void Block::Engine::run_synchronously(Request& request) {
    BlockStatus status{};
    for (;;) {
        const iovec* buffers = request.guest_buffers.data() + request.next_buffer;
        const auto count = static_cast<int>(request.guest_buffers.size() - request.next_buffer);
        const auto offset = static_cast<off_t>(request.file_offset);
        ssize_t result = 0;
        switch (request.operation) {
            case Operation::read: result = ::preadv(fd_, buffers, count, offset); break;
            case Operation::write: result = ::pwritev(fd_, buffers, count, offset); break;
            case Operation::flush: result = ::fdatasync(fd_); break;
            case Operation::none: VMM_CHECK(false); break;
        }
        if (advance(request, static_cast<int>(result < 0 ? -errno : result), status)) {
            break;
        }
    }
    complete(request, status);
}

bool Block::Engine::advance(Request& request, int result, BlockStatus& status) {
    if (result == -EINTR || result == -EAGAIN) {
        return false;
    }
    // Nothing transferred: the file has become shorter, or the host's disk is full.
    if (result < 0 || (result == 0 && request.operation != Operation::flush)) {
        status = BlockStatus::io_error;
        return true;
    }
    status = BlockStatus::ok;
    if (request.operation == Operation::flush) {
        return true;
    }
    u64 done = std::min<u64>(static_cast<u64>(result), request.left);
    request.left -= done;
    request.file_offset += done;
    if (request.operation == Operation::read) {
        request.transferred += static_cast<u32>(done);
    }
    while (done != 0) {
        iovec& buffer = request.guest_buffers[request.next_buffer];
        const u64 part = std::min<u64>(done, buffer.iov_len);
        buffer.iov_base = static_cast<u8*>(buffer.iov_base) + part;
        buffer.iov_len -= part;
        done -= part;
        request.next_buffer += buffer.iov_len == 0 ? 1 : 0;
    }
    return request.left == 0;
}

void Block::Engine::complete(Request& request, BlockStatus status) {
    if (request.guest_status != nullptr) {
        mm::store_relaxed(request.guest_status, static_cast<u8>(status));
    }
    queue_->push(request.chain.head, request.transferred + (request.guest_status != nullptr ? 1 : 0));
    const auto mine = std::find_if(in_flight_.begin(), in_flight_.end(),
                                   [&](const auto& other) { return other.get() == &request; });
    free_.push_back(std::move(*mine));
    *mine = std::move(in_flight_.back());
    in_flight_.pop_back();
}

}  // namespace vmm::devices::virtio
