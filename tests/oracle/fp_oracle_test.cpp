// Floating point in the style of TestFloat: every row of the floating-point sections on systematic operands, with rounding
// modes, flushing, default NaNs and alternative half precision; results, FPSR and NZCV against qemu-aarch64. See README.md.
#include <sys/mman.h>

#include <cstring>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "arch/decode.h"
#include "tests/oracle/fp_bench.h"
#include "tests/oracle/fp_operands.h"
#include "tests/oracle/reference_runner.h"
#include "tests/oracle/rules.h"
#include "vmm/base/bits.h"

namespace vmm::oracle {

namespace {

constexpr u32 kAhp = u32{1} << 26;
constexpr u32 kDn = u32{1} << 25;
constexpr u32 kFz = u32{1} << 24;
constexpr u32 kFz16 = u32{1} << 19;
constexpr unsigned kRModeLsb = 22;

/// What the reference gets wrong: of V0 only `v_mask` is its verdict, the rest must be 0.
struct Deviation {
    const char* row;
    u64 v_mask;
    const char* reason;
};

constexpr Deviation kDeviations[] = {
    {"FCVTZS (fixed-point, H)", 0xFFFF, "qemu 7.2 extends the sign of the result beyond the half"},
};

struct Options {
    std::string rows = "*";
    u64 seed = 1;
    bool long_run = false;
    bool list = false;
    unsigned max_report = 3;  // per row and FPCR
    unsigned words = 1;       // per row
    unsigned settings = 6;    // of FPCR, per row
    u64 tuples = 1000;        // per word and setting
    ReferenceCommand reference;
};

struct Totals {
    unsigned rows = 0;
    unsigned bad_rows = 0;
    unsigned jobs = 0;
    u64 cases = 0;
    u64 values = 0;  // operand tuples: a vector case has many
    u64 mismatches = 0;
};

/// FPCR settings that matter to a row: all, or `wanted` of them, the first always 0.
std::vector<u32> fpcr_settings(const arch::DecodeRow& row, unsigned wanted, Rng& rng) {
    std::vector<u32> all;
    const auto contains = [](std::string_view text, std::string_view part) {
        return text.find(part) != std::string_view::npos;
    };
    const bool half =
        source_width(row.name) == 16 || contains(row.name, "to half") || contains(row.name, "half to");
    const bool converts_half =
        contains(row.name, "half") &&
        (contains(row.name, "FCVT (") || contains(row.name, "FCVTN (") || contains(row.name, "FCVTL ("));
    for (u32 i = 0; i < 64; ++i) {
        const bool fz16 = bit(i, 4);
        const bool ahp = bit(i, 5);
        if ((fz16 && !half) || (ahp && !converts_half)) {
            continue;
        }
        all.push_back((i & 3) << kRModeLsb | (bit(i, 2) ? kFz : 0) | (bit(i, 3) ? kDn : 0) |
                      (fz16 ? kFz16 : 0) | (ahp ? kAhp : 0));
    }
    while (wanted != 0 && all.size() > wanted) {
        all.erase(all.begin() + 1 + static_cast<std::ptrdiff_t>(rng.below(all.size() - 1)));
    }
    return all;
}

struct Job {
    const arch::DecodeRow* row;
    u32 insn;
    u32 fpcr;
    OperandShape shape;
    const std::vector<FpOperands>* operands;
};

/// The case file: jobs, their operands (each list once), room for results.
class Batch {
  public:
    static constexpr u64 kLimit = u64{160} << 20;  // bytes of results

    void add(const Job& job) {
        jobs_.push_back(job);
        result_bytes_ += job.operands->size() * sizeof(FpResult);
    }
    bool full() const { return result_bytes_ > kLimit; }
    bool empty() const { return jobs_.empty(); }
    const std::vector<Job>& jobs() const { return jobs_; }
    void clear() { *this = Batch(); }

    /// Runs it on the reference; results of job i are at results(file, i).
    Result<> run(const ReferenceCommand& command, std::vector<u8>& file) const {
        std::map<const std::vector<FpOperands>*, u64> placed;
        u64 end = sizeof(FpFile) + jobs_.size() * sizeof(FpJob);
        for (const Job& job : jobs_) {
            if (placed.emplace(job.operands, end).second) {
                end += job.operands->size() * sizeof(FpOperands);
            }
        }
        file.assign(end + result_bytes_, 0);
        auto* header = reinterpret_cast<FpFile*>(file.data());
        header->count = static_cast<u32>(jobs_.size());
        for (std::size_t i = 0; i < jobs_.size(); ++i) {
            const Job& job = jobs_[i];
            header->jobs[i] = {job.insn, job.fpcr, job.operands->size(), placed[job.operands], end};
            std::memcpy(file.data() + placed[job.operands], job.operands->data(),
                        job.operands->size() * sizeof(FpOperands));
            end += job.operands->size() * sizeof(FpResult);
        }
        VMM_TRY_VOID(run_on_file(command, file));
        header = reinterpret_cast<FpFile*>(file.data());
        if (header->done != header->count) {
            return fail("the reference stopped in job {} of {}: instruction {:08x}", header->done,
                        header->count, jobs_[header->done].insn);
        }
        return {};
    }

