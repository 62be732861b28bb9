// Samples of programs that take exceptions and interrupts, against a trace of the same run in which every
// operation was stepped and written down: the sampled run uses blocks, fused operations and inline accesses,
// the trace none of them.
#include <functional>
#include <iostream>

#include "tests/spe_truth/statistics.h"

namespace vmm::spe::test {

namespace {

constexpr u64 kOperations = 14'000'000;
constexpr u32 kSvc = 0xD4000001;
constexpr u32 kMrsElr = 0xD538402C;  // mrs x12, elr_el1
constexpr u32 kMsrElr = 0xD518402C;  // msr elr_el1, x12
constexpr u32 kAddX12 = 0x9100118C;  // add x12, x12, #4
constexpr u32 kAddX11 = 0x9100056B;  // add x11, x11, #1
constexpr u64 kUnmapped = 0x40000000;

struct Program {
    const char* name;
    u8 el;
    std::vector<u32> loop;     // a branch back is added
    std::vector<u32> handler;  // of synchronous exceptions
    bool interrupts;
    std::size_t cycle;  // operations after which it repeats, but for interrupts
};

const std::vector<u32> kReturn{kAddX11, kMrsElr, kLdr, kEret};
const std::vector<u32> kSkip{kMrsElr, kAddX12, kMsrElr, kEret};
const std::vector<u32> kInterrupt{kAddX11, kStr, kNop, kNop, kCmp, kEret};

const std::vector<Program> kPrograms{
    {"SVC at EL0", 0, {kLdr, kAdd, kSvc, kStr, kCmp, kCselNe}, kReturn, false, 11},
    {"SVC at EL1", 1, {kLdr, kAdd, kSvc, kStr, kAdrp, kAddLow, kNop}, kReturn, false, 12},
    {"data aborts at EL0", 0, {kLdp, kLdrBad, kStr, kMul}, kSkip, false, 9},
    {"interrupts at EL0", 0, {kLdr, kAdd, kStr, kCmp, kCselNe, kNop, kNop, kLdp}, kReturn, true, 9},
    {"SVC and interrupts at EL0", 0, {kMovz, kMovk, kSvc, kLdrQ, kStrQ}, kReturn, true, 10},
    {"interrupts at EL1", 1, {kLdr, kAdrp, kAddLow, kStp, kLdadd, kNop}, kReturn, true, 7},
};

/// Writes down every operation.
class Tracer final : public arch::OpObserver {
  public:
    u64 ops_until_sample() override { return 1; }
    void on_ops_executed(u64) override { missed = true; }
    void on_sample(const arch::OpTrace& trace) override {
        operations.push_back(static_cast<u32>(trace.pc - kBase) | trace.el);  // PC is a multiple of 4
    }
    std::vector<u32> operations;
    bool missed = false;
};

void prepare(BareGuest& guest, const Program& program) {
    std::vector<u32> loop = program.loop;
    loop.push_back(b(-static_cast<s64>(loop.size())));
    guest.map_memory();
    guest.load(kCode, loop);
    for (const u64 vector : {0x200, 0x400}) {
        guest.load(kVectors + vector, program.handler);
    }
    for (const u64 vector : {0x280, 0x480}) {
        guest.load(kVectors + vector, kInterrupt);
    }
    guest.v.s.x[2] = kData;
    guest.v.s.x[3] = 3;
    guest.v.s.x[6] = kUnmapped;
    guest.v.s.daif = 0;
    guest.v.switch_el(program.el, program.el);
    guest.v.context_changed();
    guest.v.s.pc = kCode;
}

/// Runs it; interrupts come after slices of ever different length, and their line falls while the handler
/// runs.
void execute(BareGuest& guest, const Program& program) {
    const u64 end = guest.v.ops_executed() + kOperations;
    for (u64 slice = 0; guest.v.ops_executed() < end; ++slice) {
        const u64 left = end - guest.v.ops_executed();
        if (!program.interrupts) {
            guest.run(left);
            return;
        }
        guest.run(std::min(left, 500 + slice * 37 % 641));
        guest.v.pins.set_irq(true);
        guest.run(std::min(end - guest.v.ops_executed(), u64{3}));
        guest.v.pins.set_irq(false);
    }
}

std::vector<u32> trace_of(const Program& program) {
    BareGuest guest(0);
    prepare(guest, program);
    Tracer tracer;
    tracer.operations.reserve(kOperations);
    guest.v.set_observer(&tracer);
    execute(guest, program);
    guest.v.set_observer(nullptr);
    REQUIRE_FALSE(tracer.missed);
    REQUIRE(tracer.operations.size() == kOperations);
    return std::move(tracer.operations);
}

bool is_profiled(u32 operation, u64 pmscr) {
    return ((operation & 3) == 0 ? pmscr & kE0 : pmscr & kE1) != 0;
}

/// Every sample is the operation of the trace that its timestamp names, with its Exception level and kind.
void check_each(const std::vector<u32>& trace, std::span<const Sampled> samples, u64 first,
                const BareGuest& guest) {
    std::size_t wrong = 0;
    for (const Sampled& sample : samples) {
        const u64 position = sample.operation - first;
        if (position >= trace.size()) {
            ++wrong;
            continue;
        }
        const u64 pc = kBase + (trace[position] & ~3U);
        const u32 word = mm::load_relaxed<u32>(guest.memory->ram().host(pc));
        const bool same =
            sample.pc == pc && sample.el == (trace[position] & 3) && sample.kind == kind_of(word);
        wrong += same ? 0 : 1;
    }
    CHECK(wrong == 0);
}

struct Population {
    Executed executed;
    u64 size = 0;
    std::vector<u64> samples;  // positions of the operations to be sampled without jitter
};

Population population_of(const std::vector<u32>& trace, u64 pmscr, const Program& program,
                         const BareGuest& guest) {
    Population result;
    std::vector<u64> times(kCode - kBase + 0x1000);
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (is_profiled(trace[i], pmscr)) {
            ++times[trace[i] & ~3U];
            if (++result.size % 257 == 0) {
                result.samples.push_back(i);
            }
        }
    }
    for (u64 offset = 0; offset < times.size(); offset += 4) {
        if (times[offset] != 0) {
            result.executed.times[kBase + offset] = times[offset];
            result.executed.words[kBase + offset] =
                mm::load_relaxed<u32>(guest.memory->ram().host(kBase + offset));
        }
    }
    result.executed.cycle = program.cycle;
    return result;
}

}  // namespace

