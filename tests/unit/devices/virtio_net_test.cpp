#include <sys/socket.h>

#include <arpa/inet.h>

#include "devices/virtio/net.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using net::ipv4;
using net::UserNetwork;
using net::UserNetworkOptions;
using test::Driver;
using test::kRamBase;
using test::TestRam;
using test::VirtioSetup;

constexpr u64 kReceiveRing = kRamBase;
constexpr u64 kTransmitRing = kRamBase + 0x4000;
constexpr u64 kBuffers = kRamBase + 0x10000;  // 1 KiB apart
constexpr u64 kFrame = kRamBase + 0x30000;    // 1 KiB apart
constexpr std::size_t kHeader = 12;
constexpr MacAddress kMac{0x02, 0x15, 0x15, 0x15, 0x15, 0x15};
constexpr u64 kMergeable = u64{1} << 15;

std::unique_ptr<UserNetwork> open_network(const UserNetworkOptions& options) {
    auto network = UserNetwork::open(options);
    if (!network) {
        FAIL(network.error().text);
    }
    return *std::move(network);
}

/// A driver that speaks Ethernet, ARP and a little IPv4.
struct NetSetup {
    explicit NetSetup(const UserNetworkOptions& options = {}, u64 without = 0)
        : ram(0x80000),
          receive(ram, kReceiveRing, 16),
          transmit(ram, kTransmitRing, 16),
          t(std::make_unique<Net>(open_network(options), kMac, options.mtu), ram) {
        t.negotiate(t.offered() & ~without);
        REQUIRE(t.read(0x70) == 0xB);
        t.set_up_queue(0, receive.layout());
        t.set_up_queue(1, transmit.layout());
        t.driver_ok();
    }
    /// Offers a buffer to receive into.
    void offer(u16 index, u32 size) {
        receive.post(index, {{kBuffers + index * 0x400u, size, true}});
        t.notify(0);
    }
    void send(const std::vector<u8>& frame, const std::array<u8, kHeader>& header = {}) {
        const u64 at = kFrame + sent % 16 * 0x1000;
        std::memcpy(ram.view.host(at, kHeader), header.data(), kHeader);
        std::memcpy(ram.view.host(at + kHeader, frame.size()), frame.data(), frame.size());
        transmit.post(static_cast<u16>(sent++ % 16), {{at, static_cast<u32>(kHeader + frame.size()), false}});
        t.notify(1);
        REQUIRE(VirtioSetup::eventually([&] { return transmit.used_index() == static_cast<u16>(sent); }));
    }
    bool received(u16 count) {
        return VirtioSetup::eventually([&] { return receive.used_index() >= count; });
    }

    TestRam ram;
    Driver receive;
    Driver transmit;
    VirtioSetup t;
    unsigned sent = 0;
};

void put16(std::vector<u8>& frame, unsigned value) {
    frame.push_back(static_cast<u8>(value >> 8));
    frame.push_back(static_cast<u8>(value));
}
void put32(std::vector<u8>& frame, u32 value) {
    put16(frame, value >> 16);
    put16(frame, value & 0xFFFF);
}

std::vector<u8> ethernet(unsigned type) {
    std::vector<u8> frame(6, 0xFF);
    frame.insert(frame.end(), kMac.begin(), kMac.end());
    put16(frame, type);
    return frame;
}

/// Who has the gateway?
std::vector<u8> arp_request() {
    std::vector<u8> frame = ethernet(0x806);
    put16(frame, 1);
    put16(frame, 0x800);
    put16(frame, 0x604);
    put16(frame, 1);
    frame.insert(frame.end(), kMac.begin(), kMac.end());
    put32(frame, ipv4(192, 168, 33, 15));
    frame.insert(frame.end(), 6, 0);
    put32(frame, ipv4(192, 168, 33, 1));
    return frame;
}

unsigned sum16(const std::vector<u8>& bytes, std::size_t from, std::size_t to) {
    unsigned sum = 0;
    for (std::size_t n = from; n < to; n += 2) {
        sum += static_cast<unsigned>(bytes[n] << 8 | (n + 1 < to ? bytes[n + 1] : 0));
    }
    return (sum & 0xFFFF) + (sum >> 16);
}

