#include "devices/p9/host_folder.h"

#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace vmm::devices::p9 {

namespace {

// Qid types.
constexpr u8 kQidFolder = 0x80;
constexpr u8 kQidSymlink = 0x02;

/// Descriptors that guests may hold open, and those that everything else in the process may need.
constexpr u64 kMaxDescriptors = 100'000;
constexpr u64 kReservedDescriptors = 512;

std::atomic<u64> descriptors_held{0};

u64 descriptor_limit() {
    static const u64 limit = [] {
        rlimit files{};
        if (::getrlimit(RLIMIT_NOFILE, &files) != 0) {
            return u64{64};
        }
        constexpr u64 kWanted = kMaxDescriptors + kReservedDescriptors;
        if (files.rlim_cur < kWanted) {
            rlimit raised = files;
            raised.rlim_cur = std::min<rlim_t>(files.rlim_max, kWanted);
            if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
                files = raised;
            }
        }
        const u64 most = std::min<u64>(files.rlim_cur, kWanted);
        return most < 2 * kReservedDescriptors ? most / 2 : most - kReservedDescriptors;
    }();
    return limit;
}

/// The name of a descriptor in /proc/self/fd.
std::string in_proc(int fd) {
    return std::to_string(fd);
}

std::string terminated(std::string_view name) {
    return std::string(name);
}

int result_of(int returned) {
    return returned == 0 ? 0 : errno;
}

}  // namespace

CountedFd::CountedFd(UniqueFd fd) : fd_(std::move(fd)) {
    if (fd_) {
        descriptors_held.fetch_add(1, std::memory_order_relaxed);
    }
}

CountedFd& CountedFd::operator=(CountedFd&& other) noexcept {
    reset();
    fd_ = std::move(other.fd_);
    return *this;
}

void CountedFd::reset() {
    if (fd_) {
        fd_.reset();
        descriptors_held.fetch_sub(1, std::memory_order_relaxed);
    }
}

bool CountedFd::available() {
    return descriptors_held.load(std::memory_order_relaxed) < descriptor_limit();
}

bool valid_entry_name(std::string_view name) {
    return !name.empty() && name.size() <= NAME_MAX && name != "." && name != ".." &&
           name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<std::unique_ptr<HostFolder>> HostFolder::open(const std::string& path, bool read_only) {
    std::unique_ptr<HostFolder> folder(new HostFolder);
    folder->read_only_ = read_only;
    UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) {
        return fail_errno(errno, "cannot open folder {}", path);
    }
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) {
        return fail_errno(errno, "cannot examine folder {}", path);
    }
    folder->device_ = info.st_dev;
    folder->proc_ = UniqueFd(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder->proc_) {
        return fail_errno(errno, "sharing a folder needs /proc/self/fd");
    }
    auto root = folder->hold(std::move(fd), nullptr);
    if (!root) {
        return fail("cannot share folder {}: no file descriptors left (see 'ulimit -n')", path);
    }
    folder->root_ = *std::move(root);
    return folder;
}

Outcome<NodePtr> HostFolder::hold(UniqueFd fd, NodePtr parent) const {
    if (!CountedFd::available()) {
        return tl::make_unexpected(ENFILE);
    }
    const unsigned depth = parent == nullptr ? 0 : parent->depth + 1;
    if (depth > kMaxDepth) {
        return tl::make_unexpected(ENAMETOOLONG);
    }
    auto node = std::make_shared<Node>();
    node->fd = CountedFd(std::move(fd));
    node->parent = std::move(parent);
    node->depth = depth;
    return node;
}

