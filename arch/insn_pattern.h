// The grammar of the decode table's patterns, parsed at compile time, and the binding of fields to handler parameters by
// name.
//
// A pattern lists an instruction's 32 bits from bit 31 down: `0` and `1` are fixed, `-` is ignored, `name:width` is a
// field, blanks are free. Example (ADD immediate): "sf:1 00 100010 sh:1 imm12:12 rn:5 rd:5".
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "arch/exec.h"
#include "vmm/base/bits.h"

namespace vmm::arch {

/// A string usable as a template argument.
template <std::size_t N>
struct FixedString {
    char text[N] = {};
    consteval FixedString(const char (&source)[N]) { std::copy_n(source, N, text); }
    constexpr std::string_view view() const { return {text, N - 1}; }
};

struct PatternField {
    std::string_view name;
    unsigned lsb = 0;
    unsigned width = 0;
};

struct Pattern {
    u32 mask = 0;   // fixed bits
    u32 value = 0;  // their values
    unsigned field_count = 0;
    std::array<PatternField, 12> fields{};

    constexpr bool matches(u32 insn) const { return (insn & mask) == value; }
    constexpr const PatternField* find(std::string_view name) const {
        for (unsigned i = 0; i < field_count; ++i) {
            if (fields[i].name == name) {
                return &fields[i];
            }
        }
        return nullptr;
    }
};

/// Parses a pattern; a malformed one does not compile (the throw is reached in a constant expression).
constexpr Pattern parse_pattern(std::string_view text) {
    Pattern pattern;
    unsigned position = 32;
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (c == ' ') {
            ++i;
        } else if (c == '0' || c == '1' || c == '-') {
            if (position == 0) throw "pattern is longer than 32 bits";
            --position;
            if (c != '-') {
                pattern.mask |= u32{1} << position;
                pattern.value |= (c == '1' ? u32{1} : u32{0}) << position;
            }
            ++i;
        } else {
            const std::size_t colon = text.find(':', i);
            if (colon == std::string_view::npos) throw "field without a width";
            unsigned width = 0;
            std::size_t end = colon + 1;
            while (end < text.size() && text[end] >= '0' && text[end] <= '9') {
                width = width * 10 + static_cast<unsigned>(text[end++] - '0');
            }
            if (width == 0 || width > position) throw "field does not fit";
            position -= width;
            if (pattern.field_count == pattern.fields.size()) throw "too many fields";
            pattern.fields[pattern.field_count++] = {text.substr(i, colon - i), position, width};
            i = end;
        }
    }
    if (position != 0) throw "pattern is shorter than 32 bits";
    return pattern;
}

/// A handler parameter: the instruction field of this name and width.
template <FixedString Name, unsigned Width>
struct Operand {
    static constexpr std::string_view name() { return Name.view(); }
    static constexpr unsigned width = Width;

    u32 value;

    /// The field as an unsigned number.
    constexpr operator u32() const { return value; }
    /// The field as a two's complement number.
    constexpr s64 sext() const { return sign_extend(value, Width); }
};

/// Adapts a handler with named operands to the uniform Handler signature.
template <auto Function, FixedString Text>
struct BoundHandler;

template <class... Ops, Exec (*Function)(Vcpu&, Ops...), FixedString Text>
struct BoundHandler<Function, Text> {
    static constexpr Pattern pattern = parse_pattern(Text.view());
    static_assert(sizeof...(Ops) == pattern.field_count, "handler parameters and pattern fields differ in number");

    template <class Op>
    static constexpr Op extract(u32 insn) {
        constexpr const PatternField* field = pattern.find(Op::name());
        static_assert(field != nullptr, "the pattern has no field of this parameter's name");
        static_assert(field->width == Op::width, "field and parameter differ in width");
        return Op{static_cast<u32>(bits(insn, field->lsb + field->width - 1, field->lsb))};
    }

    static Exec call([[maybe_unused]] Vcpu& v, [[maybe_unused]] u32 insn) { return Function(v, extract<Ops>(insn)...); }
};

}  // namespace vmm::arch
