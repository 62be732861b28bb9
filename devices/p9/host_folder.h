// A folder of the host, and the files below it, by descriptors only: nothing here can leave the folder.
//
// Each file is held by an O_PATH descriptor and reached from its parent's by a single name, never following a symbolic
// link. ".." is the file that the walk came through. So neither links nor renames lead out, whoever makes them; only
// what the host mounts or moves below the folder is inside.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "devices/p9/message.h"
#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::p9 {

/// A value, or a positive errno.
template <class T>
using Outcome = tl::expected<T, int>;

/// A descriptor that counts against what guests may hold open, all shared folders together.
class CountedFd {
  public:
    CountedFd() = default;
    /// `fd` may be invalid.
    explicit CountedFd(UniqueFd fd);
    CountedFd(CountedFd&&) noexcept = default;
    CountedFd& operator=(CountedFd&& other) noexcept;
    ~CountedFd() { reset(); }

    int get() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }
    void reset();
    /// False where no more may be opened; also raises the process's soft limit to the hard one.
    static bool available();

  private:
    UniqueFd fd_;
};

/// A file below the folder, held by its descriptors.
struct Node {
    CountedFd fd;                        // O_PATH
    std::shared_ptr<const Node> parent;  // nullptr: the folder itself
    unsigned depth = 0;
};
using NodePtr = std::shared_ptr<const Node>;

/// A file that was opened by name.
struct OpenedFile {
    NodePtr node;
    CountedFd file;
    bool created = false;
};

class HostFolder {
  public:
    static constexpr unsigned kMaxDepth = 1024;

    /// `read_only`: every change is refused with EROFS.
    static Result<std::unique_ptr<HostFolder>> open(const std::string& path, bool read_only);

    bool read_only() const { return read_only_; }
    const NodePtr& root() const { return root_; }

    /// The file `name` of a folder; ".." is its parent, and the folder's own for the root.
    Outcome<NodePtr> find(const NodePtr& folder, std::string_view name) const;
    Outcome<struct stat> status(const Node& node) const;
    /// Opens a regular file or a folder; others are not for guests. `flags`: open(2)'s.
    Outcome<CountedFd> open_file(const Node& node, int flags) const;
    /// Creates a regular file and opens it; one that exists is opened unless flags have O_EXCL.
    Outcome<OpenedFile> create_file(const NodePtr& folder, std::string_view name, int flags,
                                    mode_t mode) const;
    Outcome<std::string> link_target(const Node& node) const;

    // Changes; 0 or an errno.
    int make_folder(const Node& folder, std::string_view name, mode_t mode) const;
    int make_node(const Node& folder, std::string_view name, mode_t mode) const;
    int make_symlink(const Node& folder, std::string_view name, std::string_view target) const;
    int make_link(const Node& folder, const Node& file, std::string_view name) const;
    int rename(const Node& from, std::string_view old_name, const Node& to, std::string_view new_name) const;
    int remove(const Node& folder, std::string_view name, bool is_folder) const;
    int set_mode(const Node& node, mode_t mode) const;
    int set_owner(const Node& node, std::optional<uid_t> uid, std::optional<gid_t> gid) const;
    int set_size(const Node& node, u64 size) const;
    int set_times(const Node& node, const timespec (&times)[2]) const;

    Qid qid_of(const struct stat& info) const;
    /// The path part of a qid, for a file of which only this is known.
    u64 qid_path(dev_t device, ino_t inode) const;

  private:
    HostFolder() = default;

    Outcome<NodePtr> hold(UniqueFd fd, NodePtr parent) const;

    bool read_only_ = false;
    NodePtr root_;
    UniqueFd proc_;  // /proc/self/fd: what makes a usable descriptor of an O_PATH one
    dev_t device_ = 0;
};

/// Whether a guest may use `name` for an entry of a folder: one component, not "." and not "..".
bool valid_entry_name(std::string_view name);

}  // namespace vmm::devices::p9
