#include "vmm/console.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

using namespace vmm;

namespace {

/// What the guest gets for `pieces` typed one after the other; "QUIT" at the end where the user wants out.
std::string typed(std::initializer_list<std::string_view> pieces) {
    EscapeFilter filter;
    std::vector<u8> out;
    for (const std::string_view piece : pieces) {
        const std::span bytes(reinterpret_cast<const u8*>(piece.data()), piece.size());
        if (filter.feed(bytes, out)) {
            return std::string(out.begin(), out.end()) + "QUIT";
        }
    }
    return {out.begin(), out.end()};
}

template <class Condition>
bool eventually(Condition condition) {
    for (int i = 0; i < 500; ++i) {
        if (condition()) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

struct Pipe {
    Pipe() { REQUIRE(::pipe(fds) == 0); }
    ~Pipe() {
        close_writer();
        ::close(fds[0]);
    }
    void close_writer() {
        if (fds[1] >= 0) {
            ::close(fds[1]);
        }
        fds[1] = -1;
    }
    void write(std::string_view text) {
        REQUIRE(::write(fds[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    int fds[2] = {-1, -1};
};

}  // namespace

TEST_CASE("Ctrl-A x quits, Ctrl-A Ctrl-A is Ctrl-A, anything else passes") {
    REQUIRE(typed({"plain text\r"}) == "plain text\r");
    REQUIRE(typed({"a\001x"}) == "aQUIT");
    REQUIRE(typed({"a\001\001b"}) == "a\001b");
    REQUIRE(typed({"\001c"}) == "\001c");
    REQUIRE(typed({"\001\001x"}) == "\001x");
    REQUIRE(typed({"x\001", "x"}) == "xQUIT");
    REQUIRE(typed({std::string_view("\0\377", 2)}) == std::string("\0\377", 2));
}

TEST_CASE("input reaches the guest whole, also when it takes a few bytes at a time") {
    Pipe pipe;
    std::mutex mutex;
    std::string got;
    const ConsoleInput input(
        pipe.fds[0],
        [&](std::span<const u8> bytes) {
            const std::lock_guard lock(mutex);
            const std::size_t taken = got.size() % 5 == 4 ? 0 : std::min<std::size_t>(bytes.size(), 4);
            if (taken == 0) {
                got.push_back('|');  // a full FIFO: the same bytes come again
            }
            got.append(bytes.begin(), bytes.begin() + static_cast<long>(taken));
            return taken;
        },
        [] {});
    pipe.write("abcdefghij");
    REQUIRE(eventually([&] {
        const std::lock_guard lock(mutex);
        return got == "abcd|efgh|ij";
    }));
}

TEST_CASE("the end of input is no error, and the thread ends when asked even if the guest takes nothing") {
    {
        Pipe pipe;
        const ConsoleInput input(
            pipe.fds[0], [](std::span<const u8> b) { return b.size(); }, [] { FAIL(); });
        pipe.close_writer();
    }
    {
        Pipe pipe;
        std::atomic<bool> asked{false};
        const ConsoleInput input(
            pipe.fds[0],
            [&](std::span<const u8>) {
                asked = true;
                return std::size_t{0};
            },
            [] {});
        pipe.write("stuck");
        REQUIRE(eventually([&] { return asked.load(); }));
    }
    SUCCEED("both destructors returned");
}

TEST_CASE("quit is reported once, after what was typed before it") {
    Pipe pipe;
    std::atomic<int> quits{0};
    std::atomic<std::size_t> bytes{0};
    const ConsoleInput input(
        pipe.fds[0], [&](std::span<const u8> b) { return bytes += b.size(), b.size(); }, [&] { ++quits; });
    pipe.write("abc\001xdef");
    REQUIRE(eventually([&] { return quits == 1; }));
    REQUIRE(bytes == 3);
}
