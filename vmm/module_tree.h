// Kernel modules of a guest, from the folder that the kernel's package fills: lib/modules/VERSION.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

struct KernelModule {
    std::string file_name;  // without its folder and compression, such as "arm_spe_pmu.ko"
    std::vector<u8> content;
};

class ModuleTree {
  public:
    /// `folder` holds modules.dep, or a single lib/modules/VERSION that does.
    static Result<ModuleTree> open(const std::string& folder);

    enum class Absent : u8 { error, skip };
    /// Adds a module and, before it, those it needs, unless they are there already. A name is as in lsmod; '-' and '_' are
    /// the same. What is built into the kernel needs no module. `absent`: what to do where there is none of that name.
    Result<> add(std::string_view name, Absent absent, std::vector<KernelModule>& modules) const;

  private:
    Result<KernelModule> load(const std::string& path) const;
    bool is_built_in(std::string_view name) const;

    std::string folder_;
    std::string dependencies_;  // modules.dep
    std::string built_in_;      // modules.builtin; empty where there is none
};

}  // namespace vmm
