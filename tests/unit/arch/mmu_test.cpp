// The EL1&0 translation regime as loads, stores and fetches see it.
#include "arch/ldst_access.h"
#include "tests/unit/arch/mmu_bench.h"

using namespace vmm;
using namespace vmm::arch;
using namespace vmm::arch::bench;

namespace {

constexpr u64 kVa = 0x0000'1234'5678'9000;
constexpr u64 kPa = kRam + 0x2000;
constexpr u64 kPa2 = kRam + 0x8000;
constexpr u64 kAsid1 = u64{1} << 48;
constexpr u64 kAsid2 = u64{2} << 48;

// TLBI operations, local: op2.
constexpr unsigned kVmalle1 = 0;
constexpr unsigned kVae1 = 1;
constexpr unsigned kAside1 = 2;
constexpr unsigned kVaae1 = 3;
void tlbi(MmuBench& b, unsigned op2, u64 va, u64 asid) {
    b.sys(1, 0, 8, 7, op2, asid | bits(va, 55, 12));
}

void switch_asid(MmuBench& b, u64 asid) {
    b.sys(3, 0, 2, 0, 0, b.root0() | asid);
}

}  // namespace

TEST_CASE("mmu: a mapped page is read and written, at both levels of TLB") {
    MmuBench b;
    b.map(kVa, kPa, kUser);
    b.store(kPa + 8, 0x1122334455667788);
    for (unsigned i = 0; i < 3; ++i) {  // walk, then first-level hit
        CHECK(b.read_fault<u64>(kVa + 8) == 0);
        CHECK(b.last == 0x1122334455667788);
    }
    CHECK(b.read_fault<u16>(kVa + 9) == 0);
    CHECK(b.last == 0x6677);
    CHECK(b.write_fault<u32>(kVa + 8, 0xAABBCCDD) == 0);
    CHECK(b.load(kPa + 8) == 0x11223344AABBCCDD);
    b.v().tlb_.clear();
    CHECK(b.read_fault<u8>(kVa + 8) == 0);  // second level
    CHECK(b.last == 0xDD);
    CHECK_FALSE(b.v().mmu().translate(kVa, AccessType::read, true).walked);
}

TEST_CASE("mmu: permissions of loads, stores and fetches") {
    struct Case {
        u64 attributes;
        const char* el0;  // rwx that are allowed
        const char* el1;
    };
    // Arm ARM table D8-66 (data and instruction permissions, EL1&0).
    const Case cases[] = {
        {0, "--x", "rwx"},
        {kUxn, "---", "rwx"},
        {kPxn, "--x", "rw-"},
        {kUser, "rwx", "rw-"},  // writable at EL0: never executable at EL1
        {kUser | kUxn, "rw-", "rw-"},
        {kReadOnly, "--x", "r-x"},
        {kReadOnly | kUxn | kPxn, "---", "r--"},
        {kReadOnly | kUser, "r-x", "r-x"},
        {kReadOnly | kUser | kUxn, "r--", "r-x"},
        {kReadOnly | kUser | kPxn, "r-x", "r--"},
    };
    const bool wxn = GENERATE(false, true);
    MmuBench b;
    if (wxn) {
        b.sys(3, 0, 1, 0, 0, b.v().s.sctlr_el1 | u64{1} << 19);
    }
    u64 va = kVa;
    for (const Case& c : cases) {
        b.map(va, kPa, c.attributes);
        for (const u8 el : {0, 1}) {
            const char* allowed = el == 0 ? c.el0 : c.el1;
            b.set_el(el);
            INFO(std::hex << c.attributes << " EL" << int{el} << " " << allowed << " WXN " << wxn);
            const unsigned fault = (el == 0 ? kLower : kSame) | 0x0F;
            CHECK(b.read_fault(va) == (allowed[0] == 'r' ? 0 : fault));
            CHECK(b.write_fault<u8>(va, 1) == (allowed[1] == 'w' ? 0 : fault));
            if (allowed[1] != 'w') {
                CHECK((b.esr >> 6 & 1) == 1);  // WnR
            }
            const Translation fetch = b.v().mmu().translate(va, AccessType::fetch, el == 1);
            CHECK(fetch.ok == (allowed[2] == 'x' && !(wxn && allowed[1] == 'w')));
            if (!fetch.ok) {
                CHECK(fetch.fsc == 0x0F);
            }
        }
        va += kPageSize;
    }
}