Outcome<NodePtr> HostFolder::find(const NodePtr& folder, std::string_view name) const {
    if (name == "..") {
        return folder->parent == nullptr ? folder : folder->parent;
    }
    if (!valid_entry_name(name)) {
        return tl::make_unexpected(name.size() > NAME_MAX ? ENAMETOOLONG : ENOENT);
    }
    UniqueFd fd(::openat(folder->fd.get(), terminated(name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
        return tl::make_unexpected(errno);
    }
    return hold(std::move(fd), folder);
}

Outcome<struct stat> HostFolder::status(const Node& node) const {
    struct stat info {};
    if (::fstat(node.fd.get(), &info) != 0) {
        return tl::make_unexpected(errno);
    }
    return info;
}

Outcome<CountedFd> HostFolder::open_file(const Node& node, int flags) const {
    const bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    if (read_only_ && changes) {
        return tl::make_unexpected(EROFS);
    }
    const Outcome<struct stat> info = status(node);
    if (!info) {
        return tl::make_unexpected(info.error());
    }
    // Opening a device or a FIFO of the host does things, or never returns.
    if (!S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode)) {
        return tl::make_unexpected(S_ISLNK(info->st_mode) ? ELOOP : ENXIO);
    }
    if (!CountedFd::available()) {
        return tl::make_unexpected(ENFILE);
    }
    UniqueFd fd(
        ::openat(proc_.get(), in_proc(node.fd.get()).c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!fd) {
        return tl::make_unexpected(errno);
    }
    return CountedFd(std::move(fd));
}

Outcome<OpenedFile> HostFolder::create_file(const NodePtr& folder, std::string_view name, int flags,
                                            mode_t mode) const {
    if (read_only_) {
        return tl::make_unexpected(EROFS);
    }
    if (!valid_entry_name(name)) {
        return tl::make_unexpected(EINVAL);
    }
    if (!CountedFd::available()) {
        return tl::make_unexpected(ENFILE);
    }
    // Only what is new is opened by name; what exists may be anything.
    UniqueFd fd(::openat(folder->fd.get(), terminated(name).c_str(),
                         flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, mode & 07777));
    if (fd) {
        UniqueFd held(::openat(proc_.get(), in_proc(fd.get()).c_str(), O_PATH | O_CLOEXEC));
        auto node = held ? hold(std::move(held), folder) : tl::make_unexpected(errno);
        if (!node) {
            return tl::make_unexpected(node.error());
        }
        return OpenedFile{*std::move(node), CountedFd(std::move(fd)), true};
    }
    if (errno != EEXIST || (flags & O_EXCL) != 0) {
        return tl::make_unexpected(errno);
    }
    auto node = find(folder, name);
    if (!node) {
        return tl::make_unexpected(node.error());
    }
    auto file = open_file(**node, flags);
    if (!file) {
        return tl::make_unexpected(file.error());
    }
    return OpenedFile{*std::move(node), *std::move(file), false};
}

Outcome<std::string> HostFolder::link_target(const Node& node) const {
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(node.fd.get(), "", target.data(), target.size());
    if (size < 0) {
        return tl::make_unexpected(errno == ENOENT ? EINVAL : errno);  // not a symbolic link
    }
    target.resize(static_cast<std::size_t>(size));
    return target;
}

// ── Changes ────────────────────────────────────────────────────────────────────────────────────────────────

int HostFolder::make_folder(const Node& folder, std::string_view name, mode_t mode) const {
    if (read_only_) {
        return EROFS;
    }
    return valid_entry_name(name)
               ? result_of(::mkdirat(folder.fd.get(), terminated(name).c_str(), mode & 07777))
               : EINVAL;
}

int HostFolder::make_node(const Node& folder, std::string_view name, mode_t mode) const {
    if (read_only_) {
        return EROFS;
    }
    if (!valid_entry_name(name)) {
        return EINVAL;
    }
    // Never a device, even where this process might.
    if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode)) {
        return EPERM;
    }
    return result_of(::mknodat(folder.fd.get(), terminated(name).c_str(), mode & (S_IFMT | 07777), 0));
}

int HostFolder::make_symlink(const Node& folder, std::string_view name, std::string_view target) const {
    if (read_only_) {
        return EROFS;
    }
    if (!valid_entry_name(name) || target.empty() || target.find('\0') != std::string_view::npos) {
        return EINVAL;
    }
    return result_of(::symlinkat(terminated(target).c_str(), folder.fd.get(), terminated(name).c_str()));
}

