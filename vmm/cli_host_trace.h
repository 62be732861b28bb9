// --spe-host-trace: its text form.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace CLI {
class App;
}

namespace vmm {

void add_host_trace_option(CLI::App& run, std::optional<std::string>& raw);

/// FILE[,period=N][,model=basic|detailed]; errors name the option and what it accepts.
Result<HostTraceConfig> parse_host_trace(std::string_view text);

}  // namespace vmm
