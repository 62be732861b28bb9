#include "vmm/control_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

namespace vmm {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view kSuffix = ".sock";
constexpr auto kLockPatience = 2s;
constexpr std::size_t kMaxFileName = 255;

/// What remove_control_socket() needs; written once, before the flag.
struct Registered {
    std::atomic<bool> present{false};
    int directory = -1;
    char file[kMaxFileName + 1] = {};
    dev_t device = 0;
    ino_t inode = 0;
};
Registered registered;

/// Exclusive among those who make and remove sockets in a directory. Someone who holds on to the lock in a
/// directory that all may lock is waited for a little while only: then the worst is a lost race for one name.
class DirectoryLock {
  public:
    explicit DirectoryLock(int directory) : directory_(directory) {
        const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
        while (::flock(directory_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
               std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(10ms);
        }
    }
    ~DirectoryLock() { ::flock(directory_, LOCK_UN); }
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

  private:
    const int directory_;
};

/// The address of a socket in an open directory. A path too long for an address is reached through the
/// descriptor.
Result<sockaddr_un> address_of(int directory, const std::string& path, const std::string& file) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string through = fmt::format("/proc/self/fd/{}/{}", directory, file);
    const std::string& used = path.size() < sizeof(address.sun_path) ? path : through;
    if (used.size() >= sizeof(address.sun_path)) {
        return fail("the name of the socket is too long");
    }
    std::memcpy(address.sun_path, used.c_str(), used.size() + 1);
    return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

enum class Occupant : u8 { nobody, stale, alive, other_file };

Result<Occupant> occupant_of(int directory, const std::string& path, const std::string& file) {
    struct stat status {};
    if (::fstatat(directory, file.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) {
            return Occupant::nobody;
        }
        return fail_errno(errno, "cannot look at it");
    }
    if (!S_ISSOCK(status.st_mode)) {
        return Occupant::other_file;
    }
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    VMM_TRY(const sockaddr_un address, address_of(directory, path, file));
    if (::connect(probe.get(), as_sockaddr(address), sizeof(address)) == 0 || errno == EAGAIN) {
        return Occupant::alive;
    }
    return errno == ECONNREFUSED ? Result<Occupant>(Occupant::stale)
                                 : Result<Occupant>(fail_errno(errno, "cannot connect to it"));
}

Result<UniqueFd> open_directory(const std::string& path) {
    UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) {
        return fail_errno(errno, "cannot open the directory \"{}\"", path);
    }
    return directory;
}

/// control_directory(), which nobody else may have prepared for us.
Result<UniqueFd> open_own_directory(bool create) {
    const std::string path = control_directory();
    if (create && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return fail_errno(errno, "cannot make the directory \"{}\"", path);
    }
    UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!directory || ::fstat(directory.get(), &status) != 0) {
        return fail_errno(errno, "cannot open the directory \"{}\"", path);
    }
    if (status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
        return fail("\"{}\" must be a directory that belongs to this user alone (mode 0700)", path);
    }
    return directory;
}

std::string file_of(const std::string& path) {
    return std::filesystem::path(path).filename().string();
}

}  // namespace

bool valid_guest_name(std::string_view name) {
    constexpr std::size_t kMaxName = 64;
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '+' || c == '-';
    };
    return !name.empty() && name.size() <= kMaxName && name[0] != '.' && name[0] != '-' &&
           std::all_of(name.begin(), name.end(), fits);
}

std::string control_directory() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    // The specification of that variable: a relative path is to be ignored.
    if (runtime != nullptr && runtime[0] == '/') {
        return std::string(runtime) + "/vmm";
    }
    return fmt::format("/tmp/vmm-{}", ::geteuid());
}

std::string control_path(std::string_view name) {
    return fmt::format("{}/{}{}", control_directory(), name, kSuffix);
}

// ── Listening ──────────────────────────────────────────────────────────────────────────────────────────────

