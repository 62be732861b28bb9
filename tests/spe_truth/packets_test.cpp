// operations.S and packets.txt: each row is executed as the sampled operation, and its record read by two
// decoders that this project's encoder has nothing to do with: scripts/spe_decode.py, written from the
// manual, and the host's perf.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/spe_truth/bare_guest.h"

namespace vmm::spe::test {

namespace {

/// A row as the assembler lays it out.
struct Row {
    u8 header;
    u8 v1p0, later, crr, fpf;
    u8 at_el0;
    char parts[8];
    char events[8];
    char text[42];
};
static_assert(sizeof(Row) == 64);

std::vector<char> contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Operations {
    Operations() {
        const std::vector<char> code = contents(VMM_OPERATIONS_CODE);
        const std::vector<char> table = contents(VMM_OPERATIONS_ROWS);
        words.resize(code.size() / 4);
        std::memcpy(words.data(), code.data(), code.size());
        rows.resize(table.size() / sizeof(Row));
        std::memcpy(rows.data(), table.data(), table.size());
        REQUIRE(words.size() >= rows.size());  // literals follow
    }
    std::vector<u32> words;
    std::vector<Row> rows;
};

/// A file that goes when the object does.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::span<const u8> bytes) {
        const int fd = ::mkstemp(path_);
        REQUIRE(fd >= 0);
        REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        ::close(fd);
    }
    ~TemporaryFile() { ::unlink(path_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    const char* path() const { return path_; }

  private:
    char path_[32] = "/tmp/spe_truthXXXXXX";
};

/// Output of a script of this project, which must succeed.
std::string output_of(const std::string& script, std::span<const u8> bytes) {
    const TemporaryFile file(bytes);
    const std::string command = "python3 " VMM_SOURCE_DIR "/" + script + " " + file.path();
    FILE* pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string text;
    char chunk[65536];
    for (std::size_t n = 0; (n = std::fread(chunk, 1, sizeof chunk, pipe)) != 0;) {
        text.append(chunk, n);
    }
    CAPTURE(command);
    REQUIRE(::pclose(pipe) == 0);
    return text;
}

constexpr u64 kLanding = kCode + 0x8000;
constexpr u64 kUnmapped = 0x40000000;
constexpr u32 kContext = 0x1234ABCD;

/// Executes row `index` as the sampled operation, from the same state each time.
void sample_row(BareGuest& guest, const Operations& operations, std::size_t index) {
    const Row& row = operations.rows[index];
    const u8 el = row.at_el0 != 0 ? 0 : 1;
    guest.v.switch_el(1, 1);
    guest.v.context_changed();
    REQUIRE(guest.write(kPmsicr, 1));
    for (unsigned n = 0; n < 31; ++n) {
        guest.v.s.x[n] = n;
    }
    guest.v.s.x[1] = 5;
    guest.v.s.x[2] = kData;
    guest.v.s.x[3] = 1;
    guest.v.s.x[4] = 0;
    guest.v.s.x[5] = guest.v.s.x[30] = kLanding;
    guest.v.s.x[6] = kUnmapped;
    guest.v.s.nzcv.z = true;
    guest.v.s.elr_el1 = kLanding;
    guest.v.s.spsr_el1 = 0x3C5;
    guest.v.monitor.armed = false;
    guest.v.switch_el(el, el);
    guest.v.context_changed();
    guest.v.s.pc = kCode + 4 * index;
    guest.run(1);
}

struct Configuration {
    u8 pmsver;
    const char* features;
    u8 Row::*payload;
    u64 pmscr;
};

constexpr std::array kConfigurations = std::to_array<Configuration>({
    {1, "", &Row::v1p0, 0x3B},
    {2, "", &Row::later, 0x3B},
    {3, "", &Row::later, 0x3B},
    {4, "count=16", &Row::later, 0x3B},
    {5, "crr=0", &Row::later, 0x3B},
    {5, "", &Row::crr, 0x3B},
    {5, "crr=0,eft=1", &Row::fpf, 0x3B},
    {3, "lds=0", &Row::later, 0x03},
});

std::vector<u8> sample_all(const Configuration& configuration, const Operations& operations) {
    BareGuest guest(configuration.pmsver, configuration.features);
    guest.map_memory();
    guest.load(kCode, operations.words);
    guest.v.s.contextidr_el1 = kContext;
    guest.start(0xFFFFFF00, configuration.pmscr);
    for (std::size_t i = 0; i < operations.rows.size(); ++i) {
        CAPTURE(operations.rows[i].text);
        sample_row(guest, operations, i);
        REQUIRE(guest.unit->stats().records == i + 1);
    }
    return guest.written();
}

bool has(const char* letters, char letter) {
    return std::strchr(letters, letter) != nullptr;
}

void check_parts(const nlohmann::json& record, const Row& row, const Configuration& configuration) {
    const bool pa = (configuration.pmscr & 0x10) != 0;
    const bool lds = std::string(configuration.features) != "lds=0";
    const auto check = [&](const char* packet, bool expected, const nlohmann::json& where) {
        CAPTURE(packet);
        CHECK((where.contains(packet) == expected || has(row.parts, '?')));
    };
    check("target", has(row.parts, 'T'), record);
    check("va", has(row.parts, 'V'), record);
    check("pa", has(row.parts, 'P') && pa, record);
    check("data_source", has(row.parts, 'S') && lds, record);
    check("translation", has(row.parts, 'X'), record.at("latency"));
    CHECK(record.at("latency").contains("total"));
    CHECK(record.at("latency").contains("issue"));
    CHECK(record.at("latency").size() == (record.at("latency").contains("translation") ? 3 : 2));
    CHECK(record.contains("context_el1") == ((configuration.pmscr & 8) != 0));
    CHECK(record.contains("timestamp") == ((configuration.pmscr & 0x20) != 0));
    CHECK(record.contains("end") != record.contains("timestamp"));
}

void check_values(const nlohmann::json& record, const Row& row, std::size_t index) {
    const nlohmann::json& pc = record.at("pc");
    CHECK(pc.at("address") == kCode + 4 * index);
    CHECK(pc.at("el") == (row.at_el0 != 0 ? 0 : 1));
    CHECK(pc.at("ns") == 1);
    if (record.contains("context_el1")) {
        CHECK(record.at("context_el1") == kContext);
    }
    if (has(row.parts, 'V')) {
        const u64 va = record.at("va").at("raw").get<u64>();
        const bool is_literal = va >= kCode && va < kLanding;
        const u64 base = has(row.events, 'E') ? kUnmapped : kData;
        CHECK((is_literal || (va >= base - 64 && va <= base + 64)));
        if (record.contains("pa")) {
            CHECK(record.at("pa").at("address") == va);
        }
    }
    CHECK(record.at("latency").at("total") >= record.at("latency").at("issue"));
    CHECK(record.at("latency").at("total") >= 1);
}

void check_events(const nlohmann::json& record, const Row& row, u8 pmsver) {
    const u64 events = record.at("events").get<u64>();
    const auto check = [&](unsigned event, bool expected) {
        CAPTURE(event);
        CHECK(((events >> event & 1) != 0) == expected);
    };
    check(0, has(row.events, 'E'));
    check(1, true);
    check(6, has(row.events, 'N'));
    check(11, has(row.events, 'M') && pmsver >= kSpeV1p1);
    if (const bool fails = has(row.events, 'F'); fails || !has(row.parts, '?')) {
        check(2, has(row.parts, 'V') && !has(row.events, 'E') && !fails);
        check(4, has(row.parts, 'V'));
    }
}

const std::map<unsigned, const char*> kClasses{{0x48, "other"}, {0x49, "load_store"}, {0x4A, "branch"}};

/// What perf calls operation packets: that of Debian 12 (6.1), and the newest we know (7.3) where it says
/// more.
const std::map<std::string, std::set<std::string>> kPerfNames{
    {"48 00", {"OTHER INSN-OTHER", "INSN-OTHER"}},
    {"48 01", {"OTHER COND-SELECT", "COND-SELECT", "OTHER COND-SELECT INSN-OTHER"}},
    {"48 02", {"OTHER INSN-OTHER", "OTHER FP INSN-OTHER"}},
    {"48 03", {"OTHER COND-SELECT", "OTHER FP COND-SELECT"}},
    {"48 04", {"OTHER INSN-OTHER", "OTHER ASE INSN-OTHER"}},
    {"48 06", {"OTHER INSN-OTHER", "OTHER ASE FP INSN-OTHER"}},
    {"49 00", {"LD GP-REG"}},
    {"49 01", {"ST GP-REG"}},
    {"49 04", {"LD SIMD-FP"}},
    {"49 05", {"ST SIMD-FP"}},
    {"49 06", {"LD AT"}},
    {"49 07", {"ST AT"}},
    {"49 0a", {"LD EXCL"}},
    {"49 0b", {"ST EXCL"}},
    {"49 11", {"ST UNSPEC-REG"}},
    {"49 12", {"LD AR"}},
    {"49 13", {"ST AR"}},
    {"49 16", {"LD AT AR"}},
    {"49 17", {"ST AT AR"}},
    {"49 1a", {"LD EXCL AR"}},
    {"49 1b", {"ST EXCL AR"}},
    {"4a 00", {"B"}},
    {"4a 01", {"B COND"}},
    {"4a 02", {"B IND"}},
    {"4a 08", {"B", "B CR-BL"}},
    {"4a 0a", {"B", "B IND CR-BL"}},
    {"4a 12", {"B", "B IND CR-RET"}},
    {"4a 18", {"B", "B CR-NON-BL-RET"}},
    {"4a 19", {"B COND", "B COND CR-NON-BL-RET"}},
    {"4a 1a", {"B", "B IND CR-NON-BL-RET"}},
};

/// perf's view of the same bytes: every packet known, operation types in the order of the rows.
void check_perf(std::span<const u8> bytes, const Operations& operations, const Configuration& configuration) {
    std::istringstream lines(output_of("tests/spe_truth/perf_dump.py", bytes));
    std::size_t types = 0;
    std::size_t ends = 0;
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(": ");
        const std::size_t gap = line.find("  ", colon + 2);
        REQUIRE(gap != std::string::npos);
        const std::string packet = line.substr(colon + 2, gap - colon - 2);
        const std::string name = line.substr(gap + 2);
        CAPTURE(packet, name);
        ends += packet == "01" || packet.starts_with("71 ") ? 1 : 0;
        if (packet.starts_with("48 ") || packet.starts_with("49 ") || packet.starts_with("4a ")) {
            REQUIRE(types < operations.rows.size());
            const Row& row = operations.rows[types++];
            char expected[8];
            std::snprintf(expected, sizeof expected, "%02x %02x", row.header, row.*configuration.payload);
            CAPTURE(row.text);
            CHECK(packet == expected);
            REQUIRE(kPerfNames.contains(packet));
            CHECK(kPerfNames.at(packet).contains(name));
        }
    }
    CHECK(types == operations.rows.size());
    CHECK(ends == operations.rows.size());
}

struct PacketLine {
    unsigned header;
    int payload;  // -1: depends on the byte that follows
    bool expected;
    std::string what;
};

std::vector<PacketLine> parse_packets() {
    std::ifstream file(VMM_SOURCE_DIR "/tests/spe_truth/packets.txt");
    REQUIRE(file);
    std::vector<PacketLine> lines;
    for (std::string text; std::getline(file, text);) {
        if (text.empty() || text.front() == '#') {
            continue;
        }
        std::istringstream words(text);
        PacketLine line{};
        std::string payload;
        std::string has_it;
        REQUIRE(words >> std::hex >> line.header >> payload >> has_it);
        REQUIRE((has_it == "yes" || has_it == "no"));
        line.payload = payload == "-" ? -1 : std::stoi(payload);
        line.expected = has_it == "yes";
        std::getline(words, line.what);
        lines.push_back(line);
    }
    return lines;
}

/// How often each header occurs, found by the framing rule alone: bits [5:4] say how long the payload is.
void count_headers(std::span<const u8> bytes, std::map<unsigned, u64>& counts) {
    for (std::size_t at = 0; at < bytes.size();) {
        const unsigned header = bytes[at];
        ++counts[header];
        REQUIRE((header < 0x20 ||
                 header >= 0x40));  // no extended header is expected; its length would be its successor's
        at += header < 0x20 ? 1 : 1 + (std::size_t{1} << (header >> 4 & 3));
        REQUIRE(at <= bytes.size());
    }
}

/// All events of the records in `bytes`, found as count_headers() does.
u64 union_of_events(std::span<const u8> bytes) {
    u64 all = 0;
    for (std::size_t at = 0; at < bytes.size();) {
        const unsigned header = bytes[at];
        const std::size_t payload = header < 0x20 ? 0 : std::size_t{1} << (header >> 4 & 3);
        for (std::size_t i = 0; (header & 0xCF) == 0x42 && i < payload; ++i) {
            all |= u64{bytes[at + 1 + i]} << (8 * i);
        }
        at += 1 + payload;
    }
    return all;
}

/// Records with a previous branch target, which only code that really branches has.
std::vector<u8> sample_branches() {
    BareGuest guest(5, "pbt=1");
    const u32 code[] = {0x14000001, 0xD503201F, 0x17FFFFFE};  // b .+4 ; nop ; b .-8
    guest.load(kCode, code);
    guest.start(256, 3);
    guest.v.s.pc = kCode;
    guest.run(257 * 30);
    return guest.written();
}

/// Records of loads that walk through memory.
std::vector<u8> sample_misses(u8 pmsver) {
    BareGuest guest(pmsver);
    guest.map_memory();
    const u32 code[] = {0xF8440440, 0x17FFFFFF};  // ldr x0, [x2], #64 ; b .-4
    guest.load(kCode, code);
    guest.v.s.x[2] = kData;
    guest.start(256, 3);
    guest.v.s.pc = kCode;
    guest.run(257 * 400);
    return guest.written();
}

}  // namespace

