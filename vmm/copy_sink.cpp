#include "vmm/copy_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "vmm/output_file.h"

namespace vmm {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxLink = 4096;
constexpr u32 kPermissions = 0777;
constexpr u32 kFolderPermissions = 0700;  // so that what is in it can be made

bool valid_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
           name.find('\0') == std::string_view::npos;
}

}  // namespace

CopySink::CopySink(const std::vector<CopyPaths>& wanted) {
    for (const CopyPaths& paths : wanted) {
        copies_.push_back({.paths = paths});
    }
}

CopySink::~CopySink() { discard(open_); }

void CopySink::note_error(Copy& copy, const std::string& below, const std::string& text) const {
    if (copy.error.empty()) {
        copy.error = below.empty() ? text : fmt::format("\"{}\": {}", below, text);
    }
}

/// Where the copied file or folder itself goes, as cp would say it.
Result<> CopySink::choose_place(Copy& copy, u32 mode) {
    fs::path path = copy.paths.to;
    std::error_code error;
    const bool into = copy.paths.to.ends_with('/') || fs::is_directory(path, error);
    if (into) {
        fs::path from = copy.paths.from;
        while (!from.has_filename() && from.has_relative_path()) {
            from = from.parent_path();
        }
        if (from.has_filename() && from.filename() != "." && from.filename() != "..") {
            path /= from.filename();
        } else if (!S_ISDIR(mode)) {
            return fail("\"{}\" has no name to use in \"{}\"", copy.paths.from, copy.paths.to);
        } else {
            path = fs::canonical(path, error);  // the only case in which the user's own path may end in a link
        }
    }
    copy.host_path = path.lexically_normal().string();
    if (copy.host_path.ends_with('/')) {
        copy.host_path.pop_back();
    }
    const fs::path parent = fs::path(copy.host_path).parent_path();
    if (!parent.empty()) {
        fs::create_directories(parent, error);
        if (error) {
            return fail("cannot make folder \"{}\": {}", parent.string(), error.message());
        }
    }
    return {};
}

