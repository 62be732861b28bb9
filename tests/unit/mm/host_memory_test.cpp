// Guest RAM and its pins against the kernel's own accounting (/proc/self/status, /proc/self/smaps).
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>

#include "mm/host_memory.h"
#include "vmm/base/sanitizers.h"

namespace vmm::mm::test {

namespace {

constexpr u64 kMiB = 1024 * 1024;
constexpr u64 kBase = 0x8000'0000;

/// A "VmXyz: n kB" line of /proc/self/status, in bytes.
u64 status_bytes(const std::string& field) {
    std::ifstream status("/proc/self/status");
    std::string line;
    while (std::getline(status, line)) {
        if (line.rfind(field + ":", 0) == 0) {
            return std::stoull(line.substr(field.size() + 1)) * 1024;
        }
    }
    FAIL("no " << field << " in /proc/self/status");
    return 0;
}

/// VmFlags of the mapping that holds `address`.
std::string vm_flags(const void* address) {
    std::ifstream smaps("/proc/self/smaps");
    std::string line;
    bool inside = false;
    while (std::getline(smaps, line)) {
        u64 start = 0;
        u64 end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
            inside = reinterpret_cast<u64>(address) >= start && reinterpret_cast<u64>(address) < end;
        } else if (inside && line.rfind("VmFlags:", 0) == 0) {
            return line + " ";
        }
    }
    return "";
}

std::unique_ptr<HostMemory> make(u64 size, PinChoice choice) {
    auto memory = HostMemory::create(
        {.size = size, .guest_base = kBase, .pin_backend = choice, .pins = {.watch_pressure = false}});
    if (!memory) {
        FAIL(memory.error().text);
    }
    return std::move(*memory);
}

}  // namespace

TEST_CASE("host memory: RAM starts on a huge page, reads as zero and is advised", "[mm][host_memory]") {
    const auto memory = make(64 * kMiB, PinChoice::off);
    const GuestRam ram = memory->ram();
    CHECK(ram.base() == kBase);
    CHECK(ram.size() == 64 * kMiB);
    CHECK(reinterpret_cast<u64>(ram.host_base()) % (2 * kMiB) == 0);
    CHECK(*ram.host(kBase + 64 * kMiB - 1) == 0);
    CHECK(ram.host(kBase + 64 * kMiB) == nullptr);
    const std::string flags = vm_flags(ram.host_base());
    CHECK(flags.find(" dc ") != std::string::npos);  // not copied by fork
    CHECK(flags.find(" hg ") != std::string::npos);  // huge pages advised
    CHECK(flags.find(" nr ") != std::string::npos);  // no swap reserved
    CHECK(flags.find(" mg ") == std::string::npos);  // not mergeable
}

TEST_CASE("host memory: sizes the host cannot serve are one clear error", "[mm][host_memory]") {
    const auto huge = HostMemory::create({.size = u64{100} << 40, .guest_base = kBase});
    REQUIRE(!huge);
    CHECK(huge.error().text.find("104857600 MiB") != std::string::npos);
    CHECK(huge.error().text.find('\n') == std::string::npos);
    CHECK(huge.error().status == ExitStatus::host_error);

    CHECK(!HostMemory::create({.size = 0, .guest_base = kBase}));
    CHECK(!HostMemory::create({.size = 4097, .guest_base = kBase}));
    CHECK(!HostMemory::create({.size = ~u64{0xFFF}, .guest_base = kBase}));
}

TEST_CASE("host memory: io_uring pins are long-term pins of exactly the pages asked for", "[mm][host_memory]") {
    const auto memory = make(64 * kMiB, PinChoice::uring);
    REQUIRE(memory->pin_kind() == PinKind::uring);
    const u64 before = status_bytes("VmPin");
    {
        auto pin = memory->pin(std::array{GuestRange{kBase + 8 * kMiB, 4 * kMiB}});
        REQUIRE(pin);
        CHECK(pin->bytes() == 4 * kMiB);
        CHECK(status_bytes("VmPin") - before == 4 * kMiB);
        CHECK(memory->pin_stats().pinned_bytes == 4 * kMiB);
        CHECK(memory->pin_stats().long_term_bytes == 4 * kMiB);

        auto again = memory->pin(std::array{GuestRange{kBase + 9 * kMiB, kMiB}});
        REQUIRE(again);
        CHECK_FALSE(again->made_new());
        CHECK(status_bytes("VmPin") - before == 4 * kMiB);
    }
    CHECK(status_bytes("VmPin") == before);
    CHECK(memory->pin_stats().pinned_bytes == 0);
    CHECK(memory->pin_stats().peak_bytes == 4 * kMiB);
    CHECK(memory->pin_stats().pin_ops == 1);
    CHECK(memory->pin_stats().shared_ops == 1);
    CHECK(memory->pin_stats().unpin_ops == 2);
}

