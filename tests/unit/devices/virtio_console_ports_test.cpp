#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "devices/virtio/console_ports.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::TestRam;
using test::VirtioSetup;

// Events (virtio 1.2, 5.3.6.2).
enum : u16 { kDeviceReady = 0, kDeviceAdd = 1, kPortReady = 3, kPortOpen = 6, kPortName = 7 };
constexpr u64 kBuffers = kRamBase + 0x40000;

/// A driver with queues for two ports: "file" (1) and "chat" (2).
struct Setup {
    explicit Setup(bool multiport = true) : ram(0x100000), t(make(), ram) {
        bring_up(multiport);
    }
    std::unique_ptr<ConsolePorts> make() {
        std::vector<ConsolePorts::Port> ports;
        auto file = HostPort::open_file(folder / "file");
        auto chat = HostPort::open_socket(folder / "chat");
        REQUIRE(file);
        REQUIRE(chat);
        ports.push_back({"file", *std::move(file)});
        ports.push_back({"chat", *std::move(chat)});
        return std::make_unique<ConsolePorts>(std::move(ports));
    }
    void bring_up(bool multiport) {
        t.negotiate(multiport ? t.offered() : t.offered() & ~u64{2});
        std::fill(ram.bytes.begin(), ram.bytes.end(), u8{0});  // after the reset: nobody else touches it
        drivers.clear();
        for (unsigned n = 0; n < 8; ++n) {
            drivers.emplace_back(ram, kRamBase + n * 0x4000, u16{16});
            t.set_up_queue(n, drivers[n].layout());
        }
        std::fill(std::begin(posted), std::end(posted), u16{0});
        seen = 0;
        t.driver_ok();
    }

    u64 buffer(unsigned queue, unsigned n) const { return kBuffers + queue * 0x10000 + n % 16 * 0x1000; }
    void offer(unsigned queue, u32 size = 64) {
        drivers[queue].post(posted[queue] % 16, {{buffer(queue, posted[queue]), size, true}});
        ++posted[queue];
        t.notify(queue);
    }
    void give(unsigned queue, std::string_view bytes) {
        std::memcpy(ram.view.host(buffer(queue, posted[queue]), bytes.size()), bytes.data(), bytes.size());
        drivers[queue].post(posted[queue] % 16, {{buffer(queue, posted[queue]), static_cast<u32>(bytes.size()), false}});
        ++posted[queue];
        t.notify(queue);
    }
    bool used(unsigned queue, u16 count) {
        return VirtioSetup::eventually([&] { return drivers[queue].used_index() == count; });
    }
    std::string received(unsigned queue, u16 n) {
        const u32 size = drivers[queue].used_length(n);
        return {reinterpret_cast<const char*>(ram.view.host(buffer(queue, n), 0x1000)), size};
    }
    static std::string message(u32 id, u16 event, u16 value, std::string_view text = {}) {
        std::string bytes(8, 0);
        std::memcpy(bytes.data(), &id, 4);
        std::memcpy(bytes.data() + 4, &event, 2);
        std::memcpy(bytes.data() + 6, &value, 2);
        return bytes.append(text);
    }
    void say(u32 id, u16 event, u16 value) { give(3, message(id, event, value)); }
    /// The next control message of the device.
    std::string next() {
        offer(2);
        REQUIRE(used(2, static_cast<u16>(seen + 1)));
        return received(2, seen++);
    }
    bool quiet() {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        return drivers[2].used_index() == seen;
    }
    void introduce() {
        say(0, kDeviceReady, 1);
        CHECK(next() == message(1, kDeviceAdd, 1));
        CHECK(next() == message(2, kDeviceAdd, 1));
        say(1, kPortReady, 1);
        CHECK(next() == message(1, kPortName, 1, "file"));
        CHECK(next() == message(1, kPortOpen, 1));
        say(2, kPortReady, 1);
        CHECK(next() == message(2, kPortName, 1, "chat"));
    }
    UniqueFd connect() {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        const std::string path = folder / "chat";
        path.copy(name.sun_path, path.size());
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
        return fd;
    }

    test::TemporaryFolder folder;
    TestRam ram;
    VirtioSetup t;
    std::vector<Driver> drivers;
    u16 posted[8] = {};
    u16 seen = 0;
};