TEST_CASE("mmu: fault status by level, for each type of fault") {
    MmuBench b;
    const u64 va = kUpper | kVa;
    for (unsigned level = 0; level <= 3; ++level) {
        const u64 at = b.descriptor_at(va, level);
        INFO("level " << level);
        b.store(at, 0);
        tlbi(b, kVmalle1, 0, 0);
        CHECK(b.read_fault(va) == (kSame | 0x04 | level));
        CHECK(b.far == va);
        CHECK((b.esr >> 6 & 1) == 0);
        CHECK(b.write_fault<u8>(va, 0) == (kSame | 0x04 | level));
        CHECK((b.esr >> 6 & 1) == 1);
        if (level != 0) {
            const u64 type = level == 3 ? kValidPage : kValidBlock;
            b.store(at, type);
            CHECK(b.read_fault(va) == (kSame | 0x08 | level));
            b.store(at, type | kAf | kReadOnly);
            CHECK(b.write_fault<u8>(va, 0) == (kSame | 0x0C | level));
            // Not cached: only the descriptor decides.
            b.store(at, 0);
            tlbi(b, kVmalle1, 0, 0);
        }
        if (level != 3) {
            b.store(at, 0x0000'7FFF'0000'0000 | 3);  // a table outside RAM
            CHECK(b.read_fault(va) == (kSame | 0x14 | (level + 1)));
            b.store(at, 0);
        }
    }
    b.sys(3, 0, 2, 0, 2, (b.v().s.tcr_el1 & ~(u64{7} << 32)) | u64{2} << 32);  // 40 bits
    b.map(va, u64{1} << 41, 0);
    CHECK(b.read_fault(va) == (kSame | 0x03));
}

TEST_CASE("mmu: nothing answers is an external abort; MMIO is passed on in one piece") {
    MmuBench b;
    b.map(kVa, 0x7000'0000, kDevice);
    b.map(kVa + 0x1000, kMmioPa, kDevice);
    CHECK(b.read_fault(kVa) == (kSame | 0x10));
    CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x10));
    b.mmio.reads.clear();
    b.mmio.writes.clear();
    CHECK(b.read_fault<u32>(kVa + 0x1004) == 0);
    CHECK(b.last == 0x44332211);
    CHECK(b.write_fault<u16>(kVa + 0x1006, 0xBEEF) == 0);
    REQUIRE(b.mmio.reads.size() == 1);
    CHECK(b.mmio.reads[0].pa == kMmioPa + 4);
    CHECK(b.mmio.reads[0].size == 4);
    REQUIRE(b.mmio.writes.size() == 1);
    CHECK(b.mmio.writes[0].value == 0xBEEF);
    CHECK(b.read_fault<u32>(kVa + 0x1002) == (kSame | kAlignmentFault));
    CHECK(b.atomic_fault(kVa + 0x1000, 8, AccessType::write, {.atomic = true}) ==
          (kSame | 0x35));
}

TEST_CASE("mmu: alignment") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kPa2, kDevice);
    b.map(kVa + 0x2000, kPa2, kNonCacheable);
    CHECK(b.read_fault<u32>(kVa + 1) == 0);
    CHECK(b.read_fault<u32>(kVa + 0x2001) == 0);
    CHECK(b.read_fault<u32>(kVa + 0x1001) == (kSame | kAlignmentFault));
    CHECK(b.write_fault<u64>(kVa + 0x1004, 1) == (kSame | kAlignmentFault));
    CHECK(b.read_fault<u32>(kVa + 0x1004) == 0);
    CHECK(b.atomic_fault(kVa + 4, 8, AccessType::read, {.exclusive = true}) ==
          (kSame | kAlignmentFault));
    b.sys(3, 0, 1, 0, 0, b.v().s.sctlr_el1 | 2);  // SCTLR.A
    CHECK(b.read_fault<u32>(kVa + 1) == (kSame | kAlignmentFault));
    CHECK(b.far == kVa + 1);
    CHECK(b.read_fault<u32>(kVa + 4) == 0);
    CHECK(b.read_fault<u32>(0x10'0000'0001) == (kSame | kAlignmentFault));  // before translation
}

TEST_CASE("mmu: translation disabled") {
    MmuBench b;
    b.sys(3, 0, 1, 0, 0, b.v().s.sctlr_el1 & ~u64{1});
    b.store(kPa, 77);
    CHECK(b.read_fault(kPa) == 0);
    CHECK(b.last == 77);
    CHECK(b.read_fault<u32>(kPa + 1) == (kSame | kAlignmentFault));  // Device-nGnRnE
    CHECK(b.read_fault(u64{1} << 48) == (kSame | 0x00));
    const Translation fetch = b.v().mmu().translate(kPa, AccessType::fetch, true);
    CHECK(fetch.ok);
    CHECK(fetch.pa == kPa);
    CHECK_FALSE(fetch.device);
    CHECK(b.v().mmu().translate(kPa, AccessType::read, true).device);

    const u64 tagged = kPa | u64{0x5A} << 56;
    CHECK(b.read_fault(tagged) == (kSame | 0x00));
    b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{1} << 37);  // TBI0
    CHECK(b.read_fault(tagged) == 0);
    CHECK(b.last == 77);
    CHECK(b.read_fault(tagged | u64{1} << 54) == (kSame | 0x00));
    CHECK(b.read_fault(tagged | u64{1} << 55) == (kSame | 0x00));  // TBI1's
}

