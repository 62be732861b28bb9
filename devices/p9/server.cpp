// Dispatch, session and fids. server_files.cpp has what reads and writes, server_names.cpp what works on names.
#include "devices/p9/server.h"

#include <cerrno>

namespace vmm::devices::p9 {

namespace {

constexpr std::string_view kVersion = "9P2000.L";
constexpr u16 kNoTag = 0xFFFF;

}  // namespace

Server::Handler Server::handler_of(u8 type) {
    switch (static_cast<Request>(type)) {
        case Request::version: return &Server::version;
        case Request::auth: return &Server::auth;
        case Request::attach: return &Server::attach;
        case Request::flush: return &Server::flush;
        case Request::walk: return &Server::walk;
        case Request::clunk: return &Server::clunk;
        case Request::remove: return &Server::remove;
        case Request::lopen: return &Server::lopen;
        case Request::lcreate: return &Server::lcreate;
        case Request::read: return &Server::read;
        case Request::write: return &Server::write;
        case Request::readdir: return &Server::readdir;
        case Request::fsync: return &Server::fsync;
        case Request::lock: return &Server::lock;
        case Request::getlock: return &Server::getlock;
        case Request::statfs: return &Server::statfs;
        case Request::getattr: return &Server::getattr;
        case Request::setattr: return &Server::setattr;
        case Request::readlink: return &Server::readlink;
        case Request::symlink: return &Server::symlink;
        case Request::mknod: return &Server::mknod;
        case Request::mkdir: return &Server::mkdir;
        case Request::link: return &Server::link;
        case Request::renameat: return &Server::renameat;
        case Request::unlinkat: return &Server::unlinkat;
        case Request::rename:
        case Request::xattrwalk:
        case Request::xattrcreate: break;
    }
    return &Server::not_supported;
}

std::span<const u8> Server::answer(std::span<const u8> request, std::size_t room) {
    room = std::min<std::size_t>(room, message_size_);
    if (room < kErrorReplySize) {
        return {};
    }
    Reader in(request);
    Writer out(answer_, room);
    const u32 size = in.get<u32>();
    const u8 type = in.get<u8>();
    const u16 tag = in.get<u16>();
    int error = EPROTO;
    u8 reply = static_cast<u8>(type + 1);
    out.put(u32{0});
    out.put(reply);
    out.put(tag);
    const bool greeting = type == static_cast<u8>(Request::version);
    if (!in.broken() && size == request.size() && (versioned_ || greeting)) {
        error = (this->*handler_of(type))(in, out);
        if (error == 0 && out.overflowed()) {
            error = EMSGSIZE;
        }
    }
    if (error != 0) {
        reply = kErrorReply;
        Writer refusal(answer_, room);
        refusal.put(u32{0});
        refusal.put(reply);
        refusal.put(in.broken() && type == 0 ? kNoTag : tag);
        refusal.put(static_cast<u32>(error));
    }
    const auto length = static_cast<u32>(answer_.size());
    std::memcpy(answer_.data(), &length, sizeof(length));
    return answer_;
}

void Server::reset() {
    fids_.clear();
    versioned_ = false;
    message_size_ = kMaxMessage;
}

Server::Fid* Server::find(u32 number) {
    const auto found = fids_.find(number);
    return found == fids_.end() ? nullptr : &found->second;
}

int Server::not_supported(Reader&, Writer&) {
    return EOPNOTSUPP;
}

int Server::version(Reader& in, Writer& out) {
    const u32 wanted = in.get<u32>();
    const std::string_view version = in.text();
    if (in.broken()) {
        return EPROTO;
    }
    if (wanted < kMinMessage) {
        return EMSGSIZE;
    }
    reset();
    versioned_ = version == kVersion;
    message_size_ = std::min(wanted, kMaxMessage);
    out.put(message_size_);
    out.text(versioned_ ? kVersion : "unknown");
    return 0;
}

int Server::auth(Reader&, Writer&) {
    return EOPNOTSUPP;
}

int Server::attach(Reader& in, Writer& out) {
    const auto number = in.get<u32>();
    in.get<u32>();  // afid
    in.text();      // uname
    const std::string_view name = in.text();
    const auto uid = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    if (find(number) != nullptr) {
        return EBADF;
    }
    if (!name.empty() && name != "/") {
        return ENOENT;  // there is one tree only
    }
    if (fids_.size() >= kMaxFids) {
        return ENFILE;
    }
    const auto info = folder_->status(*folder_->root());
    if (!info) {
        return info.error();
    }
    fids_[number] = Fid{folder_->root(), {}, uid};
    out.qid(folder_->qid_of(*info));
    return 0;
}

int Server::flush(Reader& in, Writer&) {
    in.get<u16>();
    return in.broken() ? EPROTO : 0;  // requests are answered in order: the one meant has been
}

int Server::walk(Reader& in, Writer& out) {
    const auto number = in.get<u32>();
    const auto new_number = in.get<u32>();
    const auto count = in.get<u16>();
    Fid* from = find(number);
    if (in.broken() || count > kMaxWalk) {
        return EPROTO;
    }
    if (from == nullptr || (new_number != number && find(new_number) != nullptr)) {
        return EBADF;
    }
    NodePtr node = from->node;
    const std::size_t count_at = out.size();
    out.put(u16{0});
    u16 done = 0;
    int error = 0;
    for (; done < count; ++done) {
        const std::string_view name = in.text();
        if (in.broken()) {
            return EPROTO;
        }
        const auto next = folder_->find(node, name);
        if (!next) {
            error = next.error();
            break;
        }
        const auto info = folder_->status(**next);
        if (!info) {
            error = info.error();
            break;
        }
        node = *next;
        out.qid(folder_->qid_of(*info));
    }
    if (done == 0 && error != 0) {
        return error;
    }
    if (out.overflowed()) {
        return EMSGSIZE;
    }
    out.patch(count_at, done);
    if (done != count) {
        return 0;  // the new fid does not come to be
    }
    if (new_number != number && fids_.size() >= kMaxFids) {
        return ENFILE;
    }
    const u32 uid = from->uid;
    fids_[new_number] = Fid{std::move(node), {}, uid};
    return 0;
}

int Server::clunk(Reader& in, Writer&) {
    const auto number = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    return fids_.erase(number) != 0 ? 0 : EBADF;
}

int Server::remove(Reader& in, Writer&) {
    const auto number = in.get<u32>();
    if (in.broken()) {
        return EPROTO;
    }
    return fids_.erase(number) != 0 ? EOPNOTSUPP : EBADF;  // the fid goes either way
}

}  // namespace vmm::devices::p9
