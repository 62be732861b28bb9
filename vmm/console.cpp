#include "vmm/console.h"

#include <poll.h>
#include <pthread.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>

namespace vmm {

namespace {

// What restore_terminal() needs; it may run in a failed check or at exit, hence no owner.
termios saved_settings;
std::atomic<int> raw_fd{-1};

constexpr int kRetryMs = 10;

}  // namespace

bool EscapeFilter::feed(std::span<const u8> in, std::vector<u8>& out) {
    for (const u8 byte : in) {
        if (!escaped_) {
            escaped_ = byte == kEscape;
            if (!escaped_) {
                out.push_back(byte);
            }
            continue;
        }
        escaped_ = false;
        if (byte == 'x') {
            return true;
        }
        if (byte != kEscape) {
            out.push_back(kEscape);
        }
        out.push_back(byte);
    }
    return false;
}

void make_terminal_raw(int fd) {
    if (::isatty(fd) == 0 || ::tcgetpgrp(fd) != ::getpgrp() || ::tcgetattr(fd, &saved_settings) != 0) {
        return;
    }
    static const int registered = std::atexit(restore_terminal);
    static_cast<void>(registered);
    raw_fd.store(fd);
    termios raw = saved_settings;
    raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IGNCR | IXON | ISTRIP | BRKINT | PARMRK);
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ECHONL | ISIG | IEXTEN);
    // Output stays processed, so that our own messages look right between the guest's.
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(fd, TCSANOW, &raw);
}

void restore_terminal() {
    const int fd = raw_fd.exchange(-1);
    if (fd >= 0) {
        ::tcsetattr(fd, TCSANOW, &saved_settings);
    }
}

ConsoleInput::ConsoleInput(int fd, std::function<std::size_t(std::span<const u8>)> deliver,
                           std::function<void()> quit)
    : fd_(fd),
      deliver_(std::move(deliver)),
      quit_(std::move(quit)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {
    pthread_setname_np(thread_.native_handle(), "console");
}

ConsoleInput::~ConsoleInput() {
    const u64 one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
    thread_.join();
}

bool ConsoleInput::stopped(int timeout_ms, bool* readable) {
    std::array<pollfd, 2> fds{pollfd{stop_.get(), POLLIN, 0}, pollfd{fd_, POLLIN, 0}};
    const int ready = ::poll(fds.data(), readable == nullptr ? 1 : 2, timeout_ms);
    if (readable != nullptr) {
        *readable = ready > 0 && fds[1].revents != 0;
    }
    return ready > 0 && fds[0].revents != 0;
}

bool ConsoleInput::deliver_all(std::span<const u8> bytes) {
    while (!bytes.empty()) {
        bytes = bytes.subspan(deliver_(bytes));
        if (!bytes.empty() && stopped(kRetryMs, nullptr)) {
            return false;
        }
    }
    return true;
}

void ConsoleInput::run() {
    EscapeFilter filter;
    std::array<u8, 4096> buffer;
    std::vector<u8> typed;
    for (;;) {
        bool readable = false;
        if (stopped(-1, &readable)) {
            return;
        }
        if (!readable) {
            continue;
        }
        const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (got <= 0) {
            return;  // end of input; the guest runs on
        }
        typed.clear();
        const bool quit = filter.feed(std::span(buffer.data(), static_cast<std::size_t>(got)), typed);
        if (!deliver_all(typed)) {
            return;
        }
        if (quit) {
            quit_();
            return;
        }
    }
}

}  // namespace vmm
