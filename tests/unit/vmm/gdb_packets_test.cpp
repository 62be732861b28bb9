#include "vmm/gdb/packets.h"

#include <catch2/catch.hpp>

#include "vmm/base/rng.h"

using namespace vmm;
using namespace vmm::gdb;

namespace {

std::vector<Incoming> parse(PacketParser& parser, std::string_view text) {
    std::vector<Incoming> out;
    parser.feed(std::span(reinterpret_cast<const u8*>(text.data()), text.size()), out);
    return out;
}

std::vector<Incoming> parse(std::string_view text) {
    PacketParser parser;
    return parse(parser, text);
}

Incoming packet(std::string content) {
    return {Incoming::Kind::packet, std::move(content)};
}

const Incoming kAck{Incoming::Kind::ack, {}};
const Incoming kNack{Incoming::Kind::nack, {}};
const Incoming kInterrupt{Incoming::Kind::interrupt, {}};
const Incoming kDamaged{Incoming::Kind::damaged, {}};

}  // namespace

TEST_CASE("packets as GDB sends them") {
    // From GDB's manual and a capture of gdb 13.
    CHECK(parse("$?#3f") == std::vector{packet("?")});
    CHECK(parse("+$Hg0#df") == std::vector{kAck, packet("Hg0")});
    CHECK(parse("$vMustReplyEmpty#3a") == std::vector{packet("vMustReplyEmpty")});
    CHECK(parse("\x03") == std::vector{kInterrupt});
    CHECK(parse("$#00") == std::vector{packet("")});
}

TEST_CASE("packets in pieces, in a row, and with noise between") {
    PacketParser parser;
    for (const char* piece : {"$", "H", "g", "0#", "d"}) {
        CHECK(parse(parser, piece).empty());
    }
    CHECK(parse(parser, "f$?#3F") == std::vector{packet("Hg0"), packet("?")});
    CHECK(parse(parser, "noise\n$?#3f-") == std::vector{packet("?"), kNack});
    CHECK(parse(parser, "$cut off$?#3f") == std::vector{packet("?")});
}

TEST_CASE("damaged packets are told, and do not disturb the next one") {
    CHECK(parse("$?#40$?#3f") == std::vector{kDamaged, packet("?")});
    CHECK(parse("$?#zz$?#3f") == std::vector{kDamaged, packet("?")});
    CHECK(parse("$?##f$?#3f") == std::vector{kDamaged, packet("?")});
    const std::string most(kMaxPacket, 'a');
    CHECK(parse(frame(most)) == std::vector{packet(most)});
    CHECK(parse(frame(most + "a") + "$?#3f") == std::vector{kDamaged, packet("?")});
}

TEST_CASE("escapes") {
    CHECK(parse("$}\x03#80") == std::vector{packet("#")});  // 0x7d + 0x03 = 0x80
    std::string all;
    for (int c = 0; c < 256; ++c) {
        all += static_cast<char>(c);
    }
    CHECK(parse(frame(all)) == std::vector{packet(all)});
    CHECK(frame("OK") == "$OK#9a");
}

TEST_CASE("random bytes neither crash the parser nor stop it") {
    Rng rng(7);
    for (int round = 0; round < 300; ++round) {
        PacketParser parser;
        std::vector<Incoming> out;
        std::vector<u8> bytes(rng.below(400));
        for (u8& byte : bytes) {
            byte = rng.below(3) == 0 ? static_cast<u8>("$#}+-\x03"[rng.below(6)]) : static_cast<u8>(rng.next());
        }
        parser.feed(bytes, out);
        CHECK(out.size() <= bytes.size());
        // Ends whatever is open; at the latest the second packet arrives.
        const std::vector<Incoming> after = parse(parser, "..$?#3f$?#3f");
        REQUIRE_FALSE(after.empty());
        CHECK(after.back() == packet("?"));
    }
}

TEST_CASE("hexadecimal") {
    CHECK(to_hex(std::string_view("\x01\xab")) == "01ab");
    CHECK(from_hex("01aB") == std::vector<u8>{0x01, 0xab});
    CHECK_FALSE(from_hex("0"));
    CHECK_FALSE(from_hex("0g"));
    std::string_view text = "ffffffffffffffff,1";
    CHECK(take_hex(text) == ~u64{0});
    CHECK(take(text, ","));
    CHECK(text == "1");
    text = "11111111111111111";
    CHECK_FALSE(take_hex(text));
    text = "";
    CHECK_FALSE(take_hex(text));
}
