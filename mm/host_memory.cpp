#include "mm/host_memory.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <array>
#include <limits>

#include "mm/host_limits.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

namespace vmm::mm {

namespace {

constexpr u64 kPage = 4096;
constexpr u64 kHugePage = 2 * 1024 * 1024;
constexpr u64 kMiB = 1024 * 1024;

/// Mapping costs nothing, so the kernel would grant any size; a guest that starts to use it is killed much later. RAM may
/// exceed what the host has by this factor.
constexpr u64 kMaxOvercommit = 8;

Result<> check_size(const HostMemory::Options& options) {
    if (options.size == 0 || !is_aligned(options.size, kPage) || !is_aligned(options.guest_base, kPage)) {
        return fail_usage("guest RAM must be a nonzero multiple of 4 KiB, not {} bytes at {:#x}", options.size,
                          options.guest_base);
    }
    if (options.size > std::numeric_limits<u64>::max() - options.guest_base) {
        return fail_usage("guest RAM of {} MiB at {:#x} exceeds the physical address space", options.size / kMiB,
                          options.guest_base);
    }
    struct sysinfo info {};
    if (::sysinfo(&info) != 0) {
        return {};
    }
    const u64 host = (u64{info.totalram} + info.totalswap) * info.mem_unit;
    if (options.size / kMaxOvercommit > host) {
        return fail("cannot allocate {} MiB of guest RAM: the host has {} MiB of memory and swap", options.size / kMiB,
                    host / kMiB);
    }
    if (options.size > host) {
        log("mm").warn("guest RAM of {} MiB exceeds the host's {} MiB of memory and swap", options.size / kMiB,
                       host / kMiB);
    }
    return {};
}

void advise(u8* address, u64 bytes, int advice, const char* name) {
    if (::madvise(address, bytes, advice) != 0) {
        log("mm").debug("madvise({}) of guest RAM: {}", name, std::strerror(errno));
    }
}

/// Says before the guest starts what would fail once it profiles.
void check_limits(PinKind kind, u64 expected, ShortagePolicy policy) {
    if (expected == 0 || (kind != PinKind::uring && kind != PinKind::mlock)) {
        return;
    }
    LockLimits limits = read_lock_limits();
    if (kind == PinKind::mlock) {
        limits.pinned_by_user = limits.locked_bytes;  // charged per process
    }
    if (const std::string text = explain_lock_limits(limits, expected); !text.empty()) {
        static constexpr std::string_view kThen[] = {"is pinned in weaker ways or not at all",
                                                     "makes the guest's profiling stop with an error",
                                                     "pauses the guest until the limit is raised"};
        log("mm").warn("{}; what does not fit {}", text, kThen[static_cast<std::size_t>(policy)]);
    }
}

}  // namespace

Result<std::unique_ptr<HostMemory>> HostMemory::create(const Options& options) {
    VMM_TRY_VOID(check_size(options));
    VMM_TRY(auto chain, make_pin_backends(options.pin_backend));
    return create(options, std::move(chain));
}

Result<std::unique_ptr<HostMemory>> HostMemory::create(const Options& options, PinBackendChain chain) {
    VMM_TRY_VOID(check_size(options));
    std::unique_ptr<HostMemory> memory(new HostMemory);
    // Room to start on a huge page, whatever the kernel returns; unused pages of the mapping cost nothing.
    memory->mapping_bytes_ = align_up(options.size, kHugePage) + kHugePage;
    void* mapping = ::mmap(nullptr, memory->mapping_bytes_, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return fail_errno(errno, "cannot allocate {} MiB of guest RAM", options.size / kMiB);
    }
    memory->mapping_ = static_cast<u8*>(mapping);
    u8* start = reinterpret_cast<u8*>(align_up(reinterpret_cast<u64>(mapping), kHugePage));
    advise(start, options.size, options.huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE, "MADV_(NO)HUGEPAGE");
    advise(start, options.size, MADV_DONTFORK, "MADV_DONTFORK");
    advise(start, options.size, MADV_UNMERGEABLE, "MADV_UNMERGEABLE");
    memory->ram_ = GuestRam(start, options.guest_base, options.size);

    const bool strongest_only = options.pins.shortage != ShortagePolicy::degrade;
    memory->pins_ = std::make_unique<PinManager>(memory->ram_, std::move(chain),
                                                 PinManager::Options{options.pin_budget, strongest_only});
    const bool weak = options.pin_backend == PinChoice::automatic && memory->pin_kind() != PinKind::uring;
    log("mm").log(weak ? spdlog::level::warn : spdlog::level::info, "pin backend: {} ({})",
                  to_string(memory->pin_kind()), memory->pin_reason());
    memory->policy_ = options.pin_policy;
    memory->watch_ = std::make_unique<TableWatch>(memory->ram_);
    PinService::Options service = options.pins;
    if (memory->pin_kind() == PinKind::none) {
        service.synchronous = true;  // nothing to do: no thread
    }
    memory->service_ = std::make_unique<PinService>(memory->ram_, *memory->pins_, service);
    const bool all = options.pin_policy == PinPolicy::all && memory->pin_kind() != PinKind::none;
    check_limits(memory->pin_kind(), all ? options.size : options.pin_expected, service.shortage);
    if (all) {
        VMM_TRY_VOID(memory->pin_all(service.shortage));
    }
    return memory;
}

HostMemory::~HostMemory() {
    service_.reset();
    all_.release();
    pins_.reset();
    if (mapping_ != nullptr) {
        ::munmap(mapping_, mapping_bytes_);
    }
}

Result<> HostMemory::pin_all(ShortagePolicy on_shortage) {
    auto handle = pins_->pin(std::array{GuestRange{ram_.base(), ram_.size()}});
    if (handle) {
        all_ = std::move(*handle);
        return {};
    }
    if (on_shortage != ShortagePolicy::degrade) {
        return fail("cannot pin {} MiB of guest RAM: {}", ram_.size() / kMiB, handle.error().text);
    }
    log("mm").warn("guest RAM is not pinned as a whole, but buffer by buffer: {}", handle.error().text);
    return {};
}

Result<> HostMemory::give_to_host(GuestRange range, bool even_enabled) {
    u8* host = ram_.host(range.pa, range.size);
    if (host == nullptr || range.size == 0 || !is_aligned(range.pa, kPage) || !is_aligned(range.size, kPage)) {
        return fail("cannot discard {:#x}+{:#x}: not whole pages of RAM", range.pa, range.size);
    }
    const bool everything = range.size == ram_.size();
    const bool repin = everything && all_pinned();
    if (repin) {
        all_.release();
    }
    service_->make_room(range, even_enabled);
    int error = 0;
    const bool done = pins_->if_unpinned(range, [&] {
        error = ::madvise(host, range.size, MADV_DONTNEED) == 0 ? 0 : errno;
    });
    watch_->note_stores(range);
    if (repin) {
        VMM_TRY_VOID(pin_all(ShortagePolicy::degrade));
    }
    if (!done) {
        return fail("cannot discard {:#x}+{:#x}: pinned", range.pa, range.size);
    }
    if (error != 0) {
        return fail_errno(error, "cannot discard {:#x}+{:#x}", range.pa, range.size);
    }
    return {};
}

Result<> HostMemory::discard(GuestRange range) {
    return give_to_host(range, false);
}

Result<> HostMemory::take(GuestRange range) {
    return give_to_host(range, true);
}

}  // namespace vmm::mm
