#include "vmm/cli_spe.h"

#include <CLI/CLI.hpp>

#include "spe/max_buffer_size.h"
#include "vmm/cli_values.h"

namespace vmm {

void add_spe_options(CLI::App& run, RawSpeOptions& raw) {
    run.add_flag("--spe", raw.enabled, "Give the CPUs a Statistical Profiling Extension");
    run.add_option("--spe-max-buffer-size", raw.max_buffer_size,
                   "Largest profiling buffer a CPU may use (default 4M; 0 = no limit)")
        ->type_name("SIZE");
    run.add_option("--spe-version", raw.version, "1.0 to 1.4 (default 1.2)")->type_name("VERSION");
    run.add_option("--spe-pin", raw.pin,
                   "How buffers are pinned: auto, uring, mlock, populate or off (default auto)")
        ->type_name("HOW");
    run.add_option("--spe-pin-policy", raw.pin_policy,
                   "What is pinned: lazy (a few MiB ahead of the records), eager (a buffer when it is "
                   "enabled) or all (RAM, at start) (default eager)")
        ->type_name("WHAT");
    run.add_option("--spe-pin-age", raw.pin_age,
                   "Unpin buffers that were not enabled for this many seconds (default 30; 0 = never)")
        ->type_name("SECONDS");
    run.add_option("--spe-pin-budget", raw.pin_budget,
                   "Most memory to pin for all CPUs together (default 0 = what the host allows)")
        ->type_name("SIZE");
    run.add_option("--spe-pin-shortage", raw.pin_shortage,
                   "When a buffer cannot be pinned: degrade (weaker or no pins), inject (tell the guest) or "
                   "stop (pause until there is room) (default degrade)")
        ->type_name("WHAT");
    run.add_option("--spe-model", raw.model,
                   "Caches, TLBs and predictor behind the records: basic (default) or detailed (slow while "
                   "profiling)")
        ->type_name("MODEL");
}

namespace {

Result<> parse_pin_options(const RawSpeOptions& raw, SpeConfig& spe) {
    if (raw.pin) {
        static constexpr Choice<mm::PinChoice> kPins[] = {{"auto", mm::PinChoice::automatic},
                                                          {"uring", mm::PinChoice::uring},
                                                          {"mlock", mm::PinChoice::mlock},
                                                          {"populate", mm::PinChoice::populate},
                                                          {"off", mm::PinChoice::off}};
        VMM_TRY(spe.pin, choose("--spe-pin", *raw.pin, kPins));
    }
    if (raw.pin_policy) {
        static constexpr Choice<mm::PinPolicy> kPolicies[] = {
            {"lazy", mm::PinPolicy::lazy}, {"eager", mm::PinPolicy::eager}, {"all", mm::PinPolicy::all}};
        VMM_TRY(spe.pin_policy, choose("--spe-pin-policy", *raw.pin_policy, kPolicies));
    }
    if (raw.pin_age) {
        constexpr u64 kMaxAge = 31'536'000;
        const std::optional<u64> seconds = parse_u64(*raw.pin_age);
        if (!seconds || *seconds > kMaxAge) {
            return fail_usage("--spe-pin-age \"{}\": must be a number of seconds from 0 to {}", *raw.pin_age,
                              kMaxAge);
        }
        spe.pin_age_seconds = *seconds;
    }
    if (raw.pin_budget) {
        VMM_TRY(spe.pin_budget, parse_size("--spe-pin-budget", *raw.pin_budget, 1));
    }
    if (raw.pin_shortage) {
        static constexpr Choice<mm::ShortagePolicy> kShortages[] = {{"degrade", mm::ShortagePolicy::degrade},
                                                                    {"inject", mm::ShortagePolicy::inject},
                                                                    {"stop", mm::ShortagePolicy::stop}};
        VMM_TRY(spe.pin_shortage, choose("--spe-pin-shortage", *raw.pin_shortage, kShortages));
    }
    return {};
}

}  // namespace

Result<SpeConfig> parse_spe_options(const RawSpeOptions& raw) {
    SpeConfig spe;
    spe.enabled = raw.enabled;
    if (raw.max_buffer_size) {
        VMM_TRY(spe.max_buffer_size, parse_size("--spe-max-buffer-size", *raw.max_buffer_size, 1));
        if (auto encoded = spe::encode_max_buffer_size(spe.max_buffer_size); !encoded) {
            return fail_usage("--spe-max-buffer-size \"{}\": {}", *raw.max_buffer_size, encoded.error().text);
        }
    }
    if (raw.version) {
        static constexpr Choice<u8> kVersions[] = {
            {"1.0", 1}, {"1.1", 2}, {"1.2", 3}, {"1.3", 4}, {"1.4", 5}};
        VMM_TRY(spe.pmsver, choose("--spe-version", *raw.version, kVersions));
    }
    VMM_TRY_VOID(parse_pin_options(raw, spe));
    if (raw.model) {
        static constexpr Choice<spe::ModelKind> kModels[] = {{"basic", spe::ModelKind::basic},
                                                             {"detailed", spe::ModelKind::detailed}};
        VMM_TRY(spe.model, choose("--spe-model", *raw.model, kModels));
    }
    return spe;
}

}  // namespace vmm
