// A matrix as a Slurm job array.
#pragma once

#include <string>

#include "vmm/matrix/matrix_plan.h"

namespace vmm {

/// Writes into plan.output, which prepare_output() has made: job.sh, a batch script with one array task for each cell, and
/// collect.sh, which makes table, JUnit file and exit status of what the tasks have left. At most `jobs` tasks run at a
/// time; 0: as many as Slurm likes. The scripts have absolute paths: the nodes must see the same files.
Result<> write_slurm(const MatrixPlan& plan, unsigned jobs);

/// `word` as one word of a shell.
std::string shell_quote(const std::string& word);

}  // namespace vmm
