// Messages of 9P2000.L: numbers and strings, little-endian, read and written with every bound checked.
#pragma once

#include <concepts>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::devices::p9 {

/// Requests; the answer to each is its number + 1.
enum class Request : u8 {
    statfs = 8,
    lopen = 12,
    lcreate = 14,
    symlink = 16,
    mknod = 18,
    rename = 20,
    readlink = 22,
    getattr = 24,
    setattr = 26,
    xattrwalk = 30,
    xattrcreate = 32,
    readdir = 40,
    fsync = 50,
    lock = 52,
    getlock = 54,
    link = 70,
    mkdir = 72,
    renameat = 74,
    unlinkat = 76,
    version = 100,
    auth = 102,
    attach = 104,
    flush = 108,
    walk = 110,
    read = 116,
    write = 118,
    clunk = 120,
    remove = 122,
};

inline constexpr u8 kErrorReply = 7;
inline constexpr std::size_t kHeaderSize = 7;  // size, type, tag
inline constexpr std::size_t kErrorReplySize = kHeaderSize + 4;

/// What identifies a file: unique for as long as it exists.
struct Qid {
    u8 type = 0;
    u32 version = 0;
    u64 path = 0;
};
inline constexpr std::size_t kQidSize = 13;

/// Takes a message apart. Past its end everything reads as 0 or empty, and broken() tells.
class MessageReader {
  public:
    explicit MessageReader(std::span<const u8> bytes) : left_(bytes) {}

    template <std::unsigned_integral T>
    T get() {
        T value = 0;
        const std::span<const u8> bytes = data(sizeof(T));
        if (bytes.size() == sizeof(T)) {
            std::memcpy(&value, bytes.data(), sizeof(T));
        }
        return value;
    }
    std::string_view text() {
        const std::span<const u8> bytes = data(get<u16>());
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    std::span<const u8> data(std::size_t size) {
        if (size > left_.size()) {
            broken_ = true;
            left_ = {};
            return {};
        }
        const std::span<const u8> taken = left_.first(size);
        left_ = left_.subspan(size);
        return taken;
    }
    bool broken() const { return broken_; }

  private:
    std::span<const u8> left_;
    bool broken_ = false;
};

/// Builds an answer of at most `room` bytes; what does not fit is left out, and overflowed() tells.
class MessageWriter {
  public:
    MessageWriter(std::vector<u8>& bytes, std::size_t room) : bytes_(bytes), room_(room) { bytes_.clear(); }

    template <std::unsigned_integral T>
    void put(T value) {
        append(&value, sizeof(T));
    }
    void text(std::string_view value) {
        put(static_cast<u16>(value.size()));
        append(value.data(), value.size());
    }
    void qid(const Qid& qid) {
        put(qid.type);
        put(qid.version);
        put(qid.path);
    }
    /// Bytes for someone else to fill in; empty where they do not fit. Valid until the next call.
    std::span<u8> reserve(std::size_t size) {
        if (size > left()) {
            overflowed_ = true;
            return {};
        }
        bytes_.resize(bytes_.size() + size);
        return std::span(bytes_).last(size);
    }
    /// Takes back the last `size` bytes.
    void drop(std::size_t size) { bytes_.resize(bytes_.size() - size); }
    template <std::unsigned_integral T>
    void patch(std::size_t at, T value) {
        std::memcpy(bytes_.data() + at, &value, sizeof(T));
    }

    std::size_t size() const { return bytes_.size(); }
    std::size_t left() const { return room_ - bytes_.size(); }
    bool overflowed() const { return overflowed_; }

  private:
    void append(const void* from, std::size_t size) {
        const std::span<u8> to = reserve(size);
        if (!to.empty()) {
            std::memcpy(to.data(), from, size);
        }
    }

    std::vector<u8>& bytes_;
    const std::size_t room_;
    bool overflowed_ = false;
};

}  // namespace vmm::devices::p9
