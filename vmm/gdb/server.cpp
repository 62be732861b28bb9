#include "vmm/gdb/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "devices/host_io/unix_socket.h"

namespace vmm::gdb {

namespace {

constexpr std::size_t kMaxQueued = 64;          // events; then the client has to wait
constexpr std::size_t kMaxUnsent = 1 << 20;     // bytes
constexpr int kBacklog = 1;

Result<UniqueFd> open_tcp(u16& port) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name.sin_port = htons(port);
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    socklen_t size = sizeof name;
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        ::listen(fd.get(), kBacklog) != 0 ||
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
        return fail_errno(errno, "--gdb \"{}\"", port);
    }
    port = ntohs(name.sin_port);
    return fd;
}

}  // namespace

Result<Listener> Listener::open(const Address& address) {
    Listener listener;
    if (address.path.empty()) {
        u16 port = address.port;
        VMM_TRY(listener.socket_, open_tcp(port));
        listener.text_ = fmt::format("localhost:{}", port);
        return listener;
    }
    auto socket = devices::listen_on_unix_socket(address.path);
    if (!socket) {
        return fail("--gdb \"unix:{}\": {}", address.path, socket.error().text);
    }
    listener.socket_ = *std::move(socket);
    listener.text_ = listener.path_ = address.path;
    return listener;
}

Listener::~Listener() {
    if (socket_ && !path_.empty()) {
        ::unlink(path_.c_str());
    }
}

Server::Server(Listener listener, std::function<void()> wake)
    : listener_(std::move(listener)), wake_(std::move(wake)), wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "gdb");
}

Server::~Server() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_thread();
    thread_.join();
}

bool Server::pending() const {
    const std::lock_guard lock(mutex_);
    return !events_.empty();
}

std::vector<Server::Event> Server::take() {
    std::vector<Event> taken;
    {
        const std::lock_guard lock(mutex_);
        taken = std::exchange(events_, {});
    }
    wake_thread();  // there may be more to read
    return taken;
}

void Server::send(std::string_view content, bool no_ack, bool last) {
    {
        const std::lock_guard lock(mutex_);
        if (!client_) {
            return;
        }
        last_frame_ = frame(content);
        out_ += last_frame_;
        no_ack_ = no_ack;
        closing_ = last;
        write_client();
    }
    wake_thread();
}

void Server::disconnect() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    wake_thread();
}

void Server::wake_thread() {
    const u64 one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof one);
}

void Server::run() {
    for (;;) {
        std::array<pollfd, 3> fds{};
        {
            const std::lock_guard lock(mutex_);
            if (closing_ && out_.empty()) {
                drop_client();
            }
            if (stopping_) {
                drop_client();
                return;
            }
            const bool room = events_.size() < kMaxQueued && out_.size() < kMaxUnsent;
            const int wanted = (room ? POLLIN : 0) | (out_.empty() ? 0 : POLLOUT);
            fds = {{{wake_fd_.get(), POLLIN, 0},
                    {listener_.fd(), POLLIN, 0},
                    {wanted != 0 ? client_.get() : -1, static_cast<short>(wanted), 0}}};
        }
        if (::poll(fds.data(), fds.size(), -1) < 0) {
            continue;
        }
        u64 count = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_.get(), &count, sizeof count);
        bool news = false;
        {
            const std::lock_guard lock(mutex_);
            const std::size_t before = events_.size();
            if ((fds[2].revents & POLLOUT) != 0) {
                write_client();
            }
            if ((fds[2].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
                read_client();
            }
            if (fds[1].revents != 0) {
                accept_client();
            }
            news = events_.size() > before;
        }
        if (news) {
            wake_();
        }
    }
}

void Server::accept_client() {
    UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd || client_) {
        return;  // one at a time
    }
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // not for Unix sockets, which need none
    client_ = std::move(fd);
    parser_ = PacketParser();
    out_.clear();
    last_frame_.clear();
    no_ack_ = closing_ = false;
    announce({Event::Kind::connected, {}});
}

void Server::read_client() {
    std::array<u8, 4096> bytes{};
    const ssize_t got = ::recv(client_.get(), bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        drop_client();
        return;
    }
    std::vector<Incoming> incoming;
    parser_.feed(std::span(bytes).first(static_cast<std::size_t>(got)), incoming);
    for (Incoming& one : incoming) {
        handle(std::move(one));
    }
}

void Server::handle(Incoming incoming) {
    switch (incoming.kind) {
        case Incoming::Kind::packet:
            out_ += no_ack_ ? "" : "+";
            announce({Event::Kind::packet, std::move(incoming.content)});
            break;
        case Incoming::Kind::damaged: out_ += no_ack_ ? "" : "-"; break;
        case Incoming::Kind::ack: break;
        case Incoming::Kind::nack:
            if (!no_ack_ && out_.size() < kMaxUnsent) {
                out_ += last_frame_;
            }
            break;
        case Incoming::Kind::interrupt: announce({Event::Kind::interrupt, {}}); break;
    }
}

void Server::write_client() {
    while (!out_.empty() && client_) {
        const ssize_t sent = ::send(client_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                out_.clear();  // reading will say that it is gone
            }
            return;
        }
        out_.erase(0, static_cast<std::size_t>(sent));
    }
}

void Server::announce(Event event) {
    events_.push_back(std::move(event));
}

void Server::drop_client() {
    if (client_) {
        client_.reset();
        out_.clear();
        announce({Event::Kind::disconnected, {}});
    }
    closing_ = false;
}

}  // namespace vmm::gdb
