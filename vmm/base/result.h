// Result<T>: how host and user faults travel. Guest faults never use it: they are architecture.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace vmm {

/// What a failed run ends with; the numbers are the process exit statuses and part of the interface.
enum class ExitStatus : int {
    ok = 0,             // the guest powered itself off
    usage = 2,          // bad command line
    host_error = 3,     // a file, a limit or a system call of the host failed
    guest_error = 4,    // the guest cannot go on (e.g. its only vCPU stopped in an unrecoverable state)
    internal_error = 5, // a check of our own failed
    timeout = 124,      // --timeout expired
    signal_base = 128,  // + the number of the signal that ended the run (SIGHUP, SIGINT, SIGTERM)
};

/// One line for the user: what was wrong and, where it helps, what would be right.
struct Error {
    std::string text;
    ExitStatus status = ExitStatus::host_error;
};

template <class T = void>
using Result = tl::expected<T, Error>;

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
    return tl::make_unexpected(Error{fmt::format(format, std::forward<Args>(args)...), ExitStatus::host_error});
}

template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail_usage(fmt::format_string<Args...> format, Args&&... args) {
    return tl::make_unexpected(Error{fmt::format(format, std::forward<Args>(args)...), ExitStatus::usage});
}

/// As fail(), with ": <text of errno>" appended.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail_errno(int error, fmt::format_string<Args...> format, Args&&... args) {
    return tl::make_unexpected(Error{
        fmt::format(format, std::forward<Args>(args)...) + ": " + std::strerror(error), ExitStatus::host_error});
}

}  // namespace vmm

#define VMM_CONCAT_INNER(a, b) a##b
#define VMM_CONCAT(a, b) VMM_CONCAT_INNER(a, b)

/// Declares `var` from a Result expression, or returns its error from the enclosing function.
#define VMM_TRY(var, ...)                                                              \
    auto VMM_CONCAT(try_result_, __LINE__) = (__VA_ARGS__);                            \
    if (!VMM_CONCAT(try_result_, __LINE__))                                            \
        return ::tl::make_unexpected(std::move(VMM_CONCAT(try_result_, __LINE__)).error()); \
    var = *std::move(VMM_CONCAT(try_result_, __LINE__))

/// As VMM_TRY for Result<void>.
#define VMM_TRY_VOID(...)                                                              \
    do {                                                                               \
        auto try_result = (__VA_ARGS__);                                               \
        if (!try_result) return ::tl::make_unexpected(std::move(try_result).error());  \
    } while (false)
