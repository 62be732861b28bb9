#include "devices/generic_timer/system_counter.h"

#include "vmm/base/check.h"

namespace vmm::devices {

SystemCounter::SystemCounter(const Clock& clock, u64 frequency) : clock_(clock), frequency_(frequency) {
    VMM_CHECK(frequency >= 1 && frequency <= 4'000'000'000);
}

u64 SystemCounter::ns_until(u64 count) const {
    const u64 now = this->count();
    if (count <= now) {
        return 0;
    }
    const u64 ticks = count - now;
    if (frequency_ == kNsPerSecond) {
        return ticks;
    }
    const u64 seconds = ticks / frequency_;
    if (seconds >= ~u64{0} / kNsPerSecond) {
        return ~u64{0};
    }
    // The remainder is below 4e9 * 1e9, which fits.
    return seconds * kNsPerSecond + (ticks % frequency_ * kNsPerSecond + frequency_ - 1) / frequency_;
}

}  // namespace vmm::devices
