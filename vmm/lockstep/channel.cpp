#include "vmm/lockstep/channel.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <new>

#include "vmm/base/check.h"

namespace vmm::lockstep {

namespace {

bool wait_for(sem_t& semaphore, std::chrono::milliseconds patience) {
    constexpr long kNsPerSecond = 1'000'000'000;
    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience.count() / 1000;
    until.tv_nsec += patience.count() % 1000 * 1'000'000;
    until.tv_sec += until.tv_nsec / kNsPerSecond;
    until.tv_nsec %= kNsPerSecond;
    while (::sem_timedwait(&semaphore, &until) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

}  // namespace

Channel::Channel() {
    VMM_CHECK(::sem_init(&filled_, 1, 0) == 0);
    VMM_CHECK(::sem_init(&empty_, 1, kDepth) == 0);
}

Result<ChannelPtr> Channel::create() {
    void* memory =
        ::mmap(nullptr, sizeof(Channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return fail_errno(errno, "--check: no memory to share between processes");
    }
    return ChannelPtr(new (memory) Channel, [](Channel* channel) { ::munmap(channel, sizeof(Channel)); });
}

bool Channel::push(const Snapshot& snapshot, std::chrono::milliseconds patience) {
    if (!wait_for(empty_, patience)) {
        return false;
    }
    ring_[next_in_] = snapshot;
    next_in_ = (next_in_ + 1) % kDepth;
    ::sem_post(&filled_);
    return true;
}

bool Channel::pop(Snapshot& snapshot, std::chrono::milliseconds patience) {
    if (!wait_for(filled_, patience)) {
        return false;
    }
    snapshot = ring_[next_out_];
    next_out_ = (next_out_ + 1) % kDepth;
    ::sem_post(&empty_);
    return true;
}

void Channel::set_registers(std::string_view text) {
    const std::size_t size = std::min(text.size(), kTextBytes);
    std::copy_n(text.begin(), size, text_.begin());
    text_size_ = size;
}

}  // namespace vmm::lockstep
