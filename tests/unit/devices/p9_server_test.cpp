#include <dirent.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <set>

#include "tests/unit/devices/p9_client.h"
#include "vmm/base/rng.h"

namespace vmm::devices::p9 {
namespace {

using test::P9Client;
using test::P9Request;
using test::read_text;
using test::TemporaryFolder;
using test::write_text;

enum : u32 {
    kReadOnly = 0,
    kWriteOnly = 1,
    kReadWrite = 2,
    kCreate = 0100,
    kExclusive = 0200,
    kTruncate = 01000
};

TEST_CASE("9p: files are found, read, created and written") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder.path / "d");
    write_text(folder.path / "d/file", "hello");
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {"d", "file"}) == 0);
    CHECK(c.read(1, 0, 100) == EBADF);  // not open
    REQUIRE(c.lopen(1, kReadWrite) == 0);
    CHECK(c.lopen(1, kReadOnly) == EBADF);  // open already
    REQUIRE(c.read(1, 1, 100) == 0);
    CHECK(c.data() == "ello");
    REQUIRE(c.read(1, 5, 100) == 0);
    CHECK(c.data().empty());
    REQUIRE(c.write(1, 3, "XYZ") == 0);
    CHECK(c.body<u32>(0) == 3);
    CHECK(read_text(folder.path / "d/file") == "helXYZ");

    REQUIRE(c.walk(0, 2, {"d"}) == 0);
    REQUIRE(c.lcreate(2, "new", kWriteOnly | kExclusive, 0666) == 0);
    REQUIRE(c.write(2, 0, "n") == 0);
    CHECK(read_text(folder.path / "d/new") == "n");
    // Whatever the umask.
    CHECK((std::filesystem::status(folder.path / "d/new").permissions() & std::filesystem::perms::mask) ==
          static_cast<std::filesystem::perms>(0666));
    REQUIRE(c.walk(0, 3, {"d"}) == 0);
    CHECK(c.lcreate(3, "new", kWriteOnly | kExclusive, 0666) == EEXIST);
    CHECK(c.lcreate(3, "new", kWriteOnly | kTruncate, 0666) == 0);
    CHECK(read_text(folder.path / "d/new").empty());
    CHECK(c.clunk(3) == 0);
    CHECK(c.clunk(3) == EBADF);
}

TEST_CASE("9p: a walk gets as far as it can, and its fid exists only at the end") {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder.path / "a/b");
    write_text(folder.path / "a/file", "");
    P9Client c(folder.path);
    CHECK(c.walk(0, 1, {"a", "x"}) == -2);
    CHECK(c.body<u16>(0) == 1);
    CHECK(c.clunk(1) == EBADF);
    CHECK(c.walk(0, 1, {"x", "a"}) == ENOENT);
    CHECK(c.walk(0, 1, {"a", "file", "x"}) == -2);
    CHECK(c.walk(0, 1, {"a", "b"}) == 0);
    CHECK(c.walk(0, 1, {"a"}) == EBADF);  // in use
    CHECK(c.walk(7, 2, {"a"}) == EBADF);
    CHECK(c.walk(1, 1, {"..", "file"}) == 0);
    REQUIRE(c.lopen(1, kReadOnly) == 0);
    CHECK(c.walk(0, 3, std::vector<std::string>(17, "a")) == EPROTO);
}

