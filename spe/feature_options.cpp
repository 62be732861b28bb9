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
    void (*apply)(FeatureOptions& options, unsigned value);
    bool (*accepts)(unsigned value) = nullptr;  // beyond the range
};

constexpr const char* kSwitch = "0 or 1";

bool is_power_of_two(unsigned value) {
    return value != 0 && (value & (value - 1)) == 0;
}

// clang-format off
constexpr std::array kKeys = std::to_array<Key>({
    {"ernd",       0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.ernd = v != 0; }},
    {"pbt",        0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.pbt = v != 0; }},
    {"lds",        0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.lds = v != 0; }},
    {"fds",        0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.fds = v != 0; }},
    {"crr",        0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.crr = v != 0; }},
    {"eft",        0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.eft = v != 0; }},
    {"strict",     0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.strict_writes = v != 0; }},
    {"collisions", 0, 1, kSwitch, [](FeatureOptions& o, unsigned v) { o.collisions = v != 0; }},
    {"count", 12, 16, "12 or 16", [](FeatureOptions& o, unsigned v) { o.counter_bits = v; },
     [](unsigned v) { return v == 12 || v == 16; }},
    {"size", 64, 2048, "a power of two from 64 to 2048", [](FeatureOptions& o, unsigned v) { o.record_bytes = v; },
     &is_power_of_two},
    {"align", 1, 2048, "a power of two from 1 to 2048", [](FeatureOptions& o, unsigned v) { o.align_bytes = v; },
     &is_power_of_two},
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
        if (key.name != name) {
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
        {f.pbt && f.pmsver < kSpeV1p2, "pbt=1 needs PMSVer 3 (SPEv1p2) or later"},
        {f.fds && f.pmsver < kSpeV1p4, "fds=1 needs PMSVer 5 (SPEv1p4)"},
        {f.fds && !f.lds, "fds=1 needs lds=1"},
        {f.crr && f.pmsver < kSpeV1p4, "crr=1 needs PMSVer 5 (SPEv1p4)"},
        {f.eft && f.pmsver < kSpeV1p4, "eft=1 needs PMSVer 5 (SPEv1p4)"},
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
    while (!text.empty()) {
        const std::size_t comma = text.find(',');
        VMM_TRY_VOID(apply_one(options, text.substr(0, comma)));
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    }
    if (const auto reason = invalid_features(resolve(config.pmsver, options)); reason) {
        return fail_usage("SPE features do not fit together: {} (PMSVer is {})", *reason, config.pmsver);
    }
    config.features = options;
    return {};
}

}  // namespace vmm::spe
