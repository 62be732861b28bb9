// Whether a part of our memory is backed by a huge page: a long-term pin of any byte of one holds, and is charged for, all
// of it.
#pragma once

#include "mm/pin_backend.h"
#include "vmm/base/unique_fd.h"

namespace vmm::mm {

class HugePages {
  public:
    static constexpr u64 kBytes = u64{2} << 20;

    HugePages();

    /// False where the kernel cannot say (before Linux 6.7). `block`: 2 MiB aligned, mapped.
    bool backs(const u8* block) const;

  private:
    UniqueFd pagemap_;
};

}  // namespace vmm::mm
