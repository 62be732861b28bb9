// Files we write for the user.
#pragma once

#include <span>
#include <string>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm {

/// Writes all of `bytes` to `fd`, however many calls it takes.
Result<> write_all(int fd, std::span<const u8> bytes);

/// Replaces the file at `path` in one step: on any failure, what was there before is still there and nothing
/// else. A path that names something other than a regular file (a pipe, a terminal) is written to as it is.
Result<> write_file(const std::string& path, std::span<const u8> bytes);

}  // namespace vmm
