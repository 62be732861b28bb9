#include "devices/net/user_network.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <list>

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include "vmm/base/log.h"

namespace vmm::devices::net {

namespace {

constexpr u32 kLongestWait = 1000;  // milliseconds

s64 now_ns() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

in_addr address_of(Ipv4 address) {
    return in_addr{htonl(address)};
}

struct Timer {
    SlirpTimerCb callback = nullptr;
    void* opaque = nullptr;
    s64 due_ms = -1;  // -1: not armed
};

struct EventName {
    int slirp;
    short host;
};
constexpr EventName kEvents[] = {{SLIRP_POLL_IN, POLLIN},
                                 {SLIRP_POLL_OUT, POLLOUT},
                                 {SLIRP_POLL_PRI, POLLPRI},
                                 {SLIRP_POLL_ERR, POLLERR},
                                 {SLIRP_POLL_HUP, POLLHUP}};

short to_host(int events) {
    int found = 0;
    for (const EventName& name : kEvents) {
        found |= (events & name.slirp) != 0 ? name.host : 0;
    }
    // These are told without being asked for.
    return static_cast<short>(found & ~(POLLERR | POLLHUP));
}

int to_slirp(short events) {
    int found = 0;
    for (const EventName& name : kEvents) {
        found |= (events & name.host) != 0 ? name.slirp : 0;
    }
    return found;
}

}  // namespace

struct UserNetwork::State {
    ~State() {
        if (slirp != nullptr) {
            ::slirp_cleanup(slirp);
        }
    }

    /// Runs the timers that are due; returns milliseconds until the next, at most `limit`.
    u32 run_timers(u32 limit) {
        const s64 now = now_ns() / 1'000'000;
        for (Timer& timer : timers) {
            if (timer.due_ms < 0) {
                continue;
            }
            if (timer.due_ms <= now) {
                timer.due_ms = -1;
                timer.callback(timer.opaque);
            } else {
                limit = static_cast<u32>(std::min<s64>(limit, timer.due_ms - now));
            }
        }
        return limit;
    }

    static const SlirpCb kCallbacks;

    Slirp* slirp = nullptr;
    Receiver receiver;
    std::list<Timer> timers;
    std::vector<pollfd> polled;  // the first one is whoever wakes us
    bool filled = false;         // libslirp has put its descriptors in
    bool failed = false;         // poll() did
};

// What libslirp asks of us; `opaque` is the State.
const SlirpCb UserNetwork::State::kCallbacks = {
    .send_packet = [](const void* bytes, size_t size, void* opaque) -> ssize_t {
        const auto& state = *static_cast<UserNetwork::State*>(opaque);
        if (state.receiver) {
            state.receiver({static_cast<const u8*>(bytes), size});
        }
        return static_cast<ssize_t>(size);
    },
    .guest_error = [](const char* text, void*) { VMM_GUEST_LOG("net", "{}", text); },
    .clock_get_ns = [](void*) -> int64_t { return now_ns(); },
    .timer_new = [](SlirpTimerCb callback, void* callback_opaque, void* opaque) -> void* {
        auto& all = static_cast<UserNetwork::State*>(opaque)->timers;
        return &all.emplace_back(Timer{callback, callback_opaque, -1});
    },
    .timer_free =
        [](void* timer, void* opaque) {
            static_cast<UserNetwork::State*>(opaque)->timers.remove_if(
                [&](const Timer& other) { return &other == timer; });
        },
    .timer_mod = [](void* timer, int64_t due_ms, void*) { static_cast<Timer*>(timer)->due_ms = due_ms; },
    // Descriptors are collected anew for every wait.
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

UserNetwork::UserNetwork(std::unique_ptr<State> state) : state_(std::move(state)) {}

UserNetwork::~UserNetwork() = default;

Result<std::unique_ptr<UserNetwork>> UserNetwork::open(const UserNetworkOptions& options) {
    constexpr Ipv4 kMask = ipv4(255, 255, 255, 0);
    constexpr Ipv4 kNameServer = 3;  // in the network
    const Ipv4 network = options.host & kMask;
    Ipv4 name_server = network | kNameServer;
    while (name_server == options.host || name_server == options.guest) {
        ++name_server;
    }
    SlirpConfig config{};
    config.version = 4;
    config.restricted = options.restricted;
    config.in_enabled = true;
    config.vnetwork = address_of(network);
    config.vnetmask = address_of(kMask);
    config.vhost = address_of(options.host);
    config.vdhcp_start = address_of(options.guest);
    config.vnameserver = address_of(name_server);
    config.if_mtu = options.mtu;
    config.if_mru = options.mtu;
    config.disable_host_loopback = !options.host_loopback;
    auto state = std::make_unique<State>();
    state->slirp = ::slirp_new(&config, &State::kCallbacks, state.get());
    if (state->slirp == nullptr) {
        return fail("cannot set up a user network");
    }
    for (const Forward& forward : options.forwards) {
        if (::slirp_add_hostfwd(state->slirp, forward.udp, address_of(forward.host_address),
                                forward.host_port, address_of(options.guest), forward.guest_port) != 0) {
            char host[INET_ADDRSTRLEN] = "";
            const in_addr address = address_of(forward.host_address);
            ::inet_ntop(AF_INET, &address, host, sizeof(host));
            return fail_errno(errno, "cannot listen on {} port {} of {}", forward.udp ? "UDP" : "TCP",
                              forward.host_port, host);
        }
    }
    return std::unique_ptr<UserNetwork>(new UserNetwork(std::move(state)));
}

void UserNetwork::set_receiver(Receiver receiver) {
    state_->receiver = std::move(receiver);
}

void UserNetwork::send(std::span<const u8> frame) {
    if (!frame.empty() && frame.size() <= kMaxFrame) {
        ::slirp_input(state_->slirp, frame.data(), static_cast<int>(frame.size()));
    }
}

void UserNetwork::wait(int wakeup_fd, bool take_more) {
    State& state = *state_;
    state.polled.assign(1, pollfd{wakeup_fd, POLLIN, 0});
    state.filled = take_more;
    u32 timeout = kLongestWait;
    if (take_more) {
        ::slirp_pollfds_fill(
            state.slirp, &timeout,
            [](int fd, int events, void* opaque) -> int {
                auto& polled = static_cast<State*>(opaque)->polled;
                polled.push_back({fd, to_host(events), 0});
                return static_cast<int>(polled.size()) - 1;
            },
            &state);
        timeout = state.run_timers(std::min(timeout, kLongestWait));
    }
    const int ready = ::poll(state.polled.data(), state.polled.size(), static_cast<int>(timeout));
    state.failed = ready < 0;
}

void UserNetwork::dispatch() {
    State& state = *state_;
    if (!state.filled) {
        return;
    }
    state.filled = false;
    ::slirp_pollfds_poll(
        state.slirp, state.failed,
        [](int index, void* opaque) -> int {
            const auto& polled = static_cast<State*>(opaque)->polled;
            const auto at = static_cast<std::size_t>(index);
            return at < polled.size() ? to_slirp(polled[at].revents) : 0;
        },
        &state);
}

}  // namespace vmm::devices::net
