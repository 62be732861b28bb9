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
    run.add_option("--spe-model", raw.model,
                   "Caches, TLBs and predictor behind the records: basic (default) or detailed (slow while "
                   "profiling)")
        ->type_name("MODEL");
}

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
    if (raw.pin) {
        static constexpr Choice<mm::PinChoice> kPins[] = {{"auto", mm::PinChoice::automatic},
                                                          {"uring", mm::PinChoice::uring},
                                                          {"mlock", mm::PinChoice::mlock},
                                                          {"populate", mm::PinChoice::populate},
                                                          {"off", mm::PinChoice::off}};
        VMM_TRY(spe.pin, choose("--spe-pin", *raw.pin, kPins));
    }
    if (raw.model) {
        static constexpr Choice<spe::ModelKind> kModels[] = {{"basic", spe::ModelKind::basic},
                                                             {"detailed", spe::ModelKind::detailed}};
        VMM_TRY(spe.model, choose("--spe-model", *raw.model, kModels));
    }
    return spe;
}

}  // namespace vmm
