// GDB's remote serial protocol, framing only: bytes to packets and back. Knows no commands.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::gdb {

/// Bytes of a packet's content that are accepted; longer ones are refused.
inline constexpr std::size_t kMaxPacket = 16384;

/// Something a client sent.
struct Incoming {
    enum class Kind : u8 {
        packet,     // `content`, unescaped
        damaged,    // wrong checksum, or longer than kMaxPacket
        ack,        // '+'
        nack,       // '-'
        interrupt,  // 0x03 between packets
    };
    Kind kind = Kind::packet;
    std::string content;

    friend bool operator==(const Incoming&, const Incoming&) = default;
};

/// Takes bytes in any portions. Whatever they are, it goes on: noise between packets is skipped, and a '$' inside a packet
/// begins another one.
class PacketParser {
  public:
    /// Appends what the bytes completed to `out`.
    void feed(std::span<const u8> bytes, std::vector<Incoming>& out);

  private:
    enum class State : u8 { idle, content, escaped, checksum_high, checksum_low };

    void begin();
    void add(u8 byte);
    void between(u8 byte, std::vector<Incoming>& out);
    void finish(u8 low, std::vector<Incoming>& out);

    State state_ = State::idle;
    std::string content_;
    u8 sum_ = 0;
    std::optional<unsigned> high_;  // first digit of the checksum; nullopt: none
    bool too_long_ = false;
};

/// "$content#xx", with what must be escaped escaped.
std::string frame(std::string_view content);

/// Lower-case hexadecimal, first byte first.
std::string to_hex(std::span<const u8> bytes);
std::string to_hex(std::string_view text);
/// nullopt unless `text` is an even number of hexadecimal digits.
std::optional<std::vector<u8>> from_hex(std::string_view text);

/// Takes a hexadecimal number of 1 to 16 digits off the front of `text`; nullopt, and nothing taken, where there is none.
std::optional<u64> take_hex(std::string_view& text);
/// Takes `token` off the front of `text`; false, and nothing taken, where it is not there.
bool take(std::string_view& text, std::string_view token);

}  // namespace vmm::gdb
