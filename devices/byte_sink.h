// Where a character device sends what the guest prints.
#pragma once

#include <span>

#include "vmm/base/types.h"

namespace vmm::devices {

/// Takes bytes from a guest, one or many at a time, from any thread. Called with the device's lock held: it must not
/// call back into the device and should not block for long.
class ByteSink {
  public:
    ByteSink() = default;
    ByteSink(const ByteSink&) = delete;
    ByteSink& operator=(const ByteSink&) = delete;
    virtual ~ByteSink() = default;

    virtual void put(std::span<const u8> bytes) = 0;
};

}  // namespace vmm::devices
