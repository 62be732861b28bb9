// A network without rights on the host: TCP, UDP and ICMP echo of the guest become sockets of this process, by libslirp.
//
// The guest sees a small IPv4 network with a gateway that is the host, a DHCP server and a name server.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::devices::net {

/// An IPv4 address in host byte order.
using Ipv4 = u32;

constexpr Ipv4 ipv4(u8 a, u8 b, u8 c, u8 d) {
    return Ipv4{a} << 24 | Ipv4{b} << 16 | Ipv4{c} << 8 | d;
}

/// Connections to the host that the guest takes.
struct Forward {
    bool udp = false;
    Ipv4 host_address = ipv4(127, 0, 0, 1);
    u16 host_port = 0;
    u16 guest_port = 0;
};

struct UserNetworkOptions {
    Ipv4 host = ipv4(192, 168, 33, 1);    // gateway; with host_loopback also 127.0.0.1 of the host
    Ipv4 guest = ipv4(192, 168, 33, 15);  // what DHCP gives the guest, in the same /24
    unsigned mtu = 1500;                  // kMinMtu to kMaxMtu
    bool host_loopback = true;            // the guest may reach what listens on the host's loopback
    bool restricted = false;              // the guest reaches nothing; forwards still work
    std::vector<Forward> forwards;
};

/// Used by one thread at a time. After open(): wait() and dispatch() in turn.
class UserNetwork {
  public:
    static constexpr unsigned kMinMtu = 1280;
    static constexpr unsigned kMaxMtu = 65'520;
    static constexpr std::size_t kMaxFrame = kMaxMtu + 14;
    /// Takes an Ethernet frame for the guest.
    using Receiver = std::function<void(std::span<const u8>)>;

    /// Opens the network and what it listens on.
    static Result<std::unique_ptr<UserNetwork>> open(const UserNetworkOptions& options);
    ~UserNetwork();
    UserNetwork(const UserNetwork&) = delete;
    UserNetwork& operator=(const UserNetwork&) = delete;

    /// Called within send() and dispatch().
    void set_receiver(Receiver receiver);
    /// An Ethernet frame from the guest; any bytes. Longer ones than kMaxFrame are dropped.
    void send(std::span<const u8> frame);
    /// Sleeps until `wakeup_fd` is readable or, where `take_more`, the network has something to do.
    void wait(int wakeup_fd, bool take_more);
    /// Does what wait() found.
    void dispatch();

  private:
    struct State;

    explicit UserNetwork(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

}  // namespace vmm::devices::net
