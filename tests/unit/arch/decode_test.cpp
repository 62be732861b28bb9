// The decode table as a whole: rows nest or are disjoint, all can be reached, and known words find the right row.
#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/decode.h"
#include "vmm/base/rng.h"

namespace vmm::arch::test {

namespace {

struct KnownWord {
    u32 word;
    const char* text;
};

constexpr KnownWord kKnownWords[] = {
#include "tests/unit/arch/known_words.inc"
};

/// The row a word must find where the disassembler's mnemonic is not the row's name.
struct NamedWord {
    u32 word;
    const char* row;
};

constexpr NamedWord kNamedWords[] = {
    {0xD503201F, "HINT"},                       // NOP
    {0xD503203F, "HINT"},                       // YIELD
    {0xD503205F, "WFE"},
    {0xD503207F, "WFI"},
    {0xD503209F, "SEV"},
    {0xD50320BF, "SEVL"},
    {0xD503223F, "PSB CSYNC"},
    {0xD503309F, "SSBB"},
    {0xD503349F, "PSSBB"},
    {0xD5033F9F, "DSB"},
    {0xD50B7423, "SYS (DC ZVA)"},               // DC ZVA, X3
    {0xD50B7E24, "SYS (IC, DC, AT)"},           // DC CIVAC, X4
    {0xD508871F, "SYS (TLBI)"},                 // TLBI VMALLE1
    {0xD51B4401, "MSR FPCR, FPSR"},             // MSR FPCR, X1
    {0xD53B4422, "MRS FPCR, FPSR"},             // MRS X2, FPSR
    {0xD53B4203, "MRS"},                        // MRS X3, NZCV
    {0xD5182000, "MSR (register)"},             // MSR TTBR0_EL1, X0
    {0xD50342DF, "MSR (immediate) DAIFSet"},
};

/// Words that no Armv8.2 PE without halting debug, pointer authentication, MTE, FlagM, SB, XS or SVE executes.
constexpr u32 kUndefinedWords[] = {
    0x00000000,  // UDF #0
    0xD4400000,  // HLT #0
    0xD4A00001,  // DCPS1
    0xD4000000,  // exception generation, LL = 00
    0x54000010,  // BC.EQ
    0xD503301F,  // barriers, op2 = 000
    0xD503323F,  // DSB ISHnXS... op2 = 001
    0xD50330FF,  // SB
    0xD500401F,  // CFINV
    0xD503415F,  // MSR DIT, #1
    0xD61F0BFF,  // BRAAZ XZR
    0xD65F0BFF,  // RETAA
    0xD69F0BFF,  // ERETAA
    0xD6BF03E0,  // DRPS
    0xBA000400,  // RMIF
    0x3A00080D,  // SETF8 W0
    0xDAC10020,  // PACIA X0, X1
    0x9AC03020,  // PACGA X0, X1, X0
    0x9AC01020,  // IRG X0, X1
    0x91800000,  // ADDG
    0x04200000,  // SVE ADD
    0x1AC04C00,  // CRC32X with sf = 0
    0x5AC00C00,  // REV (64-bit) with sf = 0
    0x12800000 | 1u << 29,  // move wide, opc = 01
};

bool overlap(const Pattern& a, const Pattern& b) {
    return ((a.value ^ b.value) & a.mask & b.mask) == 0;
}

bool strictly_inside(const Pattern& inner, const Pattern& outer) {
    return (inner.mask & outer.mask) == outer.mask && inner.mask != outer.mask;
}

/// The mnemonics under which a row may be listed: the disassembler's, and those of which it is a variant (the upper
/// half of a vector, "XTN2"; acquire and release, "CASALB").
std::vector<std::string> mnemonics_of(const std::string& text) {
    const std::string mnemonic = text.substr(0, text.find(' '));
    std::vector<std::string> result{mnemonic};
    if (mnemonic.rfind("b.", 0) == 0) {
        result.push_back("b.cond");
    }
    if (mnemonic.back() == '2') {
        result.push_back(mnemonic.substr(0, mnemonic.size() - 1));
    }
    if (const auto at = mnemonic.find("al"); at != std::string::npos) {
        result.push_back(std::string(mnemonic).erase(at, 2));
    }
    return result;
}

/// Whether a mnemonic of the disassembly is one of the words of the row's name ("FCVTN, FCVTN2", "LDXR/LDAXR").
bool names_agree(std::string name, const std::string& text) {
    for (char& c : name) {
        c = c == '(' || c == ',' || c == '/' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    const auto mnemonics = mnemonics_of(text);
    return std::any_of(mnemonics.begin(), mnemonics.end(), [&name](const std::string& mnemonic) {
        return (' ' + name + ' ').find(' ' + mnemonic + ' ') != std::string::npos;
    });
}

const DecodeRow* most_specific_match(u32 word) {
    const DecodeRow* best = nullptr;
    for (const DecodeRow* row : decode_rows()) {
        if (row->pattern.matches(word) &&
            (best == nullptr || std::popcount(row->pattern.mask) > std::popcount(best->pattern.mask))) {
            best = row;
        }
    }
    return best;
}

}  // namespace

TEST_CASE("rows that overlap are strictly nested") {
    const auto rows = decode_rows();
    REQUIRE(rows.size() > 500);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        for (std::size_t j = i + 1; j < rows.size(); ++j) {
            const Pattern& a = rows[i]->pattern;
            const Pattern& b = rows[j]->pattern;
            if (overlap(a, b) && !strictly_inside(a, b) && !strictly_inside(b, a)) {
                FAIL_CHECK(rows[i]->name << " and " << rows[j]->name << " overlap without being nested");
            }
        }
    }
}

TEST_CASE("every row can be reached through decode()") {
    Rng rng(1);
    for (const DecodeRow* row : decode_rows()) {
        bool reached = false;
        for (int i = 0; i < 10'000 && !reached; ++i) {
            const u32 word = (static_cast<u32>(rng.next() >> 16) & ~row->pattern.mask) | row->pattern.value;
            reached = decode(word) == row;
        }
        if (!reached) {
            FAIL_CHECK(row->name << " (" << row->id << ") is hidden by more specific rows");
        }
    }
}

TEST_CASE("decode() finds the most specific match of a linear search") {
    Rng rng(2);
    const auto rows = decode_rows();
    for (int i = 0; i < 100'000; ++i) {
        u32 word = static_cast<u32>(rng.next() >> 16);
        if (i % 2 == 0) {  // near a row: all but a few of its fixed bits
            const Pattern& pattern = rows[rng.below(rows.size())]->pattern;
            const u32 flip = i % 4 == 0 ? u32{1} << rng.below(32) : 0;
            word = ((word & ~pattern.mask) | pattern.value) ^ flip;
        }
        const DecodeRow* expected = most_specific_match(word);
        const DecodeRow* found = decode(word);
        if (found != expected) {
            CAPTURE(word, expected == nullptr ? "none" : expected->name, found == nullptr ? "none" : found->name);
            REQUIRE(found == expected);
        }
    }
}

TEST_CASE("known words decode to rows of the disassembler's name") {
    for (const KnownWord& known : kKnownWords) {
        const bool named = std::any_of(std::begin(kNamedWords), std::end(kNamedWords),
                                       [&](const NamedWord& n) { return n.word == known.word; });
        const DecodeRow* row = decode(known.word);
        if (row == nullptr) {
            FAIL_CHECK(known.text << ": no row");
            continue;
        }
        if (!named && !names_agree(row->name, known.text)) {
            FAIL_CHECK(known.text << ": found " << row->name);
        }
    }
    for (const NamedWord& named : kNamedWords) {
        const DecodeRow* row = decode(named.word);
        CAPTURE(named.word, named.row);
        REQUIRE(row != nullptr);
        CHECK(std::string(row->name) == named.row);
    }
}

TEST_CASE("unallocated and unimplemented words find no row") {
    for (const u32 word : kUndefinedWords) {
        const DecodeRow* row = decode(word);
        if (row != nullptr) {
            FAIL_CHECK(std::hex << word << " found " << row->name);
        }
    }
}

TEST_CASE("a row's name and handler are given") {
    for (const DecodeRow* row : decode_rows()) {
        REQUIRE(row->handler != nullptr);
        CHECK(row->name[0] != 0);
        CHECK(row->id[0] != 0);
    }
}

}  // namespace vmm::arch::test
