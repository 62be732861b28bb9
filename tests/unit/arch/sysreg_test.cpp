// The PE's own system registers: encodings, access, masks, identification, and what system instructions do.
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "arch/cpu_model.h"
#include "arch/system_access.h"
#include "tests/unit/arch/mmu_bench.h"

using namespace vmm;
using namespace vmm::arch;
using namespace vmm::arch::bench;

namespace {

constexpr u64 kVa = 0x0000'1234'5678'9000;
constexpr u64 kPa = kRam + 0x2000;
const std::string kReserved = "reserved ID register";

/// sysreg_encodings.txt by key.
std::map<SysregKey, std::string> read_encodings() {
    std::map<SysregKey, std::string> result;
    std::ifstream file(SYSREG_ENCODINGS);
    REQUIRE(file.is_open());
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        std::istringstream words(line);
        unsigned op0 = 0, op1 = 0, crn = 0, crm = 0, op2 = 0;
        std::string name;
        words >> op0 >> op1 >> crn >> crm >> op2 >> std::ws;
        std::getline(words, name);
        REQUIRE(result.emplace(sysreg_key(op0, op1, crn, crm, op2), name).second);
    }
    REQUIRE(result.size() > 100);
    return result;
}

/// Exception class of MSR/SYS (or MRS) with X1, or -1 when it completed.
int access(MmuBench& b, SysregKey key, bool write, u64 value = 0) {
    Vcpu& v = b.v();
    v.s.x[1] = value;
    const CpuState before = v.s;
    const Exec result = access_system_register(v, key, write ? SystemAccess::write : SystemAccess::read, 1);
    if (result != Exec::exception) {
        return -1;
    }
    b.esr = v.s.esr_el1;
    b.far = v.s.far_el1;
    v.s = before;
    v.context_changed();
    return static_cast<int>(b.esr >> 26);
}

constexpr SysregKey s3(unsigned op1, unsigned crn, unsigned crm, unsigned op2) { return sysreg_key(3, op1, crn, crm, op2); }
constexpr SysregKey s1(unsigned op1, unsigned crn, unsigned crm, unsigned op2) { return sysreg_key(1, op1, crn, crm, op2); }

constexpr int kUndefined = 0;
constexpr int kTrapped = 0x18;
constexpr int kAllowed = -1;

constexpr SysregKey kCtr = s3(3, 0, 0, 1);
constexpr SysregKey kDaif = s3(3, 4, 2, 1);
constexpr SysregKey kZva = s1(3, 7, 4, 1);
constexpr SysregKey kIvau = s1(3, 7, 5, 1);
constexpr SysregKey kCvau = s1(3, 7, 11, 1);

}  // namespace

TEST_CASE("sysreg: every row has the encoding that the assembler gives its name, and none is missing") {
    MmuBench b(true);
    const auto expected = read_encodings();
    std::set<SysregKey> present;
    for (const SysregBank::Entry* row : b.v().sysregs.entries()) {
        present.insert(row->key);
        if (row->name == kReserved) {
            continue;
        }
        INFO(row->name << " " << generic_sysreg_name(row->key));
        const auto found = expected.find(row->key);
        REQUIRE(found != expected.end());
        CHECK(found->second == row->name);
    }
    for (const auto& [key, name] : expected) {
        INFO(name);
        CHECK(present.count(key) == 1);
    }
}

TEST_CASE("sysreg: fixed bits are outside the writable ones, and reset values obey both") {
    MmuBench b(true);
    for (const SysregBank::Entry* row : b.v().sysregs.entries()) {
        INFO(row->name);
        CHECK((row->fixed & row->writable) == (row->writable == ~u64{0} ? row->fixed : 0));
        if (row->access != SysregAccess::ro_el1 && row->access != SysregAccess::ro_el0) {
            CHECK((row->reset & ~(row->writable | row->fixed)) == 0);
        }
    }
}

