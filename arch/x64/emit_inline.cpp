// Finds the host code of instructions that the interpreter's loop leaves to their reference handlers.

#include <cstring>
#include <unordered_map>

#include "arch/decode.h"
#include "arch/x64/emitter.h"
#include "vmm/base/check.h"

namespace vmm::arch::x64 {

/// The row for the instructions of `handler`, or nullptr.
const Emitter::InlineRow* Emitter::find_inline(Handler handler) {
    using Table = std::unordered_map<Handler, const InlineRow*>;
    static const Table kTable = [] {
        std::unordered_map<std::string_view, const InlineRow*> by_id;
        for (const std::span<const InlineRow> rows :
             {fp_rows(), vector_fp_rows(), simd_rows(), simd_width_rows(), simd_move_rows(),
              simd_memory_rows()}) {
            for (const InlineRow& row : rows) {
                by_id.emplace(row.id, &row);
            }
        }
        Table table;
        for (const DecodeRow* row : decode_rows()) {
            if (const auto it = by_id.find(row->id); it != by_id.end()) {
                table.emplace(row->handler, it->second);
            }
        }
        for (const auto& [handler_of, row] : table) {
            by_id.erase(row->id);
        }
        VMM_CHECK(by_id.empty());  // every row here has one in the decode table
        return table;
    }();
    const auto it = kTable.find(handler);
    return it == kTable.end() ? nullptr : it->second;
}

bool Emitter::emit_inline(const Op& op) {
    if (!env_.avx2 || !env_.fma) {
        return false;
    }
    const InlineRow* const row = find_inline(op.handler);
    if (row == nullptr) {
        return false;
    }
    (this->*row->emit)(op, *row);
    return true;
}

}  // namespace vmm::arch::x64