TEST_CASE("mmu: PAN, UAO and unprivileged accesses") {
    MmuBench b;
    b.map(kVa, kPa, kUser);           // user page
    b.map(kVa + 0x1000, kPa2, 0);     // kernel page
    const unsigned denied = kSame | 0x0F;
    const AccessKind unprivileged{.unprivileged = true};
    for (unsigned pass = 0; pass < 2; ++pass) {  // the second with warm TLBs
        for (const u8 pan : {0, 1}) {
            for (const u8 uao : {0, 1}) {
                b.v().s.pan = pan;
                b.v().s.uao = uao;
                b.v().context_changed();
                INFO("PAN " << int{pan} << " UAO " << int{uao} << " pass " << pass);
                CHECK(b.read_fault(kVa) == (pan ? denied : 0));
                CHECK(b.write_fault<u64>(kVa, 1) == (pan ? denied : 0));
                CHECK(b.read_fault(kVa + 0x1000) == 0);
                CHECK(b.read_fault(kVa, unprivileged) == (uao && pan ? denied : 0));
                CHECK(b.read_fault(kVa + 0x1000, unprivileged) == (uao ? 0 : denied));
                CHECK(b.write_fault<u8>(kVa + 0x1000, 1, unprivileged) == (uao ? 0 : denied));
            }
        }
    }
    CHECK(b.v().mmu().translate(kVa, AccessType::write, true, true).ok);  // PAN is set, and ignored
    CHECK_FALSE(b.v().mmu().translate(kVa, AccessType::write, true).ok);
    CHECK(b.v().mmu().translate(kVa, AccessType::fetch, false).ok);
}

TEST_CASE("mmu: hardware access flag and dirty state") {
    MmuBench b;
    const u64 at = b.descriptor_at(kVa);
    const u64 clean = kPa | kReadOnly | kDbm | kUser | kValidPage;
    b.store(at, clean);
    SECTION("without TCR.HA both fault") {
        CHECK(b.read_fault(kVa) == (kSame | 0x0B));
        b.store(at, clean | kAf);
        CHECK(b.read_fault(kVa) == 0);
        CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x0F));
        CHECK(b.load(at) == (clean | kAf));
    }
    SECTION("HA alone leaves dirty state to software") {
        b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{1} << 39);
        CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x0F));
        CHECK(b.load(at) == (clean | kAf));
        const u64 before = b.v().exceptions_taken;
        b.sys(1, 0, 7, 6, 1, kVa);  // DC IVAC
        CHECK(b.v().exceptions_taken == before + 1);
        CHECK((b.v().s.esr_el1 & 0x1FF) == (1 << 8 | 1 << 6 | 0x0F));
    }
    SECTION("HA and HD") {
        b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{3} << 39);
        CHECK(b.read_fault(kVa) == 0);
        CHECK(b.load(at) == (clean | kAf));  // reading does not dirty
        const u64 before = b.v().exceptions_taken;
        b.sys(1, 0, 7, 6, 1, kVa);   // DC IVAC
        b.sys(1, 0, 7, 8, 1, kVa);   // AT S1E1W
        CHECK((b.mrs(3, 0, 7, 4, 0) & 1) == 0);
        CHECK(b.v().exceptions_taken == before);
        CHECK(b.load(at) == (clean | kAf));  // nor do they, for which it counts as writable
        CHECK(b.read_fault(kVa) == 0);
        CHECK(b.write_fault<u64>(kVa + 8, 42) == 0);
        CHECK(b.load(at) == ((clean | kAf) & ~kReadOnly));
        CHECK(b.load(kPa + 8) == 42);
        // A new clean state is seen after TLBI only.
        b.store(at, clean | kAf);
        CHECK(b.write_fault<u8>(kVa, 1) == 0);
        CHECK(b.load(at) == (clean | kAf));
        tlbi(b, kVae1, kVa, kAsid1);
        CHECK(b.write_fault<u8>(kVa, 1) == 0);
        CHECK(b.load(at) == ((clean | kAf) & ~kReadOnly));
    }
    SECTION("no dirty state for a write that is refused anyway") {
        b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{3} << 39);
        b.v().s.pan = 1;
        b.v().context_changed();
        CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x0F));
        CHECK(b.load(at) == (clean | kAf));
        b.store(at, clean & ~kUser);
        b.set_el(0);
        CHECK(b.write_fault<u8>(kVa, 1) == (kLower | 0x0F));
        CHECK((b.load(at) & kReadOnly) != 0);
    }
    SECTION("no dirty state for a misaligned store to Device memory, which is refused") {
        b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{3} << 39);
        b.store(at, clean | kAf | kDevice);
        CHECK(b.write_fault<u32>(kVa + 2, 1) == (kSame | 0x21));
        CHECK(b.write_fault<u64>(kVa + 0xFFC, 1) == (kSame | 0x21));
        CHECK(b.fault_of([&] { CHECK_FALSE(b.v().write_pair(kVa + 4, 1, 2)); }) == (kSame | 0x21));
        CHECK(b.fault_of([&] { CHECK(device_alignment_fault(b.v(), kVa, 32, AccessType::write, 8)); }) == (kSame | 0x21));
        CHECK(b.load(at) == (clean | kAf | kDevice));
        CHECK(b.write_fault<u32>(kVa + 4, 1) == 0);
        CHECK(b.load(at) == ((clean | kAf | kDevice) & ~kReadOnly));
    }
    SECTION("host_for_atomic() dirties") {
        b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{3} << 39);
        CHECK(b.v().host_for_atomic(kVa, 8, AccessType::read, {.exclusive = true}) == b.ram.host(kPa));
        CHECK((b.load(at) & kReadOnly) != 0);
        CHECK(b.v().host_for_atomic(kVa, 8, AccessType::write, {.exclusive = true}) == b.ram.host(kPa));
        CHECK((b.load(at) & kReadOnly) == 0);
    }
}

