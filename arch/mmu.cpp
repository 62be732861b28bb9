// Registers, address spaces, refill and maintenance of the EL1&0 translation regime.
#include "arch/mmu.h"

#include <algorithm>

#include "arch/engine.h"
#include "arch/mmu_impl.h"

namespace vmm::arch {

namespace {

// SCTLR_EL1.
constexpr unsigned kSctlrM = 0;
constexpr unsigned kSctlrA = 1;
constexpr unsigned kSctlrWxn = 19;
constexpr u64 kSctlrTranslationBits = u64{1} << kSctlrM | u64{1} << kSctlrWxn;

// TCR_EL1.
constexpr unsigned kTcrA1 = 22;
constexpr unsigned kTcrAs = 36;
constexpr unsigned kTcrHa = 39;
constexpr unsigned kTcrHd = 40;


/// Guest RAM as the walker sees it.
class RamPort final : public mm::DescriptorPort {
  public:
    explicit RamPort(const Vcpu& v) : ram_(v.ram()), watch_(v.config.table_watch) {}

    bool read(u64 pa, u64& value) override {
        const u8* host = ram_.host(pa, sizeof value);
        if (host == nullptr) {
            return false;
        }
        value = mm::load_acquire<u64>(host);
        return true;
    }

    bool compare_exchange(u64 pa, u64 expected, u64 desired) override {
        if (watch_ != nullptr) {
            watch_->note_store(pa);
        }
        u8* host = ram_.host(pa, sizeof expected);
        return host != nullptr && mm::compare_exchange<u64>(host, expected, desired);
    }

