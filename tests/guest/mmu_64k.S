// Address translation with a granule of 64 KiB: faults and their levels, access flag and dirty state, EL0 and PAN, fetches,
// page crossings, contiguous and block entries, TLB maintenance, address translation instructions, ASIDs.
// vmm:
// qemu:
// expect: PASS
#define GRANULE_SHIFT 16
#include "mmu_granule.h"
