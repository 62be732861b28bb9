// Matrix files of any content.
#include "tests/fuzz/host_files.h"
#include "tests/fuzz/target.h"
#include "vmm/matrix/matrix_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmm;
    const UniqueFd file = fuzz::memory_file({data, size});
    const HostFacts host{.online_cpus = 4, .memory = u64{8} << 30};
    const auto plan = load_matrix(fuzz::path_of(file), "/nowhere/results", host);
    if (!plan) {
        VMM_CHECK(!plan.error().text.empty() && plan.error().text.find('\n') == std::string::npos);
        return 0;
    }
    VMM_CHECK(!plan->cells.empty());
    for (const MatrixCell& cell : plan->cells) {
        VMM_CHECK(!cell.name.empty() && cell.name.find("..") != 0);
    }
    return 0;
}
