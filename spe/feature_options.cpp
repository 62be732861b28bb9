#include "spe/feature_options.h"

#include <array>
#include <charconv>

#include "spe/spe_words.h"
#include "vmm/base/bits.h"

namespace vmm::spe {

namespace {

struct Key {
    std::string_view name;
    unsigned least;
    unsigned most;
    const char* accepted;
    const char* fallback;  // what holds without the key
    const char* needs;
    const char* what;
    void (*apply)(FeatureOptions& options, unsigned value);
    bool (*accepts)(unsigned value) = nullptr;  // beyond the range
    std::string_view other_name = {};
};

constexpr const char* kSwitch = "0 or 1";
constexpr const char* kV1p2 = "1.2";
constexpr const char* kV1p4 = "1.4";

bool is_power_of_two(unsigned value) {
    return value != 0 && (value & (value - 1)) == 0;
}

// clang-format off
constexpr std::array kKeys = std::to_array<Key>({
    {"ernd", 0, 1, kSwitch, "0", "", "PMSIDR_EL1.ERnd: random operations run after the interval, in PMSICR_EL1.ECOUNT",
     [](FeatureOptions& o, unsigned v) { o.ernd = v != 0; }},
    {"pbt", 0, 1, kSwitch, "0", kV1p2, "PMSIDR_EL1.PBT: previous branch target in records of taken branches",
     [](FeatureOptions& o, unsigned v) { o.pbt = v != 0; }},
    {"lds", 0, 1, kSwitch, "1", "", "PMSIDR_EL1.LDS: data source of loads",
     [](FeatureOptions& o, unsigned v) { o.lds = v != 0; }},
    {"fds", 0, 1, kSwitch, "1 from 1.4 on", kV1p4, "PMSIDR_EL1.FDS: filter by data source (needs lds=1)",
     [](FeatureOptions& o, unsigned v) { o.fds = v != 0; }},
    {"crr", 0, 1, kSwitch, "1 from 1.4 on", kV1p4, "PMSIDR_EL1.CRR: calls and returns in branch packets",
     [](FeatureOptions& o, unsigned v) { o.crr = v != 0; }},
    {"eft", 0, 1, kSwitch, "0", kV1p4, "PMSIDR_EL1.{EFT, FPF}: FP and SIMD types, exact matching of types",
     [](FeatureOptions& o, unsigned v) { o.eft = v != 0; }},
    {"arch-inst", 0, 1, kSwitch, "1", "", "PMSIDR_EL1.ArchInst: instructions; or micro-operations, one each",
     [](FeatureOptions& o, unsigned v) { o.arch_inst = v != 0; }},
    {"interval", 256, 4096, "256, 512, 768, 1024, 1536, 2048, 3072 or 4096", "1024", "",
     "PMSIDR_EL1.Interval: the least interval recommended",
     [](FeatureOptions& o, unsigned v) { o.min_interval = v; }, [](unsigned v) { return interval_code(v).has_value(); }},
    {"count-size", 12, 16, "12 or 16", "12", "", "PMSIDR_EL1.CountSize: bits of latency counters",
     [](FeatureOptions& o, unsigned v) { o.counter_bits = v; }, [](unsigned v) { return v == 12 || v == 16; }, "count"},
    {"max-size", 64, 2048, "a power of two from 64 to 2048", "64", "", "PMSIDR_EL1.MaxSize: bytes of the largest record",
     [](FeatureOptions& o, unsigned v) { o.record_bytes = v; }, &is_power_of_two, "size"},
    {"align", 1, 2048, "a power of two from 1 to 2048", "64", "", "PMBIDR_EL1.Align, in bytes; at most max-size",
     [](FeatureOptions& o, unsigned v) { o.align_bytes = v; }, &is_power_of_two},
    {"strict", 0, 1, kSwitch, "0", "", "the same as --spe-strict",
     [](FeatureOptions& o, unsigned v) { o.strict_writes = v != 0; }},
    {"collisions", 0, 1, kSwitch, "0", "", "samples can collide: PMBSR_EL1.COLL",
     [](FeatureOptions& o, unsigned v) { o.collisions = v != 0; }},
});
// clang-format on

std::string key_names() {
    std::string names;
    for (const Key& key : kKeys) {
        names += names.empty() ? "" : ", ";
        names += key.name;
    }
    return names;
}

Result<> apply_one(FeatureOptions& options, std::string_view item) {
    const std::size_t equals = item.find('=');
    const std::string_view name = item.substr(0, equals);
    for (const Key& key : kKeys) {
        if (key.name != name && (key.other_name.empty() || key.other_name != name)) {
            continue;
        }
        if (equals == std::string_view::npos) {
            return fail_usage("SPE feature {} has no value; accepted: {}", name, key.accepted);
        }
        const std::string_view text = item.substr(equals + 1);
        unsigned value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool is_number = error == std::errc{} && end == text.data() + text.size();
        if (!is_number || value < key.least || value > key.most || (key.accepts != nullptr && !key.accepts(value))) {
            return fail_usage("SPE feature {} cannot be '{}'; accepted: {}", name, text, key.accepted);
        }
        key.apply(options, value);
        return {};
    }
    return fail_usage("'{}' is no SPE feature; accepted: {}", name, key_names());
}

}  // namespace

std::optional<std::string> invalid_features(const Features& f) {
    struct Rule {
        bool broken;
        const char* text;
    };
    const bool sizes_are_powers = is_power_of_two(f.record_bytes) && is_power_of_two(f.align_bytes);
    const Rule rules[] = {
        {f.pmsver < kSpeV1p0 || f.pmsver > kSpeV1p4, "PMSVer must be 1 to 5"},
        {f.counter_bits != 12 && f.counter_bits != 16, "count must be 12 or 16"},
        {!sizes_are_powers, "size and align must be powers of two"},
        {f.record_bytes < 64 || f.record_bytes > 2048, "size must be 64 to 2048"},
        {f.align_bytes > f.record_bytes, "align must not exceed size"},
        {!interval_code(f.min_interval), "interval must have an encoding"},
        {f.pbt && f.pmsver < kSpeV1p2, "pbt=1 needs PMSVer 3 (version 1.2) or later"},
        {f.fds && f.pmsver < kSpeV1p4, "fds=1 needs PMSVer 5 (version 1.4)"},
        {f.fds && !f.lds, "fds=1 needs lds=1"},
        {f.crr && f.pmsver < kSpeV1p4, "crr=1 needs PMSVer 5 (version 1.4)"},
        {f.eft && f.pmsver < kSpeV1p4, "eft=1 needs PMSVer 5 (version 1.4)"},
    };
    for (const Rule& rule : rules) {
        if (rule.broken) {
            return rule.text;
        }
    }
    return std::nullopt;
}

Result<> apply_features(ProfilingConfig& config, std::string_view text) {
    FeatureOptions options = config.features;
    for (bool more = !text.empty(); more;) {
        const std::size_t comma = text.find(',');
        VMM_TRY_VOID(apply_one(options, text.substr(0, comma)));
        more = comma != std::string_view::npos;
        text = more ? text.substr(comma + 1) : std::string_view{};
    }
    if (const auto reason = invalid_features(resolve(config.pmsver, options)); reason) {
        return fail_usage("SPE features do not fit together: {} (PMSVer is {}, version 1.{})", *reason, config.pmsver,
                          config.pmsver - 1);
    }
    config.features = options;
    return {};
}

std::string feature_table() {
    std::string table = fmt::format("{:<10}  {:<45}  {:<13}  {:<7}  {}\n", "name", "values", "default", "version",
                                    "what the guest sees");
    for (const Key& key : kKeys) {
        table += fmt::format("{:<10}  {:<45}  {:<13}  {:<7}  {}\n", key.name, key.accepted, key.fallback, key.needs,
                             key.what);
    }
    return table;
}

}  // namespace vmm::spe
