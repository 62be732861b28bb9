#include "vmm/sandbox.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "vmm/base/check.h"
#include "vmm/base/log.h"
#include "vmm/base/result.h"
#include "vmm/base/sanitizers.h"
#include "vmm/base/unique_fd.h"
#include "vmm/control_socket.h"

namespace vmm {

namespace {

namespace fs = std::filesystem;

// ── System calls ───────────────────────────────────────────────────────────────────────────────────────────

// clang-format off
/// Memory, threads, time, signals, and descriptors that are open already; besides what the limit_ functions allow.
constexpr const char* kVcpuCalls[] = {
    "read", "readv", "pread64", "preadv", "preadv2", "pwritev2", "write", "writev", "pwrite64", "pwritev",
    "close", "poll", "ppoll", "lseek", "fsync", "fdatasync", "fallocate", "ioctl", "fcntl", "fstat",
    "newfstatat", "statx", "io_uring_enter", "io_uring_register", "recvmsg", "sendmsg", "recvfrom", "sendto",
    "brk", "munmap", "mremap", "madvise", "mincore", "mlock", "munlock", "futex",
    "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "rt_sigprocmask", "rt_sigaction",
    "rt_sigreturn", "sigaltstack", "tgkill", "tkill", "gettid", "getpid", "clock_gettime", "clock_getres",
    "clock_nanosleep", "nanosleep", "gettimeofday", "time", "restart_syscall", "getrandom", "prctl", "exit",
    "exit_group", "membarrier", "getrusage", "sysinfo", "uname", "getcpu",
};
// clang-format on

// clang-format off
/// What the others need besides: files below the permitted paths, sockets, threads.
constexpr const char* kServiceCalls[] = {
    "open", "openat", "openat2", "creat", "access", "faccessat", "faccessat2", "stat", "lstat", "statfs",
    "fstatfs", "readlink", "readlinkat", "getdents64", "getcwd", "umask", "mkdir", "mkdirat", "mknodat",
    "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlink",
    "symlinkat", "truncate", "ftruncate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat",
    "lchown", "utimensat", "flock", "getxattr", "lgetxattr", "fgetxattr", "setxattr", "lsetxattr",
    "fsetxattr", "listxattr", "llistxattr", "flistxattr", "removexattr", "lremovexattr", "fremovexattr",
    "copy_file_range", "sendfile", "splice", "fadvise64", "dup", "dup2", "dup3", "pipe2", "eventfd2",
    "signalfd4", "timerfd_create", "timerfd_settime", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "select", "pselect6", "socket", "socketpair", "bind", "listen", "accept", "accept4",
    "connect", "shutdown", "getsockname", "getpeername", "setsockopt", "getsockopt", "recvmmsg", "sendmmsg",
    "geteuid", "getuid", "getegid", "getgid", "getppid", "getpgrp", "getpgid", "prlimit64", "kill", "wait4",
    "io_uring_setup", "memfd_create", "sync_file_range", "syncfs", "mlock2", "munlockall", "msync",
    "sched_getparam", "sched_getscheduler", "get_mempolicy", "timer_create", "timer_settime", "timer_delete",
    "seccomp",
};
// clang-format on

struct ContextDeleter {
    void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, ContextDeleter>;

/// Unknown names are those of other architectures.
bool allow(void* context, std::span<const char* const> names) {
    return std::ranges::all_of(names, [context](const char* name) {
        const int number = ::seccomp_syscall_resolve_name(name);
        return number < 0 || ::seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0) == 0;
    });
}

/// The system call's argument `number`, masked, is `value`.
scmp_arg_cmp when(unsigned number, u64 mask, u64 value) {
    return {number, SCMP_CMP_MASKED_EQ, mask, value};
}

/// New memory is never executable: host code has got its place before.
bool limit_memory(void* context) {
    return ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, when(2, PROT_EXEC, 0)) == 0 &&
           ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, when(2, PROT_EXEC, 0)) == 0;
}

/// vCPU threads look at files such as /proc/self/status when they pin; they change none.
bool allow_reading(void* context) {
    constexpr u64 kWrites = O_ACCMODE | O_CREAT | O_TRUNC;
    return ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, when(2, kWrites, O_RDONLY)) == 0;
}

/// Threads, not processes. clone3() hides its flags in memory: without it the C library falls back on clone().
bool limit_clone(void* context) {
    return ::seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              when(0, CLONE_THREAD, CLONE_THREAD)) == 0 &&
           ::seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

Context make_filter(ThreadRole role) {
    Context context(::seccomp_init(SCMP_ACT_TRAP));
    bool good = context != nullptr && limit_memory(context.get()) && limit_clone(context.get()) &&
                allow(context.get(), kVcpuCalls);
    if (role == ThreadRole::vcpu) {
        good = good && allow_reading(context.get());
    } else {
        good = good && allow(context.get(), kServiceCalls);
    }
    return good ? std::move(context) : Context();
}

// ── When a call is refused ─────────────────────────────────────────────────────────────────────────────────

constexpr std::size_t kNames = 512;  // system calls have lower numbers

struct Trap {
    std::array<const char*, kNames> names{};
    void (*end)(bool) = nullptr;
};
Trap trap;
thread_local ThreadRole own_role = ThreadRole::service;

