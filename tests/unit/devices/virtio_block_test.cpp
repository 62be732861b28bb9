#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <catch2/catch.hpp>

#include "devices/virtio/block.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/devices/virtio_setup.h"
#include "vmm/base/rng.h"

namespace vmm::devices::virtio {
namespace {

using test::Driver;
using test::kRamBase;
using test::TestRam;
using test::VirtioSetup;

enum : u32 { kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13 };
constexpr u64 kRequest = kRamBase + 0x8000;  // header at +0, status at +0x20, ranges at +0x40
constexpr u64 kBuffer = kRamBase + 0x10000;

/// A temporary image whose sector n is filled with the byte n.
struct Image {
    explicit Image(unsigned sectors, unsigned extra = 0) {
        char name[] = "/tmp/vmm-block-XXXXXX";
        const int fd = ::mkstemp(name);
        REQUIRE(fd >= 0);
        path = name;
        for (unsigned n = 0; n < sectors; ++n) {
            const std::string sector(512, static_cast<char>(n));
            REQUIRE(::write(fd, sector.data(), 512) == 512);
        }
        REQUIRE(::ftruncate(fd, sectors * 512 + extra) == 0);
        ::close(fd);
    }
    ~Image() { ::unlink(path.c_str()); }
    std::string contents() const { return test::read_text(path); }
    std::string path;
};

struct BlockSetup {
    explicit BlockSetup(const BlockOptions& options)
        : ram(0x40000), driver(ram, kRamBase, 8), t(open(options), ram) {
        t.negotiate(t.offered());
        REQUIRE(t.read(0x70) == 0xB);
        t.set_up_queue(0, driver.layout());
        t.driver_ok();
    }
    static std::unique_ptr<Block> open(const BlockOptions& options) {
        auto block = Block::open(options);
        if (!block) {
            FAIL(block.error().text);
        }
        return *std::move(block);
    }

    /// Runs one request with `data` (may be empty); returns its status.
    unsigned request(u32 type, u64 sector, std::vector<test::Buffer> data, bool indirect = false) {
        ram.put<u32>(kRequest, type);
        ram.put<u64>(kRequest + 8, sector);
        ram.put<u8>(kRequest + 0x20, 0xEE);
        std::vector<test::Buffer> buffers{{kRequest, 16, false}};
        buffers.insert(buffers.end(), data.begin(), data.end());
        buffers.push_back({kRequest + 0x20, 1, true});
        driver.post(0, buffers, indirect);
        t.notify(0);
        REQUIRE(VirtioSetup::eventually([&] { return driver.used_index() == static_cast<u16>(seen + 1); }));
        length = driver.used_length(seen++);
        return ram.get<u8>(kRequest + 0x20);
    }
    unsigned ranges(u32 type, std::vector<std::array<u64, 3>> list) {
        for (std::size_t n = 0; n < list.size(); ++n) {
            ram.put<u64>(kRequest + 0x40 + 16 * n, list[n][0]);
            ram.put<u32>(kRequest + 0x48 + 16 * n, static_cast<u32>(list[n][1]));
            ram.put<u32>(kRequest + 0x4C + 16 * n, static_cast<u32>(list[n][2]));
        }
        return request(type, 0, {{kRequest + 0x40, static_cast<u32>(16 * list.size()), false}});
    }

    TestRam ram;
    Driver driver;
    VirtioSetup t;
    u16 seen = 0;
    u32 length = 0;
};

/// From now on this process is on a host whose file systems have no locks.
void forbid_locks() {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_OFD_SETLK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOLCK),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(program), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        ::_exit(2);
    }
}

/// What Block::open says in a process of its own; "" where it opens.
std::string error_elsewhere(BlockOptions options, bool without_locks = false) {
    options.threading = Threading::inline_call;  // a fork of many threads starts none (ThreadSanitizer)
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        if (without_locks) {
            forbid_locks();
        }
        const auto block = Block::open(options);
        const std::string text = block ? "" : block.error().text;
        ::_exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text(1000, '\0');
    const ssize_t size = ::read(ends[0], text.data(), text.size());
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return text;
}

/// The three ways of doing I/O.
BlockOptions options_for(const Image& image, int way) {
    BlockOptions options;
    options.path = image.path;
    options.threading = way == 2 ? Threading::inline_call : Threading::own_thread;
    options.io_uring = way == 0;
    return options;
}

