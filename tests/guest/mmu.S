// Address translation with a granule of 4 KiB: faults and their levels, access flag and dirty state, EL0 and PAN, fetches,
// page crossings, contiguous and block entries, TLB maintenance, address translation instructions, ASIDs.
// vmm:
// qemu:
// expect: PASS
#define GRANULE_SHIFT 12
#include "mmu_granule.h"
