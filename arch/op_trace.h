// OpTrace: what one sampled operation did. OpObserver: who wants to know (the SPE unit).
#pragma once

#include "arch/op_class.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// Filled only while an operation is traced: by the engine (pc, insn, class, EL, exception), by the branch helpers and by
/// the memory helpers. Plain data; SPE's event model and encoder need nothing else.
struct OpTrace {
    u64 pc = 0;
    u32 insn = 0;
    OpClass op_class = OpClass::other;
    u8 el = 0;

    // Branches and ERET.
    bool conditional = false;   // a condition was evaluated (branches, selects, compares)
    bool cond_failed = false;   // ... and did not hold
    bool taken = false;
    u8 target_el = 0;
    u64 target = 0;             // valid when taken

    // The memory accesses of the operation; the addresses are those of the first.
    bool has_va = false;
    bool pa_valid = false;      // translation succeeded
    bool is_write = false;
    bool is_atomic = false;     // read-modify-write (LSE)
    bool is_exclusive = false;
    bool is_ordered = false;    // acquire or release semantics
    bool returns_value = false; // atomics: a register other than XZR receives the old value
    bool is_device = false;     // Device memory or MMIO
    bool tlb_refill = false;    // some page missed the first-level TLB
    bool tlb_walk = false;      // a table walk was made, for whichever page
    bool misaligned = false;    // some part is not naturally aligned
    bool not_stored = false;    // a store-exclusive that the monitor did not let pass
    u8 size = 0;                // bytes accessed in all
    u64 va = 0;
    u64 pa = 0;

    bool exception = false;     // ended in a synchronous exception, be it to a higher Exception level (HVC, SMC)

    /// Memory was read or written, not only translated to.
    bool accessed_memory() const { return pa_valid && !exception && !not_stored; }
};

/// One per vCPU. All calls come from the vCPU's own thread.
class OpObserver {
  public:
    OpObserver() = default;
    OpObserver(const OpObserver&) = delete;
    OpObserver& operator=(const OpObserver&) = delete;
    virtual ~OpObserver() = default;

    /// True while profiling could be enabled at some Exception level: the engine then accounts operations per level.
    /// False lets it run without looking at level changes.
    virtual bool armed() const { return true; }

    /// Operations from now until (and including) the one to be sampled, at the vCPU's current Exception level; ~0 while
    /// profiling is disabled there. 1 = the very next operation. The answer holds until Vcpu::observer_changed() or, if
    /// armed(), another Exception level: on_sample() follows after on_ops_executed() of all but one.
    virtual u64 ops_until_sample() = 0;

    /// `count` operations were executed, none of them the sampled one, all while ops_until_sample() last held.
    virtual void on_ops_executed(u64 count) = 0;

    /// The sampled operation has executed (on_ops_executed does not include it).
    virtual void on_sample(const OpTrace& trace) = 0;
};

}  // namespace vmm::arch
