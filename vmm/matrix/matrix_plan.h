// A matrix of runs: kernels x CPU models x SPE settings x commands, as a TOML file describes it.
#pragma once

#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/cli.h"

namespace vmm {

/// One run.
struct MatrixCell {
    std::string name;  // KERNEL[/CPU-MODEL][/SPE]/COMMAND; also its folder in the output folder
    std::vector<std::string>
        arguments;  // of vmm, "run" first; without those that name the cell's own result files
    unsigned cpus = 0;
    u64 memory = 0;  // bytes
};

struct MatrixPlan {
    std::string name;
    std::string directory;  // absolute; of the file: relative paths in it start there
    std::string output;     // absolute; each cell has a folder in it
    std::vector<MatrixCell> cells;
};

/// Reads the file, makes the cells and checks the command line of each. `output` is where relative paths of --copy-out
/// and the like lead to. An error is one line that begins with FILE:LINE:COLUMN.
Result<MatrixPlan> load_matrix(const std::string& file, const std::string& output, const HostFacts& host);

}  // namespace vmm
