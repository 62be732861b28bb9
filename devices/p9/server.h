// A 9P2000.L server for one client: takes a request, gives the answer. Knows no transport.
//
// Follows the protocol as Linux's client speaks it. Not there, and answered with EOPNOTSUPP: authentication, extended
// attributes, and rename and remove by fid, which Linux uses only where renameat and unlinkat are missing.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "devices/p9/host_folder.h"
#include "devices/p9/message.h"

namespace vmm::devices::p9 {

/// Used by one thread at a time.
class Server {
  public:
    static constexpr u32 kMinMessage = 4096;
    static constexpr u32 kMaxMessage = 1 << 20;  // bytes; the client may ask for less
    static constexpr std::size_t kMaxFids = 100'000;
    static constexpr unsigned kMaxWalk = 16;

    explicit Server(std::unique_ptr<HostFolder> folder) : folder_(std::move(folder)) {}

    /// Answers `request`, a whole message, in at most `room` bytes. Empty where not even an error fits; otherwise valid until
    /// the next call.
    std::span<const u8> answer(std::span<const u8> request, std::size_t room);
    /// The client is gone: forgets all fids.
    void reset();

    std::size_t fids() const { return fids_.size(); }

  private:
    /// What a client calls a fid: a file, perhaps open.
    struct Fid {
        NodePtr node;
        CountedFd file;  // where open
        u32 uid = 0;     // the user who attached
    };
    using Reader = MessageReader;
    using Writer = MessageWriter;

    /// Answers one kind of request: 0, or an errno; what is written then does not matter.
    using Handler = int (Server::*)(Reader&, Writer&);
    static Handler handler_of(u8 type);

    // Session and fids.
    int version(Reader& in, Writer& out);
    int auth(Reader& in, Writer& out);
    int attach(Reader& in, Writer& out);
    int flush(Reader& in, Writer& out);
    int walk(Reader& in, Writer& out);
    int clunk(Reader& in, Writer& out);
    int remove(Reader& in, Writer& out);
    int not_supported(Reader& in, Writer& out);

    // Open files.
    /// Where in an open file or folder a request reads, and how much at most.
    struct Piece {
        const Fid* fid = nullptr;
        u64 offset = 0;
        u32 count = 0;  // bytes
    };
    /// 0, or an errno.
    int take_piece(Reader& in, Piece& piece);
    int lopen(Reader& in, Writer& out);
    int lcreate(Reader& in, Writer& out);
    int read(Reader& in, Writer& out);
    int write(Reader& in, Writer& out);
    int readdir(Reader& in, Writer& out);
    int fsync(Reader& in, Writer& out);
    int lock(Reader& in, Writer& out);
    int getlock(Reader& in, Writer& out);

    // Files by name.
    int statfs(Reader& in, Writer& out);
    int getattr(Reader& in, Writer& out);
    int setattr(Reader& in, Writer& out);
    int readlink(Reader& in, Writer& out);
    int symlink(Reader& in, Writer& out);
    int mknod(Reader& in, Writer& out);
    int mkdir(Reader& in, Writer& out);
    int link(Reader& in, Writer& out);
    int renameat(Reader& in, Writer& out);
    int unlinkat(Reader& in, Writer& out);

    Fid* find(u32 number);
    /// Gives what was just made its owner and mode (nullopt: as it is); writes its qid.
    int finish(const Node& made, u32 uid, u32 gid, std::optional<u32> mode, Writer& out);
    int finish_entry(const Fid& folder, std::string_view name, u32 gid, std::optional<u32> mode, Writer& out);
    void put_entry(const struct dirent64& entry, const Fid& fid, Writer& out) const;

    const std::unique_ptr<HostFolder> folder_;
    u32 message_size_ = kMaxMessage;
    bool versioned_ = false;
    std::unordered_map<u32, Fid> fids_;
    std::vector<u8> answer_;
    std::vector<u8> entries_;  // of a folder, as the host gives them
};

}  // namespace vmm::devices::p9
