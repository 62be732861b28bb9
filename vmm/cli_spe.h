// The --spe options of `vmm run`.
#pragma once

#include <optional>
#include <string>

#include "vmm/base/result.h"
#include "vmm/config.h"

namespace CLI {
class App;
}

namespace vmm {

/// What the user wrote, before any checking.
struct RawSpeOptions {
    bool enabled = false;
    std::optional<std::string> max_buffer_size, version, pin, pin_policy, pin_age, pin_budget, pin_shortage, model;
};

/// Adds the options to `run`; parsing fills `raw`, which outlives it.
void add_spe_options(CLI::App& run, RawSpeOptions& raw);

/// An error is one line that names the option, the value and what would be accepted.
Result<SpeConfig> parse_spe_options(const RawSpeOptions& raw);

}  // namespace vmm
