#include "vmm/gdb/packets.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace vmm::gdb {

namespace {

constexpr u8 kInterrupt = 0x03;
constexpr u8 kEscape = '}';
constexpr u8 kEscapeFlip = 0x20;

std::optional<unsigned> digit(u8 c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return std::nullopt;
}

}  // namespace

void PacketParser::feed(std::span<const u8> bytes, std::vector<Incoming>& out) {
    for (const u8 byte : bytes) {
        switch (state_) {
            case State::idle: between(byte, out); break;
            case State::content:
                if (byte == '#') {
                    state_ = State::checksum_high;
                } else if (byte == '$') {
                    begin();
                } else {
                    sum_ = static_cast<u8>(sum_ + byte);
                    if (byte == kEscape) {
                        state_ = State::escaped;
                    } else {
                        add(byte);
                    }
                }
                break;
            case State::escaped:
                sum_ = static_cast<u8>(sum_ + byte);
                add(byte ^ kEscapeFlip);
                state_ = State::content;
                break;
            case State::checksum_high:
                high_ = digit(byte);
                state_ = State::checksum_low;
                break;
            case State::checksum_low: finish(byte, out); break;
        }
    }
}

void PacketParser::begin() {
    state_ = State::content;
    content_.clear();
    sum_ = 0;
    too_long_ = false;
}

void PacketParser::add(u8 byte) {
    too_long_ = too_long_ || content_.size() >= kMaxPacket;
    if (!too_long_) {
        content_ += static_cast<char>(byte);
    }
}

void PacketParser::between(u8 byte, std::vector<Incoming>& out) {
    switch (byte) {
        case '$': begin(); break;
        case '+': out.push_back({Incoming::Kind::ack, {}}); break;
        case '-': out.push_back({Incoming::Kind::nack, {}}); break;
        case kInterrupt: out.push_back({Incoming::Kind::interrupt, {}}); break;
        default: break;
    }
}

void PacketParser::finish(u8 low, std::vector<Incoming>& out) {
    state_ = State::idle;
    const std::optional<unsigned> low_digit = digit(low);
    const bool good = high_ && low_digit && (*high_ << 4 | *low_digit) == sum_ && !too_long_;
    out.push_back(good ? Incoming{Incoming::Kind::packet, std::exchange(content_, {})}
                       : Incoming{Incoming::Kind::damaged, {}});
}

std::string frame(std::string_view content) {
    std::string out = "$";
    u8 sum = 0;
    const auto put = [&](char c) {
        out += c;
        sum = static_cast<u8>(sum + static_cast<u8>(c));
    };
    for (const char c : content) {
        if (c == '#' || c == '$' || c == '}' || c == '*') {
            put(static_cast<char>(kEscape));
            put(static_cast<char>(c ^ kEscapeFlip));
        } else {
            put(c);
        }
    }
    return out + fmt::format("#{:02x}", sum);
}

std::string to_hex(std::span<const u8> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const u8 byte : bytes) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::string to_hex(std::string_view text) {
    return to_hex(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

std::optional<std::vector<u8>> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) {
        return std::nullopt;
    }
    std::vector<u8> out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const auto high = digit(static_cast<u8>(text[i]));
        const auto low = digit(static_cast<u8>(text[i + 1]));
        if (!high || !low) {
            return std::nullopt;
        }
        out.push_back(static_cast<u8>(*high << 4 | *low));
    }
    return out;
}

std::optional<u64> take_hex(std::string_view& text) {
    constexpr std::size_t kMaxDigits = 16;
    u64 value = 0;
    std::size_t count = 0;
    while (count < text.size()) {
        const auto d = digit(static_cast<u8>(text[count]));
        if (!d) {
            break;
        }
        value = value << 4 | *d;
        ++count;
    }
    if (count == 0 || count > kMaxDigits) {
        return std::nullopt;
    }
    text.remove_prefix(count);
    return value;
}

bool take(std::string_view& text, std::string_view token) {
    if (!text.starts_with(token)) {
        return false;
    }
    text.remove_prefix(token.size());
    return true;
}

}  // namespace vmm::gdb
