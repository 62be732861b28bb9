// Ways to keep host pages in place, strongest first. Each backend holds ranges of host addresses; which guest ranges those
// are, who shares them and how they are merged is pin_manager.h's business.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace vmm::mm {

/// What a user may ask for. `automatic` takes the strongest that works and degrades pin by pin.
enum class PinChoice : u8 { automatic, uring, mlock, populate, off };

/// What a pin is held by.
///   uring     io_uring registered buffer: a long-term pin; the page can neither move nor go away
///   mlock     resident, but the kernel may still migrate or compact it
///   populate  present when the pin was made; nothing holds it
///   none      nothing was done
enum class PinKind : u8 { uring, mlock, populate, none };

std::string_view to_string(PinChoice choice);
std::string_view to_string(PinKind kind);

/// "auto", "uring", "mlock", "populate" or "off".
Result<PinChoice> parse_pin_choice(std::string_view text);

/// Host pages [address, address + bytes), page aligned.
struct HostRange {
    u8* address = nullptr;
    u64 bytes = 0;
};

/// One mechanism. Not thread-safe: PinManager serialises.
class PinBackend {
  public:
    PinBackend() = default;
    PinBackend(const PinBackend&) = delete;
    PinBackend& operator=(const PinBackend&) = delete;
    virtual ~PinBackend() = default;

    virtual PinKind kind() const = 0;
    /// How many more ranges it can hold.
    virtual u64 free_slots() const = 0;
    /// The largest range one slot takes, bytes.
    virtual u64 max_bytes_per_slot() const = 0;
    /// Two pins may hold the same page and are given back separately. Where false, giving back any part of a range undoes
    /// all pins of it, and parts may be given back one by one.
    virtual bool nests() const = 0;
    /// Makes the pages of `range` present. Failing is pin()'s business.
    virtual void prepare(HostRange range) = 0;
    /// Holds `range`; the token names it in unpin(). The error is an errno; ENOMEM, EPERM and EAGAIN mean that a limit is
    /// reached, ENOSPC that no slot is free.
    virtual tl::expected<u32, int> pin(HostRange range) = 0;
    virtual void unpin(u32 token, HostRange range) = 0;
    /// Bytes that the kernel charges this process for pins of this sort, whoever made them.
    virtual u64 charged_bytes() const = 0;
};

/// io_uring registered buffers through liburing. Fails where io_uring is absent, forbidden or without locked-memory limit.
Result<std::unique_ptr<PinBackend>> make_uring_backend();
Result<std::unique_ptr<PinBackend>> make_mlock_backend();
Result<std::unique_ptr<PinBackend>> make_populate_backend();

/// The backends to try in order for `choice`, and why stronger ones are missing.
struct PinBackendChain {
    std::vector<std::unique_ptr<PinBackend>> backends;  // empty: no pinning
    std::string reason;                                 // one line for the log
};

/// For an explicit choice the chain holds exactly that backend, or the call fails. Raises the soft locked-memory limit to
/// the hard one first.
Result<PinBackendChain> make_pin_backends(PinChoice choice);

}  // namespace vmm::mm