/// A UDP datagram to the gateway. Its checksum covers only the pseudo header, as when the device is to complete it.
std::vector<u8> datagram(u16 port, std::string_view text) {
    std::vector<u8> frame = ethernet(0x800);
    put16(frame, 0x4500);
    put16(frame, static_cast<unsigned>(28 + text.size()));
    put32(frame, 0);
    put16(frame, 0x4011);
    put16(frame, 0);
    put32(frame, ipv4(192, 168, 33, 15));
    put32(frame, ipv4(192, 168, 33, 1));
    const unsigned header = ~sum16(frame, 14, 34) & 0xFFFF;
    frame[24] = static_cast<u8>(header >> 8);
    frame[25] = static_cast<u8>(header);
    put16(frame, 5555);
    put16(frame, port);
    put16(frame, static_cast<unsigned>(8 + text.size()));
    unsigned pseudo = sum16(frame, 26, 34) + 17 + 8 + static_cast<unsigned>(text.size());
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16);
    put16(frame, pseudo);
    frame.insert(frame.end(), text.begin(), text.end());
    return frame;
}

/// A UDP socket of the host's loopback.
struct HostSocket {
    HostSocket() : fd(::socket(AF_INET, SOCK_DGRAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
        REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port = ntohs(address.sin_port);
        const timeval patience{10, 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    std::string receive() {
        char text[2048];
        socklen_t size = sizeof(peer);
        const ssize_t n =
            ::recvfrom(fd.get(), text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&peer), &size);
        return n < 0 ? "" : std::string(text, static_cast<std::size_t>(n));
    }
    void answer(const std::string& text) {
        ::sendto(fd.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&peer),
                 sizeof(peer));
    }
    UniqueFd fd;
    u16 port = 0;
    sockaddr_in peer{};
};

TEST_CASE("net: the configuration says what was asked for") {
    UserNetworkOptions options;
    options.mtu = 9000;
    NetSetup s(options);
    CHECK(s.t.read(0x08) == 1);
    CHECK(s.t.read(0x100) == 0x15151502);
    CHECK(s.t.read(0x104) == 0x00011515);
    CHECK(s.t.read(0x108) == 9000u << 16);
}

TEST_CASE("net: the gateway answers ARP, in one buffer or in many") {
    const u32 size = GENERATE(0x400u, 20u);
    const u64 without = size == 20 ? 0 : GENERATE(u64{0}, kMergeable);
    NetSetup s({}, without);
    for (u16 n = 0; n < 12; ++n) {
        s.offer(n, size);
    }
    s.send(arp_request());
    REQUIRE(s.received(1));
    const auto buffers = s.ram.get<u16>(kBuffers + 10);
    CHECK(s.receive.used_index() == buffers);
    std::vector<u8> frame;
    for (u16 n = 0; n < buffers; ++n) {
        const u16 head = static_cast<u16>(s.receive.used_head(n));
        for (u32 at = n == 0 ? 12 : 0; at < s.receive.used_length(n); ++at) {
            frame.push_back(s.ram.get<u8>(kBuffers + head * 0x400u + at));
        }
    }
    CHECK(buffers == (size == 20 ? (12 + frame.size() + 19) / 20 : 1));
    REQUIRE(frame.size() >= 42);
    CHECK(std::equal(kMac.begin(), kMac.end(), frame.begin()));
    CHECK(frame[13] == 0x06);
    CHECK(frame[21] == 2);  // a reply
    CHECK(s.t.irq.level);
}

TEST_CASE("net: a datagram reaches the host's loopback with its checksum completed, and so does the answer") {
    NetSetup s;
    HostSocket host;
    s.offer(0, 0x400);
    s.send(arp_request());  // lets the network learn our address
    REQUIRE(s.received(1));
    std::array<u8, kHeader> header{};
    header[0] = 1;   // needs a checksum
    header[6] = 34;  // ... from here
    header[8] = 6;   // ... stored there
    const std::string text = GENERATE(std::string("even"), std::string("odd"));
    s.send(datagram(host.port, text), header);
    CHECK(host.receive() == text);
    s.offer(1, 0x400);
    host.answer("back again");
    REQUIRE(s.received(2));
    CHECK(std::memcmp(s.ram.view.host(kBuffers + 0x400 + 12 + 42, 10), "back again", 10) == 0);
}

TEST_CASE("net: the loopback of the host can be kept out of reach") {
    UserNetworkOptions options;
    options.host_loopback = false;
    NetSetup s(options);
    HostSocket host;
    const timeval short_time{0, 300'000};
    ::setsockopt(host.fd.get(), SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof(short_time));
    std::array<u8, kHeader> header{1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0};
    s.send(datagram(host.port, "secret"), header);
    CHECK(host.receive().empty());
}

TEST_CASE("net: without buffers frames wait, and too many are lost") {
    NetSetup s;
    for (unsigned n = 0; n < 2 * Net::kMaxBacklog; ++n) {
        s.send(arp_request());
    }
    CHECK(s.receive.used_index() == 0);
    for (u16 n = 0; n < 16; ++n) {
        s.offer(n, 0x400);
    }
    CHECK(s.received(16));
    s.t.write(0x70, 0);
    CHECK(s.t.read(0x70) == 0);
}

TEST_CASE("net: hostile headers and frames harm nothing") {
    NetSetup s;
    Rng rng(7);
    for (u16 n = 0; n < 16; ++n) {
        s.offer(n, 0x400);
    }
    for (unsigned n = 0; n < 3000; ++n) {
        std::vector<u8> frame =
            rng.next() % 2 == 0 ? datagram(static_cast<u16>(rng.next() | 1), "x") : arp_request();
        for (u64 flips = rng.next() % 6; flips != 0; --flips) {
            frame[12 + rng.next() % (frame.size() - 12)] = static_cast<u8>(rng.next());
        }
        frame.resize(rng.next() % 4 == 0 ? rng.next() % 2000 : frame.size());
        std::array<u8, kHeader> header{};
        for (u8& byte : header) {
            byte = static_cast<u8>(rng.next());
        }
        s.send(frame, header);
    }
    // Shorter than the header, nothing at all, and buffers without room.
    s.transmit.post(0, {{kFrame, 5, false}});
    s.transmit.post(1, {{kFrame, 12, false}});
    s.transmit.post(2, {{kFrame, 500, true}});
    s.t.notify(1);
    CHECK(VirtioSetup::eventually([&] { return s.transmit.used_index() == static_cast<u16>(s.sent + 3); }));
}

TEST_CASE("net: a driver that offers buffers without room for one frame is stopped") {
    NetSetup s;
    s.send(arp_request());
    for (unsigned n = 0; n < Net::kMaxBuffersPerFrame; ++n) {
        CHECK((s.t.read(0x70) & 64) == 0);
        s.offer(0, 0);
        // No more than the ring holds may wait.
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    s.offer(0, 0);
    CHECK(VirtioSetup::eventually([&] { return (s.t.read(0x70) & 64) != 0; }));
    CHECK(s.receive.used_index() == 0);
}

TEST_CASE("net: random rings harm nothing") {
    Rng rng(11);
    for (unsigned round = 0; round < 60; ++round) {
        NetSetup s;
        for (unsigned n = 0; n < 20; ++n) {
            for (Driver* driver : {&s.receive, &s.transmit}) {
                for (unsigned index = 0; index < 16; ++index) {
                    const u64 pa = rng.next() % 4 == 0 ? rng.next() : kRamBase + rng.next() % 0x88000;
                    driver->descriptor(driver->layout().descriptors, index, pa,
                                       static_cast<u32>(rng.next() >> (32 + rng.next() % 32)),
                                       static_cast<u16>(rng.next() % 8), static_cast<u16>(rng.next() % 18));
                }
                driver->publish(static_cast<u16>(rng.next() % 18));
            }
            s.t.notify(n % 2);
            s.t.notify(1);
        }
        s.t.write(0x70, 0);
    }
    SUCCEED("alive");
}

TEST_CASE("net: resets and starts in any order") {
    NetSetup s;
    for (unsigned n = 0; n < 50; ++n) {
        s.t.write(0x70, 0);
        Driver receive(s.ram, kReceiveRing, 16);
        Driver transmit(s.ram, kTransmitRing, 16);
        s.ram.bytes.assign(s.ram.bytes.size(), 0);
        s.t.negotiate(s.t.offered());
        s.t.set_up_queue(0, receive.layout());
        s.t.set_up_queue(1, transmit.layout());
        s.t.driver_ok();
    }
    SUCCEED("alive");
}

TEST_CASE("net: a port that is taken is told in one line") {
    HostSocket host;
    UserNetworkOptions options;
    options.forwards.push_back({true, ipv4(127, 0, 0, 1), host.port, 80});
    const auto network = UserNetwork::open(options);
    REQUIRE_FALSE(network);
    CHECK(network.error().text ==
          fmt::format("cannot listen on UDP port {} of 127.0.0.1: Address already in use", host.port));
}

}  // namespace
}  // namespace vmm::devices::virtio
