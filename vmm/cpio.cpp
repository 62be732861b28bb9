#include "vmm/cpio.h"

#include <dirent.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "vmm/kernel_image.h"

namespace vmm {

namespace {

constexpr std::size_t kAlignment = 4;
constexpr u64 kMaxFile = 0xFFFF'FFFF;  // what the size field can say

struct CloseDir {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

/// The names in a folder, sorted: an archive depends on content only.
Result<std::vector<std::string>> names_in(const std::string& folder) {
    const std::unique_ptr<DIR, CloseDir> directory(::opendir(folder.c_str()));
    if (directory == nullptr) {
        return fail_errno(errno, "\"{}\": cannot open", folder);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
        errno = 0;
    }
    if (errno != 0) {
        return fail_errno(errno, "\"{}\": cannot read", folder);
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<std::vector<u8>> read_link(const std::string& path) {
    std::array<char, 4096> target;
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    if (size < 0) {
        return fail_errno(errno, "\"{}\": cannot read the link", path);
    }
    return std::vector<u8>(target.data(), target.data() + size);
}

}  // namespace

std::string clean_path(std::string_view path) {
    std::vector<std::string_view> parts;
    while (!path.empty()) {
        const std::string_view part = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(part.size() + 1, path.size()));
        if (part == "..") {
            if (!parts.empty()) {
                parts.pop_back();
            }
        } else if (!part.empty() && part != ".") {
            parts.push_back(part);
        }
    }
    std::string clean;
    for (const std::string_view part : parts) {
        clean += clean.empty() ? "" : "/";
        clean += part;
    }
    return clean;
}

Result<> CpioWriter::add(std::string_view path, const Entry& entry, std::span<const u8> content) {
    if (content.size() > kMaxFile) {
        return fail("\"{}\": has {} bytes; an initramfs holds files below 4 GiB", path, content.size());
    }
    if (bytes_.size() + path.size() + content.size() + 256 > limit_) {
        return fail("\"{}\": does not fit any more: the guest's files may have {} MiB together with this memory", path,
                    limit_ >> 20);
    }
    const auto pad = [this] { bytes_.resize((bytes_.size() + kAlignment - 1) / kAlignment * kAlignment); };
    const std::string header =
        fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", entry.inode,
                    entry.mode, entry.uid, entry.gid, entry.links, entry.mtime, content.size(), 0, 0, entry.major,
                    entry.minor, path.size() + 1, 0);
    bytes_.insert(bytes_.end(), header.begin(), header.end());
    bytes_.insert(bytes_.end(), path.begin(), path.end());
    bytes_.push_back(0);
    pad();
    bytes_.insert(bytes_.end(), content.begin(), content.end());
    pad();
    return {};
}

Result<> CpioWriter::add_folder(std::string_view wanted, u32 permissions) {
    const std::string path = clean_path(wanted);
    for (std::size_t end = path.find('/'); !path.empty(); end = path.find('/', end + 1)) {
        const std::string part = path.substr(0, end);
        if (!known(part)) {
            Entry entry;
            entry.inode = next_inode_++;
            entry.links = 2;
            entry.mode = S_IFDIR | (part == "tmp" ? 01777 : part == path ? permissions : 0755);
            VMM_TRY_VOID(add(part, entry, {}));
        }
        if (end == std::string::npos) {
            break;
        }
    }
    return {};
}

Result<> CpioWriter::add_file(std::string_view path, u32 permissions, std::span<const u8> content) {
    Entry entry;
    entry.inode = next_inode_++;
    entry.mode = S_IFREG | permissions;
    return add(clean_path(path), entry, content);
}

Result<> CpioWriter::add_device(std::string_view path, u32 mode, unsigned major, unsigned minor) {
    Entry entry;
    entry.inode = next_inode_++;
    entry.mode = mode;
    entry.major = major;
    entry.minor = minor;
    return add(clean_path(path), entry, {});
}

Result<> CpioWriter::add_children(const std::string& from, const std::string& path) {
    VMM_TRY(const std::vector<std::string> names, names_in(from));
    for (const std::string& name : names) {
        const std::string child = from + "/" + name;
        struct stat status {};
        if (::lstat(child.c_str(), &status) != 0) {
            return fail_errno(errno, "\"{}\": cannot read", child);
        }
        VMM_TRY_VOID(add_status(child, path.empty() ? name : path + "/" + name, status));
    }
    return {};
}

Result<> CpioWriter::add_status(const std::string& from, const std::string& path, const struct stat& status) {
    Entry entry;
    entry.mode = status.st_mode;
    entry.uid = status.st_uid == ::geteuid() ? 0 : status.st_uid;
    entry.gid = status.st_gid == ::getegid() ? 0 : status.st_gid;
    entry.mtime = static_cast<u32>(status.st_mtime);
    entry.inode = next_inode_;
    if (S_ISDIR(status.st_mode)) {
        entry.links = 2;
        if (!path.empty()) {
            ++next_inode_;
            known(path);
            VMM_TRY_VOID(add(path, entry, {}));
        }
        return add_children(from, path);
    }
    ++next_inode_;
    if (S_ISLNK(status.st_mode)) {
        VMM_TRY(const std::vector<u8> target, read_link(from));
        return add(path, entry, target);
    }
    if (S_ISREG(status.st_mode)) {
        bool first = true;
        if (status.st_nlink > 1) {
            const auto [place, inserted] =
                linked_files_.try_emplace({status.st_dev, status.st_ino}, entry.inode);
            first = inserted;
            entry.inode = place->second;
            entry.links = static_cast<u32>(status.st_nlink);
        }
        std::vector<u8> content;
        if (first) {  // the others are links to it, and have none of their own
            VMM_TRY(content, read_file(from, std::min(limit_, kMaxFile)).map_error([&](Error error) {
                error.text = fmt::format("\"{}\": {}", from, error.text);
                return error;
            }));
        }
        return add(path, entry, content);
    }
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
        entry.major = major(status.st_rdev);
        entry.minor = minor(status.st_rdev);
    }
    return add(path, entry, {});  // devices, pipes; a socket is a name only
}

Result<> CpioWriter::add_tree(const std::string& from, std::string_view path) {
    struct stat status {};
    if (::stat(from.c_str(), &status) != 0) {
        return fail_errno(errno, "\"{}\": cannot read", from);
    }
    return add_status(from, clean_path(path), status);
}

Result<std::vector<u8>> CpioWriter::finish() && {
    VMM_TRY_VOID(add("TRAILER!!!", Entry{}, {}));
    return std::move(bytes_);
}

}  // namespace vmm
