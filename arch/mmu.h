// The EL1&0 translation regime of one PE: second-level TLB, refill, maintenance. The walk itself is mm/walker.h.
#pragma once

#include <memory>

#include "arch/tlb.h"
#include "arch/vcpu.h"
#include "mm/range_walk.h"

namespace vmm::arch {

/// Outcome of one translation (Arm ARM D8).
struct Translation {
    bool ok = false;
    u8 fsc = 0;             // fault status code when !ok (0b000100 | level for translation faults, ...)
    u64 pa = 0;
    u64 page_size = kPageSize;  // bytes mapped by the descriptor used (for TLB maintenance and pinning)
    u8 attr = 0;            // MAIR byte of the memory type
    bool device = false;    // Device memory, accessible or not
    bool walked = false;    // a table walk was made
};

/// AT instructions: whose permissions they check (Arm ARM C5.4).
enum class AtKind : u8 {
    el1,        // S1E1R, S1E1W: PAN does not apply
    el1_pan,    // S1E1RP, S1E1WP: with PSTATE.PAN
    el0,        // S1E0R, S1E0W
};

/// Outcome of an AT instruction.
struct AtResult {
    u64 par = 0;   // the value of PAR_EL1, unless
    u8 abort = 0;  // the walk was aborted externally: then AT takes a data abort with this fault status code (D8.15.1.3)

    bool failed() const { return abort != 0 || bit(par, 0); }
    /// Of what failed.
    u8 fault_status() const { return abort != 0 ? abort : static_cast<u8>(bits(par, 6, 1)); }
};

/// TLB maintenance operations, as one PE applies them.
enum class TlbiOp : u8 {
    all,        // VMALLE1, ALLE1
    va,         // VAE1: address and ASID, globals included
    va_all_asids,  // VAAE1
    asid,       // ASIDE1
};

/// Counts of TLB maintenance by what it may concern.
struct TlbMaintenance {
    u64 half[2] = {0, 0};  // addresses by their bit 55, whatever their ASID; includes "all"
    u64 by_asid = 0;       // pages that are not global

    friend bool operator==(const TlbMaintenance&, const TlbMaintenance&) = default;
};

class Mmu {
  public:
    explicit Mmu(Vcpu& vcpu);
    ~Mmu();

    /// Translates without taking a fault. `privileged`: as from EL1 (else EL0). `ignore_pan`: PSTATE.PAN does not apply
    /// (SPE buffer writes). Uses and fills the second-level TLB.
    Translation translate(u64 va, AccessType type, bool privileged, bool ignore_pan = false);

    /// How a privileged write to `va` is translated now, for mm::RangeWalk.
    mm::RangeRegime range_regime(u64 va) const;

    /// Carries out AT. Sets access flags as an access would.
    AtResult address_translation(u64 va, AtKind kind, bool is_write);

    /// Applies maintenance to this PE. `va` is a byte address.
    void tlbi(TlbiOp op, u64 va, u16 asid);

    /// TLBI so far, own and remote: whoever keeps a translation compares what concerns it.
    const TlbMaintenance& maintenance() const;

    /// Counts all that may change a translation at once: TLBI and changes of translation registers.
    const u64& generation() const;

    /// Recomputes what depends on SCTLR/TCR/TTBR/MAIR and the current EL/PAN (called by Vcpu::context_changed).
    void update_context();

    /// A number that identifies the current instruction-side context: equal numbers mean that equal virtual addresses
    /// fetch the same code with the same permissions. Below 2^12. Recycled when they are used up, with empty TLBs.
    u16 fetch_context() const;

    struct Impl;
    Impl& impl() { return *impl_; }  // for Vcpu's memory accesses (memory_access.cpp)

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmm::arch
