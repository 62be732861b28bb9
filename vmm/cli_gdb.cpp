#include "vmm/cli_gdb.h"

#include <CLI/CLI.hpp>

#include "vmm/cli_values.h"

namespace vmm {

void add_gdb_options(CLI::App& run, RawGdbOptions& raw) {
    run.add_option("--gdb", raw.address,
                   "Let a debugger connect ('target remote'): to a TCP port of localhost, 0 for any, or to a Unix socket")
        ->type_name("PORT|unix:PATH");
    run.add_flag("--gdb-wait", raw.wait, "Do not start the guest before a debugger lets it go on");
}

Result<GdbConfig> parse_gdb_options(const RawGdbOptions& raw) {
    constexpr std::string_view kUnix = "unix:";
    constexpr u64 kMaxPort = 65535;
    GdbConfig config;
    if (!raw.address) {
        if (raw.wait) {
            return fail_usage("--gdb-wait: needs --gdb PORT|unix:PATH");
        }
        return config;
    }
    config.enabled = true;
    config.wait = raw.wait;
    const std::string_view text = *raw.address;
    if (text.starts_with(kUnix) && text.size() > kUnix.size()) {
        config.path = text.substr(kUnix.size());
        return config;
    }
    const std::optional<u64> port = parse_u64(text);
    if (!port || *port > kMaxPort) {
        return fail_usage("--gdb \"{}\": must be a TCP port from 0 to {} or unix:PATH", text, kMaxPort);
    }
    config.port = static_cast<u16>(*port);
    return config;
}

}  // namespace vmm
