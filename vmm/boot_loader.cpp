#include "vmm/boot_loader.h"

#include <algorithm>
#include <cstring>

#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm {

namespace {

constexpr u64 kBootGranule = u64{2} << 20;
constexpr u64 kMaxRamGap = u64{1} << 52;  // keeps sums of addresses far from wrapping

bool lies_within(const mm::GuestRange& inner, const mm::GuestRange& outer) {
    return inner.pa >= outer.pa && inner.size <= outer.size && inner.pa - outer.pa <= outer.size - inner.size;
}

Result<mm::GuestRange> place_image(const KernelImage& kernel, const mm::GuestRange& ram) {
    const mm::GuestRange range{align_up(ram.pa, kBootGranule) + kernel.text_offset, kernel.memory_bytes};
    if (!lies_within(range, ram)) {
        return fail("the kernel needs {} MiB of memory and there are {} MiB; give more with --mem",
                    (range.end() - ram.pa + 0xFFFFF) >> 20, ram.size >> 20);
    }
    return range;
}

Result<mm::GuestRange> place_elf(const KernelImage& kernel, const mm::GuestRange& ram) {
    u64 low = ram.end();
    u64 high = ram.pa;
    for (const KernelSegment& segment : kernel.segments) {
        const mm::GuestRange range{segment.pa, segment.memory_bytes};
        if (segment.pa >= kMaxRamGap || segment.memory_bytes >= kMaxRamGap || !lies_within(range, ram)) {
            return fail(
                "--kernel: a segment of {:#x} bytes wants to be at {:#x}; memory is from {:#x} to {:#x}",
                segment.memory_bytes, segment.pa, ram.pa, ram.end());
        }
        low = std::min(low, range.pa);
        high = std::max(high, range.end());
    }
    return mm::GuestRange{low, high - low};
}

/// Everything after the kernel, in order; falls back to before it where a bare-metal program sits high.
struct Allocator {
    mm::GuestRange ram;
    mm::GuestRange kernel;
    u64 next = 0;
    u64 limit = 0;

    explicit Allocator(const mm::GuestRange& all, const mm::GuestRange& used, u64 needed)
        : ram(all), kernel(used) {
        next = align_up(kernel.end(), kBootGranule);
        limit = ram.end();
        const u64 bottom = align_up(ram.pa, kBootGranule);
        if ((next > limit || limit - next < needed) && kernel.pa > bottom && kernel.pa - bottom >= needed) {
            next = bottom;
            limit = kernel.pa;
        }
    }

    u64 room() const { return next < limit ? limit - next : 0; }

    std::optional<u64> take(u64 bytes) {
        if (bytes > room()) {
            return std::nullopt;
        }
        const u64 pa = next;
        next = align_up(next + bytes, kBootGranule);
        return pa;
    }
};

}  // namespace

Result<BootFiles> load_boot_files(const std::string& kernel_path, const std::string& initrd_path,
                                  u64 ram_bytes) {
    const auto named = [](const char* option, const std::string& path) {
        return [option, &path](Error error) {
            error.text = fmt::format("{} \"{}\": {}", option, path, error.text);
            return error;
        };
    };
    BootFiles files;
    VMM_TRY(std::vector<u8> kernel,
            read_file(kernel_path, kMaxKernelBytes).map_error(named("--kernel", kernel_path)));
    VMM_TRY(files.kernel, parse_kernel(std::move(kernel)).map_error(named("--kernel", kernel_path)));
    if (!initrd_path.empty()) {
        VMM_TRY(files.initrd, read_file(initrd_path, ram_bytes).map_error(named("--initrd", initrd_path)));
        if (files.initrd.empty()) {
            return fail("--initrd \"{}\": is empty", initrd_path);
        }
    }
    return files;
}

Result<BootPlan> plan_boot(const BootFiles& files, mm::GuestRange ram) {
    const KernelImage& kernel = files.kernel;
    BootPlan plan;
    if (kernel.kind == KernelImage::Kind::image) {
        VMM_TRY(plan.kernel, place_image(kernel, ram));
        plan.entry = plan.kernel.pa;
    } else {
        VMM_TRY(plan.kernel, place_elf(kernel, ram));
        plan.entry = kernel.entry;
        if (!lies_within({plan.entry & ~u64{3}, 4}, plan.kernel) || !is_aligned(plan.entry, 4)) {
            return fail("--kernel: the entry point {:#x} lies outside of what is loaded", plan.entry);
        }
    }
    Allocator allocator(ram, plan.kernel, kMaxDtbBytes + align_up(files.initrd.size(), kBootGranule));
    const std::optional<u64> dtb = allocator.take(kMaxDtbBytes);
    if (!dtb) {
        return fail("the kernel leaves no room for a device tree in {} MiB of memory; give more with --mem",
                    ram.size >> 20);
    }
    plan.dtb = *dtb;
    if (!files.initrd.empty()) {
        const u64 room = allocator.room();
        const std::optional<u64> initrd = allocator.take(files.initrd.size());
        if (!initrd) {
            return fail(
                "--initrd: has {} MiB; with this kernel, {} MiB of memory have room for {} MiB; give more "
                "with "
                "--mem",
                (files.initrd.size() + 0xFFFFF) >> 20, ram.size >> 20, room >> 20);
        }
        plan.initrd = {*initrd, files.initrd.size()};
    }
    return plan;
}

void place_boot_files(const BootFiles& files, const BootPlan& plan, std::span<const u8> dtb,
                      const mm::GuestRam& ram) {
    const auto copy = [&ram](u64 pa, std::span<const u8> bytes, u64 memory_bytes) {
        u8* to = ram.host(pa, memory_bytes);
        VMM_CHECK(to != nullptr && bytes.size() <= memory_bytes);
        std::memcpy(to, bytes.data(), bytes.size());
        std::memset(to + bytes.size(), 0, static_cast<std::size_t>(memory_bytes) - bytes.size());
    };
    const std::span<const u8> kernel(files.kernel.bytes);
    if (files.kernel.kind == KernelImage::Kind::image) {
        copy(plan.kernel.pa, kernel, plan.kernel.size);
    }
    for (const KernelSegment& segment : files.kernel.segments) {
        copy(segment.pa, kernel.subspan(segment.offset, segment.file_bytes), segment.memory_bytes);
    }
    VMM_CHECK(dtb.size() <= kMaxDtbBytes);
    copy(plan.dtb, dtb, dtb.size());
    if (plan.initrd.size != 0) {
        copy(plan.initrd.pa, files.initrd, plan.initrd.size);
    }
}

}  // namespace vmm
