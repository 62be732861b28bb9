// Files that a run seldom writes, read back by perf.
#include "vmm/perf_data_writer.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <catch2/catch.hpp>

#include "vmm/host_trace.h"

using namespace vmm;

namespace {

constexpr u64 kCounterHz = 25'000'000;

/// What perf prints; it must be content.
std::string perf(const std::string& arguments) {
    std::FILE* pipe = ::popen((VMM_PERF " " + arguments + " 2>&1").c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string out;
    std::array<char, 4096> part;
    for (std::size_t got; (got = std::fread(part.data(), 1, part.size(), pipe)) != 0;) {
        out.append(part.data(), got);
    }
    INFO(out);
    REQUIRE(::pclose(pipe) == 0);
    return out;
}

struct TemporaryFile {
    TemporaryFile() { std::filesystem::remove(path); }
    ~TemporaryFile() { std::filesystem::remove(path); }
    const std::string path =
        (std::filesystem::temp_directory_path() / fmt::format("vmm-perf-data-{}", ::getpid())).string();
};

/// PC 0x80000000 at EL0, type other, at `count`; 64 bytes.
std::vector<u8> record(u64 count) {
    std::vector<u8> bytes{0xB0, 0, 0, 0, 0x80, 0, 0, 0, 0x80, 0x48, 0, 0x71};
    for (unsigned i = 0; i < 8; ++i) {
        bytes.push_back(static_cast<u8>(count >> (8 * i)));
    }
    bytes.resize(64);
    return bytes;
}

PerfDataWriter writer_for(const TemporaryFile& file) {
    auto writer = PerfDataWriter::create(
        file.path, {.host_name = "h", .os_release = "r", .cpus = 2, .counter_hz = kCounterHz, .period = 256});
    REQUIRE(writer);
    return *std::move(writer);
}

}  // namespace

TEST_CASE("lost samples and truncated AUX data are told to perf") {
    const TemporaryFile file;
    PerfDataWriter writer = writer_for(file);
    writer.add_records(0, record(1000), 1000, 0);
    writer.add_records(1, record(2000), 2000, 12345);
    writer.add_records(1, record(3000), 3000, 0);
    REQUIRE(writer.finish());
    const std::string dump = perf("report -D -i " + file.path);
    REQUIRE(dump.find("PERF_RECORD_LOST_SAMPLES") != std::string::npos);
    REQUIRE(dump.find("offset: 0 size: 0x40 flags: 0x1") != std::string::npos);
    REQUIRE(dump.find("offset: 0x40 size: 0x40 flags: 0 []") != std::string::npos);
    const std::string report = perf("report --stdio --itrace=i1i -i " + file.path);
    REQUIRE(report.find("AUX data lost 1 times out of 3") != std::string::npos);
    REQUIRE(report.find("Total Lost Samples: 12345") != std::string::npos);
}

TEST_CASE("timestamps become time by the counter's frequency") {
    const TemporaryFile file;
    PerfDataWriter writer = writer_for(file);
    writer.add_command(0, "guest");
    writer.add_records(0, record(25'000'000'000), 25'000'000'000, 0);
    REQUIRE(writer.finish());
    const std::string out = perf("script --itrace=i1i -F time,comm,ip -i " + file.path);
    REQUIRE(out.find("1000.000000:") != std::string::npos);
    REQUIRE(out.find("80000000") != std::string::npos);
}

TEST_CASE("a file that was never finished can be read") {
    const TemporaryFile file;
    {
        PerfDataWriter writer = writer_for(file);
        writer.add_records(1, record(1000), 1000, 0);
        REQUIRE(writer.commit());
        writer.add_records(1, record(2000), 2000, 0);  // not committed
    }
    const std::string out = perf("report -D -i " + file.path);
    REQUIRE(out.find("PC 0x80000000") != std::string::npos);
    REQUIRE(out.find("TS 1000") != std::string::npos);
    REQUIRE(out.find("TS 2000") == std::string::npos);
}

TEST_CASE("the last build ID of an image counts, and a cut one does not") {
    std::vector<u8> image(100, 0xAA);
    REQUIRE(find_build_id(image).empty());
    const std::vector<u8> note{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0};
    for (const u8 fill : {u8{1}, u8{2}}) {
        image.insert(image.end(), note.begin(), note.end());
        image.insert(image.end(), 20, fill);
    }
    REQUIRE(find_build_id(image) == std::vector<u8>(20, 2));
    image.pop_back();
    REQUIRE(find_build_id(image).empty());
}
