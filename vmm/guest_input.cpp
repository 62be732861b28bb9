#include "vmm/guest_input.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "vmm/base/check.h"
#include "vmm/guest_init/protocol.h"

namespace vmm {

namespace {

constexpr int kRetryMs = 10;

/// As read(), but others who share a pipe with us and are faster do not make us wait, where the kernel can tell.
ssize_t read_what_is_there(int fd, std::span<u8> to) {
    const iovec buffer{to.data(), to.size()};
    const ssize_t size = ::preadv2(fd, &buffer, 1, -1, RWF_NOWAIT);
    if (size >= 0 || (errno != EOPNOTSUPP && errno != EAGAIN && errno != ENOSYS)) {
        return size;
    }
    pollfd ready{fd, POLLIN, 0};
    struct stat info {};
    const bool file = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);  // EAGAIN: it is not in the page cache
    if (errno == EAGAIN && !file && ::poll(&ready, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return ::read(fd, to.data(), to.size());
}

}  // namespace

bool offers_input(int fd) {
    struct stat info {};
    const bool null = ::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
    return info.st_mode != 0 && !null && ::isatty(fd) == 0;
}

GuestInput::GuestInput(int fd, std::function<std::size_t(std::span<const u8>)> deliver)
    : fd_(fd),
      deliver_(std::move(deliver)),
      wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {
    VMM_CHECK(wakeup_);
    pthread_setname_np(thread_.native_handle(), "input");
}

GuestInput::~GuestInput() {
    stopping_ = true;
    wake();
    thread_.join();
}

void GuestInput::want(u32 size) {
    wanted_ = size;
    wake();
}

void GuestInput::wake() {
    const u64 one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wakeup_.get(), &one, sizeof(one));
}

/// Until there is input, if that is of interest, or someone wants something, or the time is over.
void GuestInput::wait(int timeout_ms, bool for_input, bool& readable) {
    std::array<pollfd, 2> fds{pollfd{wakeup_.get(), POLLIN, 0}, pollfd{for_input ? fd_ : -1, POLLIN, 0}};
    readable = ::poll(fds.data(), fds.size(), timeout_ms) > 0 && fds[1].revents != 0;
    u64 count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wakeup_.get(), &count, sizeof(count));
}

bool GuestInput::deliver_all(std::span<const u8> bytes) {
    while (!stopping_) {
        bytes = bytes.subspan(deliver_(bytes));
        if (bytes.empty()) {
            return true;
        }
        bool ignored = false;
        wait(kRetryMs, false, ignored);  // a guest that asks and does not take
    }
    return false;
}

void GuestInput::run() {
    std::array<u8, sizeof(vmm_record) + VMM_MAX_INPUT> buffer{};
    const std::span payload = std::span(buffer).subspan(sizeof(vmm_record));
    while (!stopping_) {
        const u32 wanted = wanted_;
        bool readable = false;
        wait(-1, wanted != 0, readable);
        if (!readable || stopping_) {
            continue;
        }
        ssize_t size = read_what_is_there(fd_, payload.first(std::min<std::size_t>(wanted, payload.size())));
        if (size < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        size = std::max<ssize_t>(size, 0);  // what cannot be read is at its end
        wanted_ = 0;
        const vmm_record record{{VMM_MAGIC_0, VMM_MAGIC_1}, VMM_INPUT, 0, static_cast<u32>(size)};
        std::memcpy(buffer.data(), &record, sizeof(record));
        if (!deliver_all(std::span(buffer).first(sizeof(record) + static_cast<std::size_t>(size))) || size == 0) {
            return;
        }
    }
}

}  // namespace vmm
