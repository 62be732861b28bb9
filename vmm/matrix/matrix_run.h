// Runs the cells of a matrix as child processes, several at a time.
#pragma once

#include <vector>

#include "vmm/matrix/matrix_report.h"

namespace vmm {

struct MatrixOutcome {
    std::vector<CellResult> results;  // in the plan's order
    int signal = 0;                   // that ended it early; 0: none
};

/// Runs all cells, at most `jobs` at a time, and tells on standard error how it goes. On SIGINT, SIGTERM or SIGHUP
/// no more cells are started and those that run are stopped; when they are gone, so is this function. A second one
/// kills them. Must be called by the only thread of the process.
Result<MatrixOutcome> run_cells(const MatrixPlan& plan, unsigned jobs);

}  // namespace vmm