TEST_CASE("spe truth: the packets of every kind of operation, read by two decoders", "[spe][truth]") {
    const Operations operations;
    std::size_t rows = 0;
    for (const Configuration& configuration : kConfigurations) {
        CAPTURE(+configuration.pmsver, configuration.features);
        const std::vector<u8> bytes = sample_all(configuration, operations);
        REQUIRE(bytes.size() == operations.rows.size() * 64);
        const nlohmann::json decoded =
            nlohmann::json::parse(output_of("scripts/spe_decode.py --json", bytes));
        REQUIRE(decoded.at("summary").at("undecodable_bytes") == 0);
        const nlohmann::json& records = decoded.at("records");
        REQUIRE(records.size() == operations.rows.size());
        for (std::size_t i = 0; i < operations.rows.size(); ++i) {
            const Row& row = operations.rows[i];
            CAPTURE(row.text);
            const nlohmann::json& record = records[i];
            CHECK(record.at("offset") == i * 64);
            CHECK(record.at("operation").at("class") == kClasses.at(row.header));
            CHECK(record.at("operation").at("payload").get<unsigned>() == row.*configuration.payload);
            check_parts(record, row, configuration);
            check_values(record, row, i);
            check_events(record, row, configuration.pmsver);
            ++rows;
        }
        check_perf(bytes, operations, configuration);
    }
    std::cout << "rows: " << rows << " of an operation in a version, from " << operations.rows.size()
              << " instructions in " << kConfigurations.size()
              << " versions; decoded by spe_decode.py and perf\n";
    CHECK(operations.rows.size() >= 198);
    CHECK(rows >= 198 * 8);
}

