// The file or block device behind a virtual disk: opened, measured and locked.
//
// A file that is written to is locked for its writer alone, one that is read for any number of readers. The locks are those of
// open file descriptions over byte ranges (fcntl, F_OFD_SETLK): they go with the descriptor, however its process ends, work on
// NFS, and are of the kind that QEMU takes, so that neither of us writes to what the other one uses. A reader locks the first
// byte only, which QEMU's own ranges leave out: two readers do not get into each other's way. Locks are advice; a file system
// without them means that there are none.
#pragma once

#include <string>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/base/unique_fd.h"

namespace vmm::devices::disk {

struct DiskFile {
    UniqueFd fd;
    u64 size = 0;  // bytes
};

/// Opens a regular file or block device and locks it. Errors begin with `name`.
Result<DiskFile> open_disk_file(const std::string& path, bool writes, const std::string& name);

}  // namespace vmm::devices::disk
