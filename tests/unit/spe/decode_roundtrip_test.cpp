// Encoder against scripts/spe_decode.py, which knows nothing of it: what went in comes out.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "spe/event_model.h"
#include "spe/record_encoder.h"

namespace vmm::spe::test {

namespace {

nlohmann::json decode(const std::vector<Record>& records, int& status) {
    char path[] = "/tmp/spe_roundtripXXXXXX";
    const int fd = ::mkstemp(path);
    REQUIRE(fd >= 0);
    const std::size_t size = records.size() * sizeof(Record);
    REQUIRE(::write(fd, records.data(), size) == static_cast<ssize_t>(size));
    ::close(fd);
    const std::string command = std::string("python3 " VMM_SOURCE_DIR "/scripts/spe_decode.py --json ") + path;
    FILE* pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string text;
    char chunk[65536];
    for (std::size_t n = 0; (n = std::fread(chunk, 1, sizeof chunk, pipe)) != 0;) {
        text.append(chunk, n);
    }
    status = ::pclose(pipe);
    ::unlink(path);
    return nlohmann::json::parse(text);
}

/// A trace of any operation with any facts.
arch::OpTrace random_trace(Rng& rng) {
    arch::OpTrace trace;
    const u64 flags = rng.next();
    trace.pc = rng.next() & ~u64{3};
    trace.op_class = static_cast<arch::OpClass>(rng.below(static_cast<u64>(arch::OpClass::dc_zva) + 1));
    trace.insn = static_cast<u32>(rng.next());
    trace.el = flags & 1;
    trace.conditional = flags & 2;
    trace.cond_failed = flags & 4;
    trace.taken = flags & 8;
    trace.target = rng.next();
    trace.target_el = flags >> 4 & 1;
    trace.has_va = flags & 32;
    trace.pa_valid = trace.has_va && (flags & 64);
    trace.is_ordered = flags & 128;
    trace.is_exclusive = flags & 256;
    trace.returns_value = flags & 512;
    trace.tlb_walk = flags & 1024;
    trace.misaligned = flags & 2048;
    trace.exception = (flags & 0xF000) == 0;
    trace.size = 8;
    trace.va = rng.next();
    trace.pa = rng.next() & ones(48);
    return trace;
}

void check_code_address(const nlohmann::json& decoded, CodeAddress code) {
    REQUIRE(decoded.at("address") == (code.address & ones(56)));
    REQUIRE(decoded.at("el") == code.el);
    REQUIRE(decoded.at("ns") == 1);
    REQUIRE(decoded.at("nse") == 0);
}

void check_operation(const nlohmann::json& decoded, const OpType& type) {
    REQUIRE(decoded.at("payload") == type.payload);
    switch (type.packet) {
        case OpPacketClass::other: REQUIRE(decoded.at("class") == "other"); break;
        case OpPacketClass::branch: REQUIRE(decoded.at("class") == "branch"); break;
        case OpPacketClass::load_store:
            REQUIRE(decoded.at("class") == "load_store");
            REQUIRE(decoded.at("store") == !type.is_load());
            break;
    }
}

void check_record(const nlohmann::json& decoded, const Sample& sample, const RecordFormat& format) {
    const auto saturated = [&](u32 cycles) { return std::min<u64>(cycles, ones(format.counter_bits)); };
    REQUIRE(decoded.at("latency").at("total") == saturated(sample.total_latency));
    REQUIRE(decoded.at("latency").at("issue") == saturated(sample.issue_latency));
    REQUIRE(decoded.at("latency").contains("translation") == sample.translation_latency.has_value());
    check_code_address(decoded.at("pc"), sample.pc);
    REQUIRE(decoded.contains("target") == sample.target.has_value());
    if (sample.target) {
        check_code_address(decoded.at("target"), *sample.target);
    }
    REQUIRE(decoded.contains("va") == sample.va.has_value());
    if (sample.va) {
        REQUIRE(decoded.at("va").at("raw") == *sample.va);
    }
    REQUIRE(decoded.contains("pa") == sample.pa.has_value());
    if (sample.pa) {
        REQUIRE(decoded.at("pa").at("address") == *sample.pa);
        REQUIRE(decoded.at("pa").at("ns") == 1);
    }
    REQUIRE(decoded.contains("data_source") == sample.data_source.has_value());
    if (sample.data_source) {
        REQUIRE(decoded.at("data_source") == *sample.data_source);
    }
    check_operation(decoded.at("operation"), sample.type);
    REQUIRE(decoded.at("events") == sample.events);
    REQUIRE(decoded.contains("context_el1") == sample.context_el1.has_value());
    if (sample.context_el1) {
        REQUIRE(decoded.at("context_el1") == *sample.context_el1);
    }
    REQUIRE(decoded.contains("timestamp") == sample.timestamp.has_value());
    REQUIRE(decoded.contains("end") != sample.timestamp.has_value());
    if (sample.timestamp) {
        REQUIRE(decoded.at("timestamp") == *sample.timestamp);
    }
}

}  // namespace

TEST_CASE("record: the independent decoder reads back every sample", "[spe][roundtrip]") {
    const auto pmsver = static_cast<u8>(GENERATE(1, 2, 3, 4, 5));
    const RecordFormat format{.counter_bits = pmsver == 2 ? 16u : 12u,
                              .event_bytes = pmsver == 5 ? 4u : 2u,
                              .data_source_bytes = pmsver == 4 ? 2u : 1u};
    BasicModel model(pmsver, 17);
    Rng rng(23);
    std::vector<Sample> samples;
    std::vector<Record> records;
    for (int i = 0; i < 2000; ++i) {
        Sample sample = model.evaluate(random_trace(rng));
        if (rng.below(2) != 0) {
            sample.context_el1 = static_cast<u32>(rng.next());
        }
        if (rng.below(2) != 0) {
            sample.timestamp = rng.next();
        }
        if (rng.below(50) == 0) {
            sample.total_latency = static_cast<u32>(rng.below(200'000)) + sample.issue_latency;
        }
        records.push_back(encode(sample, format));
        samples.push_back(sample);
    }
    int status = -1;
    const nlohmann::json decoded = decode(records, status);
    CHECK(status == 0);
    CHECK(decoded.at("summary").at("undecodable_bytes") == 0);
    REQUIRE(decoded.at("records").size() == samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        CAPTURE(i);
        REQUIRE(decoded.at("records")[i].at("offset") == i * sizeof(Record));
        check_record(decoded.at("records")[i], samples[i], format);
    }
}

}  // namespace vmm::spe::test