TEST_CASE("sysreg: identification of Neoverse N1, less what is not implemented") {
    MmuBench b(true);
    // Hardware value (N1 TRM r4p1), and the fields that differ here with their value.
    struct Id {
        unsigned crm, op2;
        u64 hardware;
        std::map<unsigned, u64> ours;
    };
    const Id ids[] = {
        {4, 0, 0x1100000011111112, {{0, 1}, {8, 0}, {12, 0}}},  // PFR0: EL0 AArch64 only, no EL2, no EL3
        {4, 1, 0x20, {}},
        {5, 0, 0x110305408, {{32, 0}}},  // DFR0 of a PE without SPE
        {6, 0, 0x0000100010211120, {}},
        {6, 1, 0x100001, {}},
        {7, 0, 0x101125, {{8, 0}}},                 // MMFR0: little-endian only
        {7, 1, 0x10212122, {{4, 0}, {8, 0}, {28, 0}}},  // MMFR1: no VMIDs, no VHE, no stage 2 XN
        {7, 2, 0x1011, {}},
    };
    for (const Id& id : ids) {
        u64 expected = id.hardware;
        for (const auto& [lsb, value] : id.ours) {
            expected = deposit(expected, lsb + 3, lsb, value);
        }
        INFO("ID_AA64 C" << id.crm << " " << id.op2);
        CHECK(b.mrs(3, 0, 0, id.crm, id.op2) == expected);
    }
    for (unsigned crm = 1; crm <= 3; ++crm) {  // AArch32
        for (unsigned op2 = 0; op2 < 8; ++op2) {
            CHECK(b.mrs(3, 0, 0, crm, op2) == 0);
        }
    }
    CHECK(b.mrs(3, 0, 0, 0, 0) == 0x414FD0C1);
    CHECK(b.mrs(3, 0, 0, 0, 5) == 0x80000000);
    CHECK(b.mrs(3, 3, 0, 0, 1) == 0x8444C004);
    CHECK(b.mrs(3, 3, 0, 0, 7) == 4);

    VcpuConfig config = b.v().config;
    config.pmsver = 3;
    config.pmu = false;
    config.mpidr = 0x80000103;
    Vcpu spe(config);
    CHECK(spe.sysregs.peek(spe, s3(0, 0, 5, 0)) == 0x310305008);
    CHECK(spe.sysregs.peek(spe, s3(0, 0, 0, 5)) == 0x80000103);
}

TEST_CASE("sysreg: models by name") {
    REQUIRE(find_cpu_model("neoverse-n1") == &cpu_models().front());
    CHECK(find_cpu_model("max") != nullptr);
    CHECK(find_cpu_model("cortex-a53") == nullptr);
}

TEST_CASE("sysreg: cache geometry") {
    MmuBench b;
    const auto geometry = [&](u64 select) {
        b.sys(3, 2, 0, 0, 0, select);
        const u64 ccsidr = b.mrs(3, 1, 0, 0, 0);
        const u64 line = u64{16} << bits(ccsidr, 2, 0);
        return (bits(ccsidr, 27, 13) + 1) * (bits(ccsidr, 12, 3) + 1) * line;
    };
    CHECK(geometry(0) == 64 << 10);
    CHECK(geometry(1) == 64 << 10);
    CHECK(geometry(2) == 1 << 20);
    b.sys(3, 2, 0, 0, 0, 4);
    CHECK(b.mrs(3, 1, 0, 0, 0) == 0);
    const u64 clidr = b.mrs(3, 1, 0, 0, 1);
    CHECK(bits(clidr, 2, 0) == 3);  // separate L1
    CHECK(bits(clidr, 5, 3) == 4);  // unified L2
    CHECK(bits(clidr, 8, 6) == 0);
}

TEST_CASE("sysreg: masks of writable bits") {
    MmuBench b;
    struct Case {
        SysregKey key;
        u64 zeros, ones;  // what writing all zeros and all ones leaves
    };
    const Case cases[] = {
        {s3(0, 1, 0, 0), 0x30500980, 0x0000'1000'34FDDB9F},  // SCTLR_EL1
        {s3(0, 1, 0, 2), 0, 0x300000},                       // CPACR_EL1.FPEN
        {s3(0, 2, 0, 2), 0, 0x0007FFF7FFFFFFBF},             // TCR_EL1
        {s3(0, 12, 0, 0), 0, ~u64{0x7FF}},                   // VBAR_EL1
        {s3(0, 5, 2, 0), 0, 0xFFFFFFFF},                     // ESR_EL1
        {s3(0, 13, 0, 1), 0, 0xFFFFFFFF},                    // CONTEXTIDR_EL1
        {s3(0, 4, 0, 0), 0, 0xF0F013DF},                     // SPSR_EL1
        {s3(0, 6, 0, 0), 0, ~u64{0}},                        // FAR_EL1
        {s3(0, 1, 0, 1), 0, 0},                              // ACTLR_EL1
        {s3(3, 4, 4, 0), 0, 0x07C80000},                     // FPCR
        {s3(3, 4, 4, 1), 0, 0x0800009F},                     // FPSR
        {s3(3, 13, 0, 2), 0, ~u64{0}},                       // TPIDR_EL0
        {s3(3, 4, 2, 0), 0, 0xF0000000},                     // NZCV
        {s3(3, 4, 2, 1), 0, 0x3C0},                          // DAIF
        {s3(3, 4, 2, 6), 0, 0x1000},                         // SSBS
        {s3(0, 4, 2, 3), 0, 0x400000},                       // PAN
        {s3(0, 4, 2, 4), 0, 0x800000},                       // UAO
        {sysreg_key(2, 0, 0, 2, 2), 0, 0x6CE0F041},          // MDSCR_EL1, the OS lock being locked
        {sysreg_key(2, 0, 0, 3, 4), 0, ~u64{3}},             // DBGBVR3_EL1
    };
    for (const Case& c : cases) {
        const SysregBank::Entry* row = b.v().sysregs.find(c.key);
        REQUIRE(row != nullptr);
        INFO(row->name);
        for (const auto& [value, left] : {std::pair{u64{0}, c.zeros}, std::pair{~u64{0}, c.ones}}) {
            REQUIRE(access(b, c.key, true, value) == kAllowed);
            CHECK(b.v().sysregs.peek(b.v(), c.key) == left);
        }
        REQUIRE(access(b, c.key, true, row->reset) == kAllowed);
        b.v().s.cpacr_el1 = u64{3} << 20;
    }
}