std::string receive_from(const UniqueFd& fd, std::size_t size) {
    std::string text(size, 0);
    REQUIRE(::recv(fd.get(), text.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
    return text;
}

TEST_CASE("ports: the device says what it is") {
    Setup s;
    CHECK(s.t.read(8) == 3);
    CHECK((s.t.offered() & 7) == 2);
    CHECK(s.t.read(0x104) == 3);  // max_nr_ports: the console and two more
}

TEST_CASE("ports: each is added, named and opened, in the order of the specification") {
    Setup s;
    CHECK(s.quiet());
    s.introduce();
    CHECK(s.quiet());  // nobody has connected to the second one
    const UniqueFd client = s.connect();
    CHECK(s.next() == Setup::message(2, kPortOpen, 1));
    // A driver that begins anew is told everything again.
    s.bring_up(true);
    s.say(0, kDeviceReady, 1);
    CHECK(s.next() == Setup::message(1, kDeviceAdd, 1));
}

TEST_CASE("ports: a file takes what the guest writes") {
    Setup s;
    s.introduce();
    s.give(5, "hello ");
    s.give(5, "there");
    REQUIRE(s.used(5, 2));
    CHECK(test::read_text(s.folder / "file") == "hello there");
}

TEST_CASE("ports: a socket carries bytes both ways for one client after the other") {
    Setup s;
    s.introduce();
    s.say(2, kPortOpen, 1);
    UniqueFd first = s.connect();
    CHECK(s.next() == Setup::message(2, kPortOpen, 1));
    s.give(7, "question");
    CHECK(receive_from(first, 8) == "question");
    REQUIRE(::send(first.get(), "an answer", 9, 0) == 9);
    s.offer(6, 4);
    s.offer(6, 64);
    REQUIRE(s.used(6, 2));
    CHECK(s.received(6, 0) + s.received(6, 1) == "an answer");
    // What a client has sent arrives although it has gone; the next one waits for that.
    REQUIRE(::send(first.get(), "bye", 3, 0) == 3);
    first.reset();
    const UniqueFd second = s.connect();
    s.offer(6);
    REQUIRE(s.used(6, 3));
    CHECK(s.received(6, 2) == "bye");
    s.offer(6);
    REQUIRE(::send(second.get(), "hi", 2, 0) == 2);
    REQUIRE(s.used(6, 4));
    CHECK(s.received(6, 3) == "hi");
}

TEST_CASE("ports: a client's end is told, and its half-closed end is not one") {
    Setup s;
    s.introduce();
    s.say(2, kPortOpen, 1);
    UniqueFd client = s.connect();
    CHECK(s.next() == Setup::message(2, kPortOpen, 1));
    REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
    s.give(7, "still");
    CHECK(receive_from(client, 5) == "still");
    CHECK(s.quiet());
    client.reset();
    CHECK(s.next() == Setup::message(2, kPortOpen, 0));
    s.give(7, "nobody");  // lost, but keeps nobody waiting
    REQUIRE(s.used(7, 2));
}

TEST_CASE("ports: what the guest has not opened stays with the client, and a slow client slows the guest only") {
    Setup s;
    s.introduce();
    UniqueFd client = s.connect();
    CHECK(s.next() == Setup::message(2, kPortOpen, 1));
    s.offer(6);
    REQUIRE(::send(client.get(), "early", 5, 0) == 5);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    CHECK(s.drivers[6].used_index() == 0);
    s.say(2, kPortOpen, 1);
    REQUIRE(s.used(6, 1));
    CHECK(s.received(6, 0) == "early");

    const std::string block(0x1000, 'b');
    u16 count = 0;
    for (int before = -1; before != s.drivers[7].used_index();) {
        before = s.drivers[7].used_index();
        while (count < 1000 && static_cast<u16>(count - s.drivers[7].used_index()) < 16) {
            s.give(7, block);
            ++count;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    REQUIRE(count < 1000);  // the client does not read, so buffers stay with the device
    s.give(5, "the other port works");
    REQUIRE(s.used(5, 1));
    CHECK(receive_from(client, count * block.size()) == std::string(count * block.size(), 'b'));
    CHECK(s.used(7, count));
}

TEST_CASE("ports: a driver that knows no ports is served none") {
    Setup s(false);
    s.give(1, "console");
    REQUIRE(s.used(1, 1));
    s.offer(2);
    s.say(0, kDeviceReady, 1);
    CHECK(s.quiet());
}

TEST_CASE("ports: nonsense of the guest harms nobody") {
    Setup s;
    Rng rng(6);
    for (unsigned round = 0; round < 40; ++round) {
        const UniqueFd client = round % 2 == 0 ? s.connect() : UniqueFd();
        for (unsigned n = 0; n < 30; ++n) {
            const auto queue = static_cast<unsigned>(rng.next() % 8);
            std::string bytes = Setup::message(static_cast<u32>(rng.next() % 5 == 0 ? rng.next() : rng.next() % 4),
                                               static_cast<u16>(rng.next() % 9), static_cast<u16>(rng.next() % 3));
            bytes.resize(rng.next() % 2 == 0 ? bytes.size() : 1 + rng.next() % 12);
            if (static_cast<u16>(s.posted[queue] - s.drivers[queue].used_index()) >= 16) {
                continue;
            }
            if (rng.next() % 3 == 0) {
                s.offer(queue, static_cast<u32>(1 + rng.next() % 9));
            } else {
                s.give(queue, bytes);
            }
        }
        if (round % 5 == 4) {
            // More chains than the ring has: the driver broke the rules.
            for (unsigned n = 0; n < 20; ++n) {
                s.drivers[3].publish(0);
            }
            s.t.notify(3);
        }
        s.bring_up(round % 7 != 0);
    }
    s.bring_up(true);
    s.introduce();
}

}  // namespace
}  // namespace vmm::devices::virtio
