#include "devices/disk/disk_file.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <linux/fs.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "vmm/base/log.h"

namespace vmm::devices::disk {

namespace {

// The host may need a moment to end what a killed process had it do, and keeps the file open for that long.
constexpr auto kPatience = std::chrono::milliseconds(300);
constexpr auto kRetry = std::chrono::milliseconds(10);

Result<u64> size_of(int fd, const std::string& name) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) {
        return fail_errno(errno, "{}: cannot examine it", name);
    }
    if (S_ISREG(info.st_mode)) {
        return static_cast<u64>(info.st_size);
    }
    u64 size = 0;
    if (!S_ISBLK(info.st_mode)) {
        return fail("{}: neither a regular file nor a block device", name);
    }
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) {
        return fail_errno(errno, "{}: cannot find out its size", name);
    }
    return size;
}

struct flock lock_for(bool writes) {
    struct flock lock {};
    lock.l_type = writes ? F_WRLCK : F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = writes ? 0 : 1;  // 0: all bytes, also those that are not there
    return lock;
}

/// Who holds it tells what would do; should it be gone meanwhile, then what is most likely.
Result<> locked_by_others(int fd, bool writes, const std::string& name) {
    struct flock other = lock_for(writes);
    if (writes && ::fcntl(fd, F_OFD_GETLK, &other) == 0 && other.l_type == F_RDLCK) {
        return fail("{}: another process or disk reads it, so it cannot be written to; ',ro' or ',cow' would work", name);
    }
    return fail("{}: another process or disk has it open for writing; ',ro' or ',cow' would work if both used it so", name);
}

Result<> lock_file(int fd, bool writes, const std::string& name) {
    const auto gives_up_at = std::chrono::steady_clock::now() + kPatience;
    for (struct flock lock = lock_for(writes); ::fcntl(fd, F_OFD_SETLK, &lock) != 0; lock = lock_for(writes)) {
        if (errno != EAGAIN && errno != EACCES) {
            log("disk").info("{}: cannot lock it, so others may write to it: {}", name, std::strerror(errno));
            return {};
        }
        if (std::chrono::steady_clock::now() >= gives_up_at) {
            return locked_by_others(fd, writes, name);
        }
        std::this_thread::sleep_for(kRetry);
    }
    return {};
}

}  // namespace

Result<DiskFile> open_disk_file(const std::string& path, bool writes, const std::string& name) {
    DiskFile file;
    // O_NONBLOCK: or a pipe would keep us waiting for somebody at its other end.
    file.fd.reset(::open(path.c_str(), (writes ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC));
    if (!file.fd) {
        const int error = errno;
        const bool may_help = writes && (error == EACCES || error == EROFS || error == EPERM);
        return fail_errno(error, "{}: cannot open it{}", name, may_help ? " for writing (a read-only disk may do)" : "");
    }
    VMM_TRY(file.size, size_of(file.fd.get(), name));
    ::fcntl(file.fd.get(), F_SETFL, 0);  // io_uring would not wait for the file's data, either
    VMM_TRY_VOID(lock_file(file.fd.get(), writes, name));
    return file;
}

}  // namespace vmm::devices::disk
