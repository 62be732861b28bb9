#include "vmm/host_events.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <array>

namespace vmm {

Result<HostEvents> HostEvents::create() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGCONT}) {
        sigaddset(&set, signal);
    }
    if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
        return fail_errno(error, "cannot block signals");
    }
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);  // a file of the host that may not grow further is an error of the write
    HostEvents events;
    events.signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!events.signals_) {
        return fail_errno(errno, "cannot receive signals");
    }
    return events;
}

std::optional<int> HostEvents::wait(int fd, std::chrono::milliseconds timeout) {
    std::array<pollfd, 2> fds{pollfd{signals_.get(), POLLIN, 0}, pollfd{fd, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), static_cast<int>(timeout.count())) <= 0 || fds[0].revents == 0) {
        return std::nullopt;
    }
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) {
        return std::nullopt;
    }
    return static_cast<int>(info.ssi_signo);
}

}  // namespace vmm
