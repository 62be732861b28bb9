// Records to the byte, against worked examples that perf 6.1 and 7.3 decode as intended.
#include <initializer_list>
#include <sstream>
#include <string>

#include <catch2/catch.hpp>

#include "spe/record_encoder.h"

namespace vmm::spe::test {

namespace {

/// A record from hexadecimal bytes, padded with zeros.
Record record(const std::string& text) {
    Record bytes{};
    std::istringstream in(text);
    std::string byte;
    std::size_t at = 0;
    while (in >> byte) {
        bytes.at(at++) = static_cast<u8>(std::stoul(byte, nullptr, 16));
    }
    return bytes;
}

Sample user_load() {
    Sample sample;
    sample.pc = {0xaaaac0001234, 0};
    sample.type = {OpPacketClass::load_store, 0x00, kTypeLoad};
    sample.va = 0x0000ffff8a3b4c58;
    sample.pa = 0x812345c58;
    sample.context_el1 = 1234;
    sample.timestamp = 0x123456789a;
    return sample;
}

}  // namespace

TEST_CASE("record encoder: a load that misses everywhere, all packets on", "[spe][record_encoder]") {
    Sample sample = user_load();
    sample.total_latency = 187;
    sample.issue_latency = 9;
    sample.translation_latency = 35;
    sample.data_source = 0xE;
    sample.events = 0x33E;
    CHECK(encode(sample, {}) == record("64 d2 04 00 00 98 bb 00 99 09 00 9a 23 00 b0 34 12 00 c0 aa aa 00 80 "
                                       "b2 58 4c 3b 8a ff ff 00 00 b3 58 5c 34 12 08 00 00 80 43 0e 49 00 52 3e 03 "
                                       "71 9a 78 56 34 12 00 00 00"));
}

TEST_CASE("record encoder: a taken, mispredicted branch of the kernel", "[spe][record_encoder]") {
    Sample sample;
    sample.context_el1 = 0x4D;
    sample.total_latency = 12;
    sample.issue_latency = 7;
    sample.pc = {0xffff800008123450, 1};
    sample.target = CodeAddress{0xffff800008123400, 1};
    sample.type = {OpPacketClass::branch, 0x01, kTypeBranch};
    sample.events = 0x82;
    sample.timestamp = 0x12345678F0;
    CHECK(encode(sample, {}) == record("64 4d 00 00 00 98 0c 00 99 07 00 b0 50 34 12 08 00 80 ff a0 "
                                       "b1 00 34 12 08 00 80 ff a0 4a 01 52 82 00 71 f0 78 56 34 12 00 00 00"));
}

TEST_CASE("record encoder: a data processing operation without context and timestamp", "[spe][record_encoder]") {
    Sample sample;
    sample.total_latency = 3;
    sample.issue_latency = 1;
    sample.pc = {0xaaaac0001238, 0};
    sample.events = 0x02;
    CHECK(encode(sample, {}) == record("98 03 00 99 01 00 b0 38 12 00 c0 aa aa 00 80 48 00 52 02 00 01"));
}

TEST_CASE("record encoder: 32-bit events and a 16-bit data source", "[spe][record_encoder]") {
    Sample sample = user_load();
    sample.total_latency = 20;
    sample.issue_latency = 4;
    sample.translation_latency = 1;
    sample.data_source = 8;
    sample.events = 0x0008001E;
    CHECK(encode(sample, {.event_bytes = 4, .data_source_bytes = 2}) ==
          record("64 d2 04 00 00 98 14 00 99 04 00 9a 01 00 b0 34 12 00 c0 aa aa 00 80 b2 58 4c 3b 8a ff ff 00 00 "
                 "b3 58 5c 34 12 08 00 00 80 53 08 00 49 00 62 1e 00 08 00 71 9a 78 56 34 12 00 00 00"));
}

TEST_CASE("record encoder: latencies saturate at the counter width", "[spe][record_encoder]") {
    Sample sample;
    sample.total_latency = 70000;
    sample.issue_latency = 0x1000;
    const Record narrow = encode(sample, {.counter_bits = 12});
    CHECK(narrow[1] == 0xFF);
    CHECK(narrow[2] == 0x0F);
    CHECK(narrow[4] == 0xFF);
    CHECK(narrow[5] == 0x0F);
    const Record wide = encode(sample, {.counter_bits = 16});
    CHECK(wide[1] == 0xFF);
    CHECK(wide[2] == 0xFF);
    CHECK(wide[4] == 0x00);
    CHECK(wide[5] == 0x10);
}

TEST_CASE("record encoder: address payloads carry security state and Exception level", "[spe][record_encoder]") {
    CHECK(code_address_payload({0xffff800008123450, 1}) == 0xa0ff800008123450);
    CHECK(code_address_payload({0x0000aaaac0001234, 0}) == 0x8000aaaac0001234);
    CHECK(code_address_payload({0xffff800008123450, 2}) == 0xc0ff800008123450);
    CHECK(physical_address_payload(0x812345c58) == 0x8000000812345c58);
}

}  // namespace vmm::spe::test