TEST_CASE("9p: nothing leads out of the folder") {
    const TemporaryFolder outer;
    write_text(outer.path / "secret", "secret");
    const auto path = outer.path / "shared";
    std::filesystem::create_directories(path / "d");
    std::filesystem::create_symlink("../secret", path / "relative");
    std::filesystem::create_symlink(outer.path / "secret", path / "absolute");
    std::filesystem::create_symlink("..", path / "up");
    std::filesystem::create_symlink("/proc/self/root", path / "magic");
    P9Client c(path);
    for (const char* name : {"../secret", "/etc/passwd", "d/../../secret", ".", "", "d/", "./d"}) {
        CAPTURE(name);
        CHECK(c.walk(0, 1, {name}) == ENOENT);
    }
    CHECK(c.walk(0, 1, {std::string("d\0/..", 5)}) == ENOENT);
    CHECK(c.walk(0, 1, {std::string(300, 'n')}) == ENAMETOOLONG);
    // ".." of the folder is the folder.
    REQUIRE(c.walk(0, 1, {"..", "..", "d", "..", ".."}) == 0);
    CHECK(c.walk(1, 2, {"secret"}) == ENOENT);
    CHECK(c.walk(1, 2, {"d"}) == 0);
    u32 fid = 10;
    for (const char* name : {"relative", "absolute", "up", "magic"}) {
        CAPTURE(name);
        // A link is itself: it can be read, but neither followed nor opened, nor is anything created through it.
        REQUIRE(c.walk(0, ++fid, {name}) == 0);
        CHECK(c.ask(P9Request(Request::readlink).put(fid)) == 0);
        CHECK(c.lopen(fid, kReadOnly) == ELOOP);
        CHECK(c.lopen(fid, kWriteOnly) == ELOOP);
        CHECK(c.walk(fid, 40, {"secret"}) == ENOTDIR);
        REQUIRE(c.walk(0, 41, {}) == 0);
        CHECK(c.lcreate(41, name, kWriteOnly, 0600) == ELOOP);
        CHECK(c.clunk(41) == 0);
        CHECK(c.ask(P9Request(Request::mkdir).put(fid).text("x").put(0700u).put(0u)) == ENOTDIR);
    }
    for (const char* name : {"..", ".", "../x", "/tmp/x", "", "a/b"}) {
        CAPTURE(name);
        CHECK(c.ask(P9Request(Request::mkdir).put(0u).text(name).put(0700u).put(0u)) == EINVAL);
        CHECK(c.ask(P9Request(Request::symlink).put(0u).text(name).text("t").put(0u)) == EINVAL);
        CHECK(c.ask(P9Request(Request::unlinkat).put(0u).text(name).put(0u)) == EINVAL);
        CHECK(c.ask(P9Request(Request::renameat).put(0u).text("d").put(0u).text(name)) == EINVAL);
        CHECK(c.ask(P9Request(Request::renameat).put(0u).text(name).put(0u).text("y")) == EINVAL);
        CHECK(c.ask(P9Request(Request::link).put(0u).put(2u).text(name)) == EINVAL);
        REQUIRE(c.walk(0, 42, {}) == 0);
        CHECK(c.lcreate(42, name, kWriteOnly, 0600) == EINVAL);
        CHECK(c.clunk(42) == 0);
    }
    CHECK(read_text(outer.path / "secret") == "secret");
    // A folder that the host moves away meanwhile: ".." still is where the walk came from.
    REQUIRE(c.walk(0, 50, {"d"}) == 0);
    std::filesystem::rename(path / "d", outer.path / "moved");
    REQUIRE(c.walk(50, 51, {".."}) == 0);
    CHECK(c.walk(51, 52, {"secret"}) == ENOENT);
}

TEST_CASE("9p: devices, FIFOs and sockets of the host are not opened, and no devices are made") {
    const TemporaryFolder folder;
    REQUIRE(::mkfifo((folder.path / "fifo").c_str(), 0600) == 0);
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {"fifo"}) == 0);
    CHECK(c.lopen(1, kReadOnly) == ENXIO);
    CHECK(c.lopen(1, kReadWrite) == ENXIO);
    REQUIRE(c.walk(0, 2, {}) == 0);
    CHECK(c.lcreate(2, "fifo", kReadOnly, 0600) == ENXIO);
    const auto mknod = [&](u32 mode) {
        return c.ask(P9Request(Request::mknod).put(0u).text("node").put(mode).put(1u).put(3u).put(0u));
    };
    CHECK(mknod(S_IFCHR | 0666) == EPERM);
    CHECK(mknod(S_IFBLK | 0666) == EPERM);
    CHECK(mknod(S_IFDIR | 0777) == EPERM);
    CHECK(mknod(S_IFIFO | 0600) == 0);
    CHECK(std::filesystem::is_fifo(folder.path / "node"));
}

