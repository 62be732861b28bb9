#include "mm/pin_backend.h"

#include <sys/mman.h>

#include <array>
#include <limits>
#include <utility>

#include "mm/host_limits.h"

namespace vmm::mm {

namespace {

constexpr std::array<std::pair<std::string_view, PinChoice>, 5> kChoices{{
    {"auto", PinChoice::automatic},
    {"uring", PinChoice::uring},
    {"mlock", PinChoice::mlock},
    {"populate", PinChoice::populate},
    {"off", PinChoice::off},
}};

constexpr u64 kNoLimit = std::numeric_limits<u64>::max();

class MlockBackend final : public PinBackend {
  public:
    PinKind kind() const override { return PinKind::mlock; }
    u64 free_slots() const override { return kNoLimit; }
    u64 max_bytes_per_slot() const override { return kNoLimit; }
    bool nests() const override { return false; }
    void prepare(HostRange) override {}

    tl::expected<u32, int> pin(HostRange range) override {
        if (::mlock(range.address, range.bytes) != 0) {
            const int error = errno;
            ::munlock(range.address, range.bytes);  // what lies before a page that failed stays locked
            return tl::make_unexpected(error);
        }
        return 0;
    }
    void unpin(u32, HostRange range) override { ::munlock(range.address, range.bytes); }
    u64 charged_bytes() const override { return read_charged_bytes().locked; }
};

class PopulateBackend final : public PinBackend {
  public:
    PinKind kind() const override { return PinKind::populate; }
    u64 free_slots() const override { return kNoLimit; }
    u64 max_bytes_per_slot() const override { return kNoLimit; }
    bool nests() const override { return false; }
    void prepare(HostRange) override {}

    tl::expected<u32, int> pin(HostRange range) override {
        if (::madvise(range.address, range.bytes, MADV_POPULATE_WRITE) != 0) {
            return tl::make_unexpected(errno);
        }
        return 0;
    }
    void unpin(u32, HostRange) override {}
    u64 charged_bytes() const override { return 0; }
};

using Maker = Result<std::unique_ptr<PinBackend>> (*)();
constexpr std::array<std::pair<PinChoice, Maker>, 3> kMakers{{
    {PinChoice::uring, make_uring_backend},
    {PinChoice::mlock, make_mlock_backend},
    {PinChoice::populate, make_populate_backend},
}};

}  // namespace

std::string_view to_string(PinChoice choice) {
    for (const auto& [name, value] : kChoices) {
        if (value == choice) {
            return name;
        }
    }
    return "?";
}

std::string_view to_string(PinKind kind) {
    switch (kind) {
        case PinKind::uring: return "uring";
        case PinKind::mlock: return "mlock";
        case PinKind::populate: return "populate";
        case PinKind::none: return "none";
    }
    return "?";
}

Result<PinChoice> parse_pin_choice(std::string_view text) {
    for (const auto& [name, value] : kChoices) {
        if (name == text) {
            return value;
        }
    }
    return fail_usage("unknown pin backend '{}': use auto, uring, mlock, populate or off", text);
}

Result<std::unique_ptr<PinBackend>> make_mlock_backend() {
    // Ask the kernel rather than the limit: privileged processes are exempt from it.
    alignas(4096) static std::array<u8, 4096> probe;
    if (::mlock(probe.data(), probe.size()) != 0) {
        return fail_errno(errno, "mlock is not permitted");
    }
    ::munlock(probe.data(), probe.size());
    return std::make_unique<MlockBackend>();
}

Result<std::unique_ptr<PinBackend>> make_populate_backend() {
    // Linux 5.14; an empty range answers whether the advice is known.
    if (::madvise(nullptr, 0, MADV_POPULATE_WRITE) != 0) {
        return fail_errno(errno, "the host kernel has no MADV_POPULATE_WRITE");
    }
    return std::make_unique<PopulateBackend>();
}

Result<PinBackendChain> make_pin_backends(PinChoice choice) {
    PinBackendChain chain;
    if (choice == PinChoice::off) {
        chain.reason = "pinning is switched off";
        return chain;
    }
    raise_locked_memory_limit();
    for (const auto& [kind, make] : kMakers) {
        if (choice != PinChoice::automatic && choice != kind) {
            continue;
        }
        auto backend = make();
        if (backend) {
            chain.backends.push_back(std::move(*backend));
        } else if (choice == PinChoice::automatic) {
            chain.reason += fmt::format("{}{} is unavailable: {}", chain.reason.empty() ? "" : "; ", to_string(kind),
                                        backend.error().text);
        } else {
            return fail("cannot pin guest memory with '{}': {}", to_string(kind), backend.error().text);
        }
    }
    if (chain.reason.empty()) {
        chain.reason = choice == PinChoice::automatic ? "the strongest available" : "as requested";
    }
    return chain;
}

}  // namespace vmm::mm
