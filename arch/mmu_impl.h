// The state of the MMU, shared by mmu.cpp (registers, refill, maintenance) and memory_access.cpp (the slow paths of loads
// and stores).
#pragma once

#include <array>
#include <vector>

#include "arch/mmu.h"
#include "arch/syndrome.h"
#include "arch/second_level_tlb.h"
#include "mm/walker.h"

namespace vmm::arch {

/// Whose permissions an access is checked against.
enum class Privilege : u8 { el0, el1, el1_pan };

constexpr u16 permission_bit(AccessType type, Privilege privilege) {
    return static_cast<u16>(1u << (static_cast<unsigned>(type) * 3 + static_cast<unsigned>(privilege)));
}

/// Page address extended from bit 55, as the second-level TLB is keyed.
constexpr u64 page_key(u64 va) {
    return static_cast<u64>(sign_extend(va, 56)) & kPageMask;
}

/// A page an access may use, or the fault it takes.
struct PageLookup {
    const PageInfo* page = nullptr;  // valid until the next lookup
    u8 fsc = 0;                      // when page is null
    bool walked = false;
};

struct Mmu::Impl {
    explicit Impl(Vcpu& vcpu);

    Vcpu& v;
    // Apart, because how often code is looked up is the engine's own affair, and what the data side misses is visible: in
    // profiles, and in when a table walk sees a changed descriptor.
    SecondLevelTlb data_tlb;
    SecondLevelTlb fetch_tlb;
    TlbMaintenance maintenance;
    u64 generation = 1;

    // ── Derived from registers ─────────────────────────────────────────────────────────────────────────────
    struct Registers {
        u64 sctlr = 0;
        u64 tcr = 0;
        u64 ttbr0 = 0;
        u64 ttbr1 = 0;
        u64 mair = 0;
        friend bool operator==(const Registers&, const Registers&) = default;
    };
    Registers seen;               // what the rest was computed from
    bool enabled = false;         // SCTLR_EL1.M
    bool check_alignment = false; // SCTLR_EL1.A
    bool write_implies_xn = false;  // SCTLR_EL1.WXN
    bool hardware_dirty = false;  // TCR_EL1.HA and HD
    mm::WalkParams half[2];       // by bit 55 of the address
    u64 mair = 0;

    // ── Address spaces ─────────────────────────────────────────────────────────────────────────────────────
    std::vector<AddressSpace> space_of_asid;  // kNoAddressSpace: none assigned
    AddressSpace next_space = 1;
    AddressSpace space = kNoAddressSpace;     // current
    u16 asid = 0;                             // current
    u16 asid_mask = 0xFF;                     // TCR_EL1.AS: 8 or 16 bits

    // What Vcpu::ctx_ and unprivileged_ctx_ are while nothing forces the slow paths.
    TlbContext data_context = kNoFastPath;
    TlbContext user_context = kNoFastPath;

    // Pages and blocks that instructions were fetched from since the engine's links were last invalidated (a Bloom filter
    // by address and size): maintenance of anything else need not touch the links.
    static constexpr unsigned kFetchFilterBits = 4096;
    std::array<u64, kFetchFilterBits / 64> fetch_filter{};
    u64 fetch_shifts = 0;
    PageInfo flat;                // the page found while translation is disabled
    bool refused_device = false;  // the last lookup that found no page: permissions forbid the access, to Device memory
                                  // (not in the result, which every miss would pay for)

    void registers_changed(const Registers& now);
    void select_address_space();
    void update_context();
    void drop_address_spaces();
    void flush_all();
    void invalidate_links();

    Privilege privilege(bool unprivileged) const {
        const CpuState& s = v.s;
        if (s.el == 0 || (unprivileged && s.uao == 0)) {
            return Privilege::el0;
        }
        return s.pan != 0 ? Privilege::el1_pan : Privilege::el1;
    }

    SecondLevelTlb& tlb_of(AccessType type) { return type == AccessType::fetch ? fetch_tlb : data_tlb; }

    /// The page of `va` if the second-level TLB holds it and allows the access as it is.
    const PageInfo* held(u64 va, AccessType type, Privilege privilege) {
        const u64 key = page_key(va);
        const bool tagged = key != (va & kPageMask);
        if (!enabled || (tagged && !half_of(va).top_byte_ignored)) [[unlikely]] {
            return nullptr;
        }
        const PageInfo* page = tlb_of(type).find(key, space);
        const bool usable = page != nullptr && (page->permissions & permission_bit(type, privilege)) != 0 &&
                            (type != AccessType::write || !page->needs_dirty);
        return usable ? page : nullptr;
    }

    /// The page of `va` with permission checked; uses and fills the second-level TLB.
    PageLookup lookup(u64 va, AccessType type, Privilege privilege);
    PageLookup lookup_flat(u64 va, AccessType type);
    PageLookup refill(u64 va, AccessType type, Privilege privilege);
    /// Of the last lookup's result: Device memory, accessible or not.
    bool found_device(const PageLookup& last) const { return last.page != nullptr ? last.page->device : refused_device; }

    bool watched(const PageInfo& page) const {
        return v.config.table_watch != nullptr && v.config.table_watch->watched(page.pa_page);
    }
    /// The page is about to be stored to. Whoever finds a page for a store, other than in the first-level TLB, says so.
    void note_store(const PageInfo& page) {
        if (v.config.table_watch != nullptr) {
            v.config.table_watch->note_store(page.pa_page);
        }
    }

    /// The page a walk ended in; `result.fault` is none.
    PageInfo describe(const mm::WalkResult& result) const;
    mm::WalkResult walk(u64 va, bool set_access_flag, mm::WalkTrail* trail = nullptr);
    void remember_fetch(u64 va, const PageInfo& page);

    const mm::WalkParams& half_of(u64 va) const { return half[bit(va, 55) ? 1 : 0]; }

    /// Removes the page from the first-level TLB, in all contexts.
    void forget_first_level(u64 page) { v.tlb_.entry(page) = TlbEntry{}; }
    void tlbi_va(u64 va, AddressSpace of);
    void tlbi_asid(u16 of);
    bool was_fetched(u64 page) const;
};

/// Fault status code of a failed walk.
u8 walk_fault_code(const mm::WalkResult& result);

}  // namespace vmm::arch
