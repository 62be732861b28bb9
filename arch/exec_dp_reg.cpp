#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> dp_reg_rows() {
    return {};
}

}  // namespace vmm::arch
