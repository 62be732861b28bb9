#include "arch/decode.h"

#include <algorithm>
#include <array>
#include <vector>

namespace vmm::arch {

namespace {

std::vector<const DecodeRow*> concatenate_sections() {
    std::vector<const DecodeRow*> rows;
    for (const auto section : {dp_imm_rows(), branch_system_rows(), dp_reg_rows(), ldst_rows(),
                               ldst_exclusive_rows(), ldst_atomics_rows(), ldst_simd_rows(),
                               fp_rows(), simd_rows(), simd_three_same_rows(), simd_three_different_rows(),
                               simd_two_reg_rows(), simd_shift_imm_rows(), simd_fp_rows(),
                               simd_fp_misc_rows(), crypto_rows()}) {
        for (const DecodeRow& row : section) {
            rows.push_back(&row);
        }
    }
    return rows;
}

// Rows are found by a 17-bit key made of the bits that tell most encodings apart: [31:21] and [15:10].
constexpr unsigned kKeyBits = 17;

constexpr u32 key_of(u32 insn) {
    return static_cast<u32>(bits(insn, 31, 21) << 6 | bits(insn, 15, 10));
}

/// For each key the rows that may match it, most specific first; built once (about a millisecond).
class Index {
  public:
    Index() {
        const auto rows = decode_rows();
        std::vector<const DecodeRow*> order(rows.begin(), rows.end());
        std::stable_sort(order.begin(), order.end(), [](const DecodeRow* a, const DecodeRow* b) {
            return std::popcount(a->pattern.mask) > std::popcount(b->pattern.mask);
        });
        std::vector<std::vector<const DecodeRow*>> lists(std::size_t{1} << kKeyBits);
        for (const DecodeRow* row : order) {
            const u32 mask = key_of(row->pattern.mask);
            const u32 value = key_of(row->pattern.value);
            const u32 free = ~mask & static_cast<u32>(ones(kKeyBits));
            // Enumerate the subsets of the free key bits.
            for (u32 subset = 0;; subset = (subset - free) & free) {
                lists[value | subset].push_back(row);
                if (subset == free) {
                    break;
                }
            }
        }
        for (std::size_t key = 0; key < lists.size(); ++key) {
            first_[key] = static_cast<u32>(candidates_.size());
            candidates_.insert(candidates_.end(), lists[key].begin(), lists[key].end());
        }
        first_[lists.size()] = static_cast<u32>(candidates_.size());
    }

    const DecodeRow* find(u32 insn) const {
        const u32 key = key_of(insn);
        for (u32 i = first_[key]; i < first_[key + 1]; ++i) {
            const DecodeRow* row = candidates_[i];
            if (row->pattern.matches(insn)) {
                return row;
            }
        }
        return nullptr;
    }

  private:
    std::vector<const DecodeRow*> candidates_;
    std::array<u32, (std::size_t{1} << kKeyBits) + 1> first_{};
};

}  // namespace

std::span<const DecodeRow* const> decode_rows() {
    static const std::vector<const DecodeRow*> rows = concatenate_sections();
    return rows;
}

const DecodeRow* decode(u32 insn) {
    static const Index* const index = new Index;  // never destroyed: used until the last vCPU thread ends
    return index->find(insn);
}

const char* to_string(OpClass op_class) {
    switch (op_class) {
#define X(name) \
    case OpClass::name: return #name;
        VMM_OP_CLASSES(X)
#undef X
    }
    return "?";
}

}  // namespace vmm::arch
