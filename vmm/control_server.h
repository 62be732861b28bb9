// Serves the control socket on a thread of its own: connections, lines, limits, time-outs. What a request
// means is the caller's business.
//
// Nothing here waits for a client, and no client waits for another: descriptors do not block, a connection
// has one request under way and one answer to send, both bounded, and who is idle or does not take its answer
// is closed.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/control_protocol.h"
#include "vmm/control_socket.h"

namespace vmm {

class ControlServer {
  public:
    struct Hooks {
        /// On the server's thread: the answer to a request that can be given at once; nullopt: it is for
        /// serve().
        std::function<std::optional<Json>(const ControlRequest&)> answer_now;
        /// On the server's thread: there is something for serve().
        std::function<void()> wake;
    };

    static constexpr std::size_t kMaxConnections = 64;
    static constexpr auto kPatience = std::chrono::seconds(30);

    ControlServer(ControlListener listener, Hooks hooks);
    /// Sends what can be sent at once, removes the socket, closes all connections.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Answers the requests that wait, on the caller's thread.
    void serve(const std::function<Json(const ControlRequest&)>& answer);

  private:
    using Time = std::chrono::steady_clock::time_point;

    struct Connection {
        u64 id = 0;
        UniqueFd fd;
        std::string in;        // no complete line, or lines after the one under way
        std::string out;       // the rest of an answer
        bool waiting = false;  // for serve()
        bool ended = false;    // no more input will come
        bool broken = false;   // to be closed
        Time last_use;
    };
    struct Ticket {
        u64 connection = 0;
        ControlRequest request;
    };
    struct Answer {
        u64 connection = 0;
        std::string text;
    };

    void run();
    /// Waits for something to do; afterwards `ready` says for each connection whether it may be read or
    /// written.
    void wait(std::vector<bool>& ready, bool& new_client);
    void accept_clients();
    /// The connection that was idle for longest; end() where all of them wait for serve().
    std::list<Connection>::iterator idlest();
    /// Makes room for one more by closing idlest(). False where that cannot be.
    bool make_room();
    void take_answers();
    /// Reads, answers and writes until the connection has nothing more to do now.
    void advance(Connection& connection);
    void read_from(Connection& connection);
    void write_to(Connection& connection);
    /// Takes the next complete line; false where there is none.
    bool handle_line(Connection& connection);
    void close_finished();

    ControlListener listener_;
    const Hooks hooks_;
    UniqueFd wake_;  // the server's thread
    std::list<Connection> connections_;
    u64 next_id_ = 0;
    Time accept_again_{};  // after the host had no descriptor left

    std::mutex mutex_;
    std::vector<Ticket> tickets_;
    std::vector<Answer> answers_;
    bool stopping_ = false;

    std::thread thread_;
};

}  // namespace vmm
