// Exception entry and return. Vector offsets, classes and SPSR layout are typed from the Arm ARM (D1.3.1, D24.2.40, C5.2.18).
#include "tests/unit/arch/mmu_bench.h"

using namespace vmm;
using namespace vmm::arch;
using namespace vmm::arch::bench;

namespace {

constexpr u64 kPc = 0x8000'1000;
constexpr u64 kVbar = 0x8080'0000;

struct Firmware final : FirmwarePort {
    Exec call(Vcpu& v) override {
        ++calls;
        v.set_x(0, 42);
        return Exec::next;
    }
    unsigned calls = 0;
};

/// PSTATE of the source of an exception.
struct Source {
    u8 el;
    u8 sp_sel;
    u64 mode;    // SPSR_EL1.M
    u64 offset;  // of its vectors
};
const Source kSources[] = {{0, 0, 0b0000, 0x400}, {1, 0, 0b0100, 0x000}, {1, 1, 0b0101, 0x200}};

void enter_source(MmuBench& b, const Source& source) {
    CpuState& s = b.v().s;
    b.v().switch_el(source.el, source.sp_sel);
    s.pc = kPc;
    b.v().context_changed();
}

}  // namespace

TEST_CASE("exceptions: class, syndrome, return address and vector from every source") {
    MmuBench b;
    Vcpu& v = b.v();
    const Source& source = GENERATE(from_range(std::begin(kSources), std::end(kSources)));
    enter_source(b, source);
    const bool lower = source.el == 0;
    u64 esr = 0;
    u64 elr = kPc;
    u64 vector = source.offset;
    bool has_far = false;
    constexpr u64 kIl = 1 << 25;
    Exec result = Exec::next;
    const auto ec = [](u64 number) { return number << 26 | kIl; };
    SECTION("undefined") { result = v.undefined(), esr = ec(0); }
    SECTION("FP access") { result = v.trap_fp_access(), esr = ec(0x07) | 0x1E00000; }
    SECTION("illegal state") { result = v.illegal_state(), esr = ec(0x0E); }
    SECTION("SVC") { result = v.supervisor_call(0xABCD), esr = ec(0x15) | 0xABCD, elr = kPc + 4; }
    SECTION("BRK") { result = v.breakpoint_instruction(0x1234), esr = ec(0x3C) | 0x1234; }
    SECTION("WFI") { result = v.trap_wfx(false), esr = ec(0x01) | 0x1E00000; }
    SECTION("WFE") { result = v.trap_wfx(true), esr = ec(0x01) | 0x1E00001; }
    SECTION("system register read") {
        // MRS X7, CTR_EL0: op0 3, op1 3, CRn 0, CRm 0, op2 1
        result = v.trap_system_access(0xD53B0027), esr = ec(0x18) | 3 << 20 | 1 << 17 | 3 << 14 | 7 << 5 | 1;
    }
    SECTION("system instruction") {
        // DC CIVAC, X3: op0 1, op1 3, CRn 7, CRm 14, op2 1
        result = v.trap_system_access(0xD50B7E23), esr = ec(0x18) | 1 << 20 | 1 << 17 | 3 << 14 | 7 << 10 | 3 << 5 | 14 << 1;
    }
    SECTION("PC alignment") { result = v.pc_alignment_fault(), esr = ec(0x22), has_far = true; }
    SECTION("SP alignment") { result = v.sp_alignment_fault(), esr = ec(0x26); }
    SECTION("instruction abort") { result = v.instruction_abort(kPc, 0x07), esr = ec(lower ? 0x20 : 0x21) | 7, has_far = true; }
    SECTION("data abort, read") { result = v.data_abort(kPc, 0x0D, false), esr = ec(lower ? 0x24 : 0x25) | 0x0D, has_far = true; }
    SECTION("data abort, write") {
        result = v.data_abort(kPc, 0x0D, true), esr = ec(lower ? 0x24 : 0x25) | 0x4D, has_far = true;
    }
    SECTION("data abort, cache maintenance") {
        result = v.data_abort(kPc, 0x06, false, true), esr = ec(lower ? 0x24 : 0x25) | 0x146, has_far = true;
    }
    SECTION("software step, nothing stepped") { result = v.software_step(), esr = ec(lower ? 0x32 : 0x33) | 0x22; }
    SECTION("software step") {
        v.stepped = Stepped::instruction;
        result = v.software_step(), esr = ec(lower ? 0x32 : 0x33) | 1 << 24 | 0x22;
    }
    SECTION("software step of a load-exclusive") {
        v.stepped = Stepped::load_exclusive;
        result = v.software_step(), esr = ec(lower ? 0x32 : 0x33) | 1 << 24 | 1 << 6 | 0x22;
    }
    SECTION("IRQ") {
        v.s.esr_el1 = 0x77;
        result = v.irq(), esr = 0x77, vector += 0x80;
    }
    CHECK(result == Exec::exception);
    CHECK(v.s.esr_el1 == esr);
    CHECK(v.s.elr_el1 == elr);
    CHECK(v.s.pc == kVbar + vector);
    CHECK((v.s.spsr_el1 & 0x1F) == source.mode);
    CHECK(v.s.el == 1);
    CHECK(v.s.sp_sel == 1);
    if (has_far) {
        CHECK(v.s.far_el1 == kPc);
    }
}

