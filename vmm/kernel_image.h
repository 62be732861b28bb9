// Kernel files: what kind they are, and the plain image inside. Knows no guest memory.
//
// Accepted: arm64 Image (Linux Documentation/arch/arm64/booting.rst), the same compressed with gzip, EFI
// zboot images with a gzip or zstd payload, and bare-metal AArch64 ELF files.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// A part of an ELF kernel: `file_bytes` of the image from `offset` go to guest-physical `pa`, zeroed up to
/// `memory_bytes`. It is linked to `va`.
struct KernelSegment {
    u64 pa = 0;
    u64 offset = 0;
    u64 file_bytes = 0;
    u64 memory_bytes = 0;
    u64 va = 0;
    bool executable = false;
};

struct KernelImage {
    enum class Kind : u8 { image, elf } kind = Kind::image;
    std::string description;  // e.g. "EFI zboot (zstd), Image"
    std::vector<u8> bytes;    // the uncompressed file

    // Image only.
    u64 text_offset = 0;   // from a 2 MiB boundary
    u64 memory_bytes = 0;  // from the start of the image, BSS included

    // ELF only.
    std::vector<KernelSegment> segments;
    u64 entry = 0;  // guest-physical
};

/// The most an uncompressed kernel may measure.
inline constexpr u64 kMaxKernelBytes = u64{1} << 30;

/// Recognises and unpacks `file`. Errors say what the file is and what would be accepted; the caller prepends
/// its name.
Result<KernelImage> parse_kernel(std::vector<u8> file);

/// Reads a whole file of at most `limit` bytes.
Result<std::vector<u8>> read_file(const std::string& path, u64 limit);

}  // namespace vmm