Result<ControlListener> ControlListener::listen(UniqueFd directory, const std::string& path, bool* in_use) {
    const std::string file = file_of(path);
    if (file.empty() || file == "." || file == ".." || file.size() > kMaxFileName) {
        return fail("this is not the name of a file");
    }
    const DirectoryLock lock(directory.get());
    VMM_TRY(const Occupant occupant, occupant_of(directory.get(), path, file));
    switch (occupant) {
        case Occupant::nobody: break;
        case Occupant::stale: ::unlinkat(directory.get(), file.c_str(), 0); break;
        case Occupant::alive: *in_use = true; return fail("another process listens there");
        case Occupant::other_file: return fail("something that is not a socket is in its place");
    }
    ControlListener listener;
    listener.socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    VMM_TRY(const sockaddr_un address, address_of(directory.get(), path, file));
    // The mode of the socket is that of the file which bind() makes.
    if (!listener.socket_ || ::fchmod(listener.socket_.get(), 0600) != 0 ||
        ::bind(listener.socket_.get(), as_sockaddr(address), sizeof(address)) != 0) {
        return fail_errno(errno, "cannot make the socket");
    }
    struct stat status {};
    if (::fstatat(directory.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        ::listen(listener.socket_.get(), SOMAXCONN) != 0) {
        const int error = errno;
        ::unlinkat(directory.get(), file.c_str(), 0);
        return fail_errno(error, "cannot listen");
    }
    registered.device = status.st_dev;
    registered.inode = status.st_ino;
    std::memcpy(registered.file, file.c_str(), file.size() + 1);
    // Stays open for remove_control_socket(), which may run at any time.
    registered.directory = ::fcntl(directory.get(), F_DUPFD_CLOEXEC, 0);
    registered.present.store(registered.directory >= 0, std::memory_order_release);
    return listener;
}

Result<ControlListener> ControlListener::at_path(const std::string& path) {
    std::filesystem::path folder = std::filesystem::path(path).parent_path();
    VMM_TRY(UniqueFd directory, open_directory(folder.empty() ? "." : folder.string()));
    bool in_use = false;
    return listen(std::move(directory), path, &in_use);
}

Result<ControlListener> ControlListener::for_name(std::string_view name, bool* in_use) {
    VMM_TRY(UniqueFd directory, open_own_directory(true));
    return listen(std::move(directory), control_path(name), in_use);
}

ControlListener::~ControlListener() {
    if (socket_) {
        remove_control_socket();
    }
}

void remove_control_socket() {
    if (!registered.present.exchange(false, std::memory_order_acq_rel)) {
        return;
    }
    struct stat status {};
    if (::fstatat(registered.directory, registered.file, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_dev == registered.device && status.st_ino == registered.inode) {
        ::unlinkat(registered.directory, registered.file, 0);
    }
    ::close(registered.directory);
}

// ── Connecting ─────────────────────────────────────────────────────────────────────────────────────────────

Result<ControlConnection> connect_control(const std::string& path, std::chrono::milliseconds timeout) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    VMM_TRY(const UniqueFd directory, open_directory(folder.empty() ? "." : folder.string()));
    VMM_TRY(const sockaddr_un address, address_of(directory.get(), path, file_of(path)));
    ControlConnection connection;
    connection.fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{timeout.count() / 1000, timeout.count() % 1000 * 1000};
    if (!connection.fd ||
        ::setsockopt(connection.fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
        ::setsockopt(connection.fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        ::connect(connection.fd.get(), as_sockaddr(address), sizeof(address)) != 0) {
        return fail_errno(errno, "cannot connect to \"{}\"", path);
    }
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(connection.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        connection.pid = peer.pid;
    }
    return connection;
}

std::vector<std::string> running_guests() {
    std::vector<std::string> names;
    auto directory = open_own_directory(false);
    if (!directory) {
        return names;
    }
    const int fd = directory->get();
    const DirectoryLock lock(fd);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 0)),
                                                      &::closedir);
    while (const dirent* entry = entries != nullptr ? ::readdir(entries.get()) : nullptr) {
        const std::string file = entry->d_name;
        if (!std::string_view(file).ends_with(kSuffix)) {
            continue;
        }
        const std::string name = file.substr(0, file.size() - kSuffix.size());
        const auto occupant = occupant_of(fd, control_path(name), file);
        if (occupant && *occupant == Occupant::stale) {
            ::unlinkat(fd, file.c_str(), 0);
        } else if (occupant && *occupant == Occupant::alive && valid_guest_name(name)) {
            names.push_back(name);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace vmm
