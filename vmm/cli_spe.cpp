#include "vmm/cli_spe.h"

#include <CLI/CLI.hpp>

#include "spe/feature_options.h"
#include "spe/max_buffer_size.h"
#include "vmm/base/bits.h"
#include "vmm/cli_values.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

static_assert(kMaxCpus <= 64, "a set of vCPUs is a u64");

Result<unsigned> parse_ppi(std::string_view text) {
    using devices::GicV3;
    const std::optional<u64> intid = parse_u64(text);
    if (!intid || *intid < GicV3::kFirstPpi || *intid >= GicV3::kFirstSpi) {
        return fail_usage(
            "--spe-ppi \"{}\": must be the INTID of a private interrupt, 16 to 31 (INTID 16 is PPI 0)", text);
    }
    const auto id = static_cast<unsigned>(*intid);
    if (const std::string_view user = private_intid_user(id); !user.empty()) {
        return fail_usage("--spe-ppi \"{}\": belongs to {}; 21 is the usual one", text, user);
    }
    return id;
}

/// The choices that are features, once the version is known.
Result<> parse_spe_features(const RawSpeOptions& raw, SpeConfig& spe) {
    if (raw.features) {
        spe::ProfilingConfig config;
        config.pmsver = spe.pmsver;
        if (auto applied = spe::apply_features(config, *raw.features); !applied) {
            return fail_usage("--spe-features \"{}\": {}", *raw.features, applied.error().text);
        }
        spe.features = config.features;
    }
    if (raw.strict) {
        spe.features.strict_writes = true;
    }
    if (raw.faults) {
        static constexpr Choice<bool> kTimes[] = {{"lazy", false}, {"eager", true}};
        VMM_TRY(spe.features.eager_faults, choose("--spe-faults", *raw.faults, kTimes));
    }
    if (raw.owner) {
        static constexpr Choice<bool> kOwners[] = {{"el1", false}, {"higher", true}};
        VMM_TRY(spe.features.higher_owner, choose("--spe-owner", *raw.owner, kOwners));
    }
    return {};
}

}  // namespace

void add_spe_options(CLI::App& run, RawSpeOptions& raw) {
    run.add_flag("--spe", raw.enabled, "Give the CPUs a Statistical Profiling Extension");
    run.add_option("--spe-max-buffer-size", raw.max_buffer_size,
                   "Largest profiling buffer a CPU may use (default 4M; 0 = no limit)")
        ->type_name("SIZE");
    run.add_option("--spe-version", raw.version, "1.0 to 1.4 (default 1.2)")->type_name("VERSION");
    run.add_option("--spe-pin", raw.pin,
                   "How buffers are pinned: auto, uring, mlock, populate or off (default auto)")
        ->type_name("auto|uring|mlock|populate|off");
    run.add_option("--spe-pin-policy", raw.pin_policy,
                   "What is pinned: lazy (a few MiB ahead of the records), eager (a buffer when it is "
                   "enabled) or all (RAM, at start) (default eager)")
        ->type_name("lazy|eager|all");
    run.add_option("--spe-pin-age", raw.pin_age,
                   "Unpin buffers that were not enabled for this many seconds (default 30; 0 = never)")
        ->type_name("SECONDS");
    run.add_option("--spe-pin-budget", raw.pin_budget,
                   "Most memory to pin for all CPUs together (default 0 = what the host allows)")
        ->type_name("SIZE");
    run.add_option("--spe-pin-shortage", raw.pin_shortage,
                   "When a buffer cannot be pinned: degrade (weaker or no pins), inject (tell the guest) or "
                   "stop (pause until there is room) (default degrade)")
        ->type_name("degrade|inject|stop");
    run.add_option("--spe-model", raw.model,
                   "Caches, TLBs and predictor behind the records: basic (default) or detailed (slow while "
                   "profiling)")
        ->type_name("basic|detailed");
    run.add_option("--spe-features", raw.features,
                   "Optional features and ID fields, such as ernd=1,count-size=16; help prints them all")
        ->type_name("LIST");
    run.add_flag(
        "--spe-strict", raw.strict,
        "Ignore writes to PMBPTR, PMBSR and PMBLIMITR while the buffer is enabled, but for clearing E");
    run.add_option(
           "--spe-faults", raw.faults,
           "When a bad page of the buffer faults: lazy, when it is written (default); eager, when the buffer "
           "is enabled")
        ->type_name("lazy|eager");
    run.add_option("--spe-ppi", raw.ppi,
                   "INTID of the profiling interrupt, 16 to 31 (default 21, which is PPI 5)")
        ->type_name("INTID");
    run.add_option("--spe-cpus", raw.cpus, "CPUs that have SPE, such as 0-1,3 (default all)")
        ->type_name("LIST");
    run.add_option("--spe-owner", raw.owner,
                   "Who owns the buffer: el1 (default), or higher: PMBIDR_EL1.P is 1 and EL1 cannot profile")
        ->type_name("el1|higher");
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

Result<u64> parse_cpu_list(std::string_view option, std::string_view text, unsigned cpus) {
    const auto refuse = [&](std::string_view why) -> Result<u64> {
        return fail_usage("{} \"{}\": {}; must be numbers and ranges from 0 to {}, such as 0-1,3", option,
                          text, why, cpus - 1);
    };
    u64 mask = 0;
    std::string_view rest = text;
    for (bool more = true; more;) {
        const std::size_t comma = rest.find(',');
        const std::string_view item = rest.substr(0, comma);
        more = comma != std::string_view::npos;
        rest = more ? rest.substr(comma + 1) : std::string_view{};
        const std::size_t dash = item.find('-');
        const std::optional<u64> first = parse_u64(item.substr(0, dash));
        const std::optional<u64> last =
            dash == std::string_view::npos ? first : parse_u64(item.substr(dash + 1));
        if (!first || !last) {
            return refuse(fmt::format("'{}' is no CPU", item));
        }
        if (*first > *last) {
            return refuse(fmt::format("'{}' runs backwards", item));
        }
        if (*last >= cpus) {
            return refuse(fmt::format("there is no CPU {}", *last));
        }
        mask |= ones(static_cast<unsigned>(*last - *first + 1)) << *first;
    }
    return mask;
}

Result<SpeConfig> parse_spe_options(const RawSpeOptions& raw, unsigned cpus) {
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
    if (raw.ppi) {
        VMM_TRY(spe.intid, parse_ppi(*raw.ppi));
    }
    if (raw.cpus) {
        VMM_TRY(spe.cpus, parse_cpu_list("--spe-cpus", *raw.cpus, cpus));
    }
    VMM_TRY_VOID(parse_spe_features(raw, spe));
    return spe;
}

}  // namespace vmm
