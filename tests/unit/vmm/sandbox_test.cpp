// What a process in the sandbox can still do, each time in a process of its own; and that a build with sanitizers has none.
#include "vmm/sandbox.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/support/temporary_folder.h"
#include "vmm/base/log.h"
#include "vmm/base/sanitizers.h"
#include "vmm/base/unique_fd.h"

using namespace vmm;

namespace {

constexpr int kAllowed = 10, kRefused = 11, kForbidden = 12;

int allowed_if(bool allowed) {
    return allowed ? kAllowed : kRefused;
}

struct Outcome {
    int status = 0;
    std::string text;  // on standard error
};

/// Runs `work` in a sandboxed process, on a thread of this role; it returns one of the statuses above.
Outcome in_sandbox(ThreadRole role, const SandboxPaths& paths, const std::function<int()>& work) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        set_log_level(LogLevel::info);
        enter_sandbox(paths, [](bool) { ::_exit(kForbidden); });
        std::thread([&] {
            restrict_thread(role);
            ::_exit(work());
        }).join();
    }
    ::close(ends[1]);
    Outcome outcome;
    char buffer[512];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
        outcome.text.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    outcome.status = WEXITSTATUS(status);
    return outcome;
}

int make_socket() {
    return allowed_if(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
}

int execute_program() {
    char name[] = "true";
    char* const arguments[] = {name, nullptr};
    ::execv("/bin/true", arguments);
    return kRefused;
}

int make_process() {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(0);
    }
    return allowed_if(child > 0);
}

int make_executable_memory() {
    return allowed_if(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                      MAP_FAILED);
}

int open_file(const std::string& path, int flags) {
    return allowed_if(UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0600)).get() >= 0);
}

}  // namespace

TEST_CASE("a forbidden system call ends its process and says whose it was") {
    struct Case {
        const char* name;
        int (*work)();
        int service, vcpu, outside;
    };
    const Case cases[] = {{"execve", execute_program, kForbidden, kForbidden, EXIT_SUCCESS},
                          {"clone", make_process, kForbidden, kForbidden, kAllowed},
                          {"mmap", make_executable_memory, kForbidden, kForbidden, kAllowed},
                          {"socket", make_socket, kAllowed, kForbidden, kAllowed}};
    for (const Case& each : cases) {
        for (const ThreadRole role : {ThreadRole::service, ThreadRole::vcpu}) {
            const Outcome outcome = in_sandbox(role, {}, each.work);
            INFO(each.name << ": " << outcome.text);
            const int inside = role == ThreadRole::service ? each.service : each.vcpu;
            const int expected = kSanitized ? each.outside : inside;
            CHECK(outcome.status == expected);
            const bool told = outcome.text.find("wanted the forbidden system call ") != std::string::npos &&
                              outcome.text.find(" (" + std::string(each.name) + ")") != std::string::npos;
            CHECK(told == (expected == kForbidden));
        }
    }
}

TEST_CASE("files outside the permitted paths are out of reach") {
    const test::TemporaryFolder folder;
    for (const char* const name : {"read", "write", "other"}) {
        REQUIRE(::mkdir((folder / name).c_str(), 0700) == 0);
        test::write_text(folder.path / name / "file", "text");
    }
    const SandboxPaths paths{{folder / "read"}, {folder / "write"}};
    struct Case {
        ThreadRole role;
        const char* name;
        int flags, inside;
    };
    for (const Case& each : {Case{ThreadRole::service, "read/file", O_RDONLY, kAllowed},
                             Case{ThreadRole::service, "read/file", O_RDWR, kRefused},
                             Case{ThreadRole::service, "read/new", O_RDWR | O_CREAT, kRefused},
                             Case{ThreadRole::service, "write/file", O_RDWR | O_TRUNC, kAllowed},
                             Case{ThreadRole::service, "write/new", O_RDWR | O_CREAT, kAllowed},
                             Case{ThreadRole::service, "other/file", O_RDONLY, kRefused},
                             Case{ThreadRole::vcpu, "read/file", O_RDONLY, kAllowed},
                             Case{ThreadRole::vcpu, "write/file", O_RDWR, kForbidden}}) {
        const Outcome outcome =
            in_sandbox(each.role, paths, [&] { return open_file(folder / each.name, each.flags); });
        INFO(each.name << ": " << outcome.text);
        CHECK(outcome.status == (kSanitized ? kAllowed : each.inside));
    }
}

TEST_CASE("which fences are up is said") {
    const Outcome outcome = in_sandbox(ThreadRole::service, {}, [] { return kAllowed; });
    CHECK(outcome.status == kAllowed);
    CHECK(outcome.text.find(kSanitized ? "sandbox: none in a build with sanitizers"
                                       : "sandbox: no new privileges, seccomp, ") != std::string::npos);
}

TEST_CASE("inherited descriptors are closed") {
    const int inherited = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(inherited > STDERR_FILENO);
    InheritedDescriptors descriptors;
    const UniqueFd own(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    // Others are the test program's.
    const pid_t child = ::fork();
    if (child == 0) {
        descriptors.close_all();
        ::_exit(::fcntl(inherited, F_GETFD) < 0 && ::fcntl(own.get(), F_GETFD) >= 0 ? kAllowed : kRefused);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == kAllowed);
    ::close(inherited);
}