    static const FpResult* results(const std::vector<u8>& file, std::size_t job) {
        const auto* header = reinterpret_cast<const FpFile*>(file.data());
        return reinterpret_cast<const FpResult*>(file.data() + header->jobs[job].results);
    }

  private:
    std::vector<Job> jobs_;
    u64 result_bytes_ = 0;
};

class Session {
  public:
    explicit Session(const Options& options)
        : options_(options), interpreter_(false), host_code_(true), rng_(options.seed) {}

    Result<int> run() {
        for (const auto rows : {arch::fp_rows(), arch::simd_fp_rows(), arch::simd_fp_misc_rows()}) {
            for (const arch::DecodeRow& row : rows) {
                if (glob_matches(options_.rows, row.name) || glob_matches(options_.rows, row.id)) {
                    VMM_TRY_VOID(add_row(row));
                }
            }
        }
        VMM_TRY_VOID(flush());
        if (totals_.rows == 0) {
            return fail_usage("no floating-point row matches \"{}\"", options_.rows);
        }
        fmt::print(
            "{} rows, {} jobs, {} cases of {} operand tuples, on both engines; {} mismatches in {} rows\n",
            totals_.rows, totals_.jobs, totals_.cases, totals_.values, totals_.mismatches, totals_.bad_rows);
        return totals_.mismatches == 0 && missing_ == 0 ? 0 : 1;
    }

  private:
    Result<> add_row(const arch::DecodeRow& row) {
        ++totals_.rows;
        const std::vector<u32> words = make_words(row);
        if (words.empty()) {
            fmt::print("ACCOUNT {} ({}): no word of the row can be run\n", row.name, row.id);
            ++missing_;
        }
        for (const u32 fpcr : fpcr_settings(row, options_.settings, rng_)) {
            for (const u32 insn : words) {
                const OperandShape shape = shape_of(row, insn);
                batch_.add({&row, insn, fpcr, shape, &operands(shape)});
                if (options_.list) {
                    fmt::print("{:<36} {:08x} fpcr {:08x} width {} arity {} {}\n", row.name, insn, fpcr,
                               shape.width, shape.arity, shape.vector ? "vector" : "scalar");
                }
            }
            if (batch_.full()) {
                VMM_TRY_VOID(flush());
            }
        }
        return {};
    }

    /// Words of a row: registers fixed, all else at random.
    std::vector<u32> make_words(const arch::DecodeRow& row) {
        std::vector<u32> words;
        for (unsigned attempt = 0; attempt < 200 && words.size() < options_.words; ++attempt) {
            u32 word = (static_cast<u32>(rng_.next() >> 16) & ~row.pattern.mask) | row.pattern.value;
            constexpr std::pair<const char*, u32> kRegisters[] = {{"rd", 0}, {"rn", 1}, {"rm", 2}, {"ra", 3}};
            for (const auto& [name, number] : kRegisters) {
                if (const arch::PatternField* field = row.pattern.find(name); field != nullptr) {
                    word = static_cast<u32>(deposit(word, field->lsb + field->width - 1, field->lsb, number));
                }
            }
            const bool known = std::find(words.begin(), words.end(), word) != words.end();
            if (!known && arch::decode(word) == &row && exclusion_reason(word, ModelId::qemu) == nullptr &&
                interpreter_.executes(word)) {
                words.push_back(word);
            }
        }
        return words;
    }

    const std::vector<FpOperands>& operands(const OperandShape& shape) {
        auto [at, fresh] = operands_.try_emplace(shape);
        if (fresh) {
            // All pairs of the structured halves, where there is time for them.
            u64 limit = options_.tuples;
            if (options_.long_run && shape.width == 16 && shape.arity == 2) {
                const u64 n = fp_values(16, false).size();
                limit = n * n;
            }
            at->second = make_operands(shape, limit, options_.seed);
        }
        return at->second;
    }

