// Guest RAM between pages that nothing may touch: also what is not instrumented (host code of the translator) gets caught.
#pragma once

#include <sys/mman.h>

#include <cstring>

#include "mm/guest_ram.h"
#include "vmm/base/check.h"

namespace vmm::fuzz {

class GuardedRam {
  public:
    /// `size`: a multiple of 4 KiB.
    GuardedRam(u64 base, u64 size) : bytes_(size + 2 * kGuard) {
        void* mapped = ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        VMM_CHECK(mapped != MAP_FAILED);
        mapping_ = static_cast<u8*>(mapped);
        VMM_CHECK(::mprotect(mapping_ + kGuard, size, PROT_READ | PROT_WRITE) == 0);
        view_ = mm::GuestRam(mapping_ + kGuard, base, size);
    }
    ~GuardedRam() { ::munmap(mapping_, bytes_); }
    GuardedRam(const GuardedRam&) = delete;
    GuardedRam& operator=(const GuardedRam&) = delete;

    const mm::GuestRam& view() const { return view_; }
    void clear() { std::memset(view_.host_base(), 0, view_.size()); }
    template <class T>
    void put(u64 pa, T value) {
        if (u8* host = view_.host(pa, sizeof value)) {
            std::memcpy(host, &value, sizeof value);
        }
    }

  private:
    static constexpr u64 kGuard = u64{16} << 20;

    u64 bytes_;
    u8* mapping_ = nullptr;
    mm::GuestRam view_;
};

}  // namespace vmm::fuzz