TEST_CASE("sysreg: EL0 reaches what the architecture gives it") {
    MmuBench b(true);
    const std::set<std::string> readable = {"DCZID_EL0", "NZCV", "SSBS", "FPCR", "FPSR", "TPIDR_EL0", "TPIDRRO_EL0",
                                            "MDCCSR_EL0", "DBGDTR_EL0", "DBGDTRRX_EL0", "PMUSERENR_EL0"};
    const std::set<std::string> writable = {"NZCV", "SSBS", "FPCR", "FPSR", "TPIDR_EL0", "DBGDTR_EL0", "DBGDTRRX_EL0"};
    b.set_el(0);
    for (const SysregBank::Entry* row : b.v().sysregs.entries()) {
        const std::string name = row->name;
        const bool is_instruction = bits(row->key, 15, 14) == 1;
        const bool user = row->access != SysregAccess::rw_el1 && row->access != SysregAccess::ro_el1 &&
                          row->access != SysregAccess::wo_el1;
        INFO(name);
        // Registers named _EL1 (and those without a name) are UNDEFINED at EL0.
        CHECK(user == (name.find("_EL0") != std::string::npos ? name != "SP_EL0"
                                                              : name == "NZCV" || name == "DAIF" || name == "SSBS" ||
                                                                    name == "FPCR" || name == "FPSR" ||
                                                                    (is_instruction && bits(row->key, 13, 11) == 3)));
        if (!is_instruction) {
            const int read = access(b, row->key, false);
            CHECK((read == kAllowed) == (readable.count(name) == 1));
            CHECK((access(b, row->key, true) == kAllowed) == (writable.count(name) == 1));
            if (!user) {
                CHECK(read == kUndefined);
            }
        }
    }
}

TEST_CASE("sysreg: controls of SCTLR_EL1 over EL0") {
    MmuBench b;
    b.map(kVa, kPa, kUser);
    const u64 base = b.v().s.sctlr_el1;
    b.set_el(0);
    struct Case {
        unsigned sctlr_bit;
        SysregKey key;
        bool write;
    };
    const Case cases[] = {{15, kCtr, false}, {9, kDaif, false}, {9, kDaif, true}, {14, kZva, true}, {26, kIvau, true},
                          {26, kCvau, true}, {26, s1(3, 7, 10, 1), true}, {26, s1(3, 7, 12, 1), true}, {26, s1(3, 7, 14, 1), true}};
    for (const Case& c : cases) {
        INFO(b.v().sysregs.find(c.key)->name);
        b.v().s.sctlr_el1 = base;
        b.v().context_changed();
        CHECK(access(b, c.key, c.write, kVa) == kTrapped);
        CHECK(bits(b.esr, 9, 5) == 1);  // Rt
        CHECK(bit(b.esr, 0) == !c.write);
        b.v().s.sctlr_el1 = base | u64{1} << c.sctlr_bit;
        b.v().context_changed();
        CHECK(access(b, c.key, c.write, kVa) == kAllowed);
    }
    b.v().s.sctlr_el1 = base;
    CHECK(b.mrs(3, 3, 0, 0, 7) == 0x14);  // DCZID_EL0.DZP
    b.v().s.sctlr_el1 = base | 1 << 14;
    CHECK(b.mrs(3, 3, 0, 0, 7) == 4);
}

