// Tells when the host runs short of memory, from the kernel's pressure stall information (Linux 4.20).
#pragma once

#include "vmm/base/result.h"
#include "vmm/base/unique_fd.h"

namespace vmm::mm {

class MemoryPressure {
  public:
    /// Asks the kernel to report when tasks were stalled on memory for 150 ms within 2 s. Fails where /proc/pressure is
    /// missing or closed to us.
    static Result<MemoryPressure> open(const char* path = "/proc/pressure/memory");

    /// To be polled for POLLPRI (kPollEvents).
    int fd() const { return fd_.get(); }
    static const short kPollEvents;

  private:
    explicit MemoryPressure(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace vmm::mm
