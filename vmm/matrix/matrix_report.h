// What became of the cells of a matrix: read back from their folders, wherever they ran.
#pragma once

#include <string>
#include <vector>

#include "vmm/matrix/matrix_plan.h"

namespace vmm {

struct CellResult {
    std::string name;
    std::string kind;  // as in result.schema.json, or "no-result", or "not-run"
    int status = 0;    // exit status of the run
    std::string text;  // one line; empty where all is well
    f64 seconds = 0;
    std::string out, err;  // the ends of what the last command printed

    bool passed() const { return kind == "ok"; }
};

/// The arguments of vmm for a cell, with those that name its result files.
std::vector<std::string> cell_arguments(const MatrixPlan& plan, const MatrixCell& cell);

/// Makes the output folder and those of the cells, removes results of earlier runs from them, and writes cells.json, from
/// which collect_matrix() knows what there should be.
Result<> prepare_output(const MatrixPlan& plan);

/// Reads the result of one cell. Never fails: what is missing or cannot be read is "no-result".
CellResult read_cell(const std::string& output, const std::string& cell);

/// Name and cells as prepare_output() wrote them; arguments, cpus and memory are left out.
Result<MatrixPlan> read_manifest(const std::string& output);

std::string matrix_table(const std::vector<CellResult>& results, f64 seconds);
std::string matrix_junit(const std::string& name, const std::vector<CellResult>& results, f64 seconds);

/// "PASS" or "FAIL", the cell, its seconds and what went wrong: one line without its end.
std::string cell_line(const CellResult& result);

}  // namespace vmm
