// Which rows of the decode table a run has judged, and whether every other one is excused (model.h).
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/edges.h"
#include "tests/oracle/model.h"

namespace vmm::oracle {

/// What happened to the cases of one row.
struct RowTally {
    const char* section;
    const arch::DecodeRow* row;
    const RowFact* fact;  // nullptr: the model's verdict counts
    unsigned cases = 0;   // run by both sides
    unsigned refused =
        0;  // cases without a verdict: the model does not know the word, or not that it is UNDEFINED
    unsigned mismatches = 0;
    EdgeCounts edges{};
};

class Coverage {
  public:
    explicit Coverage(const Model& model) : model_(model) {}

    /// Starts a row; later counts go to it by the returned index.
    std::size_t add_row(const char* section, const arch::DecodeRow& row);

    RowTally& row(std::size_t index) { return rows_[index]; }

    /// One line for each row that is neither judged nor rightly excused and, if the run had `all_rows`, for each excuse
    /// that no row needs; empty: all are accounted for.
    std::vector<std::string> complaints(bool all_rows) const;

    /// How often each edge was drawn, in all and at least for each row that must have it; false: for one not at all.
    bool print_edges() const;

    /// Rows, cases and mismatches of each section; `each_row`: of each row, too.
    void print(bool each_row) const;

  private:
    std::string verdict(const RowTally& tally) const;

    const Model& model_;
    std::vector<RowTally> rows_;
};

}  // namespace vmm::oracle
