// Differential test of the instruction handlers: random cases for every row of the decode table, run on our Vcpu and on
// a reference model, every difference reported and every row accounted for. See README.md.
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "arch/decode.h"
#include "tests/oracle/case_generator.h"
#include "tests/oracle/coverage.h"
#include "tests/oracle/reference_runner.h"
#include "tests/oracle/report.h"
#include "tests/oracle/rules.h"
#include "tests/oracle/vcpu_bench.h"
#include "vmm/base/check.h"

namespace vmm::oracle {

namespace {

struct Section {
    const char* name;
    const char* holes_name;  // for reports
    std::span<const arch::DecodeRow> (*rows)();
    // Where the section's unallocated words are drawn from: bits [28:25] as in table C4-1.
    u32 group_mask;
    u32 group_value;
};

constexpr Section kSections[] = {
    {"dp_imm", "(unallocated, dp_imm)", &arch::dp_imm_rows, 0x1C000000, 0x10000000},
    {"branch_system", "(unallocated, branch_system)", &arch::branch_system_rows, 0x1C000000, 0x14000000},
    {"dp_reg", "(unallocated, dp_reg)", &arch::dp_reg_rows, 0x0E000000, 0x0A000000},
    {"ldst", "(unallocated, ldst)", &arch::ldst_rows, 0x0E000000, 0x08000000},
    {"ldst_simd", "(unallocated, ldst_simd)", &arch::ldst_simd_rows, 0x0E000000, 0x0C000000},
    {"ldst_exclusive", "(unallocated, ldst_exclusive)", &arch::ldst_exclusive_rows, 0x3E000000, 0x08000000},
    {"ldst_atomics", "(unallocated, ldst_atomics)", &arch::ldst_atomics_rows, 0x3B200C00, 0x38200000},
    {"fp", "(unallocated, fp)", &arch::fp_rows, 0x5E000000, 0x1E000000},
    {"simd", "(unallocated, simd)", &arch::simd_rows, 0x9E000000, 0x0E000000},
    {"simd_three_same", "(unallocated, simd_three_same)", &arch::simd_three_same_rows, 0x9E000000, 0x0E000000},
    {"simd_three_different", "(unallocated, simd_three_different)", &arch::simd_three_different_rows, 0x9E000000,
     0x0E000000},
    {"simd_two_reg", "(unallocated, simd_two_reg)", &arch::simd_two_reg_rows, 0x9E000000, 0x0E000000},
    {"simd_shift_imm", "(unallocated, simd_shift_imm)", &arch::simd_shift_imm_rows, 0x9E000000, 0x0E000000},
    {"simd_fp", "(unallocated, simd_fp)", &arch::simd_fp_rows, 0x9E000000, 0x0E000000},
    {"simd_fp_misc", "(unallocated, simd_fp_misc)", &arch::simd_fp_misc_rows, 0x9E000000, 0x0E000000},
    {"crypto", "(unallocated, crypto)", &arch::crypto_rows, 0xDE000000, 0xCE000000},
};

struct Options {
    std::string section = "*";
    std::string rows = "*";
    unsigned cases = 30;
    unsigned holes = 0;
    u64 seed = 1;
    unsigned max_report = 3;  // per row
    bool list = false;
    bool coverage = false;  // print what became of each row
    bool edges = false;     // print how often edges were drawn, and fail if one was not
    std::string model = "qemu";
    bool engine = false;
    bool host_code = false;
    unsigned prefix = 0;  // integer instructions before the one under test
    std::string space;  // VALUE/MASK, hexadecimal
    ReferenceCommand reference;
};

constexpr std::size_t kNoRow = ~std::size_t{0};

struct Job {
    OracleCase c;
    const char* row_name;
    std::size_t row;  // in the coverage, or kNoRow
};

/// What one run of the program did.
struct Totals {
    unsigned rows = 0;
    unsigned cases = 0;
    unsigned faulting = 0;
    unsigned refused = 0;
    unsigned mismatches = 0;
    unsigned bad_rows = 0;
};

class Session {
  public:
    Session(const Options& options, const Model& model)
        : options_(options), model_(model), coverage_(model), bench_(options.host_code ? Execution::host_code
                                   : options.engine  ? Execution::engine
                                                     : Execution::handlers) {}

