#include "mm/host_memory.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <limits>

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

}  // namespace

Result<std::unique_ptr<HostMemory>> HostMemory::create(const Options& options) {
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
    advise(start, options.size, MADV_HUGEPAGE, "MADV_HUGEPAGE");
    advise(start, options.size, MADV_DONTFORK, "MADV_DONTFORK");
    advise(start, options.size, MADV_UNMERGEABLE, "MADV_UNMERGEABLE");
    memory->ram_ = GuestRam(start, options.guest_base, options.size);

    VMM_TRY(auto chain, make_pin_backends(options.pin_backend));
    memory->pins_ = std::make_unique<PinManager>(memory->ram_, std::move(chain), options.pin_budget);
    const bool weak = options.pin_backend == PinChoice::automatic && memory->pin_kind() != PinKind::uring;
    log("mm").log(weak ? spdlog::level::warn : spdlog::level::info, "pin backend: {} ({})",
                  to_string(memory->pin_kind()), memory->pin_reason());
    return memory;
}

HostMemory::~HostMemory() {
    pins_.reset();
    if (mapping_ != nullptr) {
        ::munmap(mapping_, mapping_bytes_);
    }
}

Result<> HostMemory::discard(GuestRange range) {
    u8* host = ram_.host(range.pa, range.size);
    if (host == nullptr || range.size == 0 || !is_aligned(range.pa, kPage) || !is_aligned(range.size, kPage)) {
        return fail("cannot discard {:#x}+{:#x}: not whole pages of RAM", range.pa, range.size);
    }
    int error = 0;
    const bool done = pins_->if_unpinned(range, [&] {
        error = ::madvise(host, range.size, MADV_DONTNEED) == 0 ? 0 : errno;
    });
    if (!done) {
        return fail("cannot discard {:#x}+{:#x}: pinned", range.pa, range.size);
    }
    if (error != 0) {
        return fail_errno(error, "cannot discard {:#x}+{:#x}", range.pa, range.size);
    }
    return {};
}

}  // namespace vmm::mm
