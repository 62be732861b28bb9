// Archives in cpio's "newc" format, as Linux unpacks them into its first root file system
// (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
#pragma once

#include <sys/stat.h>

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

class CpioWriter {
  public:
    /// `limit`: the most bytes the archive may have.
    explicit CpioWriter(u64 limit) : limit_(limit) {}

    /// A folder, with those above it that were not added before; a leading '/' is ignored. /tmp gets mode 1777.
    Result<> add_folder(std::string_view path, u32 permissions = 0755);
    /// A regular file owned by root; its folders are the caller's.
    Result<> add_file(std::string_view path, u32 permissions, std::span<const u8> content);
    Result<> add_device(std::string_view path, u32 mode, unsigned major, unsigned minor);

    /// The host's file or folder `from`, with everything below it, as `path`: regular files, symbolic links, hard links,
    /// devices, pipes. What belongs to the user of this process belongs to root in the archive. An error names the path.
    Result<> add_tree(const std::string& from, std::string_view path);

    /// The archive, complete.
    Result<std::vector<u8>> finish() &&;

  private:
    struct Entry {
        u32 inode = 0;
        u32 mode = 0;
        u32 uid = 0;
        u32 gid = 0;
        u32 links = 1;
        u32 mtime = 0;
        unsigned major = 0;
        unsigned minor = 0;
    };

    Result<> add(std::string_view path, const Entry& entry, std::span<const u8> content);
    Result<> add_status(const std::string& from, const std::string& path, const struct stat& status);
    Result<> add_children(const std::string& from, const std::string& path);
    bool known(const std::string& folder) { return !folders_.try_emplace(folder).second; }

    const u64 limit_;
    std::vector<u8> bytes_;
    u32 next_inode_ = 1;
    std::map<std::string, bool> folders_;              // those added
    std::map<std::pair<u64, u64>, u32> linked_files_;  // (device, inode) of the host → inode of the archive
};

/// `path` without slashes at its ends, double ones, "." and ".."; it never leads out of the root. Empty: the root itself.
std::string clean_path(std::string_view path);

}  // namespace vmm