/// Opens the folder that the entry goes to, without following a link below the user's path.
Result<> CopySink::open_place(const Copy& copy, std::string_view below, Open& open) const {
    const fs::path top = copy.host_path;
    if (below.empty()) {
        const std::string parent = top.has_parent_path() ? top.parent_path().string() : ".";
        open.folder.reset(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        open.name = top.filename().string();
        if (open.name.empty()) {
            open.name = ".";
        }
    } else {
        open.folder.reset(::open(copy.host_path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    }
    while (open.folder && !below.empty()) {
        const std::string name(below.substr(0, below.find('/')));
        below.remove_prefix(std::min(name.size() + 1, below.size()));
        if (!valid_name(name)) {
            return fail("the guest sent a bad name");
        }
        if (below.empty()) {
            open.name = name;
        } else {
            open.folder.reset(
                ::openat(open.folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        }
    }
    if (!open.folder) {
        return fail_errno(errno, "cannot open its folder");
    }
    return {};
}

Result<> CopySink::create(Open& open) const {
    const int folder = open.folder.get();
    struct stat status {};
    const bool exists = ::fstatat(folder, open.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (S_ISDIR(open.mode)) {
        if (exists && S_ISDIR(status.st_mode)) {
            return {};
        }
        if (::mkdirat(folder, open.name.c_str(), (open.mode & kPermissions) | kFolderPermissions) != 0) {
            return fail_errno(errno, "cannot make the folder");
        }
        return {};
    }
    if (exists && S_ISDIR(status.st_mode)) {
        return fail("a folder of that name exists");
    }
    if (S_ISLNK(open.mode)) {
        return {};  // see finish()
    }
    if (exists && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {  // a pipe or device of the user's
        open.file.reset(::openat(folder, open.name.c_str(), O_WRONLY | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
    } else {
        // A name that lets any file's name keep its length limit.
        open.hidden = fmt::format(".vmm-{}.tmp", ::getpid());
        ::unlinkat(folder, open.hidden.c_str(), 0);
        open.file.reset(::openat(folder, open.hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                 open.mode & kPermissions));
    }
    if (!open.file) {
        return fail_errno(errno, "cannot create");
    }
    return {};
}

Result<> CopySink::complete(Open& open) const {
    if (!open.hidden.empty()) {
        const int folder = open.folder.get();
        if (::renameat(folder, open.hidden.c_str(), folder, open.name.c_str()) != 0) {
            return fail_errno(errno, "cannot create");
        }
        open.hidden.clear();
    }
    return {};
}

void CopySink::discard(Open& open) const {
    if (!open.hidden.empty()) {
        ::unlinkat(open.folder.get(), open.hidden.c_str(), 0);
    }
    open = Open{};
}

bool CopySink::begin(u32 index, u32 mode, std::string_view below) {
    if (busy_ || index >= copies_.size() || copies_[index].ended || (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode))) {
        return false;
    }
    Copy& copy = copies_[index];
    busy_ = true;
    below_ = below;
    open_ = Open{};
    open_.index = index;
    open_.mode = mode;
    Result<> opened = copy.host_path.empty() ? choose_place(copy, mode) : Result<>{};
    if (opened) {
        opened = open_place(copy, below, open_);
    }
    if (opened) {
        opened = create(open_);
    }
    failed_ = !opened;
    if (failed_) {
        note_error(copy, below_, opened.error().text);
    }
    return true;
}

bool CopySink::data(std::span<const u8> bytes) {
    if (!busy_ || S_ISDIR(open_.mode)) {
        return false;
    }
    if (failed_) {
        return true;
    }
    if (S_ISLNK(open_.mode)) {
        if (open_.link_target.size() + bytes.size() > kMaxLink) {
            return false;
        }
        open_.link_target.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return true;
    }
    open_.bytes += bytes.size();
    if (const auto written = write_all(open_.file.get(), bytes); !written) {
        note_error(copies_[open_.index], below_, written.error().text);
        failed_ = true;
    }
    return true;
}

bool CopySink::end(u32 error) {
    if (!busy_) {
        return false;
    }
    busy_ = false;
    Copy& copy = copies_[open_.index];
    if (error != 0) {
        note_error(copy, below_, fmt::format("the guest cannot read it: {}", std::strerror(static_cast<int>(error))));
    }
    if (!failed_) {
        if (S_ISLNK(open_.mode)) {
            links_.push_back({open_.index, below_, open_.link_target});
        } else if (const auto completed = complete(open_); !completed) {
            note_error(copy, below_, completed.error().text);
        } else if (S_ISREG(open_.mode)) {
            ++copy.files;
            copy.bytes += open_.bytes;
        }
    }
    discard(open_);
    return true;
}

bool CopySink::end_copy(u32 index, u32 error) {
    if (busy_ || index >= copies_.size() || copies_[index].ended) {
        return false;
    }
    Copy& copy = copies_[index];
    copy.ended = true;
    if (error != 0) {
        note_error(copy, "", fmt::format("in the guest: {}", std::strerror(static_cast<int>(error))));
    } else if (copy.host_path.empty()) {
        note_error(copy, "", "the guest sent nothing");
    }
    return true;
}

Result<> CopySink::make_link(const Link& link) const {
    Open place;
    VMM_TRY_VOID(open_place(copies_[link.index], link.below, place));
    ::unlinkat(place.folder.get(), place.name.c_str(), 0);
    if (::symlinkat(link.target.c_str(), place.folder.get(), place.name.c_str()) != 0) {
        return fail_errno(errno, "cannot make the link");
    }
    return {};
}

void CopySink::finish() {
    for (const Link& link : links_) {
        if (const auto made = make_link(link); !made) {
            note_error(copies_[link.index], link.below, made.error().text);
        }
    }
    links_.clear();
}

}  // namespace vmm