TEST_CASE("sysreg: FPCR and FPSR obey CPACR_EL1.FPEN") {
    MmuBench b;
    for (u64 fpen = 0; fpen < 4; ++fpen) {
        for (const u8 el : {0, 1}) {
            b.v().s.cpacr_el1 = fpen << 20;
            b.set_el(el);
            const bool allowed = fpen == 3 || (fpen == 1 && el == 1);
            INFO("FPEN " << fpen << " EL" << int{el});
            CHECK(access(b, s3(3, 4, 4, 0), false) == (allowed ? kAllowed : 0x07));
            CHECK(access(b, s3(3, 4, 4, 1), true) == (allowed ? kAllowed : 0x07));
        }
    }
}

TEST_CASE("sysreg: stack pointer selection") {
    MmuBench b;
    Vcpu& v = b.v();
    v.set_xsp(31, 0x1000);
    CHECK(access(b, s3(0, 4, 1, 0), true, 0x2000) == kAllowed);
    CHECK(access(b, s3(0, 4, 2, 0), true, 0) == kAllowed);
    CHECK(v.xsp(31) == 0x2000);
    CHECK(access(b, s3(0, 4, 1, 0), false) == kUndefined);
    CHECK(b.mrs(3, 0, 4, 2, 2) == 4);  // CurrentEL
    CHECK(access(b, s3(0, 4, 2, 0), true, 1) == kAllowed);
    CHECK(v.xsp(31) == 0x1000);
}

TEST_CASE("sysreg: OS lock, claim tags, ISR") {
    MmuBench b;
    CHECK(b.mrs(2, 0, 1, 1, 4) == 0xA);  // locked at reset
    b.sys(2, 0, 1, 0, 4, 0);
    CHECK(b.mrs(2, 0, 1, 1, 4) == 0x8);
    b.sys(2, 0, 7, 8, 6, 0x5);
    CHECK(b.mrs(2, 0, 7, 8, 6) == 0xFF);
    CHECK(b.mrs(2, 0, 7, 9, 6) == 0x5);
    b.sys(2, 0, 7, 9, 6, 0x4);
    CHECK(b.mrs(2, 0, 7, 9, 6) == 0x1);
    CHECK(b.mrs(3, 0, 12, 1, 0) == 0);
    b.v().pins.set_irq(true);
    CHECK(b.mrs(3, 0, 12, 1, 0) == 0x80);
}

TEST_CASE("sysreg: what MDSCR_EL1 saves and restores can be written while the OS lock is locked") {
    MmuBench b;
    const auto mdscr = [&b] { return b.mrs(2, 0, 0, 2, 2); };
    constexpr u64 kControls = 0xB001;     // MDE, KDE, TDCC, SS
    constexpr u64 kSaved = 0x6CE0'4040;   // RXfull, TXfull, RXO, TXU, INTdis, TDA, HDE, ERR
    b.sys(2, 0, 0, 2, 2, ~u64{0});
    CHECK(mdscr() == (kControls | kSaved));
    b.sys(2, 0, 1, 0, 4, 0);  // OSLAR_EL1
    b.sys(2, 0, 0, 2, 2, 0);
    CHECK(mdscr() == kSaved);
    b.sys(2, 0, 1, 0, 4, 1);
    b.sys(2, 0, 0, 2, 2, 0);
    CHECK(mdscr() == 0);
    b.sys(2, 0, 1, 0, 4, 0);
    b.sys(2, 0, 0, 2, 2, ~u64{0});
    CHECK(mdscr() == kControls);
}

TEST_CASE("sysreg: DC ZVA zeroes 64 aligned bytes") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kMmioPa, kDevice);
    b.map(kVa + 0x2000, kPa, kReadOnly);
    for (unsigned pass = 0; pass < 2; ++pass) {
        std::memset(b.ram.host(kPa, kPageSize), 0xAA, kPageSize);
        REQUIRE(access(b, kZva, true, kVa + 0x7F) == kAllowed);
        CHECK(b.load(kPa + 0x38) == 0xAAAAAAAAAAAAAAAA);
        for (u64 offset = 0x40; offset < 0x80; offset += 8) {
            CHECK(b.load(kPa + offset) == 0);
        }
        CHECK(b.load(kPa + 0x80) == 0xAAAAAAAAAAAAAAAA);
    }
    CHECK(access(b, kZva, true, kVa + 0x1000) == 0x25);
    CHECK((b.esr & 0x3F) == 0x21);
    CHECK(access(b, kZva, true, kVa + 0x2010) == 0x25);
    CHECK((b.esr & 0x17F) == 0x4F);
    CHECK(b.far == kVa + 0x2010);
    CHECK(access(b, kZva, true, kVa + 0x3010) == 0x25);
    CHECK((b.esr & 0x17F) == 0x47);
}

