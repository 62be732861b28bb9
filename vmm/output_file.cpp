#include "vmm/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "vmm/base/unique_fd.h"

namespace vmm {

Result<> write_all(int fd, std::span<const u8> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return fail_errno(written < 0 ? errno : EIO, "cannot write");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<> write_file(const std::string& path, std::span<const u8> bytes) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        if (!fd) {
            return fail_errno(errno, "cannot open for writing");
        }
        return write_all(fd.get(), bytes);
    }
    const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
    Result<> result;
    {
        const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
        if (!fd) {
            return fail_errno(errno, "cannot create");
        }
        result = write_all(fd.get(), bytes);
    }
    if (result && ::rename(temporary.c_str(), path.c_str()) != 0) {
        result = fail_errno(errno, "cannot create");
    }
    if (!result) {
        ::unlink(temporary.c_str());
    }
    return result;
}

}  // namespace vmm
