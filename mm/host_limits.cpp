#include "mm/host_limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <memory>
#include <string_view>

#include "vmm/base/bits.h"
#include "vmm/base/unique_fd.h"

namespace vmm::mm {

namespace {

constexpr unsigned kCapIpcLock = 14;
constexpr u64 kKiB = 1024;

/// The head of a /proc file; empty where it cannot be read (a process that has just ended).
std::string read_small(const char* path) {
    const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> text;
    const ssize_t got = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
    return {text.data(), static_cast<std::size_t>(got > 0 ? got : 0)};
}

/// The number behind "\nNAME:" in a /proc/PID/status.
u64 status_number(std::string_view status, std::string_view name, int base = 10) {
    const std::string key = fmt::format("\n{}:", name);
    std::size_t at = status.find(key);
    if (at == std::string_view::npos) {
        return 0;
    }
    at = status.find_first_not_of(" \t", at + key.size());
    u64 value = 0;
    if (at != std::string_view::npos) {
        std::from_chars(status.data() + at, status.data() + status.size(), value, base);
    }
    return value;
}

u64 pinned_by_user() {
    const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
    if (proc == nullptr) {
        return read_charged_bytes().pinned;
    }
    const u64 uid = ::getuid();
    u64 bytes = 0;
    while (const dirent* entry = ::readdir(proc.get())) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') {
            continue;
        }
        const std::string status = read_small(fmt::format("/proc/{}/status", entry->d_name).c_str());
        if (!status.empty() && status_number(status, "Uid") == uid) {
            bytes += status_number(status, "VmPin") * kKiB;
        }
    }
    return bytes;
}

}  // namespace

ChargedBytes read_charged_bytes() {
    const std::string status = read_small("/proc/self/status");
    return {status_number(status, "VmPin") * kKiB, status_number(status, "VmLck") * kKiB};
}

LockLimits read_lock_limits() {
    LockLimits limits;
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        limits.limit = limit.rlim_cur;
    }
    const std::string status = read_small("/proc/self/status");
    limits.exempt = bit(status_number(status, "CapEff", 16), kCapIpcLock);
    limits.locked_bytes = status_number(status, "VmLck") * kKiB;
    limits.pinned_by_user = limits.unlimited() ? 0 : pinned_by_user();
    return limits;
}

void raise_locked_memory_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_MEMLOCK, &limit);
    }
}

std::string format_bytes(u64 bytes) {
    constexpr u64 kMiB = kKiB * kKiB;
    if (bytes >= kMiB) {
        return bytes % kMiB == 0 ? fmt::format("{} MiB", bytes / kMiB)
                                 : fmt::format("{:.1f} MiB", static_cast<f64>(bytes) / static_cast<f64>(kMiB));
    }
    return bytes % kKiB == 0 && bytes != 0 ? fmt::format("{} KiB", bytes / kKiB) : fmt::format("{} bytes", bytes);
}

std::string explain_lock_limits(const LockLimits& limits, u64 wanted) {
    if (limits.pinnable() >= wanted) {
        return {};
    }
    return fmt::format(
        "the profiling buffers may need {} of pinned memory, but the locked-memory limit (RLIMIT_MEMLOCK) is {}, of which "
        "user {} has {} pinned; raise it with 'ulimit -l {}' before the start or 'prlimit --pid {} --memlock=...' later",
        format_bytes(wanted), format_bytes(limits.limit), ::getuid(), format_bytes(limits.pinned_by_user),
        (limits.pinned_by_user + wanted + kKiB - 1) / kKiB, ::getpid());
}

}  // namespace vmm::mm
