// What clients write to a control socket, and what a client is answered.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/target.h"
#include "vmm/control_server.h"

namespace vmm::fuzz {
namespace {

void parse(std::string_view line) {
    if (const auto request = parse_request(line)) {
        // What was understood can be said again.
        std::string text = format_request(*request);
        VMM_CHECK(text.ends_with('\n'));
        text.pop_back();
        const auto again = parse_request(text);
        VMM_CHECK(again.has_value());
        VMM_CHECK(again->command == request->command && again->mode == request->mode && again->bytes == request->bytes);
    } else {
        VMM_CHECK(!request.error().text.empty());
        const std::string reply = format_reply(error_reply(request.error().text));
        VMM_CHECK(reply.find('\n') == reply.size() - 1);
    }
    (void)parse_reply(line);
}

class Server {
  public:
    Server()
        : wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
          server_(listener(), {[](const ControlRequest& request) { return answer_now(request); },
                               [this] {
                                   const u64 one = 1;
                                   VMM_CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one);
                               }}) {}

    /// A client that writes `bytes` and reads to the end: each line of which is a reply.
    void converse(std::span<const u8> bytes) {
        auto connection = connect_control(path(), std::chrono::seconds(5));
        VMM_CHECK(connection.has_value());
        const int fd = connection->fd.get();
        (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        (void)::shutdown(fd, SHUT_WR);
        std::string answers;
        for (;;) {
            pollfd wanted[] = {{fd, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
            const int ready = ::poll(wanted, 2, 10'000);
            VMM_CHECK(ready > 0 || (ready < 0 && errno == EINTR));  // the fuzzer's clock; otherwise the server sleeps
            if (ready < 0) {
                continue;
            }
            if (wanted[1].revents != 0) {
                u64 count = 0;
                VMM_CHECK(::read(wake_.get(), &count, sizeof count) == sizeof count);
                server_.serve([](const ControlRequest&) { return ok_reply(); });
            }
            if (wanted[0].revents != 0) {
                char part[4096];
                const ssize_t got = ::recv(fd, part, sizeof part, 0);
                if (got <= 0) {
                    break;
                }
                answers.append(part, static_cast<std::size_t>(got));
            }
        }
        check(answers);
    }

  private:
    static std::optional<Json> answer_now(const ControlRequest& request) {
        if (request.command == ControlCommand::info || request.command == ControlCommand::stat) {
            return ok_reply();
        }
        return std::nullopt;
    }
    static void check(std::string_view answers) {
        while (!answers.empty()) {
            const std::size_t end = answers.find('\n');
            VMM_CHECK(end != std::string_view::npos);
            VMM_CHECK(Json::accept(answers.substr(0, end)));
            answers.remove_prefix(end + 1);
        }
    }
    std::string path() const { return (folder_.path() / "socket").string(); }
    ControlListener listener() const {
        auto made = ControlListener::at_path(path());
        VMM_CHECK(made.has_value());
        return *std::move(made);
    }

    Folder folder_;
    UniqueFd wake_;
    ControlServer server_;
};

}  // namespace
}  // namespace vmm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm::fuzz;
    static Server server;
    const std::string_view text = text_of({data, size});
    for (std::string_view left = text; !left.empty();) {
        const std::size_t end = std::min(left.find('\n'), left.size());
        parse(left.substr(0, end));
        left.remove_prefix(std::min(end + 1, left.size()));
    }
    server.converse({data, size});
    return 0;
}