TEST_CASE("block: reads and writes reach the right sectors") {
    const int way = GENERATE(0, 1, 2);
    const Image image(64);
    BlockSetup s(options_for(image, way));
    CHECK(s.t.read(0x100) == 64);

    CHECK(s.request(kIn, 5, {{kBuffer, 512, true}, {kBuffer + 0x1000, 1024, true}}, true) == 0);
    CHECK(s.length == 1537);
    CHECK(s.ram.get<u8>(kBuffer + 511) == 5);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000) == 6);
    CHECK(s.ram.get<u8>(kBuffer + 0x13FF) == 7);
    // Buffers need not end at sector boundaries.
    CHECK(s.request(kIn, 9, {{kBuffer + 1, 100, true}, {kBuffer + 0x1000, 412, true}}) == 0);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000) == 9);

    s.ram.put<u64>(kBuffer, 0x1122334455667788);
    CHECK(s.request(kOut, 63, {{kBuffer, 512, false}}) == 0);
    CHECK(s.length == 1);
    CHECK(s.request(kFlush, 0, {}) == 0);
    CHECK(static_cast<u8>(image.contents()[63 * 512]) == 0x88);
    CHECK(static_cast<u8>(image.contents()[62 * 512 + 511]) == 62);
    CHECK(s.t.irq.level);
}

TEST_CASE("block: requests beyond the end or out of shape fail") {
    const int way = GENERATE(0, 1, 2);
    const Image image(64, 100);  // the tail is out of reach
    BlockSetup s(options_for(image, way));
    CHECK(s.t.read(0x100) == 64);
    CHECK(s.request(kIn, 64, {{kBuffer, 512, true}}) == 1);
    CHECK(s.request(kIn, 63, {{kBuffer, 1024, true}}) == 1);
    CHECK(s.request(kIn, ~u64{0}, {{kBuffer, 512, true}}) == 1);
    CHECK(s.request(kOut, ~u64{0} - 1, {{kBuffer, 1024, false}}) == 1);
    CHECK(s.request(kIn, 0, {{kBuffer, 511, true}}) == 1);
    CHECK(s.request(77, 0, {}) == 2);
    CHECK(image.contents().size() == 64 * 512 + 100);
    // A header that is too short, and no room for a status.
    s.driver.post(0, {{kRequest, 8, false}, {kRequest + 0x20, 1, true}});
    s.driver.post(2, {{kRequest, 16, false}});
    s.t.notify(0);
    CHECK(VirtioSetup::eventually([&] { return s.driver.used_index() == static_cast<u16>(s.seen + 2); }));
    CHECK(s.ram.get<u8>(kRequest + 0x20) == 1);
}

TEST_CASE("block: identification, discard, write zeroes") {
    const int way = GENERATE(0, 1, 2);
    const Image image(64);
    BlockOptions options = options_for(image, way);
    options.id = "disk-of-the-test-with-a-long-name";
    BlockSetup s(options);
    CHECK(s.request(kGetId, 0, {{kBuffer, 20, true}}) == 0);
    CHECK(std::memcmp(s.ram.view.host(kBuffer, 20), "disk-of-the-test-with-a-long-name", 20) == 0);

    CHECK(s.ranges(kWriteZeroes, {{{2, 3, 0}}, {{10, 1, 1}}}) == 0);
    const std::string after = image.contents();
    CHECK(after.size() == 64 * 512);
    for (unsigned n = 0; n < 64; ++n) {
        const bool zeroed = (n >= 2 && n < 5) || n == 10;
        CHECK(after[n * 512 + 5] == static_cast<char>(zeroed ? 0 : n));
    }
    CHECK(s.ranges(kDiscard, {{{16, 8, 0}}}) == 0);
    CHECK(image.contents().size() == 64 * 512);
    CHECK(s.ranges(kDiscard, {{{0, 1, 1}}}) == 2);
    CHECK(s.ranges(kWriteZeroes, {{{0, 1, 2}}}) == 2);
    CHECK(s.ranges(kWriteZeroes, {{{60, 5, 0}}}) == 1);
    CHECK(s.ranges(kWriteZeroes, {{{~u64{0}, 1, 0}}}) == 1);
    CHECK(image.contents()[63 * 512] == 63);
}

