// The socket a debugger connects to, on a thread of its own: one client at a time, packets in, packets out. What a packet
// means is the caller's business; it fetches them with take().
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"
#include "vmm/gdb/packets.h"

namespace vmm::gdb {

/// Where to listen: a TCP port of the loopback interface (0: one the host chooses), or a Unix socket.
struct Address {
    std::string path;  // empty: TCP
    u16 port = 0;
};

/// An open socket; a Unix socket's file goes with it.
class Listener {
  public:
    static Result<Listener> open(const Address& address);
    Listener(Listener&&) noexcept = default;
    Listener& operator=(Listener&&) noexcept = default;
    ~Listener();

    int fd() const { return socket_.get(); }
    /// "localhost:PORT" or the path: what gdb's "target remote" wants.
    const std::string& text() const { return text_; }

  private:
    Listener() = default;

    UniqueFd socket_;
    std::string text_;
    std::string path_;
};

class Server {
  public:
    struct Event {
        enum class Kind : u8 { connected, packet, interrupt, disconnected };
        Kind kind = Kind::packet;
        std::string content;
    };

    /// `wake` is called on the server's thread whenever there is something to take().
    Server(Listener listener, std::function<void()> wake);
    /// Sends what the client takes at once and closes.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    const std::string& address() const { return listener_.text(); }

    bool pending() const;
    /// What has happened since, in order.
    std::vector<Event> take();
    /// To the client that is connected, as a packet; `last`: the connection ends when it is sent. `no_ack`: from now on
    /// nobody acknowledges.
    void send(std::string_view content, bool no_ack, bool last);
    /// Ends the connection.
    void disconnect();

  private:
    void run();
    void accept_client();
    void read_client();
    void write_client();
    void handle(Incoming incoming);
    void announce(Event event);
    void drop_client();
    void wake_thread();

    Listener listener_;
    const std::function<void()> wake_;
    UniqueFd wake_fd_;

    mutable std::mutex mutex_;  // for what follows
    UniqueFd client_;
    PacketParser parser_;
    std::vector<Event> events_;
    std::string out_;
    std::string last_frame_;
    bool no_ack_ = false;
    bool closing_ = false;
    bool stopping_ = false;

    std::thread thread_;
};

}  // namespace vmm::gdb