    Result<int> run() {
        std::size_t known = 0;
        for (const Section& section : kSections) {
            known += section.rows().size();
        }
        VMM_CHECK(known == arch::decode_rows().size());  // a section of the table is missing in kSections
        if (!options_.space.empty()) {
            VMM_TRY_VOID(add_space());
        }
        for (const Section& section : kSections) {
            if (!options_.space.empty() || !glob_matches(options_.section, section.name)) {
                continue;
            }
            for (const arch::DecodeRow& row : section.rows()) {
                if (glob_matches(options_.rows, row.name) || glob_matches(options_.rows, row.id)) {
                    VMM_TRY_VOID(add_row(section, row));
                }
            }
            VMM_TRY_VOID(add_holes(section));
        }
        VMM_TRY_VOID(flush());
        finish_row();
        if (totals_.rows == 0 && totals_.cases == 0) {
            return fail_usage("no section matches \"{}\" with rows \"{}\"", options_.section, options_.rows);
        }
        return summary();
    }

  private:
    u64 next_address() const { return ORACLE_CODE_BASE + jobs_.size() * ORACLE_SLOT_SIZE; }

    int summary() {
        std::vector<std::string> complaints;
        if (options_.space.empty() && options_.cases != 0 && !options_.list) {
            coverage_.print(options_.coverage);
            complaints = coverage_.complaints(options_.section == "*" && options_.rows == "*");
        }
        const bool edges_drawn = !options_.edges || coverage_.print_edges();
        for (const std::string& line : complaints) {
            fmt::print("ACCOUNT {}\n", line);
        }
        fmt::print("{} rows ({} not accounted for), {} cases ({} faulting, {} refused), {} mismatches in {} rows\n", totals_.rows,
                   complaints.size(), totals_.cases, totals_.faulting, totals_.refused, totals_.mismatches, totals_.bad_rows);
        return totals_.mismatches == 0 && complaints.empty() && edges_drawn ? 0 : 1;
    }

    Result<> add(const OracleCase& c, const char* name, std::size_t row = kNoRow) {
        jobs_.push_back({c, name, row});
        return jobs_.size() == ORACLE_MAX_CASES ? flush() : Result<>{};
    }

    Result<> add_row(const Section& section, const arch::DecodeRow& row) {
        ++totals_.rows;
        const std::size_t index = coverage_.add_row(section.name, row);
        const RowFact* fact = coverage_.row(index).fact;
        if (options_.list) {
            fmt::print("{:<14} {:<28} {}{}\n", section.name, row.name, row.id,
                       fact != nullptr ? fmt::format("   (excused: {})", fact->reason) : "");
            return {};
        }
        if (fact != nullptr && fact->excuse == Excuse::never) {
            return {};
        }
        // Seeded per row, so that choosing rows does not change their cases.
        u64 seed = options_.seed;
        for (const char* p = row.id; *p != 0; ++p) {
            seed = seed * 131 + static_cast<u8>(*p);
        }
        CaseGenerator generator(seed + row.pattern.value);
        unsigned made = 0;
        for (unsigned attempt = 0; made < options_.cases && attempt < options_.cases * 10; ++attempt) {
            OracleCase c{};
            c.insn_count = 1;
            if (!generator.random_insn(row, c.insns[0])) {
                break;
            }
            generator.random_state(c.input);
            c.input.fpcr &= fpcr_bits(model_, row);
            if (shape_case(c, next_address() + 4 * options_.prefix, generator, model_.id)) {
                plant_edge(c, c.insns[c.insn_count - 1], row, made);
                count_edges(c, c.insns[c.insn_count - 1], row, coverage_.row(index).edges);
                prepend_integer_insns(c, generator);
                VMM_TRY_VOID(add(c, row.name, index));
                ++made;
            }
        }
        return {};
    }