TEST_CASE("block: a read-only disk says so and refuses writes") {
    const int way = GENERATE(0, 2);
    const Image image(8);
    REQUIRE(::chmod(image.path.c_str(), 0400) == 0);
    BlockOptions options = options_for(image, way);
    options.read_only = true;
    BlockSetup s(options);
    CHECK((s.t.offered() & (1 << 5)) != 0);
    CHECK((s.t.offered() & (1 << 13)) == 0);
    CHECK(s.request(kOut, 1, {{kBuffer, 512, false}}) == 1);
    CHECK(s.ranges(kWriteZeroes, {{{0, 1, 0}}}) == 1);
    CHECK(s.request(kFlush, 0, {}) == 0);
    CHECK(s.request(kIn, 1, {{kBuffer, 512, true}}) == 0);
    CHECK(s.ram.get<u8>(kBuffer) == 1);
    CHECK(image.contents()[512] == 1);
}

TEST_CASE("block: with copy-on-write the guest sees its changes and the file none") {
    const int way = GENERATE(0, 2);
    const Image image(64);
    const std::string before = image.contents();
    REQUIRE(::chmod(image.path.c_str(), 0400) == 0);
    BlockOptions options = options_for(image, way);
    options.copy_on_write = true;
    BlockSetup s(options);
    CHECK((s.t.offered() & (1 << 5)) == 0);
    s.ram.put<u64>(kBuffer, 0x1122334455667788);
    CHECK(s.request(kOut, 9, {{kBuffer, 300, false}, {kBuffer + 300, 724, false}}) == 0);
    CHECK(s.request(kFlush, 0, {}) == 0);
    CHECK(s.ranges(kWriteZeroes, {{{12, 3, 1}}}) == 0);
    CHECK(s.ranges(kDiscard, {{{32, 8, 0}}}) == 0);
    CHECK(s.request(kIn, 8, {{kBuffer + 0x1000, 4096, true}}) == 0);
    CHECK(s.length == 4097);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000) == 8);
    CHECK(s.ram.get<u64>(kBuffer + 0x1000 + 512) == 0x1122334455667788);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000 + 3 * 512) == 11);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000 + 4 * 512) == 0);
    CHECK(s.ram.get<u8>(kBuffer + 0x1000 + 7 * 512) == 15);
    CHECK(s.request(kIn, 63, {{kBuffer, 1024, true}}) == 1);
    CHECK((image.contents() == before));
}

TEST_CASE("block: a qcow2 image is recognised, and not written to by accident") {
    const Image image(8);
    REQUIRE(std::system(("qemu-img create -q -f qcow2 " + image.path + " 10M").c_str()) == 0);
    const auto writable = Block::open({.path = image.path});
    REQUIRE_FALSE(writable);
    CHECK(writable.error().text.find("qcow2 images can be read only") != std::string::npos);
    auto read_only = Block::open({.path = image.path, .read_only = true});
    REQUIRE(read_only);
    CHECK((*read_only)->capacity() == 20480);
    read_only->reset();
    auto raw = Block::open({.path = image.path, .raw = true});
    REQUIRE(raw);
    CHECK((*raw)->capacity() == std::filesystem::file_size(image.path) / 512);
    raw->reset();
    BlockOptions options = options_for(image, 0);
    options.copy_on_write = true;
    BlockSetup s(options);
    s.ram.put<u64>(kBuffer, 77);
    CHECK(s.request(kOut, 20479, {{kBuffer, 512, false}}) == 0);
    CHECK(s.request(kIn, 20478, {{kBuffer + 0x1000, 1024, true}}) == 0);
    CHECK(s.ram.get<u64>(kBuffer + 0x1000) == 0);
    CHECK(s.ram.get<u64>(kBuffer + 0x1200) == 77);
}

/// The whole disk, as the guest reads it.
std::string all_of(BlockSetup& s) {
    constexpr u32 kPiece = 0x20000;
    const u64 size = s.t.read(0x100) * u64{512};
    std::string content;
    while (content.size() < size) {
        const u32 piece = static_cast<u32>(std::min<u64>(kPiece, size - content.size()));
        REQUIRE(s.request(kIn, content.size() / 512, {{kBuffer, piece, true}}) == 0);
        content.append(reinterpret_cast<const char*>(s.ram.view.host(kBuffer, piece)), piece);
    }
    return content;
}

