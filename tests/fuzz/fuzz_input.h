// Takes the bytes of a fuzzer apart, so that most inputs mean something. Past the end everything reads as zero.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "vmm/base/types.h"

namespace vmm::fuzz {

class FuzzInput {
  public:
    explicit FuzzInput(std::span<const u8> bytes) : left_(bytes) {}

    bool empty() const { return left_.empty(); }

    template <std::unsigned_integral T>
    T get() {
        T value = 0;
        const std::span<const u8> bytes = take(sizeof(T));
        std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }
    bool flag() { return (get<u8>() & 1) != 0; }
    /// 0 to `bound` - 1; 0 < `bound` <= 65536.
    unsigned below(unsigned bound) { return bound <= 256 ? get<u8>() % bound : get<u16>() % bound; }
    template <class T, std::size_t N>
    const T& pick(const std::array<T, N>& values) {
        return values[below(N)];
    }

    /// Up to `size` bytes.
    std::span<const u8> take(std::size_t size) {
        const std::span<const u8> taken = left_.first(std::min(size, left_.size()));
        left_ = left_.subspan(taken.size());
        return taken;
    }
    /// As many bytes as a length in front of them says, at most `most`.
    std::span<const u8> chunk(std::size_t most = 65535) {
        const std::size_t size = most < 256 ? get<u8>() : get<u16>();
        return take(std::min(size, most));
    }
    std::string text(std::size_t most) {
        const std::span<const u8> bytes = chunk(most);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    std::span<const u8> rest() { return take(left_.size()); }

  private:
    std::span<const u8> left_;
};

inline std::string_view text_of(std::span<const u8> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// 64 bits that depend on all of `value`.
constexpr u64 scramble(u64 value) {
    value = (value + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
    return value ^ (value >> 31);
}

}  // namespace vmm::fuzz
