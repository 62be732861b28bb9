// Decompression of kernels and their modules, with a limit on the result.
#pragma once

#include <span>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// One gzip member from the start of `data`; what follows it is ignored.
Result<std::vector<u8>> decompress_gzip(std::span<const u8> data, u64 limit);

/// One zstd frame from the start of `data`; what follows it is ignored.
Result<std::vector<u8>> decompress_zstd(std::span<const u8> data, u64 limit);

/// One xz stream from the start of `data`; what follows it is ignored.
Result<std::vector<u8>> decompress_xz(std::span<const u8> data, u64 limit);

}  // namespace vmm
