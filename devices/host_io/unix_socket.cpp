#include "devices/host_io/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace vmm::devices {

namespace {

constexpr int kBacklog = 1;

}  // namespace

Result<UniqueFd> listen_on_unix_socket(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path) {
        return fail("the path may be {} bytes long", sizeof name.sun_path - 1);
    }
    path.copy(name.sun_path, path.size());
    const auto* address = reinterpret_cast<const sockaddr*>(&name);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // A socket nobody listens to is left over from a run that was killed.
    struct stat found{};
    if (fd && ::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode) &&
        ::connect(fd.get(), address, sizeof name) != 0 && errno == ECONNREFUSED) {
        ::unlink(path.c_str());
    }
    fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || ::bind(fd.get(), address, sizeof name) != 0 || ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0 ||
        ::listen(fd.get(), kBacklog) != 0) {
        return fail_errno(errno, "cannot listen");
    }
    return fd;
}

}  // namespace vmm::devices
