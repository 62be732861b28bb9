// PMBIDR_EL1.MaxBuffSize: a limit on buffer sizes as a small floating-point number of pages. Arm ARM, PMBIDR_EL1.
#pragma once

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::spe {

/// The field's value for `bytes`; 0 = no limit. Fails, naming the nearest sizes that work, unless `bytes` is a multiple of
/// 4 KiB that the field represents exactly: any below 2 MiB, ten significant bits from there.
Result<u16> encode_max_buffer_size(u64 bytes);

/// Bytes; 0 = no limit. Bits [15:14] are reserved and ignored.
u64 decode_max_buffer_size(u16 field);

}  // namespace vmm::spe
