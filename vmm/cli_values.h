// Values on the command line: text → number, size or choice, or one line that says what would be accepted.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// A decimal number, or with `hex` also 0x…; nothing else around it.
std::optional<u64> parse_u64(std::string_view text, bool hex = false);

/// A size like "512", "2G" or "64m": a decimal number with K, M, G, T (powers of 1024) or B; a bare number
/// counts `bare_unit` bytes. `option` names it in errors.
Result<u64> parse_size(std::string_view option, std::string_view text, u64 bare_unit);

/// One of a few words, each standing for a value.
template <class T>
struct Choice {
    std::string_view word;
    T value;
};

template <class T, std::size_t N>
Result<T> choose(std::string_view option, std::string_view text, const Choice<T> (&choices)[N]) {
    std::string accepted;
    for (const Choice<T>& choice : choices) {
        if (choice.word == text) {
            return choice.value;
        }
        accepted += accepted.empty() ? "" : ", ";
        accepted += choice.word;
    }
    return fail_usage("{} \"{}\": must be one of {}", option, text, accepted);
}

}  // namespace vmm
