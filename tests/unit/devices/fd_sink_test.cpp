#include "devices/host_io/fd_sink.h"

#include <unistd.h>

#include <thread>

#include <catch2/catch.hpp>

#include "tests/unit/devices/fakes.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices {
namespace {

struct Pipe {
    Pipe() {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        out = UniqueFd(ends[0]);
        in = UniqueFd(ends[1]);
    }
    std::string drain(std::size_t size) const {
        std::string text(size, '\0');
        std::size_t got = 0;
        while (got < size) {
            const ssize_t n = ::read(out.get(), text.data() + got, size - got);
            if (n <= 0) {
                break;
            }
            got += static_cast<std::size_t>(n);
        }
        text.resize(got);
        return text;
    }
    UniqueFd out;
    UniqueFd in;
};

TEST_CASE("what is put into an fd sink arrives in order, also when the pipe is full for a while") {
    Pipe pipe;
    std::string sent;
    {
        FdSink sink(pipe.in.get(), 1000);
        std::thread writer([&] {
            for (int n = 0; n < 100'000; ++n) {
                const std::string piece = std::to_string(n);
                sink.put(test::bytes_of(piece));
                sent += piece;
            }
        });
        const std::string received = pipe.drain(488'890);  // digits of 0..99999
        writer.join();
        CHECK((received == sent));
    }
}

TEST_CASE("flush waits until everything is written") {
    Pipe pipe;
    FdSink sink(pipe.in.get());
    sink.put(test::bytes_of("hello"));
    sink.flush();
    CHECK(pipe.drain(5) == "hello");
}

}  // namespace
}  // namespace vmm::devices