TEST_CASE("mmu: atomics that cannot read report a read, others a write") {
    MmuBench b;
    b.map(kVa, kPa, kReadOnly);
    const AccessKind atomic{.atomic = true};
    CHECK(b.atomic_fault(kVa, 4, AccessType::write, atomic) == (kSame | 0x0F));
    CHECK((b.esr >> 6 & 1) == 1);
    CHECK(b.atomic_fault(kVa + 0x1000, 4, AccessType::write, atomic) == (kSame | 0x07));
    CHECK((b.esr >> 6 & 1) == 0);
}

TEST_CASE("mmu: accesses that cross pages") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kPa2, 0);
    b.map(kVa + 0x2000, kPa + 0x1000, kReadOnly);
    b.map(kVa + 0x4000, kMmioPa, kNonCacheable);
    CHECK(b.write_fault<u64>(kVa + 0xFFD, 0x8877665544332211) == 0);
    CHECK(b.load(kPa + 0xFF8) >> 40 == 0x332211);
    CHECK((b.load(kPa2) & ones(40)) == 0x8877665544);
    CHECK(b.read_fault<u64>(kVa + 0xFFD) == 0);
    CHECK(b.last == 0x8877665544332211);
    CHECK(b.read_fault<u16>(kVa + 0xFFF) == 0);
    CHECK(b.last == 0x4433);

    // Neither page is touched when one refuses.
    const u64 before = b.load(kPa2 + 0xFF8);
    CHECK(b.write_fault<u64>(kVa + 0x1FFC, ~u64{0}) == (kSame | 0x0F));
    CHECK(b.far == kVa + 0x2000);
    CHECK(b.load(kPa2 + 0xFF8) == before);
    CHECK(b.read_fault<u64>(kVa + 0x2FFC) == (kSame | 0x07));
    CHECK(b.far == kVa + 0x3000);
    CHECK(b.read_fault<u64>(kVa - 4) == (kSame | 0x07));
    CHECK(b.far == kVa - 4);
    u64 lo = 0;
    u64 hi = 0;
    CHECK(b.fault_of([&] { CHECK_FALSE(b.v().write_pair(kVa + 0x1FF8, 1, 2)); }) == (kSame | 0x0F));
    CHECK(b.load(kPa2 + 0xFF8) == before);
    CHECK(b.fault_of([&] { CHECK(b.v().read_pair(kVa + 0x1FF8, lo, hi)); }) == 0);
    CHECK(lo == before);
    // Outside RAM with Normal memory: byte by byte.
    b.mmio.reads.clear();
    CHECK(b.read_fault<u32>(kVa + 0x4001) == 0);
    CHECK(b.last == 0x11111111);
    CHECK(b.mmio.reads.size() == 4);
    // At the very end of the address space.
    b.map(kUpper | 0xFFFF'FFFF'F000, kPa, 0);
    CHECK(b.read_fault<u64>(~u64{0} - 3) == (kSame | 0x04));
    CHECK(b.read_fault<u64>(~u64{0} - 7) == 0);
}

TEST_CASE("mmu: probe_access checks every page and touches nothing") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kPa2, kReadOnly);
    CHECK(b.fault_of([&] { CHECK(b.v().probe_access(kVa + 0xFC0, 128, AccessType::read)); }) == 0);
    CHECK(b.fault_of([&] { CHECK_FALSE(b.v().probe_access(kVa + 0xFC0, 128, AccessType::write)); }) == (kSame | 0x0F));
    CHECK(b.far == kVa + 0x1000);
    CHECK(b.fault_of([&] { CHECK_FALSE(b.v().probe_access(kVa + 0x1FFF, 2, AccessType::read)); }) == (kSame | 0x07));
    CHECK(b.fault_of([&] { CHECK_FALSE(b.v().probe_access(kVa + 4, 16, AccessType::read, {.exclusive = true})); }) ==
          (kSame | kAlignmentFault));
}