TEST_CASE("spe truth: programs with exceptions and interrupts are sampled as they execute", "[spe][truth]") {
    std::size_t rows = 0;
    std::size_t samples_seen = 0;
    Worst worst;
    for (const Program& program : kPrograms) {
        CAPTURE(program.name);
        const std::vector<u32> trace = trace_of(program);
        for (const u64 pmscr : {kE0, kE1, kE0 | kE1}) {
            if (program.el == 1 && pmscr == kE0) {
                continue;  // nothing executes there
            }
            for (const u64 jitter : {0, 1}) {
                CAPTURE(pmscr, jitter);
                BareGuest guest(kSpeV1p2, "", 0, 77 + rows);
                guest.start(256 | jitter, 0);
                prepare(guest, program);
                guest.v.switch_el(1, 1);
                REQUIRE(guest.write(kPmscr, pmscr | kTs));
                REQUIRE(guest.write(kPmsicr, 0));
                prepare(guest, program);
                const u64 first = guest.v.ops_executed() + 1;
                const u64 population = guest.unit->stats().population;
                execute(guest, program);
                const std::vector<Sampled> samples = parse(guest.written());
                const Population expected = population_of(trace, pmscr, program, guest);
                CHECK(guest.unit->stats().population - population == expected.size);
                check_each(trace, samples, first, guest);
                if (jitter == 0) {
                    bool same = samples.size() == expected.samples.size();
                    for (std::size_t k = 0; same && k < samples.size(); ++k) {
                        same = samples[k].operation - first == expected.samples[k];
                    }
                    CHECK(same);
                } else {
                    check_shares(program.name, expected.executed, samples, worst);
                }
                samples_seen += samples.size();
                ++rows;
            }
        }
    }
    std::cout << "rows: " << rows << " of programs with exceptions, " << samples_seen << " samples\n";
    check_all(worst, 2);
    CHECK(rows >= 32);
}

