#include "vmm/cli_values.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace vmm {

std::optional<u64> parse_u64(std::string_view text, bool hex) {
    int base = 10;
    if (hex && (text.starts_with("0x") || text.starts_with("0X"))) {
        text.remove_prefix(2);
        base = 16;
    }
    u64 value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

Result<u64> parse_size(std::string_view option, std::string_view text, u64 bare_unit) {
    static constexpr Choice<u64> kSuffixes[] = {
        {"B", 1}, {"K", u64{1} << 10}, {"M", u64{1} << 20}, {"G", u64{1} << 30}, {"T", u64{1} << 40}};
    std::string_view digits = text;
    u64 unit = bare_unit;
    if (!text.empty() && std::isalpha(static_cast<unsigned char>(text.back()))) {
        const char suffix = static_cast<char>(std::toupper(static_cast<unsigned char>(text.back())));
        const auto found = std::find_if(std::begin(kSuffixes), std::end(kSuffixes),
                                        [&](const Choice<u64>& choice) { return choice.word[0] == suffix; });
        unit = found == std::end(kSuffixes) ? 0 : found->value;
        digits.remove_suffix(1);
    }
    const std::optional<u64> number = parse_u64(digits);
    u64 bytes = 0;
    if (!number || unit == 0 || __builtin_mul_overflow(*number, unit, &bytes)) {
        return fail_usage("{} \"{}\": must be a number with an optional suffix B, K, M, G or T{}", option,
                          text, bare_unit == u64{1} << 20 ? " (without one: MiB)" : " (without one: bytes)");
    }
    return bytes;
}

}  // namespace vmm
