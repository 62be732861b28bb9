// A 9P client that says what it is told to, for tests.
#pragma once

#include <filesystem>
#include <string>

#include <catch2/catch.hpp>

#include "devices/p9/server.h"
#include "tests/support/temporary_folder.h"

namespace vmm::test {

/// Builds a request.
class P9Request {
  public:
    explicit P9Request(devices::p9::Request type, u16 tag = 1) : type_(static_cast<u8>(type)) {
        put(u32{0}).put(type_).put(tag);
    }
    template <std::unsigned_integral T>
    P9Request& put(T value) {
        const auto* from = reinterpret_cast<const u8*>(&value);
        bytes_.insert(bytes_.end(), from, from + sizeof(T));
        return *this;
    }
    P9Request& text(std::string_view value) {
        put(static_cast<u16>(value.size()));
        bytes_.insert(bytes_.end(), value.begin(), value.end());
        return *this;
    }
    std::vector<u8> bytes() const {
        std::vector<u8> message = bytes_;
        const auto size = static_cast<u32>(message.size());
        std::memcpy(message.data(), &size, sizeof(size));
        return message;
    }
    u8 type() const { return type_; }

  private:
    u8 type_;
    std::vector<u8> bytes_;
};

/// A server on a folder, and what it answered last.
class P9Client {
  public:
    using Type = devices::p9::Request;

    explicit P9Client(const std::filesystem::path& path, bool read_only = false, bool greet = true)
        : server(open(path, read_only)) {
        if (greet) {
            REQUIRE(ask(P9Request(Type::version).put(u32{65536}).text("9P2000.L")) == 0);
            REQUIRE(ask(P9Request(Type::attach).put(u32{0}).put(~u32{0}).text("").text("").put(::getuid())) ==
                    0);
        }
    }

    /// 0, or the errno that was answered; -1 where the answer is none.
    int ask(const P9Request& request, std::size_t room = 65536) {
        const auto bytes = request.bytes();
        const auto given = server.answer(bytes, room);
        answer.assign(given.begin(), given.end());
        if (answer.size() < 7) {
            return -1;
        }
        u32 size = 0;
        std::memcpy(&size, answer.data(), 4);
        REQUIRE(size == answer.size());
        REQUIRE(size <= room);
        if (answer[4] == 7) {
            REQUIRE(size == 11);
            return static_cast<int>(body<u32>(0));
        }
        REQUIRE(answer[4] == request.type() + 1);
        return 0;
    }
    /// Part of the last answer, by its offset behind the header.
    template <class T>
    T body(std::size_t at) const {
        T value{};
        REQUIRE(7 + at + sizeof(T) <= answer.size());
        std::memcpy(&value, answer.data() + 7 + at, sizeof(T));
        return value;
    }

    int walk(u32 from, u32 to, const std::vector<std::string>& names) {
        P9Request request(Type::walk);
        request.put(from).put(to).put(static_cast<u16>(names.size()));
        for (const std::string& name : names) {
            request.text(name);
        }
        const int error = ask(request);
        return error != 0 ? error : body<u16>(0) == names.size() ? 0 : -2;  // -2: part of the way
    }
    int lopen(u32 fid, u32 flags) { return ask(P9Request(Type::lopen).put(fid).put(flags)); }
    int clunk(u32 fid) { return ask(P9Request(Type::clunk).put(fid)); }
    int read(u32 fid, u64 offset, u32 count) {
        return ask(P9Request(Type::read).put(fid).put(offset).put(count));
    }
    int write(u32 fid, u64 offset, std::string_view data) {
        P9Request request(Type::write);
        request.put(fid).put(offset).put(static_cast<u32>(data.size()));
        for (const char c : data) {
            request.put(static_cast<u8>(c));
        }
        return ask(request);
    }
    int lcreate(u32 fid, std::string_view name, u32 flags, u32 mode) {
        return ask(P9Request(Type::lcreate).put(fid).text(name).put(flags).put(mode).put(::getgid()));
    }
    std::string data() const { return {answer.begin() + 11, answer.end()}; }

    devices::p9::Server server;
    std::vector<u8> answer;

  private:
    static std::unique_ptr<devices::p9::HostFolder> open(const std::filesystem::path& path, bool read_only) {
        auto folder = devices::p9::HostFolder::open(path, read_only);
        if (!folder) {
            FAIL(folder.error().text);
        }
        return *std::move(folder);
    }
};

}  // namespace vmm::test