TEST_CASE("spe truth: an operation that cannot even be fetched is sampled with its exception",
          "[spe][truth]") {
    struct Row {
        const char* name;
        u64 pc;
        bool illegal_state;
        u32 esr;
    };
    const Row rows[] = {
        {"PC alignment fault", kCode + 2, false, 0x8A000000},
        {"illegal Execution state", kCode, true, 0x3A000000},
        {"illegal Execution state, PC misaligned", kCode + 2, true, 0x8A000000},  // in the order of D1.3.5.5
        {"translation fault of the fetch", kUnmapped, false, 0x86000005},
        {"external abort of the fetch", kBase + kRamBytes + 0x1000, false, 0x86000010},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        for (const u64 before : {1, 2}) {  // sampled at once, or after an operation that went well
            CAPTURE(before);
            BareGuest guest;
            guest.map_memory();
            // The block behind RAM, where nothing answers.
            guest.put(kTables + 0x1000 + 8 * (kRamBytes >> 21), (kBase + kRamBytes) | 0x781);
            const u32 code[] = {row.illegal_state ? kEret : 0xD61F00A0};  // br x5
            guest.load(kCode + 0x100, code);
            guest.start(256, kE1 | kTs, before);
            guest.v.s.x[5] = guest.v.s.elr_el1 = row.pc;
            guest.v.s.spsr_el1 = 0x3C5 | u64{1} << 20;
            guest.v.s.pc = kCode + 0x100;
            if (before == 1) {
                guest.v.s.pc = row.pc;
                guest.v.s.il = row.illegal_state ? 1 : 0;
            }
            guest.run(before);
            CHECK(guest.v.s.esr_el1 == row.esr);
            CHECK(guest.v.s.elr_el1 == row.pc);
            const std::vector<Sampled> samples = parse(guest.written());
            REQUIRE(samples.size() == 1);
            CHECK(samples[0].pc == row.pc);
            CHECK(samples[0].el == 1);
            CHECK(samples[0].kind == Kind::other);
            CHECK((samples[0].events & 3) == 3);
        }
    }
    std::cout << "rows: " << std::size(rows) << " of operations that cannot be fetched\n";
    CHECK(std::size(rows) >= 5);
}

TEST_CASE("spe truth: the gaps between samples are those that PMSIRR asks for", "[spe][truth]") {
    struct Row {
        const char* features;
        u64 pmsirr;
        double least, most, mean, deviation;  // of the gaps
    };
    // Uniform over 256 values: deviation sqrt((256^2 - 1) / 12) = 73.9. With ERnd a gap is the interval and
    // the difference of two such values, which their sum forgets: its mean over n gaps varies by the first
    // and last alone.
    const Row rows[] = {
        {"", 256, 257, 257, 257, 0},
        {"", 1024, 1025, 1025, 1025, 0},
        {"", 0, 257, 257, 257, 0},
        {"", 0xFFF0, 0xFF01, 0xFF01, 0xFF01, 0},
        {"", 256 | 1, 257, 512, 384.5, 73.9},
        {"", 1024 | 1, 1025, 1280, 1152.5, 73.9},
        {"ernd=1", 256, 257, 257, 257, 0},
        {"ernd=1", 256 | 1, 2, 512, 257, 104.5},
        {"ernd=1", 1024 | 1, 770, 1280, 1025, 104.5},
    };
    for (const Row& row : rows) {
        CAPTURE(row.features, row.pmsirr);
        BareGuest guest(kSpeV1p2, row.features, 0, 5);
        const u32 code[] = {kAdd, kNop, b(-2)};
        guest.load(kCode, code);
        guest.start(row.pmsirr, kE1 | kTs);
        guest.v.s.pc = kCode;
        const u64 wanted = row.mean > 10'000 ? 500 : 50'000;
        guest.run(static_cast<u64>(row.mean) * wanted + 2000);
        const std::vector<Sampled> samples = parse(guest.written());
        REQUIRE(samples.size() + 300 >= wanted);
        std::map<u64, double> histogram;
        double sum = 0;
        double squares = 0;
        for (std::size_t i = 1; i < samples.size(); ++i) {
            const u64 gap = samples[i].operation - samples[i - 1].operation;
            ++histogram[gap];
            sum += static_cast<double>(gap);
            squares += (static_cast<double>(gap) - row.mean) * (static_cast<double>(gap) - row.mean);
        }
        const double n = static_cast<double>(samples.size() - 1);
        CHECK(static_cast<double>(histogram.begin()->first) >= row.least);
        CHECK(static_cast<double>(histogram.rbegin()->first) <= row.most);
        CHECK(std::abs(sum / n - row.mean) <= 3 * row.deviation / std::sqrt(n));
        // The deviation itself: its relative standard error is at most 1 / sqrt(n) for distributions this
        // flat.
        CHECK(std::abs(std::sqrt(squares / n) - row.deviation) <= 3 * row.deviation / std::sqrt(n) + 0.05);
        if (row.deviation == 73.9) {
            double chi_square = 0;
            for (u64 gap = static_cast<u64>(row.least); gap <= static_cast<u64>(row.most); ++gap) {
                const double mean = n / 256;
                chi_square += (histogram[gap] - mean) * (histogram[gap] - mean) / mean;
            }
            CHECK(std::abs(chi_square - 255) <= 4 * std::sqrt(2 * 255.0));
        }
    }
    std::cout << "rows: " << std::size(rows) << " of gaps between samples\n";
    CHECK(std::size(rows) >= 9);
}

}  // namespace vmm::spe::test
