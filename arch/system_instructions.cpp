// System instructions: cache maintenance, address translation, TLB maintenance. Arm ARM C5.3 to C5.5.
#include "arch/engine.h"
#include "arch/ldst_access.h"
#include "arch/mmu.h"
#include "arch/syndrome.h"
#include "arch/sysregs.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey key(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return sysreg_key(1, op1, crn, crm, op2);
}

// ── Caches ─────────────────────────────────────────────────────────────────────────────────────────────────
// Guest memory is coherent: cleaning and invalidating data has no effect but its faults.

constexpr unsigned kSctlrDze = 14;
constexpr unsigned kSctlrUci = 26;

template <unsigned sctlr_bit>
SysregTrap check_el0(void*, Vcpu& v, bool) {
    return v.s.el == 0 && !bit(v.s.sctlr_el1, sctlr_bit) ? SysregTrap::trap_el1 : SysregTrap::allow;
}

/// Translates the operand; false after having taken the fault.
bool translate_operand(Vcpu& v, u64 va, AccessType type, Translation& result) {
    result = v.mmu().translate(va, type, v.s.el == 1, true);
    if (!result.ok) {
        v.data_abort(va, result.fsc, true, true);
    }
    return result.ok;
}

/// DC CVAC, CVAU, CVAP, CIVAC.
void clean(void*, Vcpu& v, u64 va) {
    Translation ignored;
    static_cast<void>(translate_operand(v, va, AccessType::read, ignored));
}

/// DC IVAC needs write permission but, like AT, marks no page dirty (D8.5.2.2). To watchpoints it is a store to its line.
void invalidate_data(void*, Vcpu& v, u64 va) {
    constexpr u64 kLine = 64;
    const AtResult result = v.mmu().address_translation(va, AtKind::el1, true);
    if (result.failed()) {
        v.data_abort(va, result.fault_status(), true, true);
    } else if (v.debug.watches(v.s, {.va = align_down(va, kLine), .size = kLine, .writes = true})) {
        v.watchpoint(va, true, true);
    }
}

void by_set_way(void*, Vcpu&, u64) {}

bool is_data_abort(u64 esr) {
    return (bits(esr, 31, 26) | 1) == static_cast<u64>(Ec::data_abort_same);
}

/// DC ZVA: zeroes the 64 bytes around the address. Device memory does not support it.
void zero_block(void*, Vcpu& v, u64 va) {
    constexpr u64 kBlock = 64;
    const u64 start = align_down(va, kBlock);
    if (((va & kPageMask) | v.ctx_) != v.tlb_.entry(va).write_tag) {
        if (device_alignment_fault(v, va, 1, AccessType::write, 1) || !v.probe_access(va, 1, AccessType::write)) {
            return;
        }
        if (OpTrace* const trace = v.trace()) {  // what is accessed begins at the block
            trace->va = align_down(trace->va, kBlock);
            trace->pa = align_down(trace->pa, kBlock);
        }
    }
    const u64 exceptions_before = v.exceptions_taken;
    for (u64 offset = 0; offset < kBlock; offset += sizeof(u64)) {
        if (v.write<u64>(start + offset, 0)) {
            continue;
        }
        if (v.exceptions_taken != exceptions_before && is_data_abort(v.s.esr_el1)) {
            v.s.far_el1 = va;  // that of the instruction, whatever part was refused
        }
        return;
    }
}

void share_code_request(Vcpu& v, RemoteRequest::Kind kind, u64 page) {
    if (v.config.interconnect != nullptr) {
        v.config.interconnect->broadcast(v, {.kind = kind, .address = page});
    }
}

/// IC IVAU: decoded code of the page is stale, whatever the line.
void invalidate_code(void*, Vcpu& v, u64 va) {
    Translation operand;
    if (translate_operand(v, va, AccessType::read, operand)) {
        const u64 page = operand.pa & kPageMask;
        v.engine().invalidate_code_page(page);
        share_code_request(v, RemoteRequest::Kind::invalidate_code_page, page);
    }
}

void invalidate_all_code(void*, Vcpu& v, u64) {
    v.engine().invalidate_all_code();
}

void invalidate_all_code_shared(void*, Vcpu& v, u64) {
    v.engine().invalidate_all_code();
    share_code_request(v, RemoteRequest::Kind::invalidate_all_code, 0);
}

// ── Address translation ────────────────────────────────────────────────────────────────────────────────────

template <AtKind kind, bool is_write>
void translate_address(void*, Vcpu& v, u64 va) {
    const AtResult result = v.mmu().address_translation(va, kind, is_write);
    if (result.abort != 0) {
        v.data_abort(va, result.abort, true, true);
        return;
    }
    v.s.par_el1 = result.par;
}

// ── TLB ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Xt: ASID [63:48], VA[55:12] in [43:0].
template <TlbiOp op, bool shared>
void invalidate_tlb(void*, Vcpu& v, u64 value) {
    const u64 va = static_cast<u64>(sign_extend(bits(value, 43, 0) << kPageShift, 56));
    const u16 asid = static_cast<u16>(value >> 48);
    v.mmu().tlbi(op, va, asid);
    if (shared && v.config.interconnect != nullptr) {
        v.config.interconnect->broadcast(
            v, {.kind = RemoteRequest::Kind::tlbi, .tlbi_op = static_cast<u8>(op), .asid = asid, .address = va});
    }
}