TEST_CASE("exceptions: PSTATE is saved, and set as the controls say") {
    MmuBench b;
    Vcpu& v = b.v();
    const u64 span = GENERATE(0, 1);
    const u64 dssbs = GENERATE(0, 1);
    v.s.sctlr_el1 = deposit(deposit(v.s.sctlr_el1, 23, 23, span), 44, 44, dssbs);
    v.s.nzcv = {1, 0, 1, 1};
    v.s.daif = 0b0101;
    v.s.uao = 1;
    v.s.ss = 1;
    v.s.il = 1;
    v.s.ssbs = 1;
    v.s.pan = 0;
    v.s.pc = kPc;
    v.undefined();
    // N C V, UAO, SS, IL, SSBS, A F, EL1h
    CHECK(v.s.spsr_el1 == (0xBull << 28 | 1 << 23 | 1 << 21 | 1 << 20 | 1 << 12 | 0b0101 << 6 | 0b0101));
    CHECK(v.s.daif == 0xF);
    CHECK(v.s.uao == 0);
    CHECK(v.s.ss == 0);
    CHECK(v.s.il == 0);
    CHECK(v.s.ssbs == dssbs);
    CHECK(v.s.pan == (span == 0 ? 1 : 0));
    CHECK(v.s.nzcv == Nzcv{1, 0, 1, 1});
    v.s.pan = 1;
    v.undefined();
    CHECK(bit(v.s.spsr_el1, 22));
    CHECK(v.s.pan == 1);
}

TEST_CASE("exceptions: stack pointers are banked") {
    MmuBench b;
    Vcpu& v = b.v();
    v.switch_el(1, 1);
    v.s.x[kSp] = 0x1000;
    v.s.sp_el0 = 0x2000;
    v.switch_el(1, 0);
    CHECK(v.xsp(31) == 0x2000);
    v.set_xsp(31, 0x2100);
    v.switch_el(0, 0);  // the same register
    CHECK(v.xsp(31) == 0x2100);
    v.set_xsp(31, 0x2200);
    v.undefined();
    CHECK(v.xsp(31) == 0x1000);
    CHECK(v.s.sp_el0 == 0x2200);
    v.set_xsp(31, 0xFF0);
    v.exception_return();
    CHECK(v.s.el == 0);
    CHECK(v.s.sp_sel == 0);
    CHECK(v.xsp(31) == 0x2200);
    CHECK(v.s.sp_el1 == 0xFF0);
}

