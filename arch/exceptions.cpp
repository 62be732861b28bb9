// Exception entry and return of a PE with EL0 and EL1, AArch64 only. Arm ARM D1.3, D1.4.
#include "arch/engine.h"
#include "arch/pmu.h"
#include "arch/syndrome.h"
#include "arch/vcpu.h"

namespace vmm::arch {

namespace {

enum class Vector : u64 { synchronous = 0x000, irq = 0x080 };

// SCTLR_EL1 bits that entry and alignment checking use.
constexpr unsigned kSctlrSa = 3;
constexpr unsigned kSctlrSa0 = 4;
constexpr unsigned kSctlrSpan = 23;
constexpr unsigned kSctlrDssbs = 44;

/// SPSR_EL1 fields.
constexpr unsigned kSpsrUao = 23;
constexpr unsigned kSpsrPan = 22;
constexpr unsigned kSpsrSs = 21;
constexpr unsigned kSpsrIl = 20;
constexpr unsigned kSpsrSsbs = 12;
constexpr unsigned kSpsrD = 9;

constexpr u16 kEventExcTaken = pmu_event::kExcTaken;
constexpr u16 kEventExcReturn = pmu_event::kExcReturn;

u64 vector_offset(const CpuState& s) {
    if (s.el == 0) {
        return 0x400;
    }
    return s.sp_sel != 0 ? 0x200 : 0x000;
}

/// Takes an exception to EL1; `return_address` is the preferred return address.
Exec enter(Vcpu& v, Vector vector, u64 return_address) {
    CpuState& s = v.s;
    ++v.exceptions_taken;
    v.stepped = Stepped::nothing;
    v.pmu().before_el_change();
    s.elr_el1 = return_address;
    s.spsr_el1 = v.pack_pstate();
    const u64 target = s.vbar_el1 + vector_offset(s) + static_cast<u64>(vector);
    v.switch_el(1, 1);
    s.daif = 0xF;
    s.ss = 0;
    s.il = 0;
    s.uao = 0;
    s.ssbs = bit(s.sctlr_el1, kSctlrDssbs);
    if (!bit(s.sctlr_el1, kSctlrSpan)) {
        s.pan = 1;
    }
    s.pc = target;
    v.pmu().count(kEventExcTaken, 1);
    v.context_changed();
    return Exec::exception;
}

Exec synchronous(Vcpu& v, u64 esr, u64 return_address) {
    v.s.esr_el1 = esr;
    if (v.trace() != nullptr) [[unlikely]] {
        v.trace()->exception = true;
    }
    return enter(v, Vector::synchronous, return_address);
}

/// The class for exceptions whose code tells EL0 from EL1.
Ec by_origin(const Vcpu& v, Ec lower, Ec same) {
    return v.s.el == 0 ? lower : same;
}

}  // namespace

Exec Vcpu::undefined() {
    return synchronous(*this, make_esr(Ec::unknown, 0), s.pc);
}

Exec Vcpu::trap_fp_access() {
    return synchronous(*this, make_esr(Ec::fp_access, kIssAlways), s.pc);
}

Exec Vcpu::illegal_state() {
    return synchronous(*this, make_esr(Ec::illegal_state, 0), s.pc);
}

Exec Vcpu::supervisor_call(u32 imm16) {
    s.ss = 0;  // the instruction completes: a step ends before the handler
    return synchronous(*this, make_esr(Ec::svc64, imm16 & 0xFFFF), s.pc + 4);
}

Exec Vcpu::hypervisor_call(u32) {
    if (s.el == 0 || config.firmware == nullptr) {
        return undefined();
    }
    if (trace_ != nullptr) {
        trace_->exception = true;  // to the Exception level that the firmware stands for
    }
    return config.firmware->call(*this);
}

Exec Vcpu::secure_monitor_call(u32 imm16) {
    return hypervisor_call(imm16);  // the firmware answers both alike
}

Exec Vcpu::breakpoint_instruction(u32 imm16) {
    return synchronous(*this, make_esr(Ec::brk64, imm16 & 0xFFFF), s.pc);
}

Exec Vcpu::trap_system_access(u32 insn) {
    return synchronous(*this, make_esr(Ec::system_access, iss_system_access(insn)), s.pc);
}

Exec Vcpu::trap_wfx(bool wfe) {
    return synchronous(*this, make_esr(Ec::wfx, kIssAlways | (wfe ? 1 : 0)), s.pc);
}

Exec Vcpu::pc_alignment_fault() {
    s.far_el1 = s.pc;
    return synchronous(*this, make_esr(Ec::pc_alignment, 0), s.pc);
}

Exec Vcpu::sp_alignment_fault() {
    return synchronous(*this, make_esr(Ec::sp_alignment, 0), s.pc);
}

Exec Vcpu::data_abort(u64 va, u8 fault, bool is_write, bool cache_maintenance) {
    s.far_el1 = va;
    return synchronous(
        *this,
        make_esr(by_origin(*this, Ec::data_abort_lower, Ec::data_abort_same),
                 iss_data_abort(fault, is_write, cache_maintenance)),
        s.pc);
}

Exec Vcpu::instruction_abort(u64 va, u8 fault) {
    s.far_el1 = va;
    return synchronous(
        *this, make_esr(by_origin(*this, Ec::instruction_abort_lower, Ec::instruction_abort_same), fault & 0x3F), s.pc);
}

Exec Vcpu::breakpoint() {
    return synchronous(*this, make_esr(by_origin(*this, Ec::breakpoint_lower, Ec::breakpoint_same), fsc::kDebug), s.pc);
}

Exec Vcpu::watchpoint(u64 va, bool is_write, bool cache_maintenance) {
    s.far_el1 = va;
    return synchronous(*this,
                       make_esr(by_origin(*this, Ec::watchpoint_lower, Ec::watchpoint_same),
                                iss_data_abort(fsc::kDebug, is_write, cache_maintenance)),
                       s.pc);
}

Exec Vcpu::software_step() {
    constexpr u32 kIsv = 1u << 24;
    constexpr u32 kEx = 1u << 6;
    const u32 what = stepped == Stepped::nothing       ? 0
                     : stepped == Stepped::instruction ? kIsv
                                                       : kIsv | kEx;
    return synchronous(
        *this, make_esr(by_origin(*this, Ec::software_step_lower, Ec::software_step_same), what | fsc::kDebug),
        s.pc);
}

Exec Vcpu::irq() {
    return enter(*this, Vector::irq, s.pc);
}

Exec Vcpu::exception_return() {
    const u64 spsr = s.spsr_el1;
    const u64 target = s.elr_el1;
    const unsigned mode = static_cast<unsigned>(bits(spsr, 4, 0));
    const bool legal = mode == 0b00000 || mode == 0b00100 || mode == 0b00101;  // EL0t, EL1t, EL1h

    const unsigned target_el = legal ? (mode == 0 ? 0 : 1) : s.el;
    const bool may_step = bit(s.mdscr_el1, kMdscrSs) && !debug_exceptions_enabled(s, s.el, (s.daif & kDaifD) != 0) &&
                          debug_exceptions_enabled(s, target_el, bit(spsr, kSpsrD));

    pmu().before_el_change();
    pmu().count(kEventExcReturn, 1);
    s.nzcv.unpack(spsr);
    s.daif = static_cast<u8>(bits(spsr, 9, 6));
    s.pan = bit(spsr, kSpsrPan);
    s.uao = bit(spsr, kSpsrUao);
    s.ss = may_step && bit(spsr, kSpsrSs);
    if (legal) {
        s.il = bit(spsr, kSpsrIl);
        s.ssbs = bit(spsr, kSpsrSsbs);
        switch_el(static_cast<u8>(target_el), mode & 1);
    } else {
        s.il = 1;
    }
    s.pc = target;
    monitor.armed = false;
    stepped = Stepped::nothing;
    event_register = true;
    if (trace_ != nullptr) [[unlikely]] {
        trace_->taken = true;
        trace_->target = target;
        trace_->target_el = s.el;
    }
    context_changed();
    return Exec::exception;
}

void Vcpu::switch_el(u8 el, u8 sp_sel) {
    const bool to_sp_el1 = el == 1 && sp_sel != 0;
    const bool from_sp_el1 = s.el == 1 && s.sp_sel != 0;
    if (to_sp_el1 != from_sp_el1) {
        (from_sp_el1 ? s.sp_el1 : s.sp_el0) = s.x[kSp];
        s.x[kSp] = to_sp_el1 ? s.sp_el1 : s.sp_el0;
    }
    s.el = el;
    s.sp_sel = to_sp_el1 ? 1 : 0;
}

u64 Vcpu::pack_pstate() const {
    const u64 mode = s.el == 0 ? 0b0000 : (s.sp_sel != 0 ? 0b0101 : 0b0100);
    return u64{s.nzcv.pack()} | u64{s.uao} << kSpsrUao | u64{s.pan} << kSpsrPan | u64{s.ss} << kSpsrSs |
           u64{s.il} << kSpsrIl | u64{s.ssbs} << kSpsrSsbs | u64{s.daif} << 6 | mode;
}

bool Vcpu::check_sp_alignment() {
    if (bit(s.sctlr_el1, s.el == 0 ? kSctlrSa0 : kSctlrSa)) {
        sp_alignment_fault();
        return false;
    }
    return true;
}

}  // namespace vmm::arch
