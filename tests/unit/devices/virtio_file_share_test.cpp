#include "devices/virtio/file_share.h"
#include "tests/unit/devices/p9_client.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::P9Request;
using test::TemporaryFolder;
using test::TestRam;
using test::VirtioSetup;

constexpr u64 kRequest = kRamBase + 0x8000;
constexpr u64 kAnswer = kRamBase + 0x10000;

struct ShareSetup {
    explicit ShareSetup(const std::string& path, Threading threading)
        : ram(0x40000), driver(ram, kRamBase, 16), t(open(path, threading), ram) {
        t.negotiate(t.offered());
        t.set_up_queue(0, driver.layout());
        t.driver_ok();
    }
    static std::unique_ptr<FileShare> open(const std::string& path, Threading threading) {
        auto share = FileShare::open({path, "tag", false, threading});
        REQUIRE(share);
        return *std::move(share);
    }
    /// Puts a request into two buffers and takes the answer in two; returns how much was answered.
    u32 ask(const std::vector<u8>& bytes, u32 room = 4096) {
        std::memcpy(ram.view.host(kRequest, bytes.size()), bytes.data(), bytes.size());
        const auto size = static_cast<u32>(bytes.size());
        driver.post(0, {{kRequest, 5, false},
                        {kRequest + 5, size - 5, false},
                        {kAnswer, 9, true},
                        {kAnswer + 9, room - 9, true}});
        t.notify(0);
        REQUIRE(VirtioSetup::eventually([&] { return driver.used_index() == static_cast<u16>(seen + 1); }));
        return driver.used_length(seen++);
    }
    TestRam ram;
    Driver driver;
    VirtioSetup t;
    u16 seen = 0;
};

const P9Request kVersion = P9Request(p9::Request::version).put(8192u).text("9P2000.L");

TEST_CASE("9p share: the guest sees the tag, and its requests are answered") {
    const Threading threading = GENERATE(Threading::own_thread, Threading::inline_call);
    const TemporaryFolder folder;
    ShareSetup s(folder.path, threading);
    CHECK(s.t.read(0x08) == 9);
    CHECK(s.t.read(0x100) == (3 | 't' << 16 | 'a' << 24));
    CHECK(s.ask(kVersion.bytes()) == 21);
    CHECK(s.ram.get<u8>(kAnswer + 4) == 101);
    CHECK(s.ram.get<u32>(kAnswer + 7) == 8192);
    // A message longer than the claimed size, and one that claims more than there is.
    std::vector<u8> padded = kVersion.bytes();
    padded.resize(200);
    CHECK(s.ask(padded) == 21);
    padded[1] = 0x77;
    CHECK(s.ask(padded) == 11);
    CHECK(s.ram.get<u8>(kAnswer + 4) == 7);
    // Room for no answer at all.
    CHECK(s.ask(kVersion.bytes(), 10) == 0);
    // After a reset the session starts over.
    s.t.write(0x70, 0);
    CHECK(s.t.read(0x70) == 0);
}

TEST_CASE("9p share: hostile rings stop the device and nothing else") {
    const TemporaryFolder folder;
    Rng rng(5);
    for (unsigned round = 0; round < 300; ++round) {
        ShareSetup s(folder.path, Threading::inline_call);
        s.ask(kVersion.bytes());
        for (unsigned n = 0; n < 20; ++n) {
            // Descriptors that lie anywhere, also over the rings themselves.
            for (unsigned index = 0; index < 16; ++index) {
                const u64 pa = rng.next() % 3 == 0 ? rng.next() : kRamBase + rng.next() % 0x48000;
                s.driver.descriptor(s.driver.layout().descriptors, index, pa,
                                    static_cast<u32>(rng.next() >> (32 + rng.next() % 32)),
                                    static_cast<u16>(rng.next() % 8), static_cast<u16>(rng.next() % 18));
            }
            s.driver.publish(static_cast<u16>(rng.next() % 18));
            s.t.notify(0);
        }
    }
    SUCCEED("alive");
}

}  // namespace
}  // namespace vmm::devices::virtio