TEST_CASE("exceptions: legal returns restore PSTATE") {
    MmuBench b;
    Vcpu& v = b.v();
    const Source& target = GENERATE(from_range(std::begin(kSources), std::end(kSources)));
    v.s.elr_el1 = 0x1234'5678;
    v.s.spsr_el1 = u64{6} << 28 | 1 << 23 | 1 << 22 | 1 << 12 | 0b1010 << 6 | target.mode;
    v.s.nzcv = {};
    v.monitor.armed = true;
    v.event_register = false;
    CHECK(v.exception_return() == Exec::exception);
    CHECK(v.s.pc == 0x1234'5678);
    CHECK(v.s.el == target.el);
    CHECK(v.s.sp_sel == target.sp_sel);
    CHECK(v.s.nzcv == Nzcv{0, 1, 1, 0});
    CHECK(v.s.daif == 0b1010);
    CHECK(v.s.uao == 1);
    CHECK(v.s.pan == 1);
    CHECK(v.s.ssbs == 1);
    CHECK(v.s.il == 0);
    CHECK(v.s.ss == 0);
    CHECK_FALSE(v.monitor.armed);
    CHECK(v.event_register);
}

TEST_CASE("exceptions: SPSR.IL is restored by a legal return") {
    MmuBench b;
    b.v().s.spsr_el1 = 1 << 20;
    b.v().exception_return();
    CHECK(b.v().s.il == 1);
    CHECK(b.v().s.el == 0);
}

TEST_CASE("exceptions: illegal returns set PSTATE.IL and stay where they are") {
    for (u64 mode = 0; mode < 32; ++mode) {
        const bool legal = mode == 0 || mode == 4 || mode == 5;
        MmuBench b;
        Vcpu& v = b.v();
        v.s.elr_el1 = 0x4000;
        v.s.spsr_el1 = u64{9} << 28 | 0b0010 << 6 | mode;
        v.exception_return();
        INFO("M " << mode);
        CHECK(v.s.il == (legal ? 0 : 1));
        CHECK(v.s.pc == 0x4000);
        CHECK(v.s.nzcv == Nzcv{1, 0, 0, 1});
        CHECK(v.s.daif == 0b0010);
        if (!legal) {
            CHECK(v.s.el == 1);
            CHECK(v.s.sp_sel == 1);
        }
    }
}

TEST_CASE("exceptions: the context follows the Exception level") {
    MmuBench b;
    Vcpu& v = b.v();
    b.set_el(0);
    const TlbContext el0 = v.ctx_;
    const u16 fetch0 = v.mmu().fetch_context();
    CHECK(v.unprivileged_ctx_ == el0);
    v.supervisor_call(0);
    CHECK(v.ctx_ != el0);
    CHECK(v.unprivileged_ctx_ == el0);
    CHECK(v.mmu().fetch_context() != fetch0);
    const TlbContext el1 = v.ctx_;
    v.s.pan = 1;
    v.context_changed();
    CHECK(v.ctx_ != el1);
    v.exception_return();
    CHECK(v.ctx_ == el0);
    CHECK(v.mmu().fetch_context() == fetch0);
}

TEST_CASE("exceptions: calls to firmware") {
    Firmware firmware;
    VcpuConfig config;
    Interconnect interconnect;
    config.interconnect = &interconnect;
    SECTION("answered") {
        config.firmware = &firmware;
        Vcpu v(config);
        CHECK(v.hypervisor_call(0) == Exec::next);
        CHECK(v.secure_monitor_call(0) == Exec::next);
        CHECK(v.x(0) == 42);
        CHECK(firmware.calls == 2);
        v.switch_el(0, 0);
        CHECK(v.hypervisor_call(0) == Exec::exception);
        CHECK(firmware.calls == 2);
    }
    SECTION("without firmware they are UNDEFINED") {
        Vcpu v(config);
        CHECK(v.hypervisor_call(0) == Exec::exception);
        CHECK(v.s.esr_el1 >> 26 == 0);
        CHECK(v.secure_monitor_call(0) == Exec::exception);
    }
}

TEST_CASE("exceptions: SP alignment checking by SCTLR_EL1.SA and SA0") {
    MmuBench b;
    Vcpu& v = b.v();
    const u8 el = GENERATE(0, 1);
    b.set_el(el);
    v.set_xsp(31, 0x1008);
    u64 address = 0;
    CHECK(v.base_address(31, address));
    v.s.sctlr_el1 |= u64{1} << (el == 0 ? 3 : 4);  // the other level's
    CHECK(v.base_address(31, address));
    v.s.sctlr_el1 |= u64{1} << (el == 0 ? 4 : 3);
    CHECK(v.base_address(1, address));
    CHECK_FALSE(v.base_address(31, address));
    CHECK(v.s.esr_el1 >> 26 == 0x26);
}

TEST_CASE("exceptions: IRQ is deliverable while unmasked") {
    MmuBench b;
    Vcpu& v = b.v();
    CHECK_FALSE(v.irq_deliverable());
    v.pins.set_irq(true);
    CHECK_FALSE(v.irq_deliverable());
    v.s.daif = 0xD;
    CHECK(v.irq_deliverable());
    v.s.daif = 0x2;
    CHECK_FALSE(v.irq_deliverable());
}

TEST_CASE("exceptions: software step") {
    MmuBench b;
    Vcpu& v = b.v();
    CpuState& s = v.s;
    constexpr u64 kSs = 1;
    constexpr u64 kKde = 1 << 13;
    s.oslar_oslk = 0;
    SECTION("where it is in force") {
        for (const u64 mdscr : {u64{0}, kSs, kKde, kSs | kKde}) {
            for (const bool masked : {false, true}) {
                for (const u8 el : {0, 1}) {
                    s.mdscr_el1 = mdscr;
                    s.daif = masked ? 0xF : 0x7;
                    b.set_el(el);
                    CHECK(v.software_step_active() == ((mdscr & kSs) != 0 && (el == 0 || (mdscr == (kSs | kKde) && !masked))));
                }
            }
        }
        s.mdscr_el1 = kSs;
        s.oslar_oslk = 1;
        b.set_el(0);
        CHECK_FALSE(v.software_step_active());
    }
    SECTION("ERET carries SPSR.SS only into a level that is stepped from one that is not") {
        struct Case {
            u64 mdscr;
            u64 spsr;
            u8 ss;
        };
        constexpr u64 kSpsrSs = 1 << 21;
        constexpr u64 kD = 1 << 9;
        const Case cases[] = {{kSs, kSpsrSs, 1},           {0, kSpsrSs, 0},
                              {kSs, 0, 0},                 {kSs, kSpsrSs | 5, 0},
                              {kSs | kKde, kSpsrSs | 5, 1}, {kSs | kKde, kSpsrSs | kD | 5, 0}};
        for (const Case& c : cases) {
            s.mdscr_el1 = c.mdscr;
            s.daif = 0xF;
            v.switch_el(1, 1);
            s.spsr_el1 = c.spsr;
            v.exception_return();
            CHECK(s.ss == c.ss);
        }
        s.mdscr_el1 = kSs | kKde;  // already stepped here
        v.switch_el(1, 1);
        s.daif = 0x7;
        s.spsr_el1 = kSpsrSs;
        v.exception_return();
        CHECK(s.ss == 0);
    }
    SECTION("SVC completes a step, a fault does not") {
        s.ss = 1;
        v.supervisor_call(0);
        CHECK_FALSE(bit(s.spsr_el1, 21));
        s.ss = 1;
        v.data_abort(0, 7, false);
        CHECK(bit(s.spsr_el1, 21));
    }
}

TEST_CASE("exceptions: the OS Double Lock disables debug exceptions but that of BRK") {
    MmuBench b;
    Vcpu& v = b.v();
    v.s.mdscr_el1 = 1 << 15 | 1 << 13 | 1;  // MDE, KDE, SS
    v.s.daif = 0;
    b.sys(2, 0, 1, 0, 4, 0);                      // OSLAR_EL1
    b.sys(2, 0, 0, 0, 4, kPc);                    // DBGBVR0_EL1
    b.sys(2, 0, 0, 0, 5, 0xF << 5 | 3 << 1 | 1);  // DBGBCR0_EL1: EL1 and EL0, enabled
    struct Case {
        u64 dlk, corenpdrq;
        bool enabled;
    };
    for (const Case& c : {Case{0, 0, true}, Case{1, 0, false}, Case{1, 1, true}, Case{0, 1, true}, Case{0, 0, true}}) {
        b.sys(2, 0, 1, 3, 4, c.dlk);
        b.sys(2, 0, 1, 4, 4, c.corenpdrq);
        INFO("DLK " << c.dlk << " CORENPDRQ " << c.corenpdrq);
        CHECK(b.mrs(2, 0, 1, 3, 4) == c.dlk);
        CHECK(b.mrs(2, 0, 1, 4, 4) == c.corenpdrq);
        for (const u8 el : {0, 1}) {
            b.set_el(el);
            CHECK(v.software_step_active() == c.enabled);
            CHECK(v.debug.breaks_at(v.s, kPc) == c.enabled);
        }
    }
    b.sys(2, 0, 1, 3, 4, 1);
    CHECK(b.fault_of([&v] { v.breakpoint_instruction(7); }) == (0x3C << 8 | 7));
}
