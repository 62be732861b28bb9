// The slow paths of data accesses: what the first-level TLB does not answer, MMIO, page crossings, alignment faults, and
// everything while an operation is traced.
#include <cstring>

#include "arch/debug_hook.h"
#include "arch/ldst_access.h"
#include "arch/mmu_impl.h"

namespace vmm::arch {

namespace {

/// One data access of an instruction.
struct Request {
    u64 va;
    unsigned size;
    AccessType type;
    AccessKind kind;

    bool is_write() const { return type == AccessType::write; }
    bool misaligned() const { return (va & (size - 1)) != 0; }
    bool must_be_aligned() const { return kind.ordered || kind.exclusive || kind.atomic; }
    bool crosses_page() const { return arch::crosses_page(va, size); }
};

/// A debugger outside the guest forbids the access; only traced operations ask. No exception is taken, and PC stays.
bool debugger_refuses(Vcpu& v, u64 va, u64 size, AccessType type, AccessKind kind = {}) {
    DebugHook* const hook = v.debug_hook();
    if (v.trace() == nullptr || hook == nullptr) {
        return false;
    }
    const bool is_write = type == AccessType::write;
    // An atomic operation reads what it replaces.
    return hook->refuses(va, size, is_write) || (kind.atomic && is_write && hook->refuses(va, size, false));
}

/// The access, whose pages have been found, hits one of the guest's watchpoints: the exception was taken.
bool hits_watchpoint(Vcpu& v, const Request& request) {
    if (!v.debug.watches_anything()) [[likely]] {
        return false;
    }
    const bool unprivileged = v.mmu().impl().privilege(request.kind.unprivileged) == Privilege::el0;
    const bool reads = !request.is_write() || request.kind.atomic;
    const auto hit = v.debug.watches(v.s, {request.va, request.size, reads, request.is_write(), unprivileged});
    if (hit) {
        v.watchpoint(hit->far, hit->by_write);
    }
    return hit.has_value();
}

/// Records what looking up a page of a traced operation took.
void record_lookup(OpTrace& trace, const PageLookup& found, bool refill) {
    trace.tlb_refill |= refill;
    trace.tlb_walk |= found.walked;
}

/// Records an access of a traced operation, in the page where it begins; of later ones, only what adds to the first.
void record(Vcpu& v, const Request& request, const PageLookup& found, bool refill) {
    OpTrace& trace = *v.trace();
    trace.size = static_cast<u8>(trace.size + request.size);
    trace.misaligned |= request.size != 0 && request.misaligned();
    record_lookup(trace, found, refill);
    if (trace.has_va) {
        return;
    }
    trace.has_va = true;
    trace.va = request.va;
    trace.is_write = request.is_write();
    trace.is_atomic = request.kind.atomic;
    trace.is_exclusive = request.kind.exclusive;
    trace.is_ordered = request.kind.ordered;
    trace.returns_value = request.kind.returns_value;
    if (found.page != nullptr) {
        trace.pa_valid = true;
        trace.pa = found.page->pa_page | (request.va & ~kPageMask);
        trace.is_device = found.page->device || !v.ram().contains(found.page->pa_page);
    }
}

/// The first-level TLB would have missed, were it not for the tracing.
bool misses_first_level(Vcpu& v, const Request& request, u64 va) {
    const Mmu::Impl& m = v.mmu().impl();
    const TlbEntry& entry = v.tlb_.entry(va);
    const u64 tag = (va & kPageMask) | (request.kind.unprivileged ? m.user_context : m.data_context);
    return tag != (request.is_write() ? entry.write_tag : entry.read_tag);
}

void fill_first_level(Vcpu& v, const Request& request, const PageInfo& page, Privilege privilege, u8* host_page) {
    const Mmu::Impl& m = v.mmu().impl();
    const TlbContext context = request.kind.unprivileged ? m.user_context : m.data_context;
    if (context == kNoFastPath || page.device || v.debug.may_watch(request.va)) {
        return;
    }
    const u64 va_page = request.va & kPageMask;
    const u64 tag = va_page | context;
    const bool readable = (page.permissions & permission_bit(AccessType::read, privilege)) != 0;
    const bool writable = (page.permissions & permission_bit(AccessType::write, privilege)) != 0 && !page.needs_dirty &&
                          !m.watched(page);
    TlbEntry& entry = v.tlb_.entry(request.va);
    entry.read_tag = readable ? tag : kNoTag;
    entry.write_tag = writable ? tag : kNoTag;
    entry.addend = reinterpret_cast<u64>(host_page) - va_page;
    entry.pa_page = page.pa_page;
}

/// Takes the data abort of a refused access. An atomic whose read would have had the fault reports a read (ESR_EL1.WnR).
void refuse(Vcpu& v, const Request& request, u64 va, u8 code, Privilege privilege) {
    bool is_write = request.is_write();
    if (request.kind.atomic && is_write) {
        is_write =
            code != fsc::kAlignment && v.mmu().impl().lookup(va, AccessType::read, privilege).page != nullptr;
    }
    v.data_abort(va, code, is_write);
}

/// Takes the alignment fault of an access of which nothing was recorded so far.
void refuse_misaligned(Vcpu& v, const Request& request) {
    if (v.trace() != nullptr) {
        record(v, request, {}, false);
        v.trace()->misaligned = true;
    }
    refuse(v, request, request.va, fsc::kAlignment, v.mmu().impl().privilege(request.kind.unprivileged));
}

/// Translates the page of `va`, checks permission and alignment, records, and takes the fault.
PageLookup access_page(Vcpu& v, const Request& request, u64 va, Privilege privilege) {
    Mmu::Impl& m = v.mmu().impl();
    const bool first = va == request.va;
    const bool misaligned = request.misaligned();
    if (misaligned && (m.check_alignment || request.must_be_aligned())) [[unlikely]] {
        refuse_misaligned(v, request);
        return {};
    }
    const bool refill = v.trace() != nullptr && misses_first_level(v, request, va);
    // Device memory refuses a misaligned store, and no such store marks its page dirty (D8.5.2.1): look at it as a load would.
    PageLookup found = m.lookup(va, misaligned ? AccessType::read : request.type, privilege);
    const bool refused_by_device = misaligned && m.found_device(found);
    if (misaligned && request.is_write() && !refused_by_device) {
        const bool walked = found.walked;
        found = m.lookup(va, AccessType::write, privilege);
        found.walked |= walked;
    }
    if (v.trace() != nullptr) [[unlikely]] {
        first ? record(v, request, found, refill) : record_lookup(*v.trace(), found, refill);
    }
    if (refused_by_device) [[unlikely]] {  // before permission faults, D8.15.5
        refuse(v, request, request.va, fsc::kAlignment, privilege);
        found.page = nullptr;
    } else if (found.page == nullptr) [[unlikely]] {
        refuse(v, request, va, found.fsc, privilege);
    }
    return found;
}

/// Guest-physical read outside RAM; misaligned ones (Normal memory) go byte by byte.
bool mmio_read(Vcpu& v, u64 pa, unsigned size, u64& value) {
    MmioPort* port = v.config.mmio;
    if (port == nullptr) {
        return false;
    }
    if (std::has_single_bit(size) && is_aligned(pa, size)) {
        return port->read(pa, size, value, v.index());
    }
    value = 0;
    for (unsigned i = 0; i < size; ++i) {
        u64 byte = 0;
        if (!port->read(pa + i, 1, byte, v.index())) {
            return false;
        }
        value |= (byte & 0xFF) << (8 * i);
    }
    return true;
}

bool mmio_write(Vcpu& v, u64 pa, unsigned size, u64 value) {
    MmioPort* port = v.config.mmio;
    if (port == nullptr) {
        return false;
    }
    if (std::has_single_bit(size) && is_aligned(pa, size)) {
        return port->write(pa, size, value & ones(8 * size), v.index());
    }
    for (unsigned i = 0; i < size; ++i) {
        if (!port->write(pa + i, 1, (value >> (8 * i)) & 0xFF, v.index())) {
            return false;
        }
    }
    return true;
}

/// The two physical pieces of an access that crosses into another page, both checked.
struct Pieces {
    u64 va[2];
    u64 pa[2];
    unsigned size[2];
};

bool split(Vcpu& v, const Request& request, Privilege privilege, Pieces& pieces) {
    const u64 second_va = (request.va + request.size - 1) & kPageMask;
    pieces.va[0] = request.va;
    pieces.va[1] = second_va;
    pieces.size[0] = static_cast<unsigned>(second_va - request.va);
    pieces.size[1] = request.size - pieces.size[0];
    const PageLookup first = access_page(v, request, request.va, privilege);
    if (first.page == nullptr) {
        return false;
    }
    pieces.pa[0] = first.page->pa_page | (request.va & ~kPageMask);
    const PageLookup second = access_page(v, request, second_va, privilege);
    if (second.page == nullptr) {
        return false;
    }
    pieces.pa[1] = second.page->pa_page;
    return !hits_watchpoint(v, request);
}

bool read_crossing(Vcpu& v, const Request& request, Privilege privilege, u64& value) {
    Pieces pieces;
    if (!split(v, request, privilege, pieces)) {
        return false;
    }
    u64 part[2] = {0, 0};
    for (unsigned i = 0; i < 2; ++i) {
        if (const u8* host = v.ram().host(pieces.pa[i], pieces.size[i])) {
            for (unsigned k = 0; k < pieces.size[i]; ++k) {
                part[i] |= u64{mm::load_relaxed<u8>(host + k)} << (8 * k);
            }
        } else if (!mmio_read(v, pieces.pa[i], pieces.size[i], part[i])) {
            v.data_abort(pieces.va[i], fsc::kExternalAbort, false);
            return false;
        }
    }
    value = part[0] | part[1] << (8 * pieces.size[0]);
    return true;
}

bool write_crossing(Vcpu& v, const Request& request, Privilege privilege, u64 value) {
    Pieces pieces;
    if (!split(v, request, privilege, pieces)) {
        return false;
    }
    const u64 part[2] = {value, value >> (8 * pieces.size[0])};
    for (unsigned i = 0; i < 2; ++i) {
        if (u8* host = v.ram().host(pieces.pa[i], pieces.size[i])) {
            for (unsigned k = 0; k < pieces.size[i]; ++k) {
                mm::store_relaxed<u8>(host + k, static_cast<u8>(part[i] >> (8 * k)));
            }
        } else if (!mmio_write(v, pieces.pa[i], pieces.size[i], part[i])) {
            v.data_abort(pieces.va[i], fsc::kExternalAbort, true);
            return false;
        }
    }
    return true;
}

u64 load(const u8* host, unsigned size) {
    switch (size) {
        case 1: return mm::load_relaxed<u8>(host);
        case 2: return mm::load_relaxed<u16>(host);
        case 4: return mm::load_relaxed<u32>(host);
        default: return mm::load_relaxed<u64>(host);
    }
}

void store(u8* host, unsigned size, u64 value) {
    switch (size) {
        case 1: mm::store_relaxed<u8>(host, static_cast<u8>(value)); break;
        case 2: mm::store_relaxed<u16>(host, static_cast<u16>(value)); break;
        case 4: mm::store_relaxed<u32>(host, static_cast<u32>(value)); break;
        default: mm::store_relaxed<u64>(host, value); break;
    }
}

/// A traced access that the first-level TLB would have served, recorded. nullptr: anything else.
u8* traced_hit(Vcpu& v, const Request& request) {
    if (request.misaligned() || misses_first_level(v, request, request.va)) {
        return nullptr;
    }
    const TlbEntry& entry = v.tlb_.entry(request.va);
    PageInfo page;
    page.pa_page = entry.pa_page;
    record(v, request, {&page, 0, false}, false);
    return reinterpret_cast<u8*>(request.va + entry.addend);
}

/// The commonest miss: an aligned access to RAM whose page the second-level TLB holds. nullptr: anything else.
[[gnu::always_inline]] inline u8* quick_refill(Vcpu& v, const Request& request) {
    Mmu::Impl& m = v.mmu().impl();
    if (v.trace() != nullptr) [[unlikely]] {
        return traced_hit(v, request);
    }
    if (request.misaligned() || v.debug.may_watch(request.va)) [[unlikely]] {
        return nullptr;
    }
    const Privilege privilege = m.privilege(request.kind.unprivileged);
    const PageInfo* page = m.held(request.va, request.type, privilege);
    if (page == nullptr) [[unlikely]] {
        return nullptr;
    }
    u8* host_page = v.ram().host(page->pa_page, kPageSize);
    if (host_page == nullptr) [[unlikely]] {
        return nullptr;
    }
    if (request.is_write()) {
        m.note_store(*page);
    }
    fill_first_level(v, request, *page, privilege, host_page);
    return host_page + (request.va & ~kPageMask);
}

/// Whether both halves of a pair may be accessed, where that must be known before the first is; if not, the fault was taken.
bool pair_allowed(Vcpu& v, u64 va, AccessType type, AccessKind kind) {
    if (!crosses_page(va, 16) && !v.debug.may_watch(va)) {
        return true;
    }
    return !register_alignment_fault(v, va, 16, type, 8) && v.probe_access(va, 16, type, kind);
}

}  // namespace

bool Vcpu::read_slow(u64 va, unsigned size, u64& value, AccessKind kind) {
    const Request request{va, size, AccessType::read, kind};
    if (debugger_refuses(*this, va, size, AccessType::read)) [[unlikely]] {
        return false;
    }
    if (const u8* host = quick_refill(*this, request)) [[likely]] {
        value = load(host, size);
        return true;
    }
    const Privilege privilege = mmu_->impl().privilege(kind.unprivileged);
    if (request.crosses_page()) [[unlikely]] {
        return read_crossing(*this, request, privilege, value);
    }
    const PageLookup found = access_page(*this, request, va, privilege);
    if (found.page == nullptr || hits_watchpoint(*this, request)) [[unlikely]] {
        return false;
    }
    if (u8* host_page = config.ram.host(found.page->pa_page, kPageSize)) [[likely]] {
        fill_first_level(*this, request, *found.page, privilege, host_page);
        value = load(host_page + (va & ~kPageMask), size);
        return true;
    }
    if (mmio_read(*this, found.page->pa_page | (va & ~kPageMask), size, value)) {
        return true;
    }
    data_abort(va, fsc::kExternalAbort, false);
    return false;
}

bool Vcpu::write_slow(u64 va, unsigned size, u64 value, AccessKind kind) {
    const Request request{va, size, AccessType::write, kind};
    if (debugger_refuses(*this, va, size, AccessType::write)) [[unlikely]] {
        return false;
    }
    if (u8* host = quick_refill(*this, request)) [[likely]] {
        store(host, size, value);
        return true;
    }
    const Privilege privilege = mmu_->impl().privilege(kind.unprivileged);
    if (request.crosses_page()) [[unlikely]] {
        return write_crossing(*this, request, privilege, value);
    }
    const PageLookup found = access_page(*this, request, va, privilege);
    if (found.page == nullptr || hits_watchpoint(*this, request)) [[unlikely]] {
        return false;
    }
    if (u8* host_page = config.ram.host(found.page->pa_page, kPageSize)) [[likely]] {
        fill_first_level(*this, request, *found.page, privilege, host_page);
        store(host_page + (va & ~kPageMask), size, value);
        return true;
    }
    if (mmio_write(*this, found.page->pa_page | (va & ~kPageMask), size, value)) {
        return true;
    }
    data_abort(va, fsc::kExternalAbort, true);
    return false;
}

bool Vcpu::read_pair(u64 va, u64& first, u64& second, AccessKind kind) {
    const TlbEntry& entry = tlb_.entry(va);
    const u64 probe = ((va + 15) & kPageMask) | (kind.unprivileged ? unprivileged_ctx_ : ctx_);
    if (probe == entry.read_tag) [[likely]] {
        first = mm::load_relaxed<u64>(reinterpret_cast<const void*>(va + entry.addend));
        second = mm::load_relaxed<u64>(reinterpret_cast<const void*>(va + 8 + entry.addend));
        return true;
    }
    if (debugger_refuses(*this, va, 16, AccessType::read)) [[unlikely]] {
        return false;
    }
    if (!pair_allowed(*this, va, AccessType::read, kind)) {
        return false;
    }
    return read_slow(va, 8, first, kind) && read_slow(va + 8, 8, second, kind);
}

bool Vcpu::write_pair(u64 va, u64 first, u64 second, AccessKind kind) {
    const TlbEntry& entry = tlb_.entry(va);
    const u64 probe = ((va + 15) & kPageMask) | (kind.unprivileged ? unprivileged_ctx_ : ctx_);
    if (probe == entry.write_tag) [[likely]] {
        mm::store_relaxed<u64>(reinterpret_cast<void*>(va + entry.addend), first);
        mm::store_relaxed<u64>(reinterpret_cast<void*>(va + 8 + entry.addend), second);
        return true;
    }
    if (debugger_refuses(*this, va, 16, AccessType::write)) [[unlikely]] {
        return false;
    }
    if (!pair_allowed(*this, va, AccessType::write, kind)) {
        return false;
    }
    return write_slow(va, 8, first, kind) && write_slow(va + 8, 8, second, kind);
}

bool Vcpu::probe_access(u64 va, u64 size, AccessType type, AccessKind kind) {
    if (debugger_refuses(*this, va, size, type)) [[unlikely]] {
        return false;
    }
    Mmu::Impl& m = mmu_->impl();
    const Privilege privilege = m.privilege(kind.unprivileged);
    // The elements are accessed later and add their sizes then.
    const Request whole{va, 0, type, kind};
    const bool must_be_aligned = whole.must_be_aligned();
    if (must_be_aligned && std::has_single_bit(size) && !is_aligned(va, size)) {
        refuse_misaligned(*this, whole);
        return false;
    }
    const u64 pages = size == 0 ? 0 : (((va + size - 1) & kPageMask) - (va & kPageMask)) / kPageSize + 1;
    for (u64 i = 0; i < pages; ++i) {
        const u64 at = i == 0 ? va : (va & kPageMask) + i * kPageSize;
        const bool refill = trace_ != nullptr && misses_first_level(*this, whole, at);
        const PageLookup found = m.lookup(at, type, privilege);
        if (trace_ != nullptr) {
            i == 0 ? record(*this, whole, found, refill) : record_lookup(*trace_, found, refill);
        }
        if (found.page == nullptr) {
            refuse(*this, whole, at, found.fsc, privilege);
            return false;
        }
        if (!config.ram.contains(found.page->pa_page) && config.mmio == nullptr) {
            data_abort(at, fsc::kExternalAbort, type == AccessType::write);
            return false;
        }
    }
    const Request accesses{va, static_cast<unsigned>(size), type, kind};
    return !hits_watchpoint(*this, accesses);
}

u8* Vcpu::host_for_atomic(u64 va, unsigned size, AccessType type, AccessKind kind) {
    if (debugger_refuses(*this, va, size, type, kind)) [[unlikely]] {
        return nullptr;
    }
    const Request request{va, size, type, kind};
    const Privilege privilege = mmu_->impl().privilege(kind.unprivileged);
    if (request.misaligned()) [[unlikely]] {
        refuse_misaligned(*this, request);
        return nullptr;
    }
    const TlbEntry& entry = tlb_.entry(va);
    const u64 probe = (va & kPageMask) | (kind.unprivileged ? unprivileged_ctx_ : ctx_);
    if (probe == (type == AccessType::write ? entry.write_tag : entry.read_tag)) [[likely]] {
        return reinterpret_cast<u8*>(va + entry.addend);
    }
    const PageLookup found = access_page(*this, request, va, privilege);
    if (found.page == nullptr || hits_watchpoint(*this, request)) {
        return nullptr;
    }
    u8* host_page = config.ram.host(found.page->pa_page, kPageSize);
    if (host_page == nullptr) {
        refuse(*this, request, va, fsc::kUnsupportedAtomic, privilege);
        return nullptr;
    }
    fill_first_level(*this, request, *found.page, privilege, host_page);
    return host_page + (va & ~kPageMask);
}

bool device_alignment_fault(Vcpu& v, u64 va, u64 size, AccessType type, unsigned element) {
    Mmu::Impl& m = v.mmu().impl();
    for (u64 page = va; page < va + size; page = (page & kPageMask) + kPageSize) {
        const PageLookup found = m.lookup(page, AccessType::read, m.privilege(false));  // as a load: marks no page dirty
        if (v.trace() != nullptr) {
            v.trace()->tlb_walk |= found.walked;  // the access itself will find the page in the TLB
        }
        if (m.found_device(found)) {
            refuse_misaligned(v, {va + align_down(page - va, element), element, type, {}});
            return true;
        }
        if (found.page == nullptr) {
            return false;
        }
    }
    return false;
}

bool register_alignment_fault(Vcpu& v, u64 va, u64 size, AccessType type, unsigned element) {
    if (is_aligned(va, element)) {
        return false;
    }
    if (v.mmu().impl().check_alignment) {
        refuse_misaligned(v, {va, element, type, {}});
        return true;
    }
    return device_alignment_fault(v, va, size, type, element);
}

}  // namespace vmm::arch
