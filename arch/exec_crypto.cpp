#include "arch/decode_section.h"

namespace vmm::arch {

std::span<const DecodeRow> crypto_rows() {
    return {};
}

}  // namespace vmm::arch
