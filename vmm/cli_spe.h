// The --spe options of `vmm run`.
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

/// What the user wrote, before any checking.
struct RawSpeOptions {
    bool enabled = false, strict = false;
    std::optional<std::string> max_buffer_size, version, pin, pin_policy, pin_age, pin_budget, pin_shortage,
        model, features, faults, ppi, cpus, owner;

    /// The user asked for the list of features instead of a run.
    bool asks_for_features() const { return features == "help" || features == "list"; }
};

/// Adds the options to `run`; parsing fills `raw`, which outlives it.
void add_spe_options(CLI::App& run, RawSpeOptions& raw);

/// For a machine of `cpus` vCPUs. An error is one line that names the option, the value and what would be
/// accepted.
Result<SpeConfig> parse_spe_options(const RawSpeOptions& raw, unsigned cpus);

/// vCPUs like "0-1,3" as a mask; each must be below `cpus`.
Result<u64> parse_cpu_list(std::string_view option, std::string_view text, unsigned cpus);

}  // namespace vmm
