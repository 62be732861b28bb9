// Guest RAM as the rest of the program sees it: one contiguous range of guest-physical addresses backed by one host mapping.
#pragma once

#include <span>

#include "vmm/base/types.h"

namespace vmm::mm {

/// A half-open range of guest-physical addresses.
struct GuestRange {
    u64 pa = 0;
    u64 size = 0;  // bytes

    u64 end() const { return pa + size; }
    friend bool operator==(const GuestRange&, const GuestRange&) = default;
};

/// A view of guest RAM. Copyable; the mapping is owned by HostMemory. All accessors check bounds with overflow in mind.
class GuestRam {
  public:
    GuestRam() = default;
    GuestRam(u8* host, u64 base, u64 size) : host_(host), base_(base), size_(size) {}

    u64 base() const { return base_; }
    u64 size() const { return size_; }
    u8* host_base() const { return host_; }

    bool contains(u64 pa, u64 length = 1) const {
        return pa >= base_ && length <= size_ && pa - base_ <= size_ - length;
    }

    /// Host address of [pa, pa + length), or nullptr where any of it is not RAM.
    u8* host(u64 pa, u64 length = 1) const { return contains(pa, length) ? host_ + (pa - base_) : nullptr; }

    /// As host(), as a span; empty where any of it is not RAM.
    std::span<u8> span(u64 pa, u64 length) const {
        u8* p = host(pa, length);
        return p == nullptr ? std::span<u8>{} : std::span<u8>{p, static_cast<std::size_t>(length)};
    }

  private:
    u8* host_ = nullptr;
    u64 base_ = 0;
    u64 size_ = 0;
};

}  // namespace vmm::mm
