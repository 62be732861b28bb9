#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> ldst_rows() {
    return {};
}

}  // namespace vmm::arch