    /// Puts `prefix` random integer instructions before the case's own; they leave the registers that its last word may
    /// address with alone.
    void prepend_integer_insns(OracleCase& c, CaseGenerator& generator) {
        const u32 last = c.insns[c.insn_count - 1];
        const auto dp_imm = arch::dp_imm_rows();
        const auto dp_reg = arch::dp_reg_rows();
        for (unsigned made = 0; made < options_.prefix && c.insn_count < ORACLE_MAX_INSNS;) {
            const u64 pick = generator.rng().below(dp_imm.size() + dp_reg.size());
            const arch::DecodeRow& row = pick < dp_imm.size() ? dp_imm[pick] : dp_reg[pick - dp_imm.size()];
            u32 word = 0;
            if (!generator.random_insn(row, word) || !fit_as_prefix(word, model_.id)) {
                continue;
            }
            const u64 rd = bits(word, 4, 0);
            const bool free = rd != bits(last, 4, 0) && rd != bits(last, 9, 5) && rd != bits(last, 14, 10) &&
                              rd != bits(last, 20, 16) && rd != bits(last, 4, 0) + 1;
            if (free || (rd == 31 && bits(last, 9, 5) != 31)) {
                std::memmove(c.insns + 1, c.insns, 4 * c.insn_count++);
                c.insns[0] = word;
                ++made;
            }
        }
    }

    /// Words that no row matches: both sides must refuse them.
    Result<> add_holes(const Section& section) {
        CaseGenerator generator(options_.seed ^ 0x401E5);
        unsigned made = 0;
        for (u64 attempt = 0; made < options_.holes && attempt < u64{options_.holes} * 1000; ++attempt) {
            const u32 word =
                (static_cast<u32>(generator.rng().next() >> 16) & ~section.group_mask) | section.group_value;
            if (arch::decode(word) != nullptr || exclusion_reason(word, model_.id) != nullptr) {
                continue;
            }
            OracleCase c{};
            c.insn_count = 1;
            c.insns[0] = word;
            generator.random_state(c.input);
            VMM_TRY_VOID(add(c, section.holes_name));
            ++made;
        }
        return {};
    }

    /// Every word of a space of encodings, allocated or not.
    Result<> add_space() {
        const std::size_t slash = options_.space.find('/');
        if (slash == std::string::npos) {
            return fail_usage("--space \"{}\": must be VALUE/MASK in hexadecimal", options_.space);
        }
        const u32 mask = static_cast<u32>(std::strtoul(options_.space.c_str() + slash + 1, nullptr, 16));
        const u32 value = static_cast<u32>(std::strtoul(options_.space.c_str(), nullptr, 16)) & mask;
        CaseGenerator generator(options_.seed);
        u32 free = 0;
        do {
            OracleCase c{};
            c.insn_count = 1;
            c.insns[0] = value | free;
            generator.random_state(c.input);
            const arch::DecodeRow* row = arch::decode(c.insns[0]);
            const bool runs = row != nullptr ? shape_case(c, next_address(), generator, model_.id)
                                             : exclusion_reason(c.insns[0], model_.id) == nullptr;
            if (runs) {
                VMM_TRY_VOID(add(c, row != nullptr ? row->name : "(unallocated)"));
            }
            free = (free - ~mask) & ~mask;
        } while (free != 0);
        return {};
    }

    Result<> flush() {
        if (jobs_.empty()) {
            return {};
        }
        std::vector<OracleCase> cases;
        cases.reserve(jobs_.size());
        for (const Job& job : jobs_) {
            cases.push_back(job.c);
        }
        std::vector<OracleOutcome> ours(cases.size());
        bench_.load_code(cases);
        for (std::size_t i = 0; i < cases.size(); ++i) {
            bench_.run(cases[i], ORACLE_CODE_BASE + i * ORACLE_SLOT_SIZE, ours[i]);
        }
        VMM_TRY_VOID(run_reference(options_.reference, judged_by_model(cases, ours)));
        for (std::size_t i = 0; i < cases.size(); ++i) {
            correct_outcome(cases[i], model_.id);
            judge(cases[i], ours[i], ORACLE_CODE_BASE + i * ORACLE_SLOT_SIZE, jobs_[i]);
        }
        jobs_.clear();
        return {};
    }

    /// Words that are UNDEFINED may corrupt a model that does not check for them: it gets a NOP in their place.
    std::vector<OracleCase>& judged_by_model(std::vector<OracleCase>& cases, const std::vector<OracleOutcome>& ours) {
        constexpr u32 kNop = 0xD503201F;
        for (std::size_t i = 0; i < cases.size() && !model_.knows_undefined; ++i) {
            if (ours[i].signal == SIGILL) {
                std::fill_n(cases[i].insns, cases[i].insn_count, kNop);
            }
        }
        return cases;
    }

