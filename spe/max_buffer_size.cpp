#include "spe/max_buffer_size.h"

#include <bit>

#include "spe/spe_words.h"

namespace vmm::spe {

namespace {

using Exponent = Field<13, 9>;
using Mantissa = Field<8, 0>;

constexpr u64 kPage = 4096;
constexpr u64 kFirstNormal = u64{2} << 20;  // sizes from here on have an implicit leading one
constexpr u16 kMaxField = 0x3FFF;

/// The largest representable size not above `bytes` (which is at least a page).
u16 round_down(u64 bytes) {
    if (bytes < kFirstNormal) {
        return static_cast<u16>(bytes / kPage);
    }
    const unsigned exponent = static_cast<unsigned>(std::bit_width(bytes)) - 1 - 20;
    if (exponent > Exponent::get(kMaxField)) {
        return kMaxField;
    }
    return static_cast<u16>(Exponent::put(exponent) | Mantissa::put(bytes >> (exponent + 11)));
}

}  // namespace

u64 decode_max_buffer_size(u16 field) {
    const u64 exponent = Exponent::get(field);
    const u64 mantissa = Mantissa::get(field);
    return exponent == 0 ? mantissa * kPage : (512 + mantissa) << (exponent + 11);
}

Result<u16> encode_max_buffer_size(u64 bytes) {
    if (bytes == 0) {
        return u16{0};
    }
    if (bytes < kPage) {
        return fail_usage("SPE buffer limit of {} bytes is too small: use 0 (no limit) or at least {}", bytes, kPage);
    }
    const u16 below = round_down(bytes);
    const u64 size = decode_max_buffer_size(below);
    if (size == bytes) {
        return below;
    }
    if (below == kMaxField) {
        return fail_usage("SPE buffer limit of {} bytes cannot be advertised: the largest is {}", bytes, size);
    }
    // Field values are in the order of the sizes they stand for.
    return fail_usage("SPE buffer limit of {} bytes cannot be advertised{}: the nearest are {} and {}", bytes,
                      bytes % kPage != 0 ? " (not a multiple of 4096)" : "", size,
                      decode_max_buffer_size(static_cast<u16>(below + 1)));
}

}  // namespace vmm::spe