  private:
    const mm::GuestRam& ram_;
    mm::TableWatch* const watch_;
};

mm::Granule decode_tg0(u64 tg) {
    return tg == 1 ? mm::Granule::k64 : tg == 2 ? mm::Granule::k16 : mm::Granule::k4;
}

mm::Granule decode_tg1(u64 tg) {
    return tg == 1 ? mm::Granule::k16 : tg == 3 ? mm::Granule::k64 : mm::Granule::k4;
}

/// TCR_EL1.IPS, limited to what the PE has. Arm ARM D24.2.184.
u8 output_bits(u64 ips) {
    static constexpr u8 kBits[8] = {32, 36, 40, 42, 44, 48, 48, 48};
    return kBits[ips & 7];
}

/// Without FEAT_TTST the input is 25 to 48 bits; other sizes behave as the nearest.
u8 input_bits(u64 tsz) {
    return static_cast<u8>(64 - std::clamp<u64>(tsz, 16, 39));
}

mm::WalkParams decode_half(u64 tcr, u64 ttbr, bool upper) {
    mm::WalkParams params;
    params.table = bits(ttbr, 47, 1) << 1;
    params.granule = upper ? decode_tg1(bits(tcr, 31, 30)) : decode_tg0(bits(tcr, 15, 14));
    params.input_bits = input_bits(upper ? bits(tcr, 21, 16) : bits(tcr, 5, 0));
    params.output_bits = output_bits(bits(tcr, 34, 32));
    params.disabled = bit(tcr, upper ? 23 : 7);
    params.top_byte_ignored = bit(tcr, upper ? 38 : 37);
    params.upper = upper;
    params.ignore_hierarchy = bit(tcr, upper ? 42 : 41);
    params.set_access_flag = bit(tcr, kTcrHa);
    return params;
}

/// Device memory by its MAIR byte (0b0000ddxx).
constexpr bool is_device(u8 attr) {
    return (attr & 0xF0) == 0;
}

/// The MAIR byte of Normal memory that is cacheable neither inside nor outside.
constexpr u8 kNonCacheable = 0x44;

/// Context numbers: address space and, in the low two bits, the privilege.
constexpr TlbContext context_number(AddressSpace space, Privilege privilege) {
    return static_cast<TlbContext>(space << 2 | static_cast<unsigned>(privilege));
}

}  // namespace

u8 walk_fault_code(const mm::WalkResult& result) {
    switch (result.fault) {
        case mm::WalkFault::translation: return fsc::kTranslation | result.level;
        case mm::WalkFault::address_size: return fsc::kAddressSize | result.level;
        case mm::WalkFault::access_flag: return fsc::kAccessFlag | result.level;
        case mm::WalkFault::external_abort:
        case mm::WalkFault::none: break;
    }
    return fsc::kExternalAbortOnWalk | result.level;
}

// ── Registers and address spaces ───────────────────────────────────────────────────────────────────────────

Mmu::Impl::Impl(Vcpu& vcpu) : v(vcpu), space_of_asid(65536, kNoAddressSpace) {}

void Mmu::Impl::registers_changed(const Registers& now) {
    constexpr u64 kNoFlushTcr = u64{1} << kTcrA1 | u64{1}
                                                       << kTcrAs;  // which ASID is current: tags see to that
    const bool flush = ((seen.sctlr ^ now.sctlr) & kSctlrTranslationBits) != 0 ||
                       ((seen.tcr ^ now.tcr) & ~kNoFlushTcr) != 0 || seen.mair != now.mair;
    ++generation;
    seen = now;
    enabled = bit(now.sctlr, kSctlrM);
    check_alignment = bit(now.sctlr, kSctlrA);
    write_implies_xn = bit(now.sctlr, kSctlrWxn);
    hardware_dirty = bit(now.tcr, kTcrHa) && bit(now.tcr, kTcrHd);
    mair = now.mair;
    half[0] = decode_half(now.tcr, now.ttbr0, false);
    half[1] = decode_half(now.tcr, now.ttbr1, true);
    const u64 wide_asid = bits(bit(now.tcr, kTcrA1) ? now.ttbr1 : now.ttbr0, 63, 48);
    asid_mask = bit(now.tcr, kTcrAs) ? 0xFFFF : 0xFF;
    asid = static_cast<u16>(wide_asid & asid_mask);
    if (flush) {
        flush_all();
    }
    select_address_space();
}

void Mmu::Impl::select_address_space() {
    if (!enabled) {
        space = kNoAddressSpace;
        return;
    }
    space = space_of_asid[asid];
    if (space != kNoAddressSpace) {
        return;
    }
    if (next_space > kLastAddressSpace) {
        drop_address_spaces();
    }
    space = next_space++;
    space_of_asid[asid] = space;
}

/// All numbers are used up: start over with empty TLBs.
void Mmu::Impl::drop_address_spaces() {
    std::fill(space_of_asid.begin(), space_of_asid.end(), kNoAddressSpace);
    next_space = 1;
    flush_all();
}

void Mmu::Impl::flush_all() {
    data_tlb.clear();
    fetch_tlb.clear();
    v.tlb_.clear();
    invalidate_links();
}

void Mmu::Impl::invalidate_links() {
    fetch_filter.fill(0);
    fetch_shifts = 0;
    v.engine().invalidate_links();
}

void Mmu::Impl::update_context() {
    const CpuState& s = v.s;
    const Registers now{s.sctlr_el1, s.tcr_el1, s.ttbr0_el1, s.ttbr1_el1, s.mair_el1};
    if (now != seen) [[unlikely]] {
        registers_changed(now);
    }
    if (space == kNoAddressSpace || check_alignment) {
        data_context = user_context = kNoFastPath;
    } else {
        data_context = context_number(space, privilege(false));
        user_context = context_number(space, privilege(true));
    }
    if (v.trace_ == nullptr) {
        v.ctx_ = data_context;
        v.unprivileged_ctx_ = user_context;
    }
}

// ── Lookup and refill ──────────────────────────────────────────────────────────────────────────────────────

PageLookup Mmu::Impl::lookup_flat(u64 va, AccessType type) {
    const std::optional<u64> pa = mm::flat_address(half_of(va), va);
    if (!pa) {
        refused_device = false;
        return {nullptr, fsc::kAddressSize, false};
    }
    flat.pa_page = *pa & kPageMask;
    flat.permissions = 0xFFFF;
    flat.device = type != AccessType::fetch;  // Device-nGnRnE, MAIR encoding 0
    flat.attr = 0;
    return {&flat, 0, false};
}

PageLookup Mmu::Impl::lookup(u64 va, AccessType type, Privilege privilege) {
    PageLookup found;
    if (!enabled) [[unlikely]] {
        found = lookup_flat(va, type);
    } else if (const PageInfo* page = held(va, type, privilege)) [[likely]] {
        found = {page, 0, false};
    } else {
        // A permission that is missing in the TLB may have been granted in memory since: the walk decides.
        found = refill(va, type, privilege);
    }
    if (type == AccessType::write && found.page != nullptr) {
        note_store(*found.page);
    }
    return found;
}

mm::WalkResult Mmu::Impl::walk(u64 va, bool set_access_flag, mm::WalkTrail* trail) {
    RamPort port(v);
    if (set_access_flag || !half_of(va).set_access_flag) {
        return mm::walk(half_of(va), va, port, trail);
    }
    mm::WalkParams params = half_of(va);
    params.set_access_flag = false;
    return mm::walk(params, va, port, trail);
}

PageLookup Mmu::Impl::refill(u64 va, AccessType type, Privilege privilege) {
    for (;;) {
        mm::WalkResult result = walk(va, true);
        if (result.fault != mm::WalkFault::none) {
            refused_device = false;
            return {nullptr, walk_fault_code(result), true};
        }
        PageInfo page = describe(result);
        const bool allowed = (page.permissions & permission_bit(type, privilege)) != 0;
        if (allowed && type == AccessType::write && page.needs_dirty) {
            RamPort port(v);
            if (!mm::mark_dirty(result, port)) {
                continue;  // the descriptor changed under us
            }
            page.needs_dirty = false;
        }
        u64 evicted = SecondLevelTlb::kEmpty;
        const PageInfo* held = tlb_of(type).insert(page_key(va), result.global ? kGlobalSlot : space, page, evicted);
        if (evicted != SecondLevelTlb::kEmpty && type != AccessType::fetch) {
            forget_first_level(evicted);  // the first level holds nothing that the second does not
        }
        if (!allowed) {
            refused_device = page.device;
            return {nullptr, static_cast<u8>(fsc::kPermission | page.level), true};
        }
        return {held, 0, true};
    }
}

/// Permissions of a page. Arm ARM D8.4.1; WXN D8.4.2; hardware dirty state D8.5.
PageInfo Mmu::Impl::describe(const mm::WalkResult& result) const {
    PageInfo page;
    page.pa_page = result.pa & kPageMask;
    page.attr = static_cast<u8>(mair >> (8 * result.attr_index));
    page.device = is_device(page.attr);
    page.block_shift = result.block_shift;
    page.level = result.level;
    page.needs_dirty = hardware_dirty && result.dirty_modifier && result.read_only && !result.table_read_only;

    const bool writable = !result.read_only || page.needs_dirty;
    const bool user_writable = result.user && writable;
    const bool user_executable = !result.user_never && !(write_implies_xn && user_writable);
    const bool executable = !result.privileged_never && !user_writable && !(write_implies_xn && writable);
    const auto grant = [&page](bool yes, AccessType type, Privilege privilege) {
        page.permissions |= yes ? permission_bit(type, privilege) : 0;
    };
    grant(result.user, AccessType::read, Privilege::el0);
    grant(true, AccessType::read, Privilege::el1);
    grant(!result.user, AccessType::read, Privilege::el1_pan);
    grant(user_writable, AccessType::write, Privilege::el0);
    grant(writable, AccessType::write, Privilege::el1);
    grant(writable && !result.user, AccessType::write, Privilege::el1_pan);
    grant(user_executable, AccessType::fetch, Privilege::el0);
    grant(executable, AccessType::fetch, Privilege::el1);
    grant(executable, AccessType::fetch, Privilege::el1_pan);
    return page;
}

namespace {

constexpr unsigned fetch_filter_index(u64 page, unsigned shift) {
    const u64 number = page >> shift;
    return static_cast<unsigned>(number ^ (number >> 12) ^ shift * 331u) & (Mmu::Impl::kFetchFilterBits - 1);
}

}  // namespace

void Mmu::Impl::remember_fetch(u64 va, const PageInfo& page) {
    const unsigned index = fetch_filter_index(page_key(va), page.block_shift);
    fetch_filter[index / 64] |= u64{1} << (index % 64);
    fetch_shifts |= u64{1} << page.block_shift;
}

bool Mmu::Impl::was_fetched(u64 page) const {
    for (u64 shifts = fetch_shifts; shifts != 0; shifts &= shifts - 1) {
        const unsigned index = fetch_filter_index(page, static_cast<unsigned>(std::countr_zero(shifts)));
        if (bit(fetch_filter[index / 64], index % 64)) {
            return true;
        }
    }
    return false;
}

// ── Maintenance ────────────────────────────────────────────────────────────────────────────────────────────

void Mmu::Impl::tlbi_va(u64 va, AddressSpace of) {
    const u64 page = page_key(va);
    fetch_tlb.forget(page, of, [](unsigned) {});
    forget_first_level(page);
    data_tlb.forget(page, of, [&](unsigned shift) {
        const u64 pages = std::min<u64>(u64{1} << (shift - kPageShift), Tlb::kEntries);
        const u64 first = align_down(page, u64{1} << shift);
        for (u64 i = 0; i < pages; ++i) {
            forget_first_level(first + (i << kPageShift));
        }
    });
    if (was_fetched(page)) {
        invalidate_links();
    }
}

/// The address space loses its number, and with it everything that is tagged so.
void Mmu::Impl::tlbi_asid(u16 of) {
    space_of_asid[of] = kNoAddressSpace;
    if (of == asid && enabled) {
        select_address_space();
        update_context();
        v.engine().context_changed();
    }
}

Mmu::Mmu(Vcpu& vcpu) : impl_(std::make_unique<Impl>(vcpu)) {}
Mmu::~Mmu() = default;

void Mmu::tlbi(TlbiOp op, u64 va, u16 asid) {
    Impl& m = *impl_;
    asid &= m.asid_mask;
    ++m.generation;
    switch (op) {
        case TlbiOp::all:
            ++m.maintenance.half[0];
            ++m.maintenance.half[1];
            m.flush_all();
            break;
        case TlbiOp::va:
            ++m.maintenance.half[bit(va, 55)];
            m.tlbi_va(va, m.space_of_asid[asid]);
            break;
        case TlbiOp::va_all_asids:
            ++m.maintenance.half[bit(va, 55)];
            m.tlbi_va(va, kGlobalSlot);
            break;
        case TlbiOp::asid:
            ++m.maintenance.by_asid;
            m.tlbi_asid(asid);
            break;
    }
}

const TlbMaintenance& Mmu::maintenance() const {
    return impl_->maintenance;
}

const u64& Mmu::generation() const {
    return impl_->generation;
}

void Mmu::update_context() {
    impl_->update_context();
}

u16 Mmu::fetch_context() const {
    return context_number(impl_->space, impl_->v.s.el == 0 ? Privilege::el0 : Privilege::el1);
}

// ── Translation for others ─────────────────────────────────────────────────────────────────────────────────

Translation Mmu::translate(u64 va, AccessType type, bool privileged, bool ignore_pan) {
    Impl& m = *impl_;
    const Privilege privilege = !privileged                    ? Privilege::el0
                                : ignore_pan || m.v.s.pan == 0 ? Privilege::el1
                                                               : Privilege::el1_pan;
    const PageLookup found = m.lookup(va, type, privilege);
    Translation result;
    result.walked = found.walked;
    if (found.page == nullptr) {
        result.fsc = found.fsc;
        result.device = m.refused_device;
        return result;
    }
    if (type == AccessType::fetch) {
        m.remember_fetch(va, *found.page);
    }
    result.ok = true;
    result.pa = found.page->pa_page | (va & ~kPageMask);
    result.page_size = u64{1} << found.page->block_shift;
    result.attr = found.page->attr;
    result.device = found.page->device;
    return result;
}

mm::RangeRegime Mmu::range_regime(u64 va) const {
    const Impl& m = *impl_;
    return {m.enabled, m.hardware_dirty, m.half_of(va)};
}

/// PAR_EL1. Arm ARM D24.2.141.
AtResult Mmu::address_translation(u64 va, AtKind kind, bool is_write) {
    constexpr u64 kRes1 = u64{1} << 11;
    constexpr u64 kOuterShareable = 2;
    const auto fault = [](u8 code) { return AtResult{kRes1 | u64{code} << 1 | 1}; };
    Impl& m = *impl_;
    if (!m.enabled) {
        const std::optional<u64> pa = mm::flat_address(m.half_of(va), va);
        return pa ? AtResult{(*pa & kPageMask) | kRes1 | kOuterShareable << 7} : fault(fsc::kAddressSize);
    }
    const mm::WalkResult result = m.walk(va, true);
    if (result.fault == mm::WalkFault::external_abort) {
        return {0, walk_fault_code(result)};
    }
    if (result.fault != mm::WalkFault::none) {
        return fault(walk_fault_code(result));
    }
    const PageInfo page = m.describe(result);
    Privilege privilege = Privilege::el0;
    if (kind != AtKind::el0) {
        privilege = kind == AtKind::el1_pan && m.v.s.pan != 0 ? Privilege::el1_pan : Privilege::el1;
    }
    if ((page.permissions & permission_bit(is_write ? AccessType::write : AccessType::read, privilege)) ==
        0) {
        return fault(fsc::kPermission | page.level);
    }
    const bool cacheable = !page.device && page.attr != kNonCacheable;
    const u64 shareability = cacheable ? bits(result.descriptor, 9, 8) : kOuterShareable;
    return {u64{page.attr} << 56 | bits(page.pa_page, 47, 12) << 12 | kRes1 | shareability << 7};
}

void Vcpu::context_changed() {
    mmu_->update_context();
    engine_->context_changed();
}

void Vcpu::begin_trace(OpTrace* trace) {
    trace_ = trace;
    ctx_ = unprivileged_ctx_ = kNoFastPath;
}

void Vcpu::end_trace() {
    trace_ = nullptr;
    ctx_ = mmu_->impl().data_context;
    unprivileged_ctx_ = mmu_->impl().user_context;
}

}  // namespace vmm::arch