TEST_CASE("mmu: a watchpoint reports an address in the watched block of 64 bytes that the access touches") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kPa2, 0);
    constexpr u64 kWatch = 3 << 3 | 1 << 1 | 1;  // DBGWCR<n>_EL1: loads and stores, EL1, enabled
    constexpr u64 kByte0 = kWatch | 1 << 5;      // BAS
    constexpr u64 kByte7 = kWatch | 1 << 12;
    constexpr u64 kAllBytes = kWatch | 0xFF << 5;
    constexpr u64 kRange128 = kAllBytes | 7 << 24;
    struct Case {
        u64 watched, control, va, size, far;
    };
    const Case cases[] = {
        {0x40, kAllBytes, 0x3C, 8, 0x40},      {0x40, kAllBytes, 0x38, 16, 0x40},   {0x40, kByte0, 0x3D, 4, 0x40},
        {0x40, kAllBytes, 0x44, 4, 0x44},      {0x40, kByte7, 0x40, 8, 0x40},       {0x40, kByte7, 0x3F, 16, 0x40},
        {0x78, kByte7, 0x10, 128, 0x40},       {0x100, kAllBytes, 0xFC, 8, 0x100},  {0x100, kRange128, 0xFF, 2, 0x100},
        {0x100, kRange128, 0x17C, 8, 0x17C},   {0x1000, kByte0, 0xFFC, 8, 0x1000},  {0x1000, kByte0, 0xFF8, 16, 0x1000},
    };
    b.v().s.daif = 0;
    b.sys(2, 0, 1, 0, 4, 0);                  // OSLAR_EL1
    b.sys(2, 0, 0, 2, 2, 1 << 15 | 1 << 13);  // MDSCR_EL1: MDE, KDE
    for (const Case& c : cases) {
        INFO(std::hex << c.va << ", " << c.size << " bytes");
        b.sys(2, 0, 0, 0, 6, kVa + c.watched);  // DBGWVR0_EL1
        b.sys(2, 0, 0, 0, 7, c.control);        // DBGWCR0_EL1
        const u64 va = kVa + c.va;
        CHECK(b.fault_of([&] {
            u16 half = 0;
            u32 word = 0;
            u64 doubleword = 0;
            switch (c.size) {
                case 2: return b.v().read(va, half);
                case 4: return b.v().read(va, word);
                case 8: return b.v().write(va, doubleword);
                case 16: return b.v().read_pair(va, doubleword, doubleword);
                default: return b.v().probe_access(va, c.size, AccessType::write);
            }
        }) == (0x35 << 8 | 0x22));
        CHECK(b.far == kVa + c.far);
    }
}

TEST_CASE("mmu: ASIDs keep address spaces apart without maintenance") {
    MmuBench b;
    b.map(kVa, kPa, kNg);
    b.map(kVa + 0x1000, kPa, 0);  // global
    b.store(kPa, 1);
    b.store(kPa2, 2);
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.read_fault(kVa + 0x1000) == 0);
    // The tables change; each ASID sees what was there when it first looked, globals are shared.
    b.store(b.descriptor_at(kVa), kPa2 | kNg | kAf | kValidPage);
    b.store(b.descriptor_at(kVa + 0x1000), 0);
    switch_asid(b, kAsid2);
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.last == 2);
    CHECK(b.read_fault(kVa + 0x1000) == 0);
    switch_asid(b, kAsid1);
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.last == 1);
    switch_asid(b, kAsid2);
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.last == 2);
}

TEST_CASE("mmu: more ASIDs than numbers") {
    MmuBench b;
    b.map(kVa, kPa, kNg);
    const u64 at = b.descriptor_at(kVa);
    for (u64 asid = 1; asid <= 3000; ++asid) {
        const u64 pa = kRam + (asid % 64) * kPageSize;
        b.store(at, pa | kNg | kAf | kValidPage);
        b.store(pa, asid);
        switch_asid(b, asid << 48);
        REQUIRE(b.read_fault(kVa) == 0);
        REQUIRE(b.last == asid);
        REQUIRE(b.v().ctx_ < 0xFFE);
        REQUIRE(b.v().mmu().fetch_context() < 0x1000);
    }
}