int HostFolder::make_link(const Node& folder, const Node& file, std::string_view name) const {
    if (read_only_) {
        return EROFS;
    }
    if (!valid_entry_name(name)) {
        return EINVAL;
    }
    return result_of(::linkat(proc_.get(), in_proc(file.fd.get()).c_str(), folder.fd.get(),
                              terminated(name).c_str(), AT_SYMLINK_FOLLOW));
}

int HostFolder::rename(const Node& from, std::string_view old_name, const Node& to,
                       std::string_view new_name) const {
    if (read_only_) {
        return EROFS;
    }
    if (!valid_entry_name(old_name) || !valid_entry_name(new_name)) {
        return EINVAL;
    }
    return result_of(
        ::renameat(from.fd.get(), terminated(old_name).c_str(), to.fd.get(), terminated(new_name).c_str()));
}

int HostFolder::remove(const Node& folder, std::string_view name, bool is_folder) const {
    if (read_only_) {
        return EROFS;
    }
    if (!valid_entry_name(name)) {
        return EINVAL;
    }
    return result_of(::unlinkat(folder.fd.get(), terminated(name).c_str(), is_folder ? AT_REMOVEDIR : 0));
}

int HostFolder::set_mode(const Node& node, mode_t mode) const {
    if (read_only_) {
        return EROFS;
    }
    return result_of(::fchmodat(proc_.get(), in_proc(node.fd.get()).c_str(), mode & 07777, 0));
}

int HostFolder::set_owner(const Node& node, std::optional<uid_t> uid, std::optional<gid_t> gid) const {
    if (read_only_) {
        return EROFS;
    }
    return result_of(
        ::fchownat(node.fd.get(), "", uid.value_or(~uid_t{0}), gid.value_or(~gid_t{0}), AT_EMPTY_PATH));
}

int HostFolder::set_size(const Node& node, u64 size) const {
    if (size > static_cast<u64>(std::numeric_limits<off_t>::max())) {
        return EFBIG;
    }
    const Outcome<CountedFd> file = open_file(node, O_WRONLY);
    return file ? result_of(::ftruncate(file->get(), static_cast<off_t>(size))) : file.error();
}

int HostFolder::set_times(const Node& node, const timespec (&times)[2]) const {
    if (read_only_) {
        return EROFS;
    }
    const Outcome<struct stat> info = status(node);
    // The entry of a symbolic link in /proc would be followed.
    if (!info || S_ISLNK(info->st_mode)) {
        return info ? result_of(::utimensat(node.fd.get(), "", times, AT_EMPTY_PATH)) : info.error();
    }
    return result_of(::utimensat(proc_.get(), in_proc(node.fd.get()).c_str(), times, 0));
}

// ── Identity ───────────────────────────────────────────────────────────────────────────────────────────────

u64 HostFolder::qid_path(dev_t device, ino_t inode) const {
    if (device == device_) {
        return inode;
    }
    // Another file system mounted below: its inode numbers may coincide with the folder's own.
    return inode ^ (u64{device} * 0x9E37'79B9'7F4A'7C15) ^ u64 { 1 } << 63;
}

Qid HostFolder::qid_of(const struct stat& info) const {
    Qid qid;
    qid.type = S_ISDIR(info.st_mode) ? kQidFolder : S_ISLNK(info.st_mode) ? kQidSymlink : u8{0};
    const u64 changed =
        static_cast<u64>(info.st_mtim.tv_sec) * 1'000'000'000 + static_cast<u64>(info.st_mtim.tv_nsec);
    qid.version = static_cast<u32>(changed ^ changed >> 32 ^ static_cast<u64>(info.st_size) << 8);
    qid.path = qid_path(info.st_dev, info.st_ino);
    return qid;
}

}  // namespace vmm::devices::p9
