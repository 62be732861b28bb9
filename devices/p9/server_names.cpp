// The part of the 9P server that works on names and attributes.
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

#include "devices/p9/server.h"

namespace vmm::devices::p9 {

namespace {

constexpr u32 kFileSystemType = 0x0102'1997;  // what Linux's client calls 9P
constexpr u64 kBasicAttributes = 0x7FF;
constexpr u32 kRemoveFolder = 0x200;

// What setattr is to change.
enum Change : u32 {
    kMode = 0x1,
    kUid = 0x2,
    kGid = 0x4,
    kSize = 0x8,
    kAccessTime = 0x10,
    kModifyTime = 0x20,
    kAccessTimeGiven = 0x80,
    kModifyTimeGiven = 0x100,
};

constexpr u64 kNanoseconds = 1'000'000'000;

timespec time_to_set(u32 what, u32 wanted, u32 given, u64 seconds, u64 nanoseconds) {
    if ((what & wanted) == 0) {
        return {0, UTIME_OMIT};
    }
    if ((what & given) == 0) {
        return {0, UTIME_NOW};
    }
    return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

}  // namespace

int Server::statfs(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr) {
        return EBADF;
    }
    struct statfs info {};
    if (::fstatfs(fid->node->fd.get(), &info) != 0) {
        return errno;
    }
    u64 id = 0;
    std::memcpy(&id, &info.f_fsid, sizeof(id));
    out.put(kFileSystemType);
    out.put(static_cast<u32>(info.f_bsize));
    out.put(u64{info.f_blocks});
    out.put(u64{info.f_bfree});
    out.put(u64{info.f_bavail});
    out.put(u64{info.f_files});
    out.put(u64{info.f_ffree});
    out.put(id);
    out.put(static_cast<u32>(info.f_namelen));
    return 0;
}

int Server::getattr(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    in.get<u64>();  // what the client wants; it gets all there is
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr) {
        return EBADF;
    }
    const auto info = folder_->status(*fid->node);
    if (!info) {
        return info.error();
    }
    out.put(kBasicAttributes);
    out.qid(folder_->qid_of(*info));
    out.put(u32{info->st_mode});
    out.put(u32{info->st_uid});
    out.put(u32{info->st_gid});
    out.put(u64{info->st_nlink});
    out.put(u64{info->st_rdev});
    out.put(static_cast<u64>(info->st_size));
    out.put(static_cast<u64>(info->st_blksize));
    out.put(static_cast<u64>(info->st_blocks));
    for (const timespec& time : {info->st_atim, info->st_mtim, info->st_ctim, timespec{}}) {
        out.put(static_cast<u64>(time.tv_sec));
        out.put(static_cast<u64>(time.tv_nsec));
    }
    out.put(u64{0});  // generation
    out.put(u64{0});  // data version
    return 0;
}

int Server::setattr(Reader& in, Writer&) {
    const Fid* fid = find(in.get<u32>());
    const auto what = in.get<u32>();
    const auto mode = in.get<u32>();
    const auto uid = in.get<u32>();
    const auto gid = in.get<u32>();
    const auto size = in.get<u64>();
    const auto access_seconds = in.get<u64>();
    const auto access_nanoseconds = in.get<u64>();
    const auto modify_seconds = in.get<u64>();
    const auto modify_nanoseconds = in.get<u64>();
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr) {
        return EBADF;
    }
    if (access_nanoseconds >= kNanoseconds || modify_nanoseconds >= kNanoseconds) {
        return EINVAL;
    }
    int error = folder_->read_only() ? EROFS : 0;
    if (error == 0 && (what & (kUid | kGid)) != 0) {
        error = folder_->set_owner(*fid->node, (what & kUid) != 0 ? std::optional<uid_t>(uid) : std::nullopt,
                                   (what & kGid) != 0 ? std::optional<gid_t>(gid) : std::nullopt);
    }
    if (error == 0 && (what & kMode) != 0) {
        error = folder_->set_mode(*fid->node, mode);
    }
    if (error == 0 && (what & kSize) != 0) {
        error = folder_->set_size(*fid->node, size);
    }
    if (error == 0 && (what & (kAccessTime | kModifyTime)) != 0) {
        const timespec times[2] = {
            time_to_set(what, kAccessTime, kAccessTimeGiven, access_seconds, access_nanoseconds),
            time_to_set(what, kModifyTime, kModifyTimeGiven, modify_seconds, modify_nanoseconds)};
        error = folder_->set_times(*fid->node, times);
    }
    return error;
}

