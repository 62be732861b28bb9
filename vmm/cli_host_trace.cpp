#include "vmm/cli_host_trace.h"

#include <algorithm>

#include <CLI/CLI.hpp>

#include "spe/host_profiler.h"
#include "vmm/cli_values.h"

namespace vmm {

namespace {

Result<> parse_part(std::string_view text, std::string_view part, HostTraceConfig& trace) {
    const std::string_view key = part.substr(0, part.find('='));
    const std::string_view value = key.size() < part.size() ? part.substr(key.size() + 1) : "";
    if (key == "period") {
        const std::optional<u64> period = parse_u64(value);
        if (!period || *period < spe::kMinHostPeriod || *period > spe::kMaxHostPeriod || *period % 256 != 0) {
            return fail_usage("--spe-host-trace \"{}\": the period must be a multiple of 256 from {} to {}",
                              text, spe::kMinHostPeriod, spe::kMaxHostPeriod);
        }
        trace.period = *period;
        return {};
    }
    if (key == "model") {
        static constexpr Choice<spe::ModelKind> kModels[] = {{"basic", spe::ModelKind::basic},
                                                             {"detailed", spe::ModelKind::detailed}};
        VMM_TRY(trace.model, choose("--spe-host-trace model", value, kModels));
        return {};
    }
    return fail_usage(
        "--spe-host-trace \"{}\": unknown suffix \"{}\"; must be FILE[,period=N][,model=basic|detailed]",
        text, part);
}

}  // namespace

void add_host_trace_option(CLI::App& run, std::optional<std::string>& raw) {
    run.add_option("--spe-host-trace", raw,
                   "Profile the guest from outside, with or without --spe: a sample every N operations "
                   "(default 4096), into a perf.data FILE for the host's perf")
        ->type_name("FILE[,period=N][,model=basic|detailed]");
}

Result<HostTraceConfig> parse_host_trace(std::string_view text) {
    HostTraceConfig trace;
    trace.path = text.substr(0, text.find(','));
    if (trace.path.empty()) {
        return fail_usage("--spe-host-trace \"{}\": must be FILE[,period=N][,model=basic|detailed]", text);
    }
    for (std::size_t at = trace.path.size(); at < text.size();) {
        const std::size_t end = std::min(text.find(',', at + 1), text.size());
        VMM_TRY_VOID(parse_part(text, text.substr(at + 1, end - at - 1), trace));
        at = end;
    }
    return trace;
}

}  // namespace vmm
