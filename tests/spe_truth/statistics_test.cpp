// Samples against what was executed. The system counter of these guests counts operations, so the timestamp
// of a record says which operation it must be of: that is checked for every record. On top of it the shares,
// as a user sees them.
#include "tests/spe_truth/statistics.h"

#include <iostream>

namespace vmm::spe::test {

namespace {

// ── Programs ───────────────────────────────────────────────────────────────────────────────────────────────

/// A loop: where it lies, its instructions, and in which order they execute in one pass (indices of `words`).
struct Loop {
    std::string name;
    u64 base = kCode;
    std::vector<u32> words;
    std::vector<unsigned> path;

    u64 pc_of(u64 position) const { return base + 4 * path[position % path.size()]; }
    Executed executed() const {
        Executed result;
        for (const unsigned index : path) {
            ++result.times[base + 4 * index];
            result.words[base + 4 * index] = words[index];
        }
        result.cycle = path.size();
        return result;
    }
};

/// Straight code that a branch closes.
Loop straight(std::string name, std::vector<u32> body, u64 base = kCode) {
    Loop loop{std::move(name), base, std::move(body), {}};
    loop.words.push_back(b(-static_cast<s64>(loop.words.size())));
    for (unsigned i = 0; i < loop.words.size(); ++i) {
        loop.path.push_back(i);
    }
    return loop;
}

/// `length` operations that mix what the engine lowers, fuses and calls handlers for.
Loop mixed(unsigned length, u64 base = kCode) {
    constexpr std::array kBody{kLdr,  kAdd, kStr,  kAdrp, kAddLow, kCmp,  kCselNe, kLdp,  kNop, kNop,
                               kFadd, kStp, kLdrQ, kMul,  kStrQ,   kVadd, kLdadd,  kMovz, kMovk};
    std::vector<u32> body;
    for (unsigned i = 0; i + 1 < length; ++i) {
        body.push_back(kBody[i % kBody.size()]);
    }
    return straight("mixed, " + std::to_string(length) + " operations", body, base);
}

/// Compare with branch, taken and not, and branches over code.
Loop branchy() {
    Loop loop{"compare and branch, pairs of constants, skips",
              kCode,
              {
                  kMovz,           // 0
                  kMovk,           // 1
                  kCmp,            // 2: x4 = 1
                  b_cond(kEq, 3),  // 3: not taken
                  kCmp,            // 4
                  b_cond(kNe, 3),  // 5: to 8
                  kLdr,            // 6: never
                  kStr,            // 7: never
                  kLdp,            // 8
                  kAdrp,           // 9
                  kAddLow,         // 10
                  cbz(4, -8),      // 11: not taken
                  kNop,            // 12
                  kCmp,            // 13
                  kCselNe,         // 14
                  b(2),            // 15: to 17
                  kAdd,            // 16: never
                  b(-17),          // 17
              },
              {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17}};
    return loop;
}

/// The same body several times over, as a compiler unrolls it.
Loop unrolled(unsigned times) {
    std::vector<u32> body;
    for (unsigned i = 0; i < times; ++i) {
        for (const u32 word : {kLdr, kAdd, kStr, kCmp, kCselNe}) {
            body.push_back(word);
        }
    }
    return straight("unrolled " + std::to_string(times) + " times", body);
}

void prepare(BareGuest& guest, const Loop& loop, u8 el) {
    guest.map_memory();
    guest.load(loop.base, loop.words);
    guest.v.s.x[2] = kData;
    guest.v.s.x[3] = 3;
    guest.v.switch_el(el, el);
    guest.v.context_changed();
    guest.v.s.pc = loop.base;
}

/// Each record is of the operation that its timestamp says: position (operation - first) of the loop.
void check_each(const Loop& loop, std::span<const Sampled> samples, u64 first, u8 el) {
    std::size_t wrong = 0;
    for (const Sampled& sample : samples) {
        const u64 position = sample.operation - first;
        const u32 word = loop.words[loop.path[position % loop.path.size()]];
        wrong += sample.pc != loop.pc_of(position) || sample.el != el || sample.kind != kind_of(word) ? 1 : 0;
    }
    CHECK(wrong == 0);
}

// ── Runs ───────────────────────────────────────────────────────────────────────────────────────────────────

/// Samples a loop until there are `kSamples` of it. Without jitter, samples are exactly 257 operations apart:
/// sample k is operation 257 (k + 1), so how often each PC is sampled follows exactly.
void run_regular(const Loop& loop, u8 el) {
    CAPTURE(loop.name, +el);
    BareGuest guest;
    guest.start(256, (el == 0 ? kE0 : kE1) | kTs);
    prepare(guest, loop, el);
    const u64 first = guest.v.ops_executed() + 1;
    const u64 population = guest.unit->stats().population;
    guest.run(257 * kSamples);
    const std::vector<Sampled> samples = parse(guest.written());
    REQUIRE(samples.size() == kSamples);
    // The population counts each of them, and nothing else.
    CHECK(guest.unit->stats().population - population == 257 * kSamples);
    check_each(loop, samples, first, el);
    std::map<u64, u64> expected;
    std::map<u64, u64> seen;
    bool apart = true;
    for (std::size_t k = 0; k < samples.size(); ++k) {
        apart = apart && samples[k].operation == first + 257 * (k + 1) - 1;
        ++expected[loop.pc_of(257 * (k + 1) - 1)];
        ++seen[samples[k].pc];
    }
    CHECK(apart);
    CHECK(seen == expected);
}

void run_jittered(const Loop& loop, u8 el, u64 seed, Worst& worst) {
    CAPTURE(loop.name, +el, seed);
    BareGuest guest(kSpeV1p2, "", 0, seed);
    guest.start(256 | 1, (el == 0 ? kE0 : kE1) | kTs);
    prepare(guest, loop, el);
    const u64 first = guest.v.ops_executed() + 1;
    guest.run(390 * kSamples);  // 384.5 on average
    std::vector<Sampled> samples = parse(guest.written());
    REQUIRE(samples.size() >= kSamples);
    check_each(loop, samples, first, el);
    check_shares(loop.name, loop.executed(), samples, worst);
}

std::vector<Loop> all_loops() {
    std::vector<Loop> loops;
    for (unsigned length = 3; length <= 40; ++length) {
        loops.push_back(mixed(length));
    }
    loops.push_back(branchy());
    loops.push_back(unrolled(7));
    loops.push_back(unrolled(31));
    // Across a page boundary: in its middle, and with its last operation alone.
    loops.push_back(mixed(24, kCode + 0x1000 - 12 * 4));
    loops.push_back(mixed(24, kCode + 0x1000 - 23 * 4));
    loops.back().name += ", the last on the next page";
    return loops;
}

}  // namespace

TEST_CASE("spe truth: without jitter each sample is the operation that arithmetic says", "[spe][truth]") {
    const std::vector<Loop> loops = all_loops();
    std::size_t rows = 0;
    for (const Loop& loop : loops) {
        for (const u8 el : {u8{0}, u8{1}}) {
            run_regular(loop, el);
            ++rows;
        }
    }
    std::cout << "rows: " << rows << " of loops without jitter, " << rows * kSamples << " samples\n";
    CHECK(rows >= 86);
}

TEST_CASE("spe truth: with jitter the samples' shares are those of what was executed", "[spe][truth]") {
    const std::vector<Loop> loops = all_loops();
    Worst worst;
    std::size_t rows = 0;
    for (const Loop& loop : loops) {
        run_jittered(loop, rows % 2 == 0 ? 1 : 0, 1000 + rows, worst);
        ++rows;
    }
    std::cout << "rows: " << rows << " of loops with jitter\n";
    check_all(worst, 3);
    CHECK(rows >= 43);
}

}  // namespace vmm::spe::test