TEST_CASE("9p: a read-only folder refuses every change") {
    const TemporaryFolder folder;
    write_text(folder.path / "file", "content");
    P9Client c(folder.path, true);
    REQUIRE(c.walk(0, 1, {"file"}) == 0);
    CHECK(c.lopen(1, kWriteOnly) == EROFS);
    CHECK(c.lopen(1, kReadWrite) == EROFS);
    CHECK(c.lopen(1, kReadOnly | kTruncate) == EROFS);
    for (const u32 what : {0x1u, 0x2u, 0x4u, 0x8u, 0x30u, 0x180u}) {
        P9Request request(Request::setattr);
        request.put(1u).put(what).put(0777u).put(::getuid()).put(::getgid());
        for (unsigned n = 0; n < 5; ++n) {
            request.put(u64{0});
        }
        CHECK(c.ask(request) == EROFS);
    }
    CHECK(c.ask(P9Request(Request::unlinkat).put(0u).text("file").put(0u)) == EROFS);
    CHECK(c.ask(P9Request(Request::renameat).put(0u).text("file").put(0u).text("x")) == EROFS);
    CHECK(c.ask(P9Request(Request::mkdir).put(0u).text("x").put(0700u).put(0u)) == EROFS);
    CHECK(c.ask(P9Request(Request::symlink).put(0u).text("x").text("t").put(0u)) == EROFS);
    CHECK(c.ask(P9Request(Request::link).put(0u).put(1u).text("x")) == EROFS);
    CHECK(c.ask(P9Request(Request::mknod).put(0u).text("x").put(u32{S_IFIFO}).put(0u).put(0u).put(0u)) ==
          EROFS);
    REQUIRE(c.walk(0, 2, {}) == 0);
    CHECK(c.lcreate(2, "x", kReadOnly, 0600) == EROFS);
    REQUIRE(c.lopen(1, kReadOnly) == 0);
    CHECK(c.write(1, 0, "x") == EBADF);
    REQUIRE(c.read(1, 0, 7) == 0);
    CHECK(c.data() == "content");
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

/// All names of the open folder `fid`, asking for `count` bytes at a time.
std::multiset<std::string> list(P9Client& c, u32 fid, u32 count) {
    std::multiset<std::string> names;
    u64 offset = 0;
    for (;;) {
        REQUIRE(c.ask(P9Request(Request::readdir).put(fid).put(offset).put(count)) == 0);
        const auto size = c.body<u32>(0);
        REQUIRE(size <= count);
        if (size == 0) {
            return names;
        }
        for (std::size_t at = 4; at < 4 + size;) {
            offset = c.body<u64>(at + 13);
            const auto length = c.body<u16>(at + 22);
            names.emplace(reinterpret_cast<const char*>(c.answer.data()) + 7 + at + 24, length);
            at += 24 + length;
        }
    }
}

TEST_CASE("9p: folders are listed in pieces of any size") {
    const TemporaryFolder folder;
    std::multiset<std::string> wanted{".", ".."};
    for (unsigned n = 0; n < 300; ++n) {
        wanted.insert(std::string(1 + n % 200, 'x') + std::to_string(n));
    }
    for (const std::string& name : wanted) {
        if (name[0] != '.') {
            write_text(folder.path / name, "");
        }
    }
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {}) == 0);
    REQUIRE(c.lopen(1, kReadOnly) == 0);
    for (const u32 count : {300u, 1000u, 4096u, 60000u}) {
        CAPTURE(count);
        CHECK((list(c, 1, count) == wanted));
    }
    CHECK(c.ask(P9Request(Request::readdir).put(1u).put(u64{0}).put(10u)) == EINVAL);
    CHECK(c.ask(P9Request(Request::readdir).put(1u).put(~u64{0}).put(4000u)) == EINVAL);
    CHECK(c.read(1, 0, 100) == EISDIR);
}

