#include "vmm/control_server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace vmm {

namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kNoDescriptorPause = 1s;
constexpr auto kLookUp = 1000ms;  // how late a time-out may be

void raise_event(int fd) {
    const u64 one = 1;
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof(one));
}

/// Whoever may end this process by a signal may do it here as well.
bool may_control(int fd) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace

ControlServer::ControlServer(ControlListener listener, Hooks hooks)
    : listener_(std::move(listener)),
      hooks_(std::move(hooks)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "control");
}

ControlServer::~ControlServer() {
    remove_control_socket();
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    raise_event(wake_.get());
    thread_.join();
}

void ControlServer::serve(const std::function<Json(const ControlRequest&)>& answer) {
    std::vector<Ticket> tickets;
    {
        const std::lock_guard lock(mutex_);
        tickets.swap(tickets_);
    }
    for (const Ticket& ticket : tickets) {
        std::string text = format_reply(answer(ticket.request));
        {
            const std::lock_guard lock(mutex_);
            answers_.push_back({ticket.connection, std::move(text)});
        }
        raise_event(wake_.get());
    }
}

void ControlServer::run() {
    for (bool last = false; !last;) {
        std::vector<bool> ready;
        bool new_client = false;
        wait(ready, new_client);
        {
            const std::lock_guard lock(mutex_);
            last = stopping_;
        }
        take_answers();
        auto connection = connections_.begin();
        for (const bool now : ready) {
            if (now || !connection->out.empty()) {
                advance(*connection);
            }
            ++connection;
        }
        close_finished();
        if (new_client && !last) {
            accept_clients();
        }
    }
    connections_.clear();
}

void ControlServer::wait(std::vector<bool>& ready, bool& new_client) {
    const bool room = connections_.size() < kMaxConnections || idlest() != connections_.end();
    const bool accepting = room && steady_clock::now() >= accept_again_;
    std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}, {accepting ? listener_.fd() : -1, POLLIN, 0}};
    for (const Connection& connection : connections_) {
        // A client that waits for its answer may go away: that is noticed when the answer is there.
        const short events = connection.out.empty() ? POLLIN : POLLOUT;
        fds.push_back({connection.waiting ? -1 : connection.fd.get(), events, 0});
    }
    const bool idle = accepting && connections_.empty();
    ::poll(fds.data(), fds.size(), idle ? -1 : static_cast<int>(std::chrono::milliseconds(kLookUp).count()));
    u64 count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
    new_client = fds[1].revents != 0;
    for (std::size_t i = 2; i < fds.size(); ++i) {
        ready.push_back(fds[i].revents != 0);
    }
}

// ── Connections ────────────────────────────────────────────────────────────────────────────────────────────

std::list<ControlServer::Connection>::iterator ControlServer::idlest() {
    auto victim = connections_.end();
    for (auto each = connections_.begin(); each != connections_.end(); ++each) {
        if (!each->waiting && (victim == connections_.end() || each->last_use < victim->last_use)) {
            victim = each;
        }
    }
    return victim;
}

bool ControlServer::make_room() {
    if (connections_.size() < kMaxConnections) {
        return true;
    }
    const auto victim = idlest();
    if (victim == connections_.end()) {
        return false;
    }
    connections_.erase(victim);
    return true;
}

void ControlServer::accept_clients() {
    // Where there is no room for more, they wait to be accepted.
    for (std::size_t n = 0; n < kMaxConnections && make_room(); ++n) {
        UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                accept_again_ = steady_clock::now() + kNoDescriptorPause;
            }
            return;
        }
        if (!may_control(fd.get())) {
            continue;
        }
        Connection& connection = connections_.emplace_back();
        connection.id = next_id_++;
        connection.fd = std::move(fd);
        connection.last_use = steady_clock::now();
        // Most clients have sent their request by now.
        advance(connection);
    }
}

void ControlServer::take_answers() {
    std::vector<Answer> answers;
    {
        const std::lock_guard lock(mutex_);
        answers.swap(answers_);
    }
    for (Answer& answer : answers) {
        for (Connection& connection : connections_) {
            if (connection.id == answer.connection) {
                connection.waiting = false;
                connection.out = std::move(answer.text);
                connection.last_use = steady_clock::now();
            }
        }
    }
}

void ControlServer::advance(Connection& connection) {
    write_to(connection);
    if (connection.out.empty() && !connection.waiting) {
        read_from(connection);
    }
    while (!connection.broken && connection.out.empty() && !connection.waiting && handle_line(connection)) {
        write_to(connection);
    }
}

/// Takes what is there, as far as it may belong to the next request.
void ControlServer::read_from(Connection& connection) {
    std::array<char, kMaxRequestBytes> bytes;
    if (connection.ended || connection.in.size() >= bytes.size()) {
        return;
    }
    const ssize_t n =
        ::recv(connection.fd.get(), bytes.data(), bytes.size() - connection.in.size(), MSG_DONTWAIT);
    if (n > 0) {
        connection.in.append(bytes.data(), static_cast<std::size_t>(n));
    } else if (n == 0) {
        connection.ended = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        connection.broken = true;
    }
}

void ControlServer::write_to(Connection& connection) {
    std::size_t sent = 0;
    while (sent < connection.out.size() && !connection.broken) {
        const ssize_t n = ::send(connection.fd.get(), connection.out.data() + sent,
                                 connection.out.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += static_cast<std::size_t>(n);
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) {
            connection.broken = true;
        }
    }
    connection.out.erase(0, sent);
}

bool ControlServer::handle_line(Connection& connection) {
    const std::size_t end = connection.in.find('\n');
    if (end == std::string::npos) {
        if (connection.in.size() >= kMaxRequestBytes) {
            // Where the next request begins cannot be known.
            connection.out =
                format_reply(error_reply(fmt::format("a request has at most {} bytes", kMaxRequestBytes)));
            connection.in.clear();
            connection.ended = true;
            write_to(connection);
        }
        connection.broken |= connection.ended && connection.out.empty();
        return false;
    }
    const auto request = parse_request(std::string_view(connection.in).substr(0, end));
    connection.in.erase(0, end + 1);
    connection.last_use = steady_clock::now();
    if (!request) {
        connection.out = format_reply(error_reply(request.error().text));
        return true;
    }
    if (const auto answer = hooks_.answer_now(*request)) {
        connection.out = format_reply(*answer);
        return true;
    }
    {
        const std::lock_guard lock(mutex_);
        tickets_.push_back({connection.id, *request});
    }
    connection.waiting = true;
    hooks_.wake();
    return true;
}

void ControlServer::close_finished() {
    const Time now = steady_clock::now();
    connections_.remove_if([&](const Connection& connection) {
        return !connection.waiting && (connection.broken || now - connection.last_use > kPatience);
    });
}

}  // namespace vmm