TEST_CASE("block: an image with backing files reads as qemu-img converts it") {
    struct Case {
        const char* base;   // options of the base, "raw": a raw file
        const char* child;
        const char* grandchild;
    };
    const Case c = GENERATE(Case{"raw", "-F raw", "-F qcow2"}, Case{"", "-F qcow2", "-F qcow2"},
                            Case{"-o cluster_size=2M", "-F qcow2 -o cluster_size=512", "-F qcow2 -o cluster_size=4096"},
                            Case{"-o compat=0.10", "-F qcow2 -o compat=0.10", "-F qcow2 -o compat=0.10,cluster_size=4096"},
                            Case{"-o compression_type=zstd", "-F qcow2", "-F qcow2"});
    const test::TemporaryFolder folder;
    const auto shell = [&folder](const std::string& command) {
        INFO(command);
        REQUIRE(std::system(("mkdir -p " + folder / "sub" + " && cd " + folder.path.string() + " && " + command + " >/dev/null").c_str()) == 0);
    };
    Rng rng(5);
    const auto scribble = [&](const std::string& image, const std::string& format, u64 size) {
        std::string commands;
        for (unsigned n = 0; n < 12; ++n) {
            const u64 length = (1 + rng.next() % 100) * 512;
            const u64 at = rng.next() % ((size - length) / 512) * 512;
            commands += n % 4 == 3 ? fmt::format(" -c 'write -z {} {}'", at, length)
                                   : fmt::format(" -c 'write -P {} {} {}'", 1 + rng.next() % 255, at, length);
        }
        shell("qemu-io -f " + format + commands + " " + image);
    };
    constexpr u64 kMiB = 1 << 20;
    const bool raw = std::string_view(c.base) == "raw";
    const std::string format = raw ? "raw" : "qcow2";
    // The base is smaller than its children and ends within a cluster; paths are relative, absolute, and through a folder.
    shell("qemu-img create -q -f " + format + " " + (raw ? "" : c.base) + " sub/base " + std::to_string(2 * kMiB + 1536));
    scribble("sub/base", format, 2 * kMiB);
    shell("qemu-img create -q -f qcow2 -b base " + std::string(c.child) + " sub/child 4M");
    scribble("sub/child", "qcow2", 4 * kMiB);
    const std::string parent = rng.next() % 2 == 0 ? "sub/child" : folder / "sub/child";
    shell("qemu-img create -q -f qcow2 -b " + parent + " " + c.grandchild + " top 3M");
    scribble("top", "qcow2", 3 * kMiB);
    for (const std::string image : {"sub/child", "top"}) {
        shell("qemu-img convert -O raw " + image + " expected");
        const std::string before = test::read_text(folder / "sub/base");
        BlockSetup s({.path = folder / image, .copy_on_write = true, .qcow2 = true,
                      .threading = image == "top" ? Threading::own_thread : Threading::inline_call});
        const std::string content = all_of(s);
        CHECK((content == test::read_text(folder / "expected")));
        CHECK(content.find_first_not_of('\0') != std::string::npos);
        // What the guest writes stays out of all of them.
        s.ram.put<u64>(kBuffer, 0x1122334455667788);
        CHECK(s.request(kOut, 3, {{kBuffer, 512, false}}) == 0);
        CHECK(s.request(kIn, 3, {{kBuffer + 0x1000, 512, true}}) == 0);
        CHECK(s.ram.get<u64>(kBuffer + 0x1000) == 0x1122334455667788);
        CHECK((test::read_text(folder / "sub/base") == before));
        CHECK(error_elsewhere({.path = folder / "sub/base", .raw = true, .io_uring = false}).find("reads it") != std::string::npos);
    }
}

TEST_CASE("block: what cannot be opened is told in one line") {
    const auto missing = Block::open({.path = "/nonexistent/disk.img"});
    REQUIRE_FALSE(missing);
    CHECK(missing.error().text == "disk /nonexistent/disk.img: cannot open it: No such file or directory");
    const auto directory = Block::open({.path = "/tmp", .read_only = true});
    REQUIRE_FALSE(directory);
    CHECK(directory.error().text.find("neither a regular file") != std::string::npos);
    const Image empty(0);
    CHECK_FALSE(Block::open({.path = empty.path}));
}