TEST_CASE("mmu: TLBI removes what it names and nothing else") {
    // Three pages, each cached for ASID 1 and 2 (the last is global), at both levels of TLB; then the tables change.
    const unsigned op = GENERATE(kVmalle1, kVae1, kAside1, kVaae1);
    const u64 asid = GENERATE(kAsid1, kAsid2);
    const bool broadcast = GENERATE(false, true);
    MmuBench b;
    const u64 pages[] = {kVa, kVa + 0x1000, kVa + 0x2000};
    const u64 attributes[] = {kNg, kNg, 0};
    for (unsigned i = 0; i < 3; ++i) {
        b.map(pages[i], kPa, attributes[i]);
    }
    b.store(kPa, 1);
    b.store(kPa2, 2);
    for (const u64 current : {kAsid2, kAsid1}) {
        switch_asid(b, current);
        for (const u64 page : pages) {
            REQUIRE(b.read_fault(page) == 0);
            REQUIRE(b.last == 1);
        }
    }
    for (unsigned i = 0; i < 3; ++i) {
        b.map(pages[i], kPa2, attributes[i]);
    }
    const TlbMaintenance before = b.v().mmu().maintenance();
    const u64 named = GENERATE(kVa, kVa + 0x2000);
    b.sys(1, 0, 8, broadcast ? 3 : 7, op, asid | bits(named, 55, 12));
    // kVa is in the lower half.
    const TlbMaintenance& now = b.v().mmu().maintenance();
    CHECK(now.half[0] - before.half[0] == (op == kAside1 ? 0 : 1));
    CHECK(now.half[1] - before.half[1] == (op == kVmalle1 ? 1 : 0));
    CHECK(now.by_asid - before.by_asid == (op == kAside1 ? 1 : 0));
    for (const u64 current : {kAsid1, kAsid2}) {
        switch_asid(b, current);
        for (unsigned i = 0; i < 3; ++i) {
            const bool global = attributes[i] == 0;
            bool gone = false;
            switch (op) {
                case kVmalle1: gone = true; break;
                case kVae1: gone = pages[i] == named && (global || current == asid); break;
                case kAside1: gone = !global && current == asid; break;
                case kVaae1: gone = pages[i] == named; break;
            }
            INFO("op " << op << " named " << (named - kVa) << " asid " << (asid >> 48) << " page " << i << " seen from "
                       << (current >> 48));
            REQUIRE(b.read_fault(pages[i]) == 0);
            CHECK(b.last == (gone ? 2 : 1));
        }
    }
}

TEST_CASE("mmu: TLBI by any address of a block removes all of it") {
    const unsigned level = GENERATE(1u, 2u);
    const u64 bytes = u64{1} << (39 - 9 * level);
    MmuBench b;
    // RAM does not fill a 1 GiB block; its first 16 MiB are what is accessed.
    const u64 va = 0x0000'0080'0000'0000 + kRam % bytes;
    const u64 base = align_down(va, bytes);
    b.map_block(base, align_down(kRam, bytes), level, kNg);
    b.map(va - (va - base) + bytes, kPa, kNg);  // the page behind the block
    const u64 at = b.descriptor_at(base, level);
    const u64 inside[] = {base + kRam % bytes, base + kRam % bytes + 0x5000, base + kRam % bytes + 0x10'0000};
    for (const u64 address : inside) {
        b.store(kRam + (address - inside[0]), address);
        REQUIRE(b.read_fault(address) == 0);
        REQUIRE(b.last == address);
    }
    REQUIRE(b.read_fault(base + bytes) == 0);
    b.store(at, 0);
    b.store(b.descriptor_at(base + bytes), 0);
    REQUIRE(b.read_fault(inside[0]) == 0);  // still cached
    tlbi(b, kVae1, base + bytes - 0x3000, kAsid1);
    for (const u64 address : inside) {
        CHECK(b.read_fault(address) == (kSame | 0x04 | level));
    }
    CHECK(b.read_fault(base + bytes) == 0);
}

TEST_CASE("mmu: capacity evictions leave no stale first-level entry") {
    MmuBench b;
    // More pages than the second level holds, all with the same data page; then every mapping is torn down by VA.
    constexpr u64 kPages = 6000;
    for (u64 i = 0; i < kPages; ++i) {
        b.map(kVa + i * kPageSize, kPa, 0);
    }
    for (unsigned pass = 0; pass < 2; ++pass) {
        for (u64 i = 0; i < kPages; ++i) {
            REQUIRE(b.read_fault(kVa + i * kPageSize) == 0);
        }
    }
    for (u64 i = 0; i < kPages; ++i) {
        b.store(b.descriptor_at(kVa + i * kPageSize), 0);
        tlbi(b, kVae1, kVa + i * kPageSize, kAsid1);
    }
    unsigned alive = 0;
    for (u64 i = 0; i < kPages; ++i) {
        alive += b.read_fault(kVa + i * kPageSize) == 0 ? 1 : 0;
    }
    CHECK(alive == 0);
}

TEST_CASE("mmu: granting a permission needs no maintenance, taking it away does") {
    MmuBench b;
    b.map(kVa, kPa, kReadOnly);
    CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x0F));
    b.map(kVa, kPa, 0);
    CHECK(b.write_fault<u8>(kVa, 1) == 0);
    b.map(kVa, kPa, kReadOnly);
    CHECK(b.write_fault<u8>(kVa, 1) == 0);
    tlbi(b, kVaae1, kVa, 0);
    CHECK(b.write_fault<u8>(kVa, 1) == (kSame | 0x0F));
}

