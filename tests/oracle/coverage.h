// Which rows of the decode table a run has judged, and whether every other one is excused (model.h).
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/model.h"

namespace vmm::oracle {

/// What happened to the cases of one row.
struct RowTally {
    const char* section;
    const arch::DecodeRow* row;
    const RowFact* fact;  // nullptr: the model's verdict counts
    unsigned cases = 0;   // run by both sides
    unsigned refused = 0; // cases without a verdict: the model does not know the word, or not that it is UNDEFINED
    unsigned mismatches = 0;
};

class Coverage {
  public:
    explicit Coverage(const Model& model) : model_(model) {}

    /// Starts a row; later counts go to it by the returned index.
    std::size_t add_row(const char* section, const arch::DecodeRow& row);

    RowTally& row(std::size_t index) { return rows_[index]; }

    /// One line for each row that is neither judged nor rightly excused; empty: all are accounted for.
    std::vector<std::string> complaints() const;

    /// Rows, cases and mismatches of each section; `each_row`: of each row, too.
    void print(bool each_row) const;

  private:
    std::string verdict(const RowTally& tally) const;

    const Model& model_;
    std::vector<RowTally> rows_;
};

}  // namespace vmm::oracle