TEST_CASE("block: a file has one writer, or readers") {
    const Image image(8);
    const BlockOptions writer{.path = image.path, .io_uring = false};
    const BlockOptions reader{.path = image.path, .read_only = true, .io_uring = false};
    const BlockOptions cow{.path = image.path, .copy_on_write = true, .io_uring = false};
    {
        const auto held = Block::open(writer);
        REQUIRE(held);
        for (const BlockOptions& other : {writer, reader, cow}) {
            CHECK(error_elsewhere(other) == "disk " + image.path +
                                                ": another process or disk has it open for writing; ',ro' or ',cow' would work "
                                                "if both used it so");
            CHECK_FALSE(Block::open(other));  // nor in this process
        }
        CHECK(error_elsewhere(writer, true).empty());
    }
    for (const BlockOptions& first : {reader, cow}) {
        const auto held = Block::open(first);
        REQUIRE(held);
        CHECK(error_elsewhere(reader).empty());
        CHECK(error_elsewhere(cow).empty());
        CHECK(error_elsewhere(writer) == "disk " + image.path +
                                             ": another process or disk reads it, so it cannot be written to; ',ro' or ',cow' "
                                             "would work");
    }
    CHECK(error_elsewhere(writer).empty());
}

TEST_CASE("block: qemu-img keeps away from a disk that is written to, and reads what is only read") {
    const Image image(64);
    const std::string write = "qemu-io -f raw -c 'write 0 512' " + image.path + " >/dev/null 2>&1";
    const std::string read = "qemu-img convert -f raw -O raw " + image.path + " " + image.path + ".copy 2>/dev/null";
    {
        const auto held = Block::open({.path = image.path});
        REQUIRE(held);
        CHECK(std::system(write.c_str()) != 0);
        CHECK(std::system(read.c_str()) != 0);
    }
    const auto held = Block::open({.path = image.path, .read_only = true});
    REQUIRE(held);
    CHECK(std::system(read.c_str()) == 0);
    ::unlink((image.path + ".copy").c_str());
}

TEST_CASE("block: a pipe is no disk and keeps nobody waiting") {
    const Image image(8);
    const std::string pipe = image.path + ".pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    const auto opened = Block::open({.path = pipe, .read_only = true});
    ::unlink(pipe.c_str());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().text.find("neither a regular file") != std::string::npos);
}

TEST_CASE("block: many requests at once, and a reset in their midst") {
    const int way = GENERATE(0, 1);
    const Image image(64);
    BlockSetup s(options_for(image, way));
    Rng rng(3);
    for (unsigned round = 0; round < 200; ++round) {
        s.t.write(0x70, 0);  // the memory is the driver's alone
        s.ram.bytes.assign(s.ram.bytes.size(), 0);
        Driver driver(s.ram, kRamBase, 64);
        s.t.negotiate(s.t.offered());
        s.t.set_up_queue(0, driver.layout());
        s.t.driver_ok();
        for (u16 n = 0; n < 21; ++n) {
            const u64 request = kRequest + n * 0x40;
            s.ram.put<u32>(request, kIn);
            s.ram.put<u64>(request + 8, n);
            s.ram.put<u8>(request + 0x20, 0xEE);
            driver.post(n * 3, {{request, 16, false}, {kBuffer + n * 512, 512, true}, {request + 0x20, 1, true}});
            s.t.notify(0);
        }
        if (round % 2 == 0) {
            REQUIRE(VirtioSetup::eventually([&] { return driver.used_index() == 21; }));
            for (u16 n = 0; n < 21; ++n) {
                REQUIRE(s.ram.get<u8>(kRequest + n * 0x40 + 0x20) == 0);
                REQUIRE(s.ram.get<u8>(kBuffer + n * 512 + 200) == n);
            }
        } else {
            s.t.write(0x70, 0);
            const u16 done = driver.used_index();
            std::vector<u8> before = s.ram.bytes;
            std::this_thread::sleep_for(std::chrono::microseconds(200));
            REQUIRE(driver.used_index() == done);
            REQUIRE((s.ram.bytes == before));  // nothing touches memory after a reset
        }
    }
    if (way == 0) {
        CHECK(static_cast<Block&>(s.t.transport.device()).uses_io_uring());
    }
}

}  // namespace
}  // namespace vmm::devices::virtio
