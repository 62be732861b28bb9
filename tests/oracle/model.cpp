#include "tests/oracle/model.h"

#include "tests/oracle/rules.h"

namespace vmm::oracle {

namespace {

constexpr u32 kDn = u32{1} << 25;
constexpr u32 kRMode = u32{3} << 22;
constexpr u32 kAllFpcr = 0x07C80000;  // AHP, DN, FZ, RMode, FZ16

constexpr Model kModels[] = {
    {ModelId::qemu, "qemu", true, true, true, kAllFpcr},
    {ModelId::vixl, "vixl", false, false, false, kDn},
};

constexpr ModelId kQemu = ModelId::qemu;
constexpr ModelId kVixl = ModelId::vixl;

constexpr const char* kNoLevels = "the simulator has no Exception levels";

constexpr RowFact kRowFacts[] = {
    {kQemu, "branch_system", "SVC", Excuse::never, "a system call of the runner"},
    {kVixl, "branch_system", "SVC", Excuse::never, "VIXL keeps it for calls of its own"},
    {kVixl, "branch_system", "HVC", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "SMC", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "ERET", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "MSR (immediate) UAO", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "MSR (immediate) PAN", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "MSR (immediate) SPSel", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "MSR (immediate) DAIF*", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "SYS", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "SYSL", Excuse::refused, kNoLevels},
    {kVixl, "branch_system", "SYS (TLBI)", Excuse::refused, kNoLevels},
    {kVixl, "ldst", "unprivileged<*", Excuse::refused, "VIXL 5.1 lacks LDTR and STTR"},
    {kVixl, "crypto", "AES*", Excuse::refused, "VIXL 5.1 lacks the AES instructions"},
    {kVixl, "crypto", "SHA*", Excuse::refused, "VIXL 5.1 lacks the SHA instructions"},
    {kVixl, "crypto", "PMULL (1Q)", Excuse::deviates, "VIXL 5.1 lacks it and writes zeros"},
    {kVixl, "branch_system", "SYS (DC ZVA)", Excuse::never, "VIXL executes it as a NOP"},
};

// Rows for which a model follows more of FPCR than elsewhere.
struct FpcrFact {
    ModelId model;
    const char* rows;
    u32 bits;
};

constexpr FpcrFact kFpcrFacts[] = {
    {kVixl, "FRINTI*", kDn | kRMode},
    {kVixl, "FRINTX*", kDn | kRMode},
};

}  // namespace

std::span<const Model> models() {
    return kModels;
}

const Model* find_model(std::string_view name) {
    for (const Model& model : kModels) {
        if (model.name == name) {
            return &model;
        }
    }
    return nullptr;
}

const RowFact* find_fact(const Model& model, std::string_view section, const arch::DecodeRow& row) {
    for (const RowFact& fact : kRowFacts) {
        if (fact.model == model.id && glob_matches(fact.section, section) &&
            (glob_matches(fact.rows, row.name) || glob_matches(fact.rows, row.id))) {
            return &fact;
        }
    }
    return nullptr;
}

std::span<const RowFact> row_facts() {
    return kRowFacts;
}

u32 fpcr_bits(const Model& model, const arch::DecodeRow& row) {
    for (const FpcrFact& fact : kFpcrFacts) {
        if (fact.model == model.id && glob_matches(fact.rows, row.name)) {
            return fact.bits;
        }
    }
    return model.fpcr;
}

}  // namespace vmm::oracle
