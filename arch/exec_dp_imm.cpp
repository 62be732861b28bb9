#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> dp_imm_rows() {
    return {};
}

}  // namespace vmm::arch
