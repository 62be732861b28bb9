// Branches, exception generation, hints, PSTATE writes and the path to system registers, as far as EL0 on the oracle's
// reference cannot show them.
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/cpu_model.h"
#include "arch/decode.h"
#include "arch/system_access.h"
#include "arch/vcpu.h"

namespace vmm::arch::test {

namespace {

constexpr u64 kRam = 0x8000'0000;
constexpr u64 kPc = kRam + 0x1000;
constexpr u64 kVectors = kRam + 0x2000;

struct FakePorts final : MmioPort, FirmwarePort, CounterPort {
    bool read(u64, unsigned, u64&, unsigned) override { return false; }
    bool write(u64, unsigned, u64, unsigned) override { return false; }
    Exec call(Vcpu& v) override {
        ++calls;
        v.set_x(0, 42);
        return Exec::next;
    }
    u64 count() const override { return 0; }
    u64 frequency() const override { return 1; }

    unsigned calls = 0;
};

/// One PE at EL1 with SP_EL1 selected; another one beside it.
struct Bench {
    Bench() : memory(0x10000) {
        pe = make(0);
        other = make(1);
    }

    std::unique_ptr<Vcpu> make(unsigned index) {
        VcpuConfig config;
        config.index = index;
        config.model = find_cpu_model("neoverse-n1");
        config.ram = mm::GuestRam(memory.data(), kRam, memory.size());
        config.mmio = &ports;
        config.firmware = &ports;
        config.counter = &ports;
        config.interconnect = &interconnect;
        auto v = std::make_unique<Vcpu>(config);
        interconnect.attach(v.get());
        v->reset(kPc, 0);
        v->s.vbar_el1 = kVectors;
        return v;
    }

    void go_to_el0() {
        pe->switch_el(0, 0);
        pe->context_changed();
    }

    /// Executes one word at kPc.
    Exec step(u32 word) {
        pe->s.pc = kPc;
        const DecodeRow* row = decode(word);
        return row == nullptr ? pe->undefined() : row->handler(*pe, word);
    }

    u64 ec() const { return bits(pe->s.esr_el1, 31, 26); }
    u64 iss() const { return bits(pe->s.esr_el1, 24, 0); }

