// The part of the 9P server that reads and writes open files and folders.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "devices/p9/server.h"

namespace vmm::devices::p9 {

namespace {

/// Flags of lopen and lcreate that mean something to the host, as the protocol numbers them.
struct OpenFlag {
    u32 wire;
    int host;
};
constexpr OpenFlag kOpenFlags[] = {{0200, O_EXCL},    {01000, O_TRUNC},   {02000, O_APPEND},
                                   {010000, O_DSYNC}, {04000000, O_SYNC}, {0200000, O_DIRECTORY}};
constexpr u32 kAccessMode = 3;

constexpr u32 kLockSuccess = 0;
constexpr u8 kUnlocked = 2;

constexpr std::size_t kEntrySize = kQidSize + 8 + 1 + 2;  // of a readdir answer, without the name

int host_flags(u32 wire) {
    static constexpr int kAccess[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
    int flags = kAccess[wire & kAccessMode];
    for (const OpenFlag& flag : kOpenFlags) {
        if ((wire & flag.wire) == flag.wire) {
            flags |= flag.host;
        }
    }
    return flags;
}

bool valid_offset(u64 offset) {
    return offset <= static_cast<u64>(std::numeric_limits<off_t>::max());
}

u8 qid_type_of_entry(unsigned char type) {
    return type == DT_DIR ? 0x80 : type == DT_LNK ? 0x02 : 0;
}

}  // namespace

int Server::lopen(Reader& in, Writer& out) {
    Fid* fid = find(in.get<u32>());
    const auto flags = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr || fid->file) {
        return EBADF;
    }
    const auto info = folder_->status(*fid->node);
    if (!info) {
        return info.error();
    }
    auto file = folder_->open_file(*fid->node, host_flags(flags) & ~O_EXCL);
    if (!file) {
        return file.error();
    }
    fid->file = *std::move(file);
    out.qid(folder_->qid_of(*info));
    out.put(u32{0});  // iounit: as much as a message holds
    return 0;
}

int Server::lcreate(Reader& in, Writer& out) {
    Fid* fid = find(in.get<u32>());
    const std::string_view name = in.text();
    const auto flags = in.get<u32>();
    const auto mode = in.get<u32>();
    const auto gid = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr || fid->file) {
        return EBADF;
    }
    auto opened = folder_->create_file(fid->node, name, host_flags(flags) & ~O_DIRECTORY, mode);
    if (!opened) {
        return opened.error();
    }
    if (opened->created) {
        if (const int error = finish(*opened->node, fid->uid, gid, mode, out); error != 0) {
            return error;
        }
    } else if (const auto info = folder_->status(*opened->node)) {
        out.qid(folder_->qid_of(*info));
    } else {
        return info.error();
    }
    fid->node = std::move(opened->node);
    fid->file = std::move(opened->file);
    out.put(u32{0});  // iounit
    return 0;
}

int Server::take_piece(Reader& in, Piece& piece) {
    const Fid* fid = find(in.get<u32>());
    piece.offset = in.get<u64>();
    piece.count = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr || !fid->file) {
        return EBADF;
    }
    piece.fid = fid;
    return valid_offset(piece.offset) ? 0 : EINVAL;
}

int Server::read(Reader& in, Writer& out) {
    Piece piece;
    if (const int error = take_piece(in, piece); error != 0) {
        return error;
    }
    const std::size_t count_at = out.size();
    out.put(u32{0});
    const std::size_t wanted = std::min<std::size_t>(piece.count, out.left());
    const std::span<u8> data = out.reserve(wanted);
    ssize_t size = 0;
    do {
        size = ::pread(piece.fid->file.get(), data.data(), data.size(), static_cast<off_t>(piece.offset));
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return errno;
    }
    out.drop(wanted - static_cast<std::size_t>(size));
    out.patch(count_at, static_cast<u32>(size));
    return 0;
}

int Server::write(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    const auto offset = in.get<u64>();
    const auto count = in.get<u32>();
    const std::span<const u8> data = in.data(count);
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr || !fid->file) {
        return EBADF;
    }
    if (!valid_offset(offset)) {
        return EINVAL;
    }
    ssize_t size = 0;
    do {
        size = ::pwrite(fid->file.get(), data.data(), data.size(), static_cast<off_t>(offset));
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return errno;
    }
    out.put(static_cast<u32>(size));
    return 0;
}

void Server::put_entry(const struct dirent64& entry, const Fid& fid, Writer& out) const {
    std::string_view name(entry.d_name);
    Qid qid;
    const auto here = folder_->status(*fid.node);
    if (name == "." || name == "..") {
        // What lies above the shared folder is nobody's business, and clients do not ask for the number of "..".
        qid = here ? folder_->qid_of(*here) : Qid{0x80, 0, 0};
    } else {
        qid.type = qid_type_of_entry(entry.d_type);
        qid.path = here ? folder_->qid_path(here->st_dev, entry.d_ino) : entry.d_ino;
    }
    out.qid(qid);
    out.put(static_cast<u64>(entry.d_off));
    out.put(static_cast<u8>(entry.d_type));
    out.text(name);
}

int Server::readdir(Reader& in, Writer& out) {
    Piece piece;
    if (const int error = take_piece(in, piece); error != 0) {
        return error;
    }
    const int fd = piece.fid->file.get();
    if (::lseek(fd, static_cast<off_t>(piece.offset), SEEK_SET) < 0) {
        return errno;
    }
    const std::size_t count_at = out.size();
    out.put(u32{0});
    const std::size_t start = out.size();
    const std::size_t end = start + std::min<std::size_t>(piece.count, out.left());
    // At least one name of any length, since names may take more here than in the answer.
    entries_.resize(std::max<std::size_t>(end - start, sizeof(dirent64)));
    const ssize_t size = ::getdents64(fd, entries_.data(), entries_.size());
    if (size < 0) {
        return errno;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
        const auto& entry = *reinterpret_cast<const dirent64*>(entries_.data() + at);
        at += entry.d_reclen;
        if (kEntrySize + std::strlen(entry.d_name) > end - out.size()) {
            if (out.size() == start) {
                return EINVAL;  // not even one fits
            }
            break;  // the client comes back with the offset of the last one
        }
        put_entry(entry, *piece.fid, out);
    }
    out.patch(count_at, static_cast<u32>(out.size() - start));
    return 0;
}

int Server::fsync(Reader& in, Writer&) {
    const Fid* fid = find(in.get<u32>());
    const auto data_only = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (fid == nullptr || !fid->file) {
        return EBADF;
    }
    const int done = data_only != 0 ? ::fdatasync(fid->file.get()) : ::fsync(fid->file.get());
    return done == 0 ? 0 : errno;
}

// There is one client, and it keeps its locks itself; they exclude nobody on the host.
int Server::lock(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    if (in.broken()) {
        return EPROTO;
    }
    out.put(static_cast<u8>(kLockSuccess));
    return fid == nullptr ? EBADF : 0;
}

int Server::getlock(Reader& in, Writer& out) {
    const Fid* fid = find(in.get<u32>());
    in.get<u8>();
    const auto start = in.get<u64>();
    const auto length = in.get<u64>();
    const auto process = in.get<u32>();
    const std::string_view client = in.text();
    if (in.broken()) {
        return EPROTO;
    }
    out.put(kUnlocked);
    out.put(start);
    out.put(length);
    out.put(process);
    out.text(client);
    return fid == nullptr ? EBADF : 0;
}

}  // namespace vmm::devices::p9