    Result<> flush() {
        if (batch_.empty()) {
            return {};
        }
        std::vector<u8> file;
        VMM_TRY_VOID(batch_.run(options_.reference, file));
        for (std::size_t i = 0; i < batch_.jobs().size(); ++i) {
            const Job& job = batch_.jobs()[i];
            ++totals_.jobs;
            totals_.cases += job.operands->size();
            totals_.values += job.operands->size() * (job.shape.vector ? 128 / job.shape.width : 1);
            judge(job, Batch::results(file, i), interpreter_, "interpreter");
            judge(job, Batch::results(file, i), host_code_, "host code");
        }
        batch_.clear();
        return {};
    }

    void judge(const Job& job, const FpResult* expected, FpBench& bench, const char* engine) {
        const auto got = bench.run(job.insn, job.fpcr, job.operands->data(), job.operands->size());
        unsigned different = 0;
        for (std::size_t i = 0; i < job.operands->size(); ++i) {
            const FpResult right = corrected(*job.row, expected[i]);
            if (!got.empty() && std::memcmp(&got[i], &right, sizeof(FpResult)) == 0) {
                continue;
            }
            if (different++ < options_.max_report) {
                report(job, i, right, got.empty() ? FpResult{} : got[i], engine);
            }
        }
        if (different != 0) {
            fmt::print("row {}: {} of {} cases differ ({}, fpcr {:08x})\n", job.row->name, different,
                       job.operands->size(), engine, job.fpcr);
            totals_.mismatches += different;
            totals_.bad_rows += bad_row_ != job.row;
            bad_row_ = job.row;
        }
    }

    static FpResult corrected(const arch::DecodeRow& row, FpResult result) {
        for (const Deviation& deviation : kDeviations) {
            if (std::strcmp(deviation.row, row.name) == 0) {
                result.v[0] &= deviation.v_mask;
                result.v[1] = 0;
            }
        }
        return result;
    }

    static void report(const Job& job, std::size_t index, const FpResult& expected, const FpResult& got,
                       const char* engine) {
        const FpOperands& o = (*job.operands)[index];
        fmt::print("MISMATCH {} {:08x} fpcr {:08x} ({})\n", job.row->name, job.insn, job.fpcr, engine);
        fmt::print("  a {:016x}_{:016x}  b {:016x}_{:016x}  c {:016x}_{:016x}\n", o.a[1], o.a[0], o.b[1],
                   o.b[0], o.c[1], o.c[0]);
        for (const auto& [name, r] : {std::pair{"expected", &expected}, std::pair{"got", &got}}) {
            fmt::print("  {:<9} v0 {:016x}_{:016x}  x0 {:016x}  flags {:08x}\n", name, r->v[1], r->v[0], r->x,
                       r->flags);
        }
    }

    const Options options_;
    FpBench interpreter_;
    FpBench host_code_;
    Rng rng_;
    Batch batch_;
    std::map<OperandShape, std::vector<FpOperands>> operands_;
    Totals totals_;
    const arch::DecodeRow* bad_row_ = nullptr;
    unsigned missing_ = 0;
};

}  // namespace

int run(int argc, char** argv) {
    Options options;
    options.reference.runner = ORACLE_FP_RUNNER_PATH;
    CLI::App app{"Compares floating point with qemu-aarch64 on systematic operands"};
    app.add_option("--rows", options.rows, "rows, by printed name or handler (glob)");
    app.add_option("--seed", options.seed, "chooses operands, immediates and FPCR settings");
    app.add_flag("--long", options.long_run,
                 "all FPCR settings, all pairs of structured halves, 65536 tuples, 3 words per row");
    app.add_option("--words", options.words, "instruction words per row");
    app.add_option("--settings", options.settings, "FPCR settings per row; 0: all");
    app.add_option("--tuples", options.tuples, "operand tuples per word and setting")
        ->check(CLI::Range(u64{1}, kMaxFpCases));
    app.add_option("--max-report", options.max_report, "mismatches printed per row, setting and engine");
    app.add_option("--cpu", options.reference.cpu, "qemu CPU model");
    app.add_option("--qemu", options.reference.qemu, "qemu-aarch64; empty to run the runner directly");
    app.add_flag("--list", options.list, "print what is run");
    CLI11_PARSE(app, argc, argv);
    if (options.long_run) {
        options.words = 3;
        options.settings = 0;
        options.tuples = 65536;
    }
    const auto result = Session(options).run();
    if (!result) {
        fmt::print(stderr, "fp_oracle_test: {}\n", result.error().text);
        return 2;
    }
    return *result;
}

}  // namespace vmm::oracle

int main(int argc, char** argv) {
    return vmm::oracle::run(argc, argv);
}
