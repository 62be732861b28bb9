#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> branch_system_rows() {
    return {};
}

}  // namespace vmm::arch