void put(const char* text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

/// Only what a signal handler may do.
void forbidden(int, siginfo_t* info, void*) {
    char thread[16] = "?";
    ::prctl(PR_GET_NAME, thread);
    char digits[12] = {};
    char* digit = digits + sizeof digits - 1;
    const unsigned number = static_cast<unsigned>(info->si_syscall);
    unsigned rest = number;
    do {
        *--digit = static_cast<char>('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    put("vmm: sandbox: thread ");
    put(thread);
    put(" wanted the forbidden system call ");
    put(digit);
    put(" (");
    put(number < kNames && trap.names[number] != nullptr ? trap.names[number] : "unknown");
    put("); the machine is ended. If nothing is wrong with the guest, this is a fault of vmm: --sandbox=off "
        "goes without\n");
    trap.end(own_role == ThreadRole::service);
    ::_exit(static_cast<int>(ExitStatus::internal_error));
}

void install_trap(void (*end)(bool)) {
    for (std::size_t n = 0; n < kNames; ++n) {
        trap.names[n] =
            ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(n));  // kept for good
    }
    trap.end = end;
    struct sigaction action {};
    action.sa_sigaction = forbidden;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(SIGSYS, &action, nullptr);
}

// ── Landlock ───────────────────────────────────────────────────────────────────────────────────────────────

constexpr u64 kReadAccess = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr u64 kFileAccess =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE;
constexpr u64 kAllAccess = (u64{LANDLOCK_ACCESS_FS_MAKE_SYM} << 1) - 1;  // of the first version
constexpr u64 kRefer = u64{1} << 13;                                     // since version 2
constexpr u64 kTruncate = u64{1} << 14;                                  // since version 3

/// Access of every kind that the kernel's version knows.
u64 handled_access(long version) {
    return kAllAccess | (version >= 2 ? kRefer : 0) | (version >= 3 ? kTruncate : 0);
}

void permit(int ruleset, const std::string& path, u64 access) {
    const UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0) {
        return;  // what is not there cannot be opened
    }
    landlock_path_beneath_attr rule{};
    rule.parent_fd = fd.get();
    rule.allowed_access = S_ISDIR(status.st_mode) ? access : access & (kFileAccess | kTruncate);
    ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/// The version in force; 0 without.
long enter_landlock(const SandboxPaths& paths) {
    const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) {
        return 0;
    }
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = handled_access(version);
    const UniqueFd ruleset(static_cast<int>(
        ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0)));
    if (ruleset.get() < 0) {
        return 0;
    }
    for (const std::string& path : paths.read) {
        permit(ruleset.get(), path, kReadAccess);
    }
    for (const std::string& path : paths.write) {
        permit(ruleset.get(), path, attributes.handled_access_fs & ~u64{LANDLOCK_ACCESS_FS_EXECUTE});
    }
    return ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0 ? version : 0;
}

std::string folder_of(const std::string& path) {
    const fs::path parent = fs::path(path).parent_path();
    return parent.empty() ? "." : parent.string();
}

std::atomic<bool> inside{false};

}  // namespace

InheritedDescriptors::InheritedDescriptors() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd", error)) {
        const int number = std::atoi(entry.path().filename().c_str());
        if (number > STDERR_FILENO) {
            numbers_.push_back(number);
        }
    }
    // The one that read the folder is among them, and closed again.
    std::erase_if(numbers_, [](int number) { return ::fcntl(number, F_GETFD) < 0; });
}

void InheritedDescriptors::close_all() {
    for (const int number : numbers_) {
        ::close(number);
    }
    numbers_.clear();
}

void enter_sandbox(const SandboxPaths& paths, void (*end)(bool may_remove_files)) {
    if (kSanitized) {  // what their run-time libraries need is not known here
        log("vmm").info("sandbox: none in a build with sanitizers");
        return;
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log("vmm").info("sandbox: none: {}", std::strerror(errno));
        return;
    }
    const long landlock = enter_landlock(paths);
    install_trap(end);
    Context filter = make_filter(ThreadRole::service);
    const bool loaded = filter != nullptr &&
                        ::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
                        ::seccomp_load(filter.get()) == 0;
    inside = loaded;
    log("vmm").info(
        "sandbox: no new privileges, {}, {}", loaded ? "seccomp" : "no seccomp on this host",
        landlock != 0 ? fmt::format("Landlock version {}", landlock) : "no Landlock on this host");
}

void restrict_thread(ThreadRole role) {
    if (role == ThreadRole::service || !inside) {
        return;
    }
    const Context filter = make_filter(role);
    own_role = role;
    VMM_CHECK(filter != nullptr && ::seccomp_load(filter.get()) == 0);
}

SandboxPaths sandbox_paths(const MachineConfig& config) {
    // What the C library, libslirp and our own statistics open while a machine runs.
    SandboxPaths paths{{"/usr", "/lib", "/lib64", "/etc", "/proc", "/sys/kernel/mm", "/dev/urandom"},
                       {"/dev/null", "/proc/pressure"}};
    // Read again when the guest resets.
    for (const std::string& path :
         {config.kernel, config.initrd, config.exec.root, config.exec.script, config.exec.modules}) {
        if (!path.empty()) {
            paths.read.push_back(path);
        }
    }
    for (const CopyPaths& copy : config.exec.copy_in) {
        paths.read.push_back(copy.from);
    }
    for (const ShareConfig& share : config.shares) {
        (share.read_only ? paths.read : paths.write).push_back(share.path);
    }
    for (const CopyPaths& copy : config.exec.copy_out) {
        paths.write.push_back(folder_of(copy.to));
        paths.write.push_back(copy.to);
    }
    if (config.control.enabled) {
        paths.write.push_back(config.control.path.empty() ? control_directory()
                                                          : folder_of(config.control.path));
    }
    for (const ConsolePortConfig& port : config.console_ports) {
        if (port.socket) {
            paths.write.push_back(folder_of(port.path));
        }
    }
    for (const std::string& path : {config.result, config.junit, config.exec.console_log, config.gdb.path}) {
        if (!path.empty()) {
            paths.write.push_back(folder_of(path));
        }
    }
    return paths;
}

}  // namespace vmm
