#include "mm/memory_pressure.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <string_view>

namespace vmm::mm {

namespace {

// Microseconds of stall and of the window. Unprivileged processes may only use windows of whole multiples of 2 s.
constexpr std::string_view kTrigger{"some 150000 2000000\0", 20};

}  // namespace

const short MemoryPressure::kPollEvents = POLLPRI;

Result<MemoryPressure> MemoryPressure::open(const char* path) {
    UniqueFd fd(::open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd) {
        return fail_errno(errno, "cannot open {}", path);
    }
    if (::write(fd.get(), kTrigger.data(), kTrigger.size()) < 0) {
        return fail_errno(errno, "cannot watch {}", path);
    }
    return MemoryPressure(std::move(fd));
}

}  // namespace vmm::mm
