// What the host lets this process lock and pin, and what it has charged so far, as the kernel counts it.
#pragma once

#include <string>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::mm {

/// RLIMIT_MEMLOCK and what is charged against it. mlock is charged per process, io_uring per user (all processes of the
/// UID together), both against the same number.
struct LockLimits {
    static constexpr u64 kNone = ~u64{0};

    u64 limit = kNone;       // bytes, the soft limit; kNone: unlimited
    bool exempt = false;     // CAP_IPC_LOCK: nothing is checked
    u64 locked_bytes = 0;    // VmLck of this process
    u64 pinned_by_user = 0;  // VmPin of all processes of this UID that /proc shows

    bool unlimited() const { return exempt || limit == kNone; }
    /// Bytes that io_uring may still pin.
    u64 pinnable() const { return unlimited() ? kNone : limit - (pinned_by_user < limit ? pinned_by_user : limit); }
    /// Bytes that mlock may still lock.
    u64 lockable() const { return unlimited() ? kNone : limit - (locked_bytes < limit ? locked_bytes : limit); }
};

/// Reads them anew; the UID's charge costs a pass over /proc.
LockLimits read_lock_limits();

/// Pins are charged against the soft limit; the hard one is what the administrator allows. Raises one to the other.
void raise_locked_memory_limit();

/// Bytes of this process that the kernel counts as pinned (VmPin) or locked (VmLck); 0 where it does not say.
struct ChargedBytes {
    u64 pinned = 0;
    u64 locked = 0;
};
ChargedBytes read_charged_bytes();

/// One line: what of `wanted` bytes does not fit the limits, and what would help; empty where everything fits.
std::string explain_lock_limits(const LockLimits& limits, u64 wanted);

/// "8 MiB", "12 KiB", "5 bytes".
std::string format_bytes(u64 bytes);

}  // namespace vmm::mm