TEST_CASE("mmu: tagged addresses") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.store(kPa, 5);
    const u64 tagged = kVa | u64{0x5A} << 56;
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.read_fault(tagged) == (kSame | 0x04));
    CHECK(b.far == tagged);
    b.sys(3, 0, 2, 0, 2, b.v().s.tcr_el1 | u64{1} << 37);  // TBI0
    CHECK(b.read_fault(tagged) == 0);
    CHECK(b.last == 5);
    CHECK(b.read_fault(kVa) == 0);
    CHECK(b.read_fault(tagged) == 0);
    b.store(b.descriptor_at(kVa), 0);
    tlbi(b, kVae1, kVa, kAsid1);
    CHECK(b.read_fault(tagged) == (kSame | 0x07));
}

TEST_CASE("mmu: AT and PAR_EL1") {
    MmuBench b;
    b.map(kVa, kPa, kUser | u64{3} << 8);
    b.map(kVa + 0x1000, kPa2, kReadOnly | kNonCacheable);
    b.map(kVa + 0x2000, kMmioPa, kDevice);
    constexpr u64 kRes1 = 1 << 11;
    const auto at = [&](unsigned crm, unsigned op2, u64 va) {
        b.sys(1, 0, 7, crm, op2, va);
        return b.mrs(3, 0, 7, 4, 0);
    };
    enum : unsigned { kE1r = 0, kE1w = 1, kE0r = 2, kE0w = 3 };
    CHECK(at(8, kE1r, kVa + 0x123) == (u64{0xFF} << 56 | kPa | kRes1 | u64{3} << 7));
    CHECK(at(8, kE0w, kVa) == (u64{0xFF} << 56 | kPa | kRes1 | u64{3} << 7));
    CHECK(at(8, kE1r, kVa + 0x1000) == (u64{0x44} << 56 | kPa2 | kRes1 | u64{2} << 7));
    CHECK(at(8, kE1w, kVa + 0x1000) == (kRes1 | u64{0x0F} << 1 | 1));
    CHECK(at(8, kE0r, kVa + 0x1000) == (kRes1 | u64{0x0F} << 1 | 1));
    CHECK(at(8, kE1r, kVa + 0x2000) == (kMmioPa | kRes1 | u64{2} << 7));
    CHECK(at(8, kE1r, kVa + 0x3000) == (kRes1 | u64{0x07} << 1 | 1));
    b.v().s.pan = 1;
    CHECK((at(8, kE1r, kVa) & 1) == 0);
    CHECK(at(9, 0, kVa) == (kRes1 | u64{0x0F} << 1 | 1));
    CHECK(at(9, 1, kVa) == (kRes1 | u64{0x0F} << 1 | 1));
    b.v().s.pan = 0;
    CHECK((at(9, 0, kVa) & 1) == 0);
}

TEST_CASE("mmu: a store to a watched page is noticed once, whatever the TLBs hold") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    REQUIRE(b.write_fault<u64>(kVa, 1) == 0);  // now in both TLBs
    mm::TableWatch& watch = b.watch();
    watch.watch(kPa);
    StoreFence fence;
    fence.start(b.v());
    REQUIRE(fence.done());
    const u64 before = watch.generation();
    REQUIRE(b.read_fault(kVa) == 0);  // must not make it writable unseen
    CHECK(watch.generation() == before);
    REQUIRE(b.write_fault<u64>(kVa, 1) == 0);
    CHECK(watch.generation() == before + 1);
    CHECK_FALSE(watch.watched(kPa));
    REQUIRE(b.write_fault<u64>(kVa, 1) == 0);
    CHECK(watch.generation() == before + 1);
}

