// --gdb and --gdb-wait: their text forms.
#pragma once

#include <optional>
#include <string>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace CLI {
class App;
}

namespace vmm {

struct RawGdbOptions {
    std::optional<std::string> address;
    bool wait = false;
};

void add_gdb_options(CLI::App& run, RawGdbOptions& raw);

/// PORT or unix:PATH; errors name the option and what it accepts. Not given: no debugger.
Result<GdbConfig> parse_gdb_options(const RawGdbOptions& raw);

}  // namespace vmm
