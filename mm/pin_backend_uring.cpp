// io_uring registered buffers: the only long-term pin an unprivileged process can have. One ring, one sparse table; a slot
// holds one range of at most 1 GiB, and an empty iovec frees it.
#include <liburing.h>
#include <sys/mman.h>

#include <vector>

#include "mm/host_limits.h"
#include "mm/pin_backend.h"
#include "vmm/base/check.h"

namespace vmm::mm {

namespace {

// A larger table makes every update of a huge page slower: the kernel searches it for pages it has charged already.
constexpr u32 kSlots = 1024;
constexpr u64 kMaxBytes = u64{1} << 30;

class UringBackend final : public PinBackend {
  public:
    static Result<std::unique_ptr<PinBackend>> open() {
        auto backend = std::make_unique<UringBackend>();
        if (const int error = ::io_uring_queue_init(1, &backend->ring_, 0); error < 0) {
            return fail_errno(-error, "io_uring_setup");
        }
        backend->open_ = true;
        if (const int error = ::io_uring_register_buffers_sparse(&backend->ring_, kSlots); error < 0) {
            return fail_errno(-error, "io_uring: registering a sparse buffer table");
        }
        backend->free_.reserve(kSlots);
        for (u32 slot = kSlots; slot-- > 0;) {
            backend->free_.push_back(slot);
        }
        return backend;
    }

    ~UringBackend() override {
        if (open_) {
            ::io_uring_queue_exit(&ring_);
        }
    }

    PinKind kind() const override { return PinKind::uring; }
    u64 free_slots() const override { return free_.size(); }
    u64 max_bytes_per_slot() const override { return kMaxBytes; }

    bool nests() const override { return true; }
    void prepare(HostRange range) override { ::madvise(range.address, range.bytes, MADV_POPULATE_WRITE); }

    tl::expected<u32, int> pin(HostRange range) override {
        VMM_CHECK(range.bytes != 0 && range.bytes <= kMaxBytes);
        if (free_.empty()) {
            return tl::make_unexpected(ENOSPC);
        }
        const u32 slot = free_.back();
        if (const int result = update(slot, {range.address, range.bytes}); result != 1) {
            return tl::make_unexpected(result < 0 ? -result : EIO);
        }
        free_.pop_back();
        return slot;
    }

    void unpin(u32 slot, HostRange) override {
        VMM_CHECK(update(slot, {nullptr, 0}) == 1);
        free_.push_back(slot);
    }

    u64 charged_bytes() const override { return read_charged_bytes().pinned; }

  private:
    int update(u32 slot, iovec range) {
        return ::io_uring_register_buffers_update_tag(&ring_, slot, &range, nullptr, 1);
    }

    io_uring ring_{};
    bool open_ = false;
    std::vector<u32> free_;
};

}  // namespace

Result<std::unique_ptr<PinBackend>> make_uring_backend() {
    return UringBackend::open();
}

}  // namespace vmm::mm
