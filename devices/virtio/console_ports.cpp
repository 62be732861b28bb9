#include "devices/virtio/console_ports.h"

#include <cstring>

#include "vmm/base/check.h"

namespace vmm::devices::virtio {

namespace {

constexpr u64 kMultiport = u64{1} << 1;       // virtio 1.2, 5.3.3
constexpr std::size_t kMaxPortsAt = 4;        // of the configuration space (virtio 1.2, 5.3.4)
constexpr std::size_t kPiece = 4096;          // bytes
constexpr unsigned kPiecesAtOnce = 64;        // of one port, before the others have their turn

// Queues (virtio 1.2, 5.3.2): of port 0, for control, then of ports 1, 2, ...
constexpr unsigned kConsoleTransmit = 1;
constexpr unsigned kControlReceive = 2;
constexpr unsigned kControlTransmit = 3;
constexpr unsigned receive_queue(std::size_t index) { return static_cast<unsigned>(4 + 2 * index); }
constexpr unsigned transmit_queue(std::size_t index) { return receive_queue(index) + 1; }

/// Control messages (virtio 1.2, 5.3.6.2).
enum Event : u16 {
    kDeviceReady = 0,
    kDeviceAdd = 1,
    kPortReady = 3,
    kPortOpen = 6,
    kPortName = 7,
};

}  // namespace

struct ConsolePorts::Message {
    u32 id;
    u16 event;
    u16 value;
};

ConsolePorts::ConsolePorts(std::vector<Port> ports) {
    VMM_CHECK(!ports.empty() && ports.size() <= kMaxPorts);
    config_[kMaxPortsAt] = static_cast<u8>(ports.size() + 1);
    for (Port& port : ports) {
        states_.emplace_back().port = std::move(port);
    }
    worker_.launch("virtio-ports");
}

ConsolePorts::~ConsolePorts() {
    worker_.join();
}

u64 ConsolePorts::features() const {
    return kMultiport;
}

unsigned ConsolePorts::queue_count() const {
    return receive_queue(states_.size());
}

// ── What the thread does ───────────────────────────────────────────────────────────────────────────────────

void ConsolePorts::wait(int wakeup_fd) {
    std::vector<pollfd> fds{{wakeup_fd, POLLIN, 0}};
    for (const State& state : states_) {
        fds.push_back(state.port.host->interest(state.guest_open && state.input.empty(), state.holding));
    }
    ::poll(fds.data(), fds.size(), -1);
    for (std::size_t index = 0; index < states_.size(); ++index) {
        states_[index].port.host->take_events(fds[index + 1].revents);
    }
}

void ConsolePorts::forget_driver() {
    for (State& state : states_) {
        state = State{.port = std::move(state.port), .chain = {}, .input = {}};
    }
}

bool ConsolePorts::work(std::span<Virtqueue> queues, u64 features) {
    if (queues.empty() || serve(queues, (features & kMultiport) != 0)) {
        return true;
    }
    for (State& state : states_) {
        state.guest_open = false;
        state.holding = false;
    }
    return false;
}

bool ConsolePorts::serve(std::span<Virtqueue> queues, bool multiport) {
    if (!drop(queues[kConsoleTransmit])) {
        return false;
    }
    if (!multiport) {
        return true;
    }
    bool good = take_control(queues[kControlTransmit]);
    for (std::size_t index = 0; good && index < states_.size(); ++index) {
        good = transmit(states_[index], queues[transmit_queue(index)]) &&
               receive(states_[index], queues[receive_queue(index)]);
    }
    return good && send_control(queues[kControlReceive]);
}

/// Where there is no chain, the driver will notify.
bool ConsolePorts::take_next(Virtqueue& queue, Chain& chain, bool& taken) {
    Virtqueue::Pop popped = queue.pop(chain);
    while (popped == Virtqueue::Pop::empty && !queue.enable_notifications()) {
        popped = queue.pop(chain);
    }
    taken = popped == Virtqueue::Pop::chain;
    return popped != Virtqueue::Pop::broken;
}

bool ConsolePorts::take_control(Virtqueue& queue) {
    while (!worker_.stopping()) {
        bool taken = false;
        if (!take_next(queue, chain_, taken)) {
            return false;
        }
        if (!taken) {
            return true;
        }
        Message message{};
        if (chain_.copy_out(&message, sizeof(message)) == sizeof(message)) {
            obey(message);
        }
        queue.push(chain_.head, 0);
    }
    return true;
}

void ConsolePorts::obey(const Message& message) {
    if (message.event == kDeviceReady) {
        for (State& state : states_) {
            state.add_due = message.value == 1;
        }
        return;
    }
    if (message.id == 0 || message.id > states_.size()) {
        return;
    }
    State& state = states_[message.id - 1];
    if (message.event == kPortReady) {
        state.ready = state.name_due = message.value == 1;
        state.told_open = false;
    } else if (message.event == kPortOpen) {
        state.guest_open = message.value == 1;
    }
}

/// Says what is due, as far as the guest has buffers. What was not said yet is a few flags, however often it is asked for.
bool ConsolePorts::send_control(Virtqueue& queue) {
    bool sent = true;
    for (std::size_t index = 0; index < states_.size(); ++index) {
        State& state = states_[index];
        const auto id = static_cast<u32>(index + 1);
        if (state.add_due) {
            if (!send(queue, {id, kDeviceAdd, 1}, {}, sent)) {
                return false;
            }
            state.add_due = !sent;
        }
        if (sent && state.name_due) {
            if (!send(queue, {id, kPortName, 1}, state.port.name, sent)) {
                return false;
            }
            state.name_due = !sent;
        }
        const bool open = state.port.host->connected();
        if (sent && state.ready && state.told_open != open) {
            if (!send(queue, {id, kPortOpen, static_cast<u16>(open ? 1 : 0)}, {}, sent)) {
                return false;
            }
            state.told_open = sent ? open : state.told_open;
        }
        if (!sent) {
            return true;
        }
    }
    return true;
}

/// `sent` is false where there is no buffer.
bool ConsolePorts::send(Virtqueue& queue, const Message& message, std::string_view text, bool& sent) {
    if (!take_next(queue, chain_, sent)) {
        return false;
    }
    if (sent) {
        std::size_t size = chain_.copy_in(&message, sizeof(message));
        size += chain_.copy_in(text.data(), text.size(), size);
        queue.push(chain_.head, static_cast<u32>(size));
    }
    return true;
}

bool ConsolePorts::transmit(State& state, Virtqueue& queue) {
    unsigned budget = kPiecesAtOnce;
    while (!worker_.stopping()) {
        if (!state.holding) {
            if (!take_next(queue, state.chain, state.holding)) {
                return false;
            }
            if (!state.holding) {
                return true;
            }
            state.done = 0;
        }
        if (!give_to_host(state, budget)) {
            return true;
        }
        queue.push(state.chain.head, 0);
        state.holding = false;
    }
    return true;
}

/// True when the host has all of the chain. False: later; either poll tells when, or we have asked to be woken.
bool ConsolePorts::give_to_host(State& state, unsigned& budget) {
    u8 piece[kPiece];
    // An end without a reader takes all at once: the guest may well offer gigabytes.
    while (state.port.host->connected() && !worker_.stopping()) {
        const std::size_t size = state.chain.copy_out(piece, sizeof(piece), state.done);
        if (size == 0) {
            return true;
        }
        const std::size_t taken = state.port.host->write({piece, size});
        state.done += taken;
        if (taken == 0) {
            return false;
        }
        if (--budget == 0) {
            worker_.wake();
            return false;
        }
    }
    return !worker_.stopping();
}

bool ConsolePorts::receive(State& state, Virtqueue& queue) {
    for (unsigned budget = kPiecesAtOnce; state.guest_open && !worker_.stopping(); --budget) {
        if (budget == 0) {
            worker_.wake();
            return true;
        }
        if (state.input.empty()) {
            state.input.resize(kPiece);
            state.input.resize(state.port.host->read(state.input));
            if (state.input.empty()) {
                return true;
            }
        }
        bool taken = false;
        if (!take_next(queue, chain_, taken)) {
            return false;
        }
        if (!taken) {
            return true;
        }
        const std::size_t size = chain_.copy_in(state.input.data(), state.input.size());
        queue.push(chain_.head, static_cast<u32>(size));
        state.input.erase(state.input.begin(), state.input.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return true;
}

bool ConsolePorts::drop(Virtqueue& queue) {
    while (!worker_.stopping()) {
        bool taken = false;
        if (!take_next(queue, chain_, taken)) {
            return false;
        }
        if (!taken) {
            return true;
        }
        queue.push(chain_.head, 0);
    }
    return true;
}

}  // namespace vmm::devices::virtio
