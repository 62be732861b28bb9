#include "vmm/matrix/slurm.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "vmm/matrix/matrix_report.h"
#include "vmm/output_file.h"

namespace vmm {

namespace {

constexpr u64 kOverhead = u64{256} << 20;  // of vmm itself, besides the guest's memory

Result<std::string> own_path() {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) {
        return fail("/proc/self/exe: {}", error.message());
    }
    return path.string();
}

Result<> write_script(const std::string& path, const std::string& text) {
    VMM_TRY_VOID(write_file(path, {reinterpret_cast<const u8*>(text.data()), text.size()}));
    if (::chmod(path.c_str(), 0755) != 0) {
        return fail_errno(errno, "\"{}\"", path);
    }
    return {};
}

/// What #SBATCH lines can hold of a name.
std::string job_name(const std::string& name) {
    std::string text = name.substr(0, 64);
    std::replace_if(
        text.begin(), text.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; },
        '-');
    return text;
}

std::string job_script(const MatrixPlan& plan, unsigned jobs, const std::string& program) {
    unsigned cpus = 1;
    u64 memory = 0;
    std::string cases;
    for (std::size_t n = 0; n < plan.cells.size(); ++n) {
        const MatrixCell& cell = plan.cells[n];
        cpus = std::max(cpus, cell.cpus);
        memory = std::max(memory, cell.memory);
        cases += fmt::format("{})\n    folder={}\n    set --", n, shell_quote(plan.output + "/" + cell.name));
        for (const std::string& word : cell_arguments(plan, cell)) {
            cases += " \\\n        " + shell_quote(word);
        }
        cases += " ;;\n";
    }
    std::string text = fmt::format(
        "#!/bin/sh\n#SBATCH --job-name={}\n#SBATCH --array=0-{}{}\n#SBATCH --cpus-per-task={}\n#SBATCH "
        "--mem={}M\n"
        "#SBATCH --output=/dev/null\n",
        job_name(plan.name), plan.cells.size() - 1, jobs == 0 ? "" : "%" + std::to_string(jobs), cpus,
        (memory + kOverhead) >> 20);
    text +=
        "# One cell of the matrix for each array task; the exit status of a task is that of its vmm run.\n";
    text += "cd " + shell_quote(plan.directory) + " || exit 3\n";
    text += "case ${SLURM_ARRAY_TASK_ID:?must be the number of a cell} in\n" + cases;
    text += "*) echo \"no cell has the number $SLURM_ARRAY_TASK_ID\" >&2; exit 2 ;;\nesac\n";
    text += "rm -f \"$folder/result.json\"\n";
    return text + "exec " + shell_quote(program) +
           " \"$@\" </dev/null >\"$folder/stdout\" 2>\"$folder/stderr\"\n";
}

}  // namespace

std::string shell_quote(const std::string& word) {
    std::string text = "'";
    for (const char c : word) {
        text += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return text + "'";
}

Result<> write_slurm(const MatrixPlan& plan, unsigned jobs) {
    VMM_TRY(const std::string program, own_path());
    VMM_TRY_VOID(write_script(plan.output + "/job.sh", job_script(plan, jobs, program)));
    const std::string collect =
        "#!/bin/sh\n# Table, JUnit file and exit status of what the tasks of job.sh have left.\nexec " +
        shell_quote(program) + " matrix --collect " + shell_quote(plan.output) + " \"$@\"\n";
    return write_script(plan.output + "/collect.sh", collect);
}

}  // namespace vmm
