#include "devices/host_io/host_port.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "devices/host_io/unix_socket.h"
#include "vmm/base/log.h"

namespace vmm::devices {

Result<std::unique_ptr<HostPort>> HostPort::open_file(const std::string& path) {
    std::unique_ptr<HostPort> port(new HostPort(path));
    port->file_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
    if (!port->file_) {
        return errno == ENXIO ? fail("nobody reads this pipe") : fail_errno(errno, "cannot open for writing");
    }
    return port;
}

Result<std::unique_ptr<HostPort>> HostPort::open_socket(const std::string& path) {
    std::unique_ptr<HostPort> port(new HostPort(path));
    VMM_TRY(port->listener_, listen_on_unix_socket(path));
    return port;
}

HostPort::~HostPort() {
    if (listener_) {
        ::unlink(path_.c_str());
    }
}

pollfd HostPort::interest(bool reads, bool writes) const {
    if (file_) {
        return {writes ? file_.get() : -1, POLLOUT, 0};  // a pipe whose reader has gone would report it for ever
    }
    if (!client_) {
        return {listener_.get(), POLLIN, 0};
    }
    const int events = (reads && !input_ended_ ? POLLIN : 0) | (writes ? POLLOUT : 0);
    return {hangup_ ? -1 : client_.get(), static_cast<short>(events), 0};
}

void HostPort::take_events(short events) {
    if (events == 0 || file_) {
        return;
    }
    if (!client_) {
        client_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    } else if ((events & (POLLHUP | POLLERR)) != 0) {
        hangup_ = true;
        char byte = 0;
        if (input_ended_ || ::recv(client_.get(), &byte, 1, MSG_PEEK) <= 0) {
            disconnect();  // and nothing is left to be read
        }
    }
}

void HostPort::disconnect() {
    client_.reset();
    input_ended_ = false;
    hangup_ = false;
}

std::size_t HostPort::write(std::span<const u8> bytes) {
    if (!connected() || failed_) {
        return bytes.size();
    }
    const ssize_t size = file_ ? ::write(file_.get(), bytes.data(), bytes.size())
                               : ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size >= 0) {
        return static_cast<std::size_t>(size);
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    if (file_) {
        failed_ = true;
        log("virtio").warn("console port {}: what the guest writes is lost: {}", path_, std::strerror(errno));
    }
    return bytes.size();  // of a client that has gone poll will tell
}

std::size_t HostPort::read(std::span<u8> to) {
    if (!client_ || input_ended_) {
        return 0;
    }
    const ssize_t size = ::recv(client_.get(), to.data(), to.size(), 0);
    if (size > 0) {
        return static_cast<std::size_t>(size);
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR) && !hangup_) {
        return 0;
    }
    if (hangup_ || size < 0) {
        disconnect();
    } else {
        input_ended_ = true;
    }
    return 0;
}

}  // namespace vmm::devices
