// The reference models: what judges our instructions, and what of them each can judge.
#pragma once

#include <span>
#include <string_view>

#include "arch/decode.h"

namespace vmm::oracle {

enum class ModelId : u8 {
    qemu,  // qemu-aarch64 running state_runner
    vixl,  // vixl_runner, linked with VIXL's simulator
};

struct Model {
    ModelId id;
    const char* name;
    bool knows_fpsr;       // false: the model keeps no cumulative flags
    bool knows_undefined;  // false: the model expects allocated words and has no Exception levels
    bool knows_faults;     // false: registers and memory after a fault are the model's own
    u32 fpcr;              // FPCR bits the model implements in all instructions
};

std::span<const Model> models();

/// nullptr: there is no such model.
const Model* find_model(std::string_view name);

/// Why a row has no verdict from a model.
enum class Excuse : u8 {
    never,     // no case is made: running one would harm the run itself
    refused,   // cases are made, and the model must refuse every one: it does not know the instruction
    deviates,  // cases are made, and the model must differ in some: it is wrong, as the reason says
};

/// One line of the table of facts in model.cpp. `section` and `rows` are globs; `rows` matches names and handlers.
struct RowFact {
    ModelId model;
    const char* section;
    const char* rows;
    Excuse excuse;
    const char* reason;
};

/// The first fact that matches, or nullptr: the model's verdict counts.
const RowFact* find_fact(const Model& model, std::string_view section, const arch::DecodeRow& row);

/// All facts, to look for those that match nothing.
std::span<const RowFact> row_facts();

/// FPCR bits that `model` follows in instructions of `row`.
u32 fpcr_bits(const Model& model, const arch::DecodeRow& row);

}  // namespace vmm::oracle
