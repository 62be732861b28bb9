// registers.txt against MRS and MSR, in every version and with every feature.
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "tests/spe_truth/bare_guest.h"

namespace vmm::spe::test {

namespace {

constexpr unsigned kVersions = 6;  // none and 1..5

struct Cell {
    enum class Kind : u8 { undefined, read_only, writable, impossible };
    Kind kind = Kind::undefined;
    u64 value = 0;
};

struct Line {
    std::string name;
    RegisterName encoding{};
    std::string features;
    u64 zero = 0;
    std::array<Cell, kVersions> cells{};
};

Cell parse_cell(const std::string& text) {
    if (text == "-") {
        return {};
    }
    if (text == "x") {
        return {Cell::Kind::impossible, 0};
    }
    const bool read_only = text.starts_with("ro:");
    std::size_t used = 0;
    const std::string digits = read_only ? text.substr(3) : text;
    const u64 value = std::stoull(digits, &used, 16);
    REQUIRE(used == digits.size());
    return {read_only ? Cell::Kind::read_only : Cell::Kind::writable, value};
}

std::vector<Line> parse_table() {
    std::ifstream file(VMM_SOURCE_DIR "/tests/spe_truth/registers.txt");
    REQUIRE(file);
    std::vector<Line> lines;
    for (std::string text; std::getline(file, text);) {
        if (text.empty() || text.front() == '#') {
            continue;
        }
        CAPTURE(text);
        std::istringstream words(text);
        Line line;
        std::string encoding;
        REQUIRE(words >> line.name >> encoding >> line.features >> std::hex >> line.zero);
        RegisterName& e = line.encoding;
        REQUIRE(std::sscanf(encoding.c_str(), "S%u_%u_C%u_C%u_%u", &e.op0, &e.op1, &e.crn, &e.crm, &e.op2) ==
                5);
        for (Cell& cell : line.cells) {
            std::string word;
            REQUIRE(words >> word);
            cell = parse_cell(word);
        }
        std::string rest;
        REQUIRE_FALSE(words >> rest);
        lines.push_back(line);
    }
    return lines;
}

/// "limit=SIZE" is no feature, but configured by itself.
u64 take_limit(std::string& features) {
    if (!features.starts_with("limit=")) {
        return 0;
    }
    const std::map<std::string, u64> kSizes{
        {"limit=4K", 4096}, {"limit=4M", u64{4} << 20}, {"limit=1G", u64{1} << 30}};
    const u64 size = kSizes.at(features);
    features.clear();
    return size;
}

/// The lines that hold for a set of features: its own, and the default ones of all other registers.
std::vector<Line> lines_of(const std::vector<Line>& table, const std::string& features) {
    std::vector<Line> result;
    for (const Line& line : table) {
        if (line.features == features) {
            result.push_back(line);
        }
    }
    for (const Line& line : table) {
        const auto is_same = [&](const Line& own) { return own.encoding.fields() == line.encoding.fields(); };
        if (line.features == "-" && std::none_of(result.begin(), result.end(), is_same)) {
            result.push_back(line);
        }
    }
    return result;
}

bool is_undefined_access(BareGuest& guest, bool done) {
    return !done && guest.v.s.esr_el1 == 0x02000000;  // EC = 0, IL = 1
}

void check_writable(BareGuest& guest, const Line& line, u64 ones) {
    CHECK(guest.read(line.encoding) == line.zero);
    for (const u64 pattern : {~u64{0}, u64{0}, u64{0xAAAAAAAAAAAAAAAA}, u64{0x5555555555555555}, u64{0}}) {
        CAPTURE(pattern);
        REQUIRE(guest.write(line.encoding, pattern));
        CHECK(guest.read(line.encoding) == ((pattern & ones) | line.zero));
    }
}

void check_line(BareGuest& guest, const Line& line, const Cell& cell) {
    u64 value = 0;
    // At EL0 first: whatever the register is, it is UNDEFINED there and must not change.
    guest.v.switch_el(0, 0);
    guest.v.context_changed();
    CHECK(is_undefined_access(guest, guest.read(line.encoding, value)));
    CHECK(is_undefined_access(guest, guest.write(line.encoding, ~u64{0})));
    guest.v.switch_el(1, 1);
    guest.v.context_changed();
    switch (cell.kind) {
        case Cell::Kind::impossible: FAIL("a line of its own says x"); break;
        case Cell::Kind::undefined:
            CHECK(is_undefined_access(guest, guest.read(line.encoding, value)));
            CHECK(is_undefined_access(guest, guest.write(line.encoding, 0)));
            break;
        case Cell::Kind::read_only:
            CHECK(guest.read(line.encoding) == cell.value);
            CHECK(is_undefined_access(guest, guest.write(line.encoding, 0)));
            CHECK(guest.read(line.encoding) == cell.value);
            break;
        case Cell::Kind::writable: check_writable(guest, line, cell.value); break;
    }
}

}  // namespace

TEST_CASE("spe truth: registers in every version, with every feature", "[spe][truth]") {
    const std::vector<Line> table = parse_table();
    std::vector<std::string> sets;
    for (const Line& line : table) {
        if (std::find(sets.begin(), sets.end(), line.features) == sets.end()) {
            sets.push_back(line.features);
        }
    }
    std::size_t rows = 0;
    std::size_t refused = 0;
    for (const std::string& set : sets) {
        const std::vector<Line> lines = lines_of(table, set);
        std::string features = set == "-" ? std::string{} : set;
        const u64 limit = take_limit(features);
        for (unsigned version = 0; version < kVersions; ++version) {
            CAPTURE(set, version);
            if (version == 0 && set != "-") {
                continue;  // without the extension there is nothing to choose
            }
            if (lines.front().cells[version].kind == Cell::Kind::impossible) {
                ProfilingConfig config;
                config.pmsver = static_cast<u8>(version);
                CHECK_FALSE(apply_features(config, features).has_value());
                ++refused;
                continue;
            }
            BareGuest guest(static_cast<u8>(version), features, limit);
            CHECK(bits(guest.read(RegisterName{3, 0, 0, 5, 0}), 35, 32) ==
                  version);  // ID_AA64DFR0_EL1.PMSVer
            for (const Line& line : lines) {
                CAPTURE(line.name);
                check_line(guest, line, line.cells[version]);
                ++rows;
            }
        }
    }
    std::cout << "rows: " << rows << " of a register in a version with features, from " << table.size()
              << " lines in " << sets.size() << " sets of features; " << refused << " combinations refused\n";
    CHECK(rows >= 1743);
    CHECK(refused >= 18);
}

TEST_CASE("spe truth: PSB CSYNC is no register and executes in every version, at both levels",
          "[spe][truth]") {
    constexpr u32 kPsbCsync = 0xD503223F;
    unsigned rows = 0;
    for (unsigned version = 0; version < kVersions; ++version) {
        BareGuest guest(static_cast<u8>(version));
        for (const u8 el : {u8{0}, u8{1}}) {
            guest.v.switch_el(el, el);
            guest.v.context_changed();
            CHECK(guest.execute(kPsbCsync));
            ++rows;
        }
    }
    std::cout << "rows: " << rows << " of PSB CSYNC\n";
    CHECK(rows == 12);
}

}  // namespace vmm::spe::test