// The last-level forms (VALE1, VAALE1) remove what the others do: intermediate entries are not cached.
constexpr unsigned kLocal = 7;
constexpr unsigned kInnerShareable = 3;

// clang-format off
constexpr SysregRow kRows[] = {
    {.name = "IC IALLUIS", .key = key(0, 7, 1, 0),  .access = wo_el1, .write = invalidate_all_code_shared, .ends_block = true},
    {.name = "IC IALLU",   .key = key(0, 7, 5, 0),  .access = wo_el1, .write = invalidate_all_code, .ends_block = true},
    {.name = "IC IVAU",    .key = key(3, 7, 5, 1),  .access = wo_el0, .write = invalidate_code, .check = check_el0<kSctlrUci>,
     .ends_block = true},
    {.name = "DC IVAC",    .key = key(0, 7, 6, 1),  .access = wo_el1, .write = invalidate_data},
    {.name = "DC ISW",     .key = key(0, 7, 6, 2),  .access = wo_el1, .write = by_set_way},
    {.name = "DC CSW",     .key = key(0, 7, 10, 2), .access = wo_el1, .write = by_set_way},
    {.name = "DC CISW",    .key = key(0, 7, 14, 2), .access = wo_el1, .write = by_set_way},
    {.name = "DC ZVA",     .key = key(3, 7, 4, 1),  .access = wo_el0, .write = zero_block, .check = check_el0<kSctlrDze>},
    {.name = "DC CVAC",    .key = key(3, 7, 10, 1), .access = wo_el0, .write = clean, .check = check_el0<kSctlrUci>},
    {.name = "DC CVAU",    .key = key(3, 7, 11, 1), .access = wo_el0, .write = clean, .check = check_el0<kSctlrUci>},
    {.name = "DC CVAP",    .key = key(3, 7, 12, 1), .access = wo_el0, .write = clean, .check = check_el0<kSctlrUci>},
    {.name = "DC CIVAC",   .key = key(3, 7, 14, 1), .access = wo_el0, .write = clean, .check = check_el0<kSctlrUci>},

    {.name = "AT S1E1R",   .key = key(0, 7, 8, 0), .access = wo_el1, .write = translate_address<AtKind::el1, false>},
    {.name = "AT S1E1W",   .key = key(0, 7, 8, 1), .access = wo_el1, .write = translate_address<AtKind::el1, true>},
    {.name = "AT S1E0R",   .key = key(0, 7, 8, 2), .access = wo_el1, .write = translate_address<AtKind::el0, false>},
    {.name = "AT S1E0W",   .key = key(0, 7, 8, 3), .access = wo_el1, .write = translate_address<AtKind::el0, true>},
    {.name = "AT S1E1RP",  .key = key(0, 7, 9, 0), .access = wo_el1, .write = translate_address<AtKind::el1_pan, false>},
    {.name = "AT S1E1WP",  .key = key(0, 7, 9, 1), .access = wo_el1, .write = translate_address<AtKind::el1_pan, true>},

    {.name = "TLBI VMALLE1IS", .key = key(0, 8, kInnerShareable, 0), .access = wo_el1, .write = invalidate_tlb<TlbiOp::all, true>, .ends_block = true},
    {.name = "TLBI VAE1IS",    .key = key(0, 8, kInnerShareable, 1), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va, true>, .ends_block = true},
    {.name = "TLBI ASIDE1IS",  .key = key(0, 8, kInnerShareable, 2), .access = wo_el1, .write = invalidate_tlb<TlbiOp::asid, true>, .ends_block = true},
    {.name = "TLBI VAAE1IS",   .key = key(0, 8, kInnerShareable, 3), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va_all_asids, true>, .ends_block = true},
    {.name = "TLBI VALE1IS",   .key = key(0, 8, kInnerShareable, 5), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va, true>, .ends_block = true},
    {.name = "TLBI VAALE1IS",  .key = key(0, 8, kInnerShareable, 7), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va_all_asids, true>, .ends_block = true},
    {.name = "TLBI VMALLE1",   .key = key(0, 8, kLocal, 0), .access = wo_el1, .write = invalidate_tlb<TlbiOp::all, false>, .ends_block = true},
    {.name = "TLBI VAE1",      .key = key(0, 8, kLocal, 1), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va, false>, .ends_block = true},
    {.name = "TLBI ASIDE1",    .key = key(0, 8, kLocal, 2), .access = wo_el1, .write = invalidate_tlb<TlbiOp::asid, false>, .ends_block = true},
    {.name = "TLBI VAAE1",     .key = key(0, 8, kLocal, 3), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va_all_asids, false>, .ends_block = true},
    {.name = "TLBI VALE1",     .key = key(0, 8, kLocal, 5), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va, false>, .ends_block = true},
    {.name = "TLBI VAALE1",    .key = key(0, 8, kLocal, 7), .access = wo_el1, .write = invalidate_tlb<TlbiOp::va_all_asids, false>, .ends_block = true},
};
// clang-format on

}  // namespace

std::span<const SysregRow> system_instruction_rows() {
    return kRows;
}

}  // namespace vmm::arch
