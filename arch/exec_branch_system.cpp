// Branches, Exception Generating and System instructions (Arm ARM C4.1, C6.2).
#include <immintrin.h>

#include "arch/decode_section.h"
#include "arch/system_access.h"

namespace vmm::arch {

namespace {

using namespace operands;
using B5 = Operand<"b5", 1>;
using B40 = Operand<"b40", 5>;
using O0 = Operand<"o0", 1>;
using Fpsr = Operand<"fpsr", 1>;

// SCTLR_EL1 bits
constexpr unsigned kSctlrUma = 9;
constexpr unsigned kSctlrNtwi = 16;
constexpr unsigned kSctlrNtwe = 18;

// ── Branches ───────────────────────────────────────────────────────────────────────────────────────────────

template <class Imm>
u64 branch_target(Vcpu& v, Imm imm) {
    return v.s.pc + static_cast<u64>(imm.sext()) * 4;
}

Exec branch_if(Vcpu& v, bool holds, u64 target) {
    return v.conditional(holds) ? v.branch_to(target) : Exec::next;
}

Exec b_cond(Vcpu& v, Imm19 imm19, Cond cond) {
    return branch_if(v, v.condition_holds(cond), branch_target(v, imm19));
}

Exec cbz(Vcpu& v, Sf sf, Imm19 imm19, Rt rt) {
    return branch_if(v, v.reg(rt, sf) == 0, branch_target(v, imm19));
}

Exec cbnz(Vcpu& v, Sf sf, Imm19 imm19, Rt rt) {
    return branch_if(v, v.reg(rt, sf) != 0, branch_target(v, imm19));
}

Exec tbz(Vcpu& v, B5 b5, B40 b40, Imm14 imm14, Rt rt) {
    return branch_if(v, !bit(v.x(rt), b5 << 5 | b40), branch_target(v, imm14));
}

Exec tbnz(Vcpu& v, B5 b5, B40 b40, Imm14 imm14, Rt rt) {
    return branch_if(v, bit(v.x(rt), b5 << 5 | b40), branch_target(v, imm14));
}

Exec b(Vcpu& v, Imm26 imm26) {
    return v.branch_to(branch_target(v, imm26));
}

Exec bl(Vcpu& v, Imm26 imm26) {
    v.set_x(30, v.s.pc + 4);
    return v.branch_to(branch_target(v, imm26));
}

Exec br(Vcpu& v, Rn rn) {
    return v.branch_to(v.x(rn));
}

Exec blr(Vcpu& v, Rn rn) {
    const u64 target = v.x(rn);
    v.set_x(30, v.s.pc + 4);
    return v.branch_to(target);
}

Exec ret(Vcpu& v, Rn rn) {
    return v.branch_to(v.x(rn));
}

Exec eret(Vcpu& v) {
    return v.s.el == 0 ? v.undefined() : v.exception_return();
}

// ── Exception generation ───────────────────────────────────────────────────────────────────────────────────

Exec svc(Vcpu& v, Imm16 imm16) {
    return v.supervisor_call(imm16);
}

Exec hvc(Vcpu& v, Imm16 imm16) {
    return v.s.el == 0 ? v.undefined() : v.hypervisor_call(imm16);
}

Exec smc(Vcpu& v, Imm16 imm16) {
    return v.s.el == 0 ? v.undefined() : v.secure_monitor_call(imm16);
}

Exec brk(Vcpu& v, Imm16 imm16) {
    return v.breakpoint_instruction(imm16);
}

// ── Hints ──────────────────────────────────────────────────────────────────────────────────────────────────

Exec hint(Vcpu&, CRm, Op2) {
    return Exec::next;
}

/// Waits a few microseconds for the location of an armed exclusive monitor to change: the event that clearing the global
/// monitor would send (Linux waits for locks so). True when it changed.
bool monitored_location_changes(Vcpu& v) {
    constexpr unsigned kSpins = 128;
    const unsigned size = std::min<unsigned>(v.monitor.size, 8);
    const u8* host = v.ram().host(v.monitor.pa, size);
    if (host == nullptr || size == 0) {
        return false;
    }
    const u64 expected = v.monitor.value_lo & ones(8 * size);
    for (unsigned i = 0; i < kSpins; ++i) {
        u64 value = 0;
        switch (size) {
            case 1: value = mm::load_relaxed<u8>(host); break;
            case 2: value = mm::load_relaxed<u16>(host); break;
            case 4: value = mm::load_relaxed<u32>(host); break;
            default: value = mm::load_relaxed<u64>(host); break;
        }
        if (value != expected) {
            return true;
        }
        if (v.pins.attention()) {
            return false;
        }
        _mm_pause();
    }
    return false;
}

/// WFE. The monitor of other PEs does not see our stores, so not every event reaches a waiting PE: the run loop must
/// treat Exec::wait of a WFE as a bounded park. Waking early is always allowed.
Exec wfe(Vcpu& v) {
    const bool sent = v.pins.take_event();
    if (v.event_register || sent) {
        v.event_register = false;
        return Exec::next;
    }
    if (v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrNtwe)) {
        return v.trap_wfx(true);
    }
    if (v.monitor.armed && monitored_location_changes(v)) {
        v.monitor.armed = false;
        return Exec::next;
    }
    return v.pins.irq() ? Exec::next : Exec::wait;
}

/// WFI. A pending interrupt ends it even while masked.
Exec wfi(Vcpu& v) {
    if (v.pins.irq()) {
        return Exec::next;
    }
    if (v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrNtwi)) {
        return v.trap_wfx(false);
    }
    return Exec::wait;
}

