// The optional parts of the extension as text: "ernd=1,pbt=1,count=16".
#pragma once

#include <string>
#include <string_view>

#include "spe/profiling_unit.h"
#include "vmm/base/result.h"

namespace vmm::spe {

/// Applies a comma-separated list of key=value to `config.features` and checks the outcome against `config.pmsver`, which
/// must be set before. On an error `config` is unchanged. README.md lists the keys.
Result<> apply_features(ProfilingConfig& config, std::string_view text);

/// The keys with their values, defaults, least versions and meaning, one a line.
std::string feature_table();

}  // namespace vmm::spe
