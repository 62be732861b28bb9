// Unix sockets that others connect to.
#pragma once

#include <string>

#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices {

/// Listens at `path` for connections of this user, one waiting at a time, without blocking. A socket there that nobody listens
/// to any more is replaced. Errors do not name the path.
Result<UniqueFd> listen_on_unix_socket(const std::string& path);

}  // namespace vmm::devices