TEST_CASE("host memory: destroying it gives back pins nobody released", "[mm][host_memory]") {
    const u64 before = status_bytes("VmPin");
    auto memory = make(16 * kMiB, PinChoice::uring);
    auto manager_pin = memory->pin(std::array{GuestRange{kBase, 2 * kMiB}});
    REQUIRE(manager_pin);
    REQUIRE(status_bytes("VmPin") > before);
    manager_pin->release();
    memory.reset();
    CHECK(status_bytes("VmPin") == before);
}

TEST_CASE("host memory: mlock pins count as locked", "[mm][host_memory]") {
    const auto memory = make(64 * kMiB, PinChoice::mlock);
    REQUIRE(memory->pin_kind() == PinKind::mlock);
    // The run-time libraries of sanitizers replace mlock by nothing.
    const u64 locked = kSanitized ? 0 : 2 * kMiB;
    const u64 before = status_bytes("VmLck");
    auto pin = memory->pin(std::array{GuestRange{kBase + 4 * kMiB, 2 * kMiB}});
    REQUIRE(pin);
    CHECK(memory->pin_stats().pinned_bytes == 2 * kMiB);
    CHECK(status_bytes("VmLck") - before == locked);
    pin->release();
    CHECK(memory->pin_stats().pinned_bytes == 0);
    CHECK(status_bytes("VmLck") == before);
}

TEST_CASE("host memory: populate makes pages present", "[mm][host_memory]") {
    const auto memory = make(64 * kMiB, PinChoice::populate);
    const u64 before = status_bytes("VmRSS");
    auto pin = memory->pin(std::array{GuestRange{kBase, 32 * kMiB}});
    REQUIRE(pin);
    CHECK(status_bytes("VmRSS") - before >= 31 * kMiB);
    CHECK(pin->kind() == PinKind::populate);
}

TEST_CASE("host memory: with pinning off a pin fails without harm and is counted", "[mm][host_memory]") {
    const auto memory = make(16 * kMiB, PinChoice::off);
    CHECK(!memory->pin(std::array{GuestRange{kBase, 4096}}));
    CHECK(memory->pin_stats().failures == 1);
    CHECK(memory->pin_kind() == PinKind::none);
    CHECK(!memory->pin_reason().empty());
}

TEST_CASE("host memory: discard frees unpinned pages and refuses pinned ones", "[mm][host_memory]") {
    const auto memory = make(16 * kMiB, PinChoice::uring);
    u8* byte = memory->ram().host(kBase + 4 * kMiB);
    *byte = 0x5A;
    auto pin = memory->pin(std::array{GuestRange{kBase + 4 * kMiB, 4096}});
    REQUIRE(pin);
    CHECK(!memory->discard({kBase + 2 * kMiB, 4 * kMiB}));
    CHECK(*byte == 0x5A);
    pin->release();
    CHECK(memory->discard({kBase + 4 * kMiB, 4096}));
    CHECK(*byte == 0);
    CHECK(!memory->discard({kBase + 16 * kMiB, 4096}));
    CHECK(!memory->discard({kBase + 1, 4096}));
}

TEST_CASE("host memory: pin choices are spelled as on the command line", "[mm][host_memory]") {
    for (const char* name : {"auto", "uring", "mlock", "populate", "off"}) {
        const auto choice = parse_pin_choice(name);
        REQUIRE(choice);
        CHECK(to_string(*choice) == name);
    }
    const auto wrong = parse_pin_choice("vfio");
    REQUIRE(!wrong);
    CHECK(wrong.error().status == ExitStatus::usage);
}

}  // namespace vmm::mm::test
