#include "mm/huge_pages.h"

#include <fcntl.h>
#include <sys/ioctl.h>

namespace vmm::mm {

namespace {

// PAGEMAP_SCAN of /proc/PID/pagemap, newer than the headers we build with: which parts of a range are in given categories.
struct PageRegion {
    u64 start = 0;
    u64 end = 0;
    u64 categories = 0;
};
struct ScanArguments {
    u64 size = sizeof(ScanArguments);
    u64 flags = 0;
    u64 start = 0;
    u64 end = 0;
    u64 walk_end = 0;
    u64 regions = 0;  // address of PageRegions
    u64 region_count = 0;
    u64 most_pages = 0;
    u64 inverted = 0;
    u64 all_of = 0;
    u64 any_of = 0;
    u64 returned = 0;
};
constexpr unsigned long kScan = _IOWR('f', 16, ScanArguments);
constexpr u64 kIsHuge = u64{1} << 6;

}  // namespace

HugePages::HugePages() : pagemap_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}

bool HugePages::backs(const u8* block) const {
    PageRegion region;
    ScanArguments scan;
    scan.start = reinterpret_cast<u64>(block);
    scan.end = scan.start + kBytes;
    scan.regions = reinterpret_cast<u64>(&region);
    scan.region_count = 1;
    scan.all_of = kIsHuge;
    scan.returned = kIsHuge;
    return pagemap_ && ::ioctl(pagemap_.get(), kScan, &scan) == 1;
}

}  // namespace vmm::mm
