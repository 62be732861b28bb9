#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> simd_rows() {
    return {};
}

}  // namespace vmm::arch
