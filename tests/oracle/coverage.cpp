#include "tests/oracle/coverage.h"

#include <algorithm>

#include <fmt/format.h>

namespace vmm::oracle {

namespace {

// Fewer cases than this may miss what a model gets wrong.
constexpr unsigned kEnoughToDeviate = 50;

/// What is wrong with the row's account; empty: nothing.
std::string complaint(const RowTally& t) {
    if (t.fact == nullptr) {
        return t.cases != 0     ? ""
               : t.refused == 0 ? "neither tested nor excused"
                                : "not excused, and the model does not judge any of its cases";
    }
    switch (t.fact->excuse) {
        case Excuse::never: return t.cases != 0 ? "excused, yet it was tested" : "";
        case Excuse::refused: return t.cases != 0 ? "excused as unknown to the model, which executes it" : "";
        case Excuse::deviates:
            return t.mismatches == 0 && t.cases >= kEnoughToDeviate
                       ? "excused as wrong in the model, which agrees"
                       : "";
    }
    return "";
}

struct Summary {
    std::vector<unsigned> cases;  // of the judged rows
    unsigned rows = 0;
    unsigned excused = 0;
    unsigned mismatches = 0;

    void add(const RowTally& t) {
        ++rows;
        if (t.fact == nullptr) {
            cases.push_back(t.cases);
            mismatches += t.mismatches;
        } else {
            ++excused;
        }
    }
    void print(const char* name) {
        std::sort(cases.begin(), cases.end());
        u64 total = 0;
        for (const unsigned n : cases) {
            total += n;
        }
        fmt::print("{:<22} {:5} {:7} {:8} {:9} {:8} {:8} {:11}\n", name, rows, cases.size(), excused, total,
                   cases.empty() ? 0 : cases.front(), cases.empty() ? 0 : cases[cases.size() / 2],
                   mismatches);
    }
};

}  // namespace

std::size_t Coverage::add_row(const char* section, const arch::DecodeRow& row) {
    rows_.push_back({.section = section, .row = &row, .fact = find_fact(model_, section, row)});
    return rows_.size() - 1;
}

std::vector<std::string> Coverage::complaints(bool all_rows) const {
    std::vector<std::string> lines;
    for (const RowFact& fact : row_facts()) {
        const auto uses = [&fact](const RowTally& t) { return t.fact == &fact; };
        if (all_rows && fact.model == model_.id && std::none_of(rows_.begin(), rows_.end(), uses)) {
            lines.push_back(fmt::format("{} {}: excuses no row", fact.section, fact.rows));
        }
    }
    for (const RowTally& t : rows_) {
        if (const std::string text = complaint(t); !text.empty()) {
            lines.push_back(fmt::format("{} {} ({}): {}", t.section, t.row->name, t.row->id, text));
        }
    }
    return lines;
}

bool Coverage::print_edges() const {
    bool all_drawn = true;
    fmt::print("{:<18} {:>6} {:>8} {:>8} {:>10}\n", "edge", "rows", "min/row", "median", "drawn");
    for (std::size_t i = 0; i < kEdges; ++i) {
        const Edge edge = static_cast<Edge>(i);
        std::vector<unsigned> counts;
        u64 total = 0;
        for (const RowTally& t : rows_) {
            if (t.cases == 0 || !must_have(*t.row, edge, fpcr_bits(model_, *t.row))) {
                continue;
            }
            counts.push_back(t.edges[i]);
            total += t.edges[i];
            if (t.edges[i] == 0) {
                fmt::print("EDGE {}: never drawn for {} {} ({})\n", edge_name(edge), t.section, t.row->name,
                           t.row->id);
                all_drawn = false;
            }
        }
        if (!counts.empty()) {
            std::sort(counts.begin(), counts.end());
            fmt::print("{:<18} {:6} {:8} {:8} {:10}\n", edge_name(edge), counts.size(), counts.front(),
                       counts[counts.size() / 2], total);
        }
    }
    return all_drawn;
}

std::string Coverage::verdict(const RowTally& t) const {
    if (t.fact == nullptr) {
        return fmt::format("tested {} cases{}", t.cases,
                           t.mismatches != 0 ? fmt::format(", {} mismatches", t.mismatches) : "");
    }
    const char* kind = t.fact->excuse == Excuse::never     ? "never run"
                       : t.fact->excuse == Excuse::refused ? "unknown to the model"
                                                           : "model deviates";
    return fmt::format("{}: {}", kind, t.fact->reason);
}

void Coverage::print(bool each_row) const {
    if (each_row) {
        for (const RowTally& t : rows_) {
            fmt::print("{:<20} {:<32} {:<34} {}\n", t.section, t.row->name, t.row->id, verdict(t));
        }
    }
    fmt::print("{:<22} {:>5} {:>7} {:>8} {:>9} {:>8} {:>8} {:>11}\n", model_.name, "rows", "tested",
               "excused", "cases", "min/row", "median", "mismatches");
    Summary all;
    for (std::size_t first = 0; first < rows_.size();) {
        Summary section;
        std::size_t i = first;
        for (; i < rows_.size() && rows_[i].section == rows_[first].section; ++i) {
            section.add(rows_[i]);
            all.add(rows_[i]);
        }
        section.print(rows_[first].section);
        first = i;
    }
    all.print("all");
}

}  // namespace vmm::oracle