TEST_CASE("9p: attributes are the host's and can be changed") {
    const TemporaryFolder folder;
    write_text(folder.path / "file", "12345");
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {"file"}) == 0);
    const auto set = [&](u32 what, u32 mode, u64 size, u64 seconds, u64 nanoseconds) {
        return c.ask(P9Request(Request::setattr)
                         .put(1u)
                         .put(what)
                         .put(mode)
                         .put(0u)
                         .put(0u)
                         .put(size)
                         .put(seconds)
                         .put(nanoseconds)
                         .put(seconds + 1)
                         .put(nanoseconds));
    };
    REQUIRE(set(0x1 | 0x8 | 0x10 | 0x20 | 0x80 | 0x100, 0604, 3, 1'000'000'000, 5) == 0);
    REQUIRE(c.ask(P9Request(Request::getattr).put(1u).put(u64{0x7FF})) == 0);
    struct stat info {};
    REQUIRE(::stat((folder.path / "file").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0604);
    CHECK(info.st_mtim.tv_sec == 1'000'000'001);
    CHECK(c.body<u64>(0) == 0x7FF);
    CHECK(c.body<u64>(8 + 5) == info.st_ino);
    CHECK(c.body<u32>(8 + 13) == info.st_mode);
    CHECK(c.body<u64>(8 + 13 + 12 + 16) == 3);              // size
    CHECK(c.body<u64>(8 + 13 + 12 + 40) == 1'000'000'000);  // access time
    CHECK(c.body<u64>(8 + 13 + 12 + 48) == 5);
    CHECK(set(0x10 | 0x80, 0, 0, 0, 1'000'000'000) == EINVAL);
    CHECK(set(0x8, 0, ~u64{0}, 0, 0) == EFBIG);
    REQUIRE(c.walk(0, 2, {}) == 0);
    REQUIRE(c.ask(P9Request(Request::statfs).put(2u)) == 0);
    CHECK(c.body<u32>(0) == 0x01021997);
}

TEST_CASE("9p: a file that was removed can be used as long as it is open") {
    const TemporaryFolder folder;
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {}) == 0);
    REQUIRE(c.lcreate(1, "gone", kReadWrite, 0600) == 0);
    REQUIRE(c.ask(P9Request(Request::unlinkat).put(0u).text("gone").put(0u)) == 0);
    REQUIRE(c.write(1, 0, "still") == 0);
    REQUIRE(c.read(1, 0, 10) == 0);
    CHECK(c.data() == "still");
    CHECK(c.ask(P9Request(Request::getattr).put(1u).put(u64{0x7FF})) == 0);
}

TEST_CASE("9p: nothing works before the version is agreed on, and a new version ends all fids") {
    const TemporaryFolder folder;
    P9Client c(folder.path, false, false);
    const auto attach = P9Request(Request::attach).put(0u).put(~0u).text("").text("").put(0u);
    CHECK(c.ask(attach) == EPROTO);
    CHECK(c.ask(P9Request(Request::version).put(100u).text("9P2000.L")) == EMSGSIZE);
    CHECK(c.ask(P9Request(Request::version).put(8192u).text("9P2000.u")) == 0);
    CHECK(std::string(c.answer.end() - 7, c.answer.end()) == "unknown");
    CHECK(c.ask(attach) == EPROTO);
    CHECK(c.ask(P9Request(Request::version).put(~0u).text("9P2000.L")) == 0);
    CHECK(c.body<u32>(0) == Server::kMaxMessage);
    CHECK(c.ask(attach) == 0);
    CHECK(c.ask(attach) == EBADF);
    CHECK(c.ask(P9Request(Request::attach).put(1u).put(~0u).text("").text("/etc").put(0u)) == ENOENT);
    CHECK(c.ask(P9Request(Request::version).put(8192u).text("9P2000.L")) == 0);
    CHECK(c.server.fids() == 0);
    CHECK(c.ask(P9Request(Request::auth).put(0u).text("").text("").put(0u)) == EOPNOTSUPP);
    CHECK(c.ask(P9Request(Request::flush).put(u16{3})) == 0);
    CHECK(c.ask(P9Request(Request::remove).put(0u)) == EBADF);
}

TEST_CASE("9p: messages that are cut off, overlong or lie about their size are refused") {
    const TemporaryFolder folder;
    write_text(folder.path / "file", std::string(100'000, 'f'));
    P9Client c(folder.path);
    REQUIRE(c.walk(0, 1, {"file"}) == 0);
    REQUIRE(c.lopen(1, kReadWrite) == 0);
    // A read is cut to what fits, and an answer that does not fit is an error; with less room than that there is none.
    REQUIRE(c.read(1, 0, ~0u) == 0);
    CHECK(c.body<u32>(0) == 65536 - 11);
    REQUIRE(c.ask(P9Request(Request::read).put(1u).put(u64{0}).put(~0u), 100) == 0);
    CHECK(c.body<u32>(0) == 100 - 11);
    CHECK(c.ask(P9Request(Request::getattr).put(1u).put(u64{0}), 50) == EMSGSIZE);
    CHECK(c.ask(P9Request(Request::getattr).put(1u).put(u64{0}), 10) == -1);
    CHECK(c.read(1, ~u64{0}, 1) == EINVAL);
    CHECK(c.read(1, u64{1} << 63, 1) == EINVAL);
    CHECK(c.write(1, ~u64{0}, "x") == EINVAL);
    // Every prefix of every request, with the size it claims right and wrong.
    const P9Request requests[] = {
        P9Request(Request::write).put(1u).put(u64{0}).put(3u).put(u8{1}).put(u8{2}).put(u8{3}),
        P9Request(Request::renameat).put(0u).text("a").put(0u).text("b"),
        P9Request(Request::version).put(8192u).text("9P2000.L"),
        P9Request(Request::walk).put(0u).put(9u).put(u16{2}).text("a").text("b")};
    for (const P9Request& request : requests) {
        const std::vector<u8> whole = request.bytes();
        for (std::size_t size = 0; size < whole.size(); ++size) {
            std::vector<u8> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            for (const bool honest : {false, true}) {
                const auto claimed = static_cast<u32>(size);
                if (honest && size >= 4) {
                    std::memcpy(part.data(), &claimed, 4);
                }
                const auto answer = c.server.answer(part, 4096);
                REQUIRE(answer.size() == 11);
                CHECK(answer[4] == 7);
            }
        }
    }
    CHECK(read_text(folder.path / "file").substr(0, 3) == "fff");
}

TEST_CASE("9p: random messages harm nothing outside, and each gets an answer that fits") {
    const TemporaryFolder outer;
    write_text(outer.path / "secret", "secret");
    const auto path = outer.path / "shared";
    std::filesystem::create_directories(path / "d/e");
    std::filesystem::create_symlink("../secret", path / "l");
    P9Client c(path);
    Rng rng(9);
    static constexpr Request kTypes[] = {
        Request::statfs,   Request::lopen,   Request::lcreate,   Request::symlink, Request::mknod,
        Request::readlink, Request::getattr, Request::setattr,   Request::readdir, Request::fsync,
        Request::lock,     Request::getlock, Request::link,      Request::mkdir,   Request::renameat,
        Request::unlinkat, Request::attach,  Request::walk,      Request::read,    Request::write,
        Request::clunk,    Request::remove,  Request::xattrwalk, Request::rename};
    static constexpr const char* kNames[] = {"d", "e",   "..",        "l",   ".",
                                             "",  "x/y", "../secret", "new", "\xFF\xFE"};
    unsigned good = 0;
    for (unsigned n = 0; n < 60'000; ++n) {
        P9Request request(kTypes[rng.next() % std::size(kTypes)]);
        request.put(static_cast<u32>(rng.next() % 3));
        for (u64 parts = rng.next() % 8; parts != 0; --parts) {
            switch (rng.next() % 8) {
                case 0:
                case 1: request.put(static_cast<u32>(rng.next() % 4)); break;
                case 2: request.put(rng.next() >> (rng.next() % 64)); break;
                case 3: request.put(static_cast<u16>(rng.next() % 3)); break;
                default: request.text(kNames[rng.next() % std::size(kNames)]); break;
            }
        }
        std::vector<u8> bytes = request.bytes();
        if (rng.next() % 8 == 0) {
            bytes[rng.next() % bytes.size()] = static_cast<u8>(rng.next());
        }
        const std::size_t room = 11 + rng.next() % 5000;
        const auto answer = c.server.answer(bytes, room);
        REQUIRE(answer.size() >= 7);
        REQUIRE(answer.size() <= room);
        good += answer[4] != 7;
        if (n % 64 == 0 || c.server.fids() == 0) {
            c.server.reset();
            c.ask(P9Request(Request::version).put(65536u).text("9P2000.L"));
            c.ask(P9Request(Request::attach).put(0u).put(~0u).text("").text("").put(::getuid()));
        }
    }
    CHECK(good > 2'000);  // enough of them mean something
    CHECK(read_text(outer.path / "secret") == "secret");
    CHECK(std::distance(std::filesystem::directory_iterator(outer.path), {}) == 2);
}

TEST_CASE("9p: a guest that hoards fids and depth gets errors, and the process keeps its descriptors") {
    const TemporaryFolder folder;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    P9Client c(folder.path);
    // Depth: each folder below the last.
    u32 depth = 0;
    int error = 0;
    REQUIRE(c.walk(0, 1, {}) == 0);
    for (; depth < 2000 && error == 0; ++depth) {
        error = c.ask(P9Request(Request::mkdir).put(1u).text("d").put(0700u).put(::getgid()));
        error = error == 0 ? c.walk(1, 1, {"d"}) : error;
    }
    CHECK(error == ENAMETOOLONG);
    CHECK(depth == HostFolder::kMaxDepth + 1);
    REQUIRE(c.clunk(1) == 0);
    for (u32 n = 1; n < 2 * Server::kMaxFids; ++n) {
        error = c.walk(0, n, {});
        if (error == 0 && n % 2 == 0) {
            error = c.lopen(n, kReadOnly);
        }
        if (error != 0) {
            break;
        }
    }
    CHECK(error == ENFILE);
    // There still are some for everyone else.
    std::vector<UniqueFd> others;
    for (unsigned n = 0; n < 100; ++n) {
        others.emplace_back(::dup(0));
        REQUIRE(others.back());
    }
}

TEST_CASE("9p: a folder that cannot be shared is told in one line") {
    const auto missing = HostFolder::open("/nonexistent/folder", false);
    REQUIRE_FALSE(missing);
    CHECK(missing.error().text == "cannot open folder /nonexistent/folder: No such file or directory");
    const TemporaryFolder folder;
    write_text(folder.path / "file", "");
    CHECK_FALSE(HostFolder::open(folder.path / "file", false));
}

}  // namespace
}  // namespace vmm::devices::p9