TEST_CASE("mmu: traced accesses") {
    MmuBench b;
    b.map(kVa, kPa, 0);
    b.map(kVa + 0x1000, kMmioPa, kDevice);
    u64 value = 0;
    const auto traced = [&](auto&& call) {
        OpTrace trace;
        b.v().begin_trace(&trace);
        call();
        b.v().end_trace();
        return trace;
    };
    OpTrace t = traced([&] { CHECK(b.v().read<u64>(kVa + 0x18, value)); });
    CHECK(t.has_va);
    CHECK(t.va == kVa + 0x18);
    CHECK(t.pa_valid);
    CHECK(t.pa == kPa + 0x18);
    CHECK(t.size == 8);
    CHECK(t.tlb_refill);
    CHECK(t.tlb_walk);
    CHECK_FALSE(t.is_write);
    CHECK_FALSE(t.misaligned);
    t = traced([&] { CHECK(b.v().write<u32>(kVa + 2, 1)); });
    CHECK_FALSE(t.tlb_refill);
    CHECK_FALSE(t.tlb_walk);
    CHECK(t.is_write);
    CHECK(t.misaligned);
    CHECK(t.size == 4);
    b.v().tlb_.clear();
    t = traced([&] { CHECK(b.v().read_pair(kVa, value, value)); });
    CHECK(t.size == 16);
    CHECK(t.va == kVa);
    CHECK(t.tlb_refill);
    CHECK_FALSE(t.tlb_walk);
    u32 word = 0;
    t = traced([&] { CHECK(b.v().read<u32>(kVa + 0x1000, word)); });
    CHECK(t.is_device);
    t = traced([&] {
        CHECK(b.v().host_for_atomic(kVa + 8, 4, AccessType::write,
                                    {.ordered = true, .atomic = true, .returns_value = true}) != nullptr);
    });
    CHECK(t.is_atomic);
    CHECK(t.is_ordered);
    CHECK(t.returns_value);
    CHECK(t.size == 4);
    t = traced([&] { b.fault_of([&] { CHECK_FALSE(b.v().read<u64>(kVa + 0x5000, value)); }); });
    CHECK(t.has_va);
    CHECK(t.va == kVa + 0x5000);
    CHECK_FALSE(t.pa_valid);

    // What is looked up ahead of the access.
    b.map(kVa + 0x2000, kPa, 0);
    b.map(kVa + 0x3000, kPa2, 0);
    t = traced([&] { CHECK(b.v().read_pair(kVa + 0x2FF4, value, value)); });
    CHECK(t.va == kVa + 0x2FF4);
    CHECK(t.size == 16);
    CHECK(t.tlb_walk);
    // The second page counts as well.
    tlbi(b, kVae1, kVa + 0x3000, kAsid1);
    t = traced([&] { CHECK(b.v().read<u64>(kVa + 0x2FFC, value)); });
    CHECK(t.va == kVa + 0x2FFC);
    CHECK(t.pa == kPa + 0xFFC);
    CHECK(t.tlb_walk);
    CHECK(t.misaligned);
    t = traced([&] { CHECK(b.v().read<u64>(kVa + 0x2FFC, value)); });
    CHECK_FALSE(t.tlb_walk);
    tlbi(b, kVae1, kVa + 0x3000, kAsid1);
    t = traced([&] { CHECK(b.v().probe_access(kVa + 0x2FF8, 16, AccessType::read)); });
    CHECK(t.tlb_walk);
    CHECK_FALSE(t.misaligned);
    t = traced([&] { CHECK(b.v().write_pair(kVa + 0x2FF4, 1, 2)); });
    CHECK(t.misaligned);
    CHECK(t.size == 16);
    const auto zero_block = [&](u64 va) { b.sys(1, 3, 7, 4, 1, va); };
    tlbi(b, kVae1, kVa + 0x2000, kAsid1);
    t = traced([&] { zero_block(kVa + 0x2000); });
    CHECK(t.va == kVa + 0x2000);
    CHECK(t.tlb_walk);
    t = traced([&] { zero_block(kVa + 0x2000); });
    CHECK_FALSE(t.tlb_walk);
    t = traced([&] { zero_block(kVa + 0x2068); });  // the block, not the operand
    CHECK(t.va == kVa + 0x2040);
    CHECK(t.pa == kPa + 0x40);
    CHECK(t.size == 64);
    t = traced([&] { zero_block(kVa + 0x1000); });
    CHECK(t.va == kVa + 0x1000);  // refused: Device memory
    t = traced([&] { CHECK_FALSE(b.v().read_pair(kVa + 0xFFC, value, value)); });
    CHECK(t.va == kVa + 0xFFC);   // and this one, for its second half
    CHECK(b.v().ctx_ != kNoFastPath);
}

TEST_CASE("mmu: maintenance reaches other PEs with the next DSB") {
    MmuBench b;
    VcpuConfig config = b.v().config;
    config.index = 1;
    Vcpu other(config);
    other.s = b.v().s;
    other.context_changed();
    b.map(kVa, kPa, 0);
    u64 value = 0;
    REQUIRE(other.read<u64>(kVa, value));
    b.store(b.descriptor_at(kVa), 0);
    const auto broadcast = [&](unsigned times) {
        for (unsigned i = 0; i < times; ++i) {
            b.sys(1, 0, 8, 3, kVaae1, bits(kVa, 55, 12));
        }
    };
    SECTION("one that sleeps is let sleep, and nobody waits for it") {
        broadcast(1000);
        b.interconnect.wait_for_completion(b.v());
        CHECK_FALSE(other.pins.take_attention());
    }
    SECTION("one that executes is kicked") {
        other.executing = true;
        broadcast(1000);  // more than travel together: sent before any DSB
        CHECK(other.pins.take_attention());
        other.executing = false;
        b.interconnect.wait_for_completion(b.v());
    }
    CHECK_FALSE(other.requests.empty());
    CHECK(other.read<u64>(kVa, value));
    other.serve_requests();
    CHECK(other.requests.empty());
    CHECK_FALSE(other.read<u64>(kVa, value));
    // Local operations stay local.
    b.sys(1, 0, 8, 7, kVaae1, bits(kVa, 55, 12));
    b.interconnect.wait_for_completion(b.v());
    CHECK(other.requests.empty());
}