int Server::readlink(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr) {
        return EBADF;
    }
    const auto target = folder_->link_target(*fid->node);
    if (!target) {
        return target.error();
    }
    out.text(*target);
    return 0;
}

int Server::finish(const Node& made, u32 uid, u32 gid, std::optional<u32> mode, Writer& out) {
    // Without the right to give files away they stay the user's who runs this.
    folder_->set_owner(made, uid, gid);
    auto info = folder_->status(made);
    if (!info) {
        return info.error();
    }
    // The umask of this process has no say. A folder keeps the set-group-ID bit that its parent hands down.
    const u32 wanted = (mode.value_or(0) & 07777) | (info->st_mode & (S_ISDIR(info->st_mode) ? S_ISGID : 0));
    if (mode && wanted != (info->st_mode & 07777)) {
        folder_->set_mode(made, wanted);
    }
    out.qid(folder_->qid_of(*info));
    return 0;
}

int Server::finish_entry(const Fid& folder, std::string_view name, u32 gid, std::optional<u32> mode,
                         Writer& out) {
    const auto made = folder_->find(folder.node, name);
    return made ? finish(**made, folder.uid, gid, mode, out) : made.error();
}

int Server::symlink(Reader& in, Writer& out) {
    const Fid* folder = find(in.get<u32>());
    const std::string_view name = in.text();
    const std::string_view target = in.text();
    const auto gid = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (folder == nullptr) {
        return EBADF;
    }
    const int error = folder_->make_symlink(*folder->node, name, target);
    return error != 0 ? error : finish_entry(*folder, name, gid, std::nullopt, out);
}

int Server::mknod(Reader& in, Writer& out) {
    const Fid* folder = find(in.get<u32>());
    const std::string_view name = in.text();
    const auto mode = in.get<u32>();
    in.get<u32>();  // major
    in.get<u32>();  // minor
    const auto gid = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (folder == nullptr) {
        return EBADF;
    }
    const int error = folder_->make_node(*folder->node, name, mode);
    return error != 0 ? error : finish_entry(*folder, name, gid, mode, out);
}

int Server::mkdir(Reader& in, Writer& out) {
    const Fid* folder = find(in.get<u32>());
    const std::string_view name = in.text();
    const auto mode = in.get<u32>();
    const auto gid = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (folder == nullptr) {
        return EBADF;
    }
    const int error = folder_->make_folder(*folder->node, name, mode);
    return error != 0 ? error : finish_entry(*folder, name, gid, mode, out);
}

int Server::link(Reader& in, Writer&) {
    const Fid* folder = find(in.get<u32>());
    const Fid* file = find(in.get<u32>());
    const std::string_view name = in.text();
    if (in.broken()) {
        return EPROTO;
    }
    return folder == nullptr || file == nullptr ? EBADF
                                                : folder_->make_link(*folder->node, *file->node, name);
}

int Server::renameat(Reader& in, Writer&) {
    const Fid* from = find(in.get<u32>());
    const std::string_view old_name = in.text();
    const Fid* to = find(in.get<u32>());
    const std::string_view new_name = in.text();
    if (in.broken()) {
        return EPROTO;
    }
    return from == nullptr || to == nullptr ? EBADF
                                            : folder_->rename(*from->node, old_name, *to->node, new_name);
}

int Server::unlinkat(Reader& in, Writer&) {
    const Fid* folder = find(in.get<u32>());
    const std::string_view name = in.text();
    const auto flags = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    return folder == nullptr ? EBADF : folder_->remove(*folder->node, name, (flags & kRemoveFolder) != 0);
}

}  // namespace vmm::devices::p9
