// Differential test of the instruction handlers: random cases for every row of the decode table, run on our Vcpu and on
// a reference (qemu-aarch64), every difference reported. See README.md.
#include <cstdlib>
#include <cstring>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "arch/decode.h"
#include "tests/oracle/case_generator.h"
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
    bool engine = false;
    bool host_code = false;
    unsigned prefix = 0;  // integer instructions before the one under test
    std::string space;  // VALUE/MASK, hexadecimal
    ReferenceCommand reference;
};

struct Job {
    OracleCase c;
    const char* row_name;
};

/// What one run of the program did.
struct Totals {
    unsigned rows = 0;
    unsigned excluded_rows = 0;
    unsigned cases = 0;
    unsigned faulting = 0;
    unsigned mismatches = 0;
    unsigned bad_rows = 0;
};

class Session {
  public:
    explicit Session(const Options& options)
        : options_(options), bench_(options.host_code ? Execution::host_code
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
        fmt::print("{} rows ({} excluded), {} cases ({} of them faulting), {} mismatches in {} rows\n", totals_.rows,
                   totals_.excluded_rows, totals_.cases, totals_.faulting, totals_.mismatches, totals_.bad_rows);
        return totals_.mismatches == 0 ? 0 : 1;
    }

  private:
    u64 next_address() const { return ORACLE_CODE_BASE + jobs_.size() * ORACLE_SLOT_SIZE; }

    Result<> add(const OracleCase& c, const char* name) {
        jobs_.push_back({c, name});
        return jobs_.size() == ORACLE_MAX_CASES ? flush() : Result<>{};
    }

    Result<> add_row(const Section& section, const arch::DecodeRow& row) {
        ++totals_.rows;
        const char* reason = exclusion_reason(row);
        if (options_.list) {
            fmt::print("{:<14} {:<28} {}{}\n", section.name, row.name, row.id,
                       reason != nullptr ? fmt::format("   (excluded: {})", reason) : "");
            return {};
        }
        if (reason != nullptr) {
            ++totals_.excluded_rows;
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
            if (shape_case(c, next_address() + 4 * options_.prefix, generator)) {
                prepend_integer_insns(c, generator);
                VMM_TRY_VOID(add(c, row.name));
                ++made;
            }
        }
        if (made == 0) {
            return fail("no case could be made for row {} ({})", row.name, row.id);
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
            if (!generator.random_insn(row, word)) {
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
            if (arch::decode(word) != nullptr || exclusion_reason(word) != nullptr) {
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
            const bool runs = row != nullptr ? exclusion_reason(*row) == nullptr && shape_case(c, next_address(), generator)
                                             : exclusion_reason(c.insns[0]) == nullptr;
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
        VMM_TRY_VOID(run_reference(options_.reference, cases));
        bench_.load_code(cases);
        for (std::size_t i = 0; i < cases.size(); ++i) {
            OracleOutcome ours{};
            const u64 address = ORACLE_CODE_BASE + i * ORACLE_SLOT_SIZE;
            bench_.run(cases[i], address, ours);
            judge(cases[i], ours, address, jobs_[i].row_name);
        }
        jobs_.clear();
        return {};
    }

    void judge(const OracleCase& c, const OracleOutcome& ours, u64 address, const char* row_name) {
        if (row_name != row_name_) {
            finish_row();
            row_name_ = row_name;
        }
        ++totals_.cases;
        ++row_cases_;
        totals_.faulting += c.outcome.signal != 0;
        const auto lines = differences(c, ours);
        if (lines.empty()) {
            return;
        }
        ++totals_.mismatches;
        if (row_mismatches_++ >= options_.max_report) {
            return;
        }
        fmt::print("MISMATCH {}\n{}{}", row_name, disassemble(c, address), describe_inputs(c));
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
    VcpuBench bench_;
    std::vector<Job> jobs_;
    Totals totals_;
    const char* row_name_ = nullptr;
    unsigned row_cases_ = 0;
    unsigned row_mismatches_ = 0;
};

}  // namespace

int run(int argc, char** argv) {
    Options options;
    options.reference.runner = ORACLE_RUNNER_PATH;
    CLI::App app{"Compares our instruction handlers with qemu-aarch64 on random cases"};
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
    app.add_option("--runner", options.reference.runner, "state_runner program");
    app.add_option("--prefix", options.prefix, "random integer instructions before the one under test (up to 4)")
        ->check(CLI::Range(0, 4));
    app.add_flag("--engine", options.engine, "execute by Vcpu::run instead of calling the rows' handlers");
    app.add_flag("--host-code", options.host_code, "execute by Vcpu::run, everything translated to host code");
    app.add_flag("--list", options.list, "list the chosen rows and their exclusions");
    CLI11_PARSE(app, argc, argv);
    const auto result = Session(options).run();
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