TEST_CASE("sysreg: cache maintenance by address translates") {
    MmuBench b;
    b.map(kVa, kPa, kReadOnly);
    b.map(kVa + 0x1000, kPa, 0);
    b.v().s.sctlr_el1 |= u64{1} << 26;
    b.v().context_changed();
    constexpr SysregKey kIvac = s1(0, 7, 6, 1);
    for (const SysregKey key : {kCvau, kIvau, s1(3, 7, 10, 1), s1(3, 7, 12, 1), s1(3, 7, 14, 1)}) {
        INFO(b.v().sysregs.find(key)->name);
        b.set_el(1);
        CHECK(access(b, key, true, kVa) == kAllowed);
        CHECK(access(b, key, true, kVa + 0x5008) == 0x25);
        CHECK((b.esr & 0x1FF) == 0x147);  // CM, WnR, translation fault
        CHECK(b.far == kVa + 0x5008);
        b.set_el(0);
        CHECK(access(b, key, true, kVa) == 0x24);  // not readable at EL0
        CHECK((b.esr & 0x1FF) == 0x14F);
    }
    b.set_el(1);
    CHECK(access(b, kIvac, true, kVa + 0x1000) == kAllowed);
    CHECK(access(b, kIvac, true, kVa) == 0x25);
    CHECK((b.esr & 0x1FF) == 0x14F);
    for (const SysregKey key : {s1(0, 7, 6, 2), s1(0, 7, 10, 2), s1(0, 7, 14, 2), s1(0, 7, 5, 0), s1(0, 7, 1, 0)}) {
        CHECK(access(b, key, true, ~u64{0}) == kAllowed);
    }
}

TEST_CASE("sysreg: DC IVAC is a store to its line as watchpoints see it") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kPa, kReadOnly);
    constexpr SysregKey kIvac = s1(0, 7, 6, 1);
    constexpr u64 kLastByte = 1 << 12 | 1 << 1 | 1;  // DBGWCR<n>_EL1: BAS, EL1, enabled
    constexpr u64 kLoads = 1 << 3;
    constexpr u64 kStores = 1 << 4;
    b.v().s.daif = 0;
    b.sys(2, 0, 1, 0, 4, 0);                  // OSLAR_EL1
    b.sys(2, 0, 0, 2, 2, 1 << 15 | 1 << 13);  // MDSCR_EL1: MDE, KDE
    const auto watch = [&b](u64 va, u64 control) {
        b.sys(2, 0, 0, 0, 6, va);
        b.sys(2, 0, 0, 0, 7, control);
    };
    watch(kVa + 0x78, kLastByte | kStores);
    CHECK(access(b, kIvac, true, kVa + 0x44) == 0x35);
    CHECK((b.esr & 0x1FF) == 0x162);  // CM, WnR, debug exception
    CHECK(b.far == kVa + 0x44);
    CHECK(access(b, kIvac, true, kVa + 0x3F) == kAllowed);
    CHECK(access(b, kIvac, true, kVa + 0x80) == kAllowed);
    CHECK(access(b, kCvau, true, kVa + 0x7F) == kAllowed);
    watch(kVa + 0x78, kLastByte | kLoads);
    CHECK(access(b, kIvac, true, kVa + 0x44) == kAllowed);
    watch(kVa + 0x1078, kLastByte | kStores);
    CHECK(access(b, kIvac, true, kVa + 0x1044) == 0x25);  // what is refused is not watched
}

TEST_CASE("sysreg: reset puts everything back") {
    MmuBench b(true);
    b.sys(3, 0, 6, 0, 0, 0x1234);
    b.sys(3, 2, 0, 0, 0, 2);
    b.sys(3, 3, 9, 12, 1, 1);
    b.v().reset(0x8000'0000, 7);
    CHECK(b.mrs(3, 0, 6, 0, 0) == 0);
    CHECK(b.mrs(3, 2, 0, 0, 0) == 0);
    CHECK(b.mrs(3, 3, 9, 12, 1) == 0);
    CHECK(b.mrs(3, 0, 1, 0, 0) == 0x30D00980);
    CHECK(b.v().s.pc == 0x8000'0000);
    CHECK(b.v().x(0) == 7);
    CHECK(b.v().s.daif == 0xF);
    CHECK(b.v().ctx_ == kNoFastPath);
}

TEST_CASE("sysreg: generic names") {
    CHECK(generic_sysreg_name(s3(0, 9, 10, 1)) == "S3_0_C9_C10_1");
    CHECK(generic_sysreg_name(sysreg_key(2, 0, 7, 14, 6)) == "S2_0_C7_C14_6");
}