/// SEV, to all PEs.
Exec sev(Vcpu& v) {
    v.event_register = true;
    for (Vcpu* other : v.config.interconnect->vcpus()) {
        if (other != &v) {
            other->pins.send_event();
        }
    }
    return Exec::next;
}

Exec sevl(Vcpu& v) {
    v.event_register = true;
    return Exec::next;
}

/// Profiling records are written as their operation completes, so there is never one to drain.
Exec psb_csync(Vcpu&) {
    return Exec::next;
}

// ── Barriers ───────────────────────────────────────────────────────────────────────────────────────────────

Exec clrex(Vcpu& v, CRm) {
    v.monitor.armed = false;
    return Exec::next;
}

Exec data_synchronization(Vcpu& v) {
    mm::full_fence();
    v.config.interconnect->wait_for_completion(v);
    return Exec::next;
}

Exec dsb(Vcpu& v, CRm) {
    return data_synchronization(v);
}

Exec ssbb(Vcpu& v) {
    return data_synchronization(v);
}

Exec pssbb(Vcpu& v) {
    return data_synchronization(v);
}

/// DMB. Types (CRm<1:0>) 01 = loads before loads and stores, 10 = stores before stores: the host orders both by itself,
/// the compiler must be told.
Exec dmb(Vcpu&, CRm crm) {
    const u32 types = crm & 3;
    if (types == 1 || types == 2) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
        mm::full_fence();
    }
    return Exec::next;
}

Exec isb(Vcpu&, CRm) {
    return Exec::end_block;
}

// ── PSTATE ─────────────────────────────────────────────────────────────────────────────────────────────────

Exec msr_imm_uao(Vcpu& v, CRm crm) {
    if (v.s.el == 0) {
        return v.undefined();
    }
    v.s.uao = crm & 1;
    v.context_changed();
    return Exec::end_block;
}

Exec msr_imm_pan(Vcpu& v, CRm crm) {
    if (v.s.el == 0) {
        return v.undefined();
    }
    v.s.pan = crm & 1;
    v.context_changed();
    return Exec::end_block;
}

Exec msr_imm_spsel(Vcpu& v, CRm crm) {
    if (v.s.el == 0) {
        return v.undefined();
    }
    v.switch_el(v.s.el, crm & 1);
    return Exec::next;
}

Exec msr_imm_ssbs(Vcpu& v, CRm crm) {
    v.s.ssbs = crm & 1;
    return Exec::next;
}

/// The word of MSR DAIFSet/DAIFClr, for the syndrome of its trap.
u32 msr_daif_word(CRm crm, unsigned op2) {
    return 0xD503401F | crm.value << 8 | op2 << 5;
}

bool is_daif_trapped(Vcpu& v) {
    return v.s.el == 0 && !bit(v.s.sctlr_el1, kSctlrUma);
}

Exec msr_imm_daifset(Vcpu& v, CRm crm) {
    if (is_daif_trapped(v)) {
        return v.trap_system_access(msr_daif_word(crm, 0b110));
    }
    v.s.daif |= static_cast<u8>(crm.value);
    return Exec::next;
}

Exec msr_imm_daifclr(Vcpu& v, CRm crm) {
    if (is_daif_trapped(v)) {
        return v.trap_system_access(msr_daif_word(crm, 0b111));
    }
    v.s.daif &= static_cast<u8>(~crm.value);
    return Exec::end_block;
}

// ── System instructions and registers ──────────────────────────────────────────────────────────────────────

Exec sys(Vcpu& v, Op1 op1, CRn crn, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(1, op1, crn, crm, op2), SystemAccess::write, rt);
}

Exec sys_cache(Vcpu& v, Op1 op1, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(1, op1, 7, crm, op2), SystemAccess::write, rt);
}

Exec sys_dc_zva(Vcpu& v, Rt rt) {
    return access_system_register(v, sysreg_key(1, 3, 7, 4, 1), SystemAccess::write, rt);
}

Exec sys_tlbi(Vcpu& v, Op1 op1, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(1, op1, 8, crm, op2), SystemAccess::write, rt);
}

Exec sysl(Vcpu& v, Op1 op1, CRn crn, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(1, op1, crn, crm, op2), SystemAccess::read, rt);
}

Exec msr_reg(Vcpu& v, O0 o0, Op1 op1, CRn crn, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(2 | o0, op1, crn, crm, op2), SystemAccess::write, rt);
}

Exec mrs(Vcpu& v, O0 o0, Op1 op1, CRn crn, CRm crm, Op2 op2, Rt rt) {
    return access_system_register(v, sysreg_key(2 | o0, op1, crn, crm, op2), SystemAccess::read, rt);
}

Exec msr_fp(Vcpu& v, Fpsr fpsr, Rt rt) {
    return access_system_register(v, sysreg_key(3, 3, 4, 4, fpsr), SystemAccess::write, rt);
}

Exec mrs_fp(Vcpu& v, Fpsr fpsr, Rt rt) {
    return access_system_register(v, sysreg_key(3, 3, 4, 4, fpsr), SystemAccess::read, rt);
}

constexpr DecodeRow kRows[] = {
#include "arch/a64_branch_system.inc"
};

}  // namespace

std::span<const DecodeRow> branch_system_rows() {
    return kRows;
}

}  // namespace vmm::arch