TEST_CASE("spe truth: every packet that is implemented is produced, and no other", "[spe][truth]") {
    const Operations operations;
    std::map<unsigned, u64> counts;
    for (const Configuration& configuration : kConfigurations) {
        count_headers(sample_all(configuration, operations), counts);
    }
    const std::vector<u8> branches = sample_branches();
    count_headers(branches, counts);
    output_of("tests/spe_truth/perf_dump.py", branches);
    std::size_t produced = 0;
    const std::vector<PacketLine> lines = parse_packets();
    for (const PacketLine& line : lines) {
        CAPTURE(line.header, line.what);
        CHECK((counts[line.header] != 0) == line.expected);
        if (line.payload >= 0) {
            CHECK(line.payload == (line.header < 0x20 ? 0 : 1 << (line.header >> 4 & 3)));
        }
        counts.erase(line.header);
        produced += line.expected ? 1 : 0;
    }
    for (const auto& [header, count] : counts) {
        FAIL("header " << header << " is in no line of the table, but was produced " << count << " times");
    }
    std::cout << "rows: " << lines.size() << " of packets, " << produced << " of them produced\n";
    CHECK(lines.size() >= 31);
    CHECK(produced >= 18);
}

TEST_CASE("spe truth: every event that is implemented happens, in the versions that have it",
          "[spe][truth]") {
    const Operations operations;
    std::map<u8, u64> seen;
    for (const Configuration& configuration : kConfigurations) {
        seen[configuration.pmsver] |= union_of_events(sample_all(configuration, operations));
    }
    for (auto& [pmsver, events] : seen) {
        events |= union_of_events(sample_misses(pmsver));
    }
    std::ifstream file(VMM_SOURCE_DIR "/tests/spe_truth/events.txt");
    REQUIRE(file);
    std::size_t rows = 0;
    u64 listed = 0;
    for (std::string text; std::getline(file, text);) {
        if (text.empty() || text.front() == '#') {
            continue;
        }
        CAPTURE(text);
        std::istringstream words(text);
        unsigned bit_number = 0;
        std::string from;
        std::string happens;
        REQUIRE(words >> bit_number >> from >> happens);
        listed |= u64{1} << bit_number;
        for (const auto& [pmsver, events] : seen) {
            CAPTURE(+pmsver);
            const bool expected = happens == "yes" && pmsver >= std::stoi(from);
            CHECK(((events >> bit_number & 1) != 0) == expected);
            ++rows;
        }
    }
    for (const auto& [pmsver, events] : seen) {
        CHECK((events & ~listed) == 0);
    }
    std::cout << "rows: " << rows << " of an event in a version\n";
    CHECK(rows >= 26 * 5);
}

}  // namespace vmm::spe::test