    void judge(const OracleCase& c, const OracleOutcome& ours, u64 address, const Job& job) {
        if (job.row_name != row_name_ || job.row != row_) {
            finish_row();
            row_name_ = job.row_name;
            row_ = job.row;
        }
        RowTally* tally = job.row != kNoRow ? &coverage_.row(job.row) : nullptr;
        if (c.outcome.signal == ORACLE_REFUSED || (ours.signal == SIGILL && !model_.knows_undefined)) {
            ++totals_.refused;
            if (tally != nullptr) {
                ++tally->refused;
            }
            return;
        }
        ++totals_.cases;
        ++row_cases_;
        totals_.faulting += c.outcome.signal != 0;
        const auto lines = differences(c, ours, model_);
        if (tally != nullptr) {
            ++tally->cases;
            tally->mismatches += !lines.empty();
        }
        if (lines.empty() || (tally != nullptr && tally->fact != nullptr)) {
            return;
        }
        ++totals_.mismatches;
        if (row_mismatches_++ >= options_.max_report) {
            return;
        }
        fmt::print("MISMATCH {}\n{}{}", job.row_name, disassemble(c, address), describe_inputs(c));
        for (const std::string& line : lines) {
            fmt::print("  {}\n", line);
        }
    }

    void finish_row() {
        if (row_mismatches_ != 0) {
            fmt::print("row {}: {} of {} cases differ\n\n", row_name_, row_mismatches_, row_cases_);
            ++totals_.bad_rows;
        }
        row_mismatches_ = 0;
        row_cases_ = 0;
    }

    const Options options_;
    const Model& model_;
    Coverage coverage_;
    VcpuBench bench_;
    std::vector<Job> jobs_;
    Totals totals_;
    const char* row_name_ = nullptr;
    std::size_t row_ = kNoRow;
    unsigned row_cases_ = 0;
    unsigned row_mismatches_ = 0;
};

}  // namespace

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"Compares our instructions with a reference model on random cases"};
    app.add_option("--section", options.section, "section of the decode table (glob)");
    app.add_option("--rows", options.rows, "rows, by printed name or handler (glob)");
    app.add_option("--cases", options.cases, "cases per row");
    app.add_option("--holes", options.holes, "words per section that match no row; both sides must refuse them");
    app.add_option("--space", options.space,
                   "VALUE/MASK: every word with these fixed bits, instead of rows (hexadecimal)");
    app.add_option("--seed", options.seed, "seed of the generator");
    app.add_option("--max-report", options.max_report, "mismatches printed per row");
    app.add_option("--cpu", options.reference.cpu, "qemu CPU model");
    app.add_option("--qemu", options.reference.qemu, "qemu-aarch64; empty to run the runner directly");
    app.add_option("--runner", options.reference.runner, "runner program of the model");
    app.add_option("--model", options.model, "reference model: qemu or vixl");
    app.add_flag("--edges", options.edges, "print how often each edge was drawn; one that a row lacks fails the run");
    app.add_flag("--coverage", options.coverage, "print for each row what became of it");
    app.add_option("--prefix", options.prefix, "random integer instructions before the one under test (up to 4)")
        ->check(CLI::Range(0, 4));
    app.add_flag("--engine", options.engine, "execute by Vcpu::run instead of calling the rows' handlers");
    app.add_flag("--host-code", options.host_code, "execute by Vcpu::run, everything translated to host code");
    app.add_flag("--list", options.list, "list the chosen rows and their exclusions");
    CLI11_PARSE(app, argc, argv);
    const Model* model = find_model(options.model);
    if (model == nullptr) {
        fmt::print(stderr, "oracle_test: --model \"{}\": must be qemu or vixl\n", options.model);
        return 2;
    }
    if (model->id == ModelId::vixl) {
        options.reference.qemu.clear();
    }
    if (options.reference.runner.empty()) {
        options.reference.runner = model->id == ModelId::vixl ? ORACLE_VIXL_RUNNER_PATH : ORACLE_RUNNER_PATH;
    }
    const auto result = Session(options, *model).run();
    if (!result) {
        fmt::print(stderr, "oracle_test: {}\n", result.error().text);
        return 2;
    }
    return *result;
}

}  // namespace vmm::oracle

int main(int argc, char** argv) {
    return vmm::oracle::run(argc, argv);
}