    std::vector<u8> memory;
    FakePorts ports;
    Interconnect interconnect;
    std::unique_ptr<Vcpu> pe;
    std::unique_ptr<Vcpu> other;
};

constexpr u64 kEcUnknown = 0x00;
constexpr u64 kEcWfx = 0x01;
constexpr u64 kEcSvc = 0x15;
constexpr u64 kEcSystem = 0x18;
constexpr u64 kEcDataAbortSame = 0x25;
constexpr u64 kEcBrk = 0x3C;

// Words of S3_<op1>_C15_C13_<n> accesses with X1, and the bank's keys. No model implements these.
constexpr SysregKey test_key(unsigned op2) {
    return sysreg_key(3, 7, 15, 13, op2);
}
constexpr u32 msr_word(SysregKey key) {
    return 0xD5000000 | u32{key} << 5 | 1;
}
constexpr u32 mrs_word(SysregKey key) {
    return 0xD5200000 | u32{key} << 5 | 1;
}

}  // namespace

TEST_CASE("MSR SPSel exchanges the stack pointers") {
    Bench b;
    b.pe->set_xsp(31, 0x1110);
    CHECK(b.step(0xD50040BF) == Exec::next);  // MSR SPSel, #0
    b.pe->set_xsp(31, 0x2220);
    CHECK(b.pe->s.sp_el1 == 0x1110);
    CHECK(b.step(0xD50041BF) == Exec::next);  // MSR SPSel, #1
    CHECK(b.pe->xsp(31) == 0x1110);
    CHECK(b.pe->s.sp_el0 == 0x2220);
}

TEST_CASE("MSR DAIFSet and DAIFClr change only the named masks") {
    Bench b;
    b.pe->s.daif = kDaifD;
    CHECK(b.step(0xD50343DF) == Exec::next);  // MSR DAIFSet, #3
    CHECK(b.pe->s.daif == (kDaifD | kDaifI | kDaifF));
    CHECK(b.step(0xD50342FF) == Exec::end_block);  // MSR DAIFClr, #2
    CHECK(b.pe->s.daif == (kDaifD | kDaifF));
}

TEST_CASE("EL0 may write DAIF only with SCTLR_EL1.UMA") {
    Bench b;
    b.pe->s.daif = 0;
    b.pe->s.sctlr_el1 &= ~(u64{1} << 9);
    b.go_to_el0();
    CHECK(b.step(0xD50342DF) == Exec::exception);  // MSR DAIFSet, #2
    CHECK(b.ec() == kEcSystem);
    CHECK(b.iss() == (6u << 17 | 3u << 14 | 4u << 10 | 31u << 5 | 2u << 1));
    CHECK(b.pe->s.pc == kVectors + 0x400);

    Bench allowed;
    allowed.pe->s.daif = 0;
    allowed.pe->s.sctlr_el1 |= u64{1} << 9;
    allowed.go_to_el0();
    CHECK(allowed.step(0xD50342DF) == Exec::next);
    CHECK(allowed.pe->s.daif == kDaifI);
}

TEST_CASE("MSR PAN, UAO and SPSel are UNDEFINED at EL0, SSBS is not") {
    for (const u32 word : {0xD500419Fu /* PAN */, 0xD500417Fu /* UAO */, 0xD50041BFu /* SPSel */}) {
        Bench el1;
        CHECK(el1.step(word) != Exec::exception);
        Bench el0;
        el0.go_to_el0();
        CHECK(el0.step(word) == Exec::exception);
        CHECK(el0.ec() == kEcUnknown);
    }
    Bench b;
    b.go_to_el0();
    CHECK(b.step(0xD503413F) == Exec::next);  // MSR SSBS, #1
    CHECK(b.pe->s.ssbs == 1);
}

TEST_CASE("MSR PAN and UAO take effect at once") {
    Bench b;
    CHECK(b.step(0xD500419F) == Exec::end_block);
    CHECK(b.pe->s.pan == 1);
    CHECK(b.step(0xD500417F) == Exec::end_block);
    CHECK(b.pe->s.uao == 1);
    CHECK(b.step(0xD500409F) == Exec::end_block);
    CHECK(b.pe->s.pan == 0);
}

TEST_CASE("WFI waits unless an interrupt is pending, masked or not") {
    Bench b;
    CHECK(b.step(0xD503207F) == Exec::wait);
    b.pe->s.daif = 0xF;
    b.pe->pins.set_irq(true);
    CHECK(b.step(0xD503207F) == Exec::next);
}

TEST_CASE("WFI and WFE of EL0 trap unless SCTLR_EL1.nTWI and nTWE are set") {
    struct Case {
        u32 word;
        u64 bit;
        u64 ti;
    };
    for (const Case& c : {Case{0xD503207F, u64{1} << 16, 0}, Case{0xD503205F, u64{1} << 18, 1}}) {
        Bench trapped;
        trapped.pe->s.sctlr_el1 &= ~c.bit;
        trapped.pe->event_register = false;
        trapped.go_to_el0();
        CHECK(trapped.step(c.word) == Exec::exception);
        CHECK(trapped.ec() == kEcWfx);
        CHECK(trapped.iss() == (u64{1} << 24 | u64{0xE} << 20 | c.ti));
        CHECK(trapped.pe->s.elr_el1 == kPc);

        Bench allowed;
        allowed.pe->s.sctlr_el1 |= c.bit;
        allowed.pe->event_register = false;
        allowed.go_to_el0();
        CHECK(allowed.step(c.word) == Exec::wait);
    }
}

TEST_CASE("WFE consumes the event register that SEVL and SEV set") {
    for (const u32 word : {0xD50320BFu /* SEVL */, 0xD503209Fu /* SEV */}) {
        Bench b;
        b.pe->event_register = false;
        CHECK(b.step(word) == Exec::next);
        CHECK(b.step(0xD503205F) == Exec::next);
        CHECK(b.step(0xD503205F) == Exec::wait);
    }
}

TEST_CASE("SEV ends the wait of other PEs, SEVL does not") {
    Bench b;
    b.other->pins.take_attention();
    b.step(0xD50320BF);
    CHECK_FALSE(b.other->pins.attention());
    b.step(0xD503209F);
    CHECK(b.other->pins.attention());
}

TEST_CASE("SEV sets the Event Register of other PEs, for a WFE of later") {
    Bench b;
    CHECK_FALSE(b.other->pins.take_event());
    b.step(0xD503209F);
    CHECK(b.other->pins.take_event());
    b.pe->event_register = false;
    b.pe->pins.send_event();  // as that of the other PE
    b.pe->pins.take_attention();
    b.pe->s.sctlr_el1 &= ~(u64{1} << 18);
    b.go_to_el0();
    CHECK(b.step(0xD503205F) == Exec::next);  // nor does it trap
    CHECK(b.step(0xD503205F) == Exec::exception);
}

TEST_CASE("WFE returns when the monitored location has changed") {
    Bench b;
    b.pe->event_register = false;
    b.pe->monitor = {.armed = true, .size = 4, .pa = kRam + 0x100, .value_lo = 0, .value_hi = 0};
    CHECK(b.step(0xD503205F) == Exec::wait);
    CHECK(b.pe->monitor.armed);
    b.memory[0x100] = 1;
    CHECK(b.step(0xD503205F) == Exec::next);
    CHECK_FALSE(b.pe->monitor.armed);
}

TEST_CASE("CLREX disarms the monitor, ISB ends the block") {
    Bench b;
    b.pe->monitor.armed = true;
    CHECK(b.step(0xD5033F5F) == Exec::next);
    CHECK_FALSE(b.pe->monitor.armed);
    CHECK(b.step(0xD5033FDF) == Exec::end_block);
}

TEST_CASE("DSB waits until the PE's own requests are served") {
    Bench b;
    b.other->requests.post({.kind = RemoteRequest::Kind::tlbi, .tlbi_op = 0, .asid = 0, .address = 0});
    CHECK(b.step(0xD5033F9F) == Exec::next);  // the other PE does not execute: it counts as done
}

TEST_CASE("SVC and BRK report their immediate and return address") {
    Bench b;
    CHECK(b.step(0xD4024681) == Exec::exception);  // SVC #0x1234
    CHECK(b.ec() == kEcSvc);
    CHECK((b.iss() & 0xFFFF) == 0x1234);
    CHECK(b.pe->s.elr_el1 == kPc + 4);
    CHECK(b.pe->s.pc == kVectors + 0x200);

    CHECK(b.step(0xD4210000) == Exec::exception);  // BRK #0x800
    CHECK(b.ec() == kEcBrk);
    CHECK((b.iss() & 0xFFFF) == 0x800);
    CHECK(b.pe->s.elr_el1 == kPc);
}

TEST_CASE("HVC and SMC reach the firmware from EL1 and are UNDEFINED at EL0") {
    for (const u32 word : {0xD4000002u, 0xD4000003u}) {
        Bench b;
        CHECK(b.step(word) == Exec::next);
        CHECK(b.ports.calls == 1);
        CHECK(b.pe->x(0) == 42);
        b.go_to_el0();
        CHECK(b.step(word) == Exec::exception);
        CHECK(b.ec() == kEcUnknown);
        CHECK(b.ports.calls == 1);
    }
}

TEST_CASE("ERET restores PSTATE and is UNDEFINED at EL0") {
    Bench b;
    b.pe->s.elr_el1 = 0x1234;
    b.pe->s.spsr_el1 = u64{0x9} << 28;  // N and V, EL0t, nothing masked
    CHECK(b.step(0xD69F03E0) == Exec::exception);
    CHECK(b.pe->s.pc == 0x1234);
    CHECK(b.pe->s.el == 0);
    CHECK(b.pe->s.nzcv.pack() == 0x90000000);
    CHECK(b.step(0xD69F03E0) == Exec::exception);
    CHECK(b.ec() == kEcUnknown);
    CHECK(b.pe->s.el == 1);
}

TEST_CASE("branches record target and condition in the trace") {
    Bench b;
    OpTrace trace;
    b.pe->trace_ = &trace;
    b.pe->s.nzcv.z = 1;
    CHECK(b.step(0x54000040) == Exec::branch);  // B.EQ .+8
    CHECK(b.pe->s.pc == kPc + 8);
    CHECK((trace.conditional && !trace.cond_failed && trace.taken));
    CHECK(trace.target == kPc + 8);
    CHECK(trace.target_el == 1);

    trace = {};
    CHECK(b.step(0x54000041) == Exec::next);  // B.NE .+8
    CHECK((trace.conditional && trace.cond_failed && !trace.taken));

    trace = {};
    b.pe->set_x(30, 0x4000);
    CHECK(b.step(0xD63F03C0) == Exec::branch);  // BLR X30
    CHECK(b.pe->s.pc == 0x4000);
    CHECK(b.pe->x(30) == kPc + 4);
    CHECK((trace.taken && !trace.conditional));

    trace = {};
    CHECK(b.step(0x9A821020) == Exec::next);  // CSEL X0, X1, X2, NE
    CHECK((trace.conditional && trace.cond_failed && !trace.taken));
    b.pe->trace_ = nullptr;
}

TEST_CASE("an absent system register is UNDEFINED") {
    Bench b;
    CHECK(b.step(mrs_word(test_key(0))) == Exec::exception);
    CHECK(b.ec() == kEcUnknown);
    CHECK(b.step(msr_word(test_key(0))) == Exec::exception);
    CHECK(b.ec() == kEcUnknown);
}

TEST_CASE("a stored system register keeps its read-only and RES1 bits") {
    Bench b;
    const SysregRow rows[] = {
        {.name = "A", .key = test_key(0), .reset = 0x10, .writable = 0xF0, .fixed = 0x1},
    };
    b.pe->sysregs.add(rows, nullptr);
    b.pe->set_x(1, ~u64{0});
    CHECK(b.step(msr_word(test_key(0))) == Exec::next);
    b.pe->set_x(1, 0);
    CHECK(b.step(mrs_word(test_key(0))) == Exec::next);
    CHECK(b.pe->x(1) == 0xF1);
}

TEST_CASE("system register access rights by Exception level and direction") {
    struct Case {
        SysregAccess access;
        bool el0_read, el0_write, el1_read, el1_write;
    };
    constexpr Case kCases[] = {
        {SysregAccess::rw_el1, false, false, true, true},    {SysregAccess::ro_el1, false, false, true, false},
        {SysregAccess::wo_el1, false, false, false, true},   {SysregAccess::rw_el0, true, true, true, true},
        {SysregAccess::ro_el0, true, false, true, false},    {SysregAccess::wo_el0, false, true, false, true},
        {SysregAccess::el0_reads, true, false, true, true},
    };
    for (const Case& c : kCases) {
        Bench b;
        const SysregRow rows[] = {{.name = "A", .key = test_key(0), .access = c.access}};
        b.pe->sysregs.add(rows, nullptr);
        CAPTURE(static_cast<int>(c.access));
        CHECK((b.step(mrs_word(test_key(0))) == Exec::next) == c.el1_read);
        CHECK((b.step(msr_word(test_key(0))) == Exec::next) == c.el1_write);
        b.go_to_el0();
        CHECK((b.step(mrs_word(test_key(0))) == Exec::next) == c.el0_read);
        b.go_to_el0();
        CHECK((b.step(msr_word(test_key(0))) == Exec::next) == c.el0_write);
    }
}

TEST_CASE("a system register's check can trap or refuse an access") {
    Bench b;
    const SysregRow rows[] = {
        {.name = "T", .key = test_key(1), .access = SysregAccess::rw_el0, .check = [](void*, Vcpu&, bool is_write) {
             return is_write ? SysregTrap::trap_el1 : SysregTrap::undefined;
         }},
    };
    b.pe->sysregs.add(rows, nullptr);
    CHECK(b.step(mrs_word(test_key(1))) == Exec::exception);
    CHECK(b.ec() == kEcUnknown);
    CHECK(b.step(msr_word(test_key(1))) == Exec::exception);
    CHECK(b.ec() == kEcSystem);
    // op0 = 3, op2 = 1, op1 = 7, CRn = 15, Rt = 1, CRm = 13, write
    CHECK(b.iss() == (3u << 20 | 1u << 17 | 7u << 14 | 15u << 10 | 1u << 5 | 13u << 1));
}

TEST_CASE("a system register's hooks see and replace the value, and may end the block") {
    static u64 stored = 0;
    stored = 5;
    Bench b;
    const SysregRow rows[] = {
        {.name = "H",
         .key = test_key(2),
         .read = [](void*, Vcpu&) { return stored + 1; },
         .write = [](void*, Vcpu&, u64 value) { stored = value; },
         .ends_block = true},
    };
    b.pe->sysregs.add(rows, nullptr);
    CHECK(b.step(mrs_word(test_key(2))) == Exec::next);
    CHECK(b.pe->x(1) == 6);
    b.pe->set_x(1, 99);
    CHECK(b.step(msr_word(test_key(2))) == Exec::end_block);
    CHECK(stored == 99);
}

TEST_CASE("a system instruction that faults ends with the exception, even at the vector itself") {
    Bench b;
    const SysregRow rows[] = {
        {.name = "DC TEST", .key = sysreg_key(1, 7, 7, 15, 7), .write = [](void*, Vcpu& v, u64 value) {
             v.data_abort(value, 0x07, true, true);
         }},
    };
    b.pe->sysregs.add(rows, nullptr);
    b.pe->s.vbar_el1 = kPc - 0x200;  // the fault's vector is the faulting instruction
    b.pe->set_x(1, 0x1000);
    const u32 word = 0xD5000000 | u32{rows[0].key} << 5 | 1;
    for (int i = 0; i < 3; ++i) {
        CHECK(b.step(word) == Exec::exception);
        CHECK(b.ec() == kEcDataAbortSame);
        CHECK(b.pe->s.pc == kPc);
        CHECK(b.pe->s.far_el1 == 0x1000);
    }
}

TEST_CASE("SYSL of an instruction without a result is UNDEFINED") {
    Bench b;
    const SysregRow rows[] = {
        {.name = "X", .key = sysreg_key(1, 7, 15, 15, 7), .write = [](void*, Vcpu&, u64) {}},
    };
    b.pe->sysregs.add(rows, nullptr);
    CHECK(b.step(0xD5000000 | u32{rows[0].key} << 5 | 1) == Exec::next);
    CHECK(b.step(0xD5200000 | u32{rows[0].key} << 5 | 1) == Exec::exception);
    CHECK(b.ec() == kEcUnknown);
}

TEST_CASE("FPCR and FPSR accesses are subject to the trap of CPACR_EL1.FPEN") {
    for (const u32 word : {0xD51B4401u, 0xD53B4401u, 0xD51B4421u, 0xD53B4421u}) {
        const DecodeRow* row = decode(word);
        REQUIRE(row != nullptr);
        CHECK(row->needs == Needs::fp);
    }
    CHECK(decode(0xD53B4201)->needs == Needs::base);  // NZCV
}

}  // namespace vmm::arch::test
