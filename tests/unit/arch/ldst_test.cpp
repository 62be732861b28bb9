// Loads and stores: what the differential oracle cannot see (faults in kernel mode, alignment, devices,
// decoding). The values they transfer are compared with a reference in tests/oracle.
#include <string_view>

#include <catch2/catch.hpp>

#include "tests/unit/arch/ldst_bench.h"
#include "vmm/base/rng.h"

namespace vmm::arch::test {

namespace {

constexpr unsigned kTranslationLevel3 = 0x07;
constexpr unsigned kPermissionLevel3 = 0x0F;
constexpr unsigned kAlignment = 0x21;

struct Word {
    const char* text;
    u32 insn;
};

/// An access by X0 that must reach from one page into the next.
struct Crossing {
    const char* text;
    u32 insn;
    s64 offset;  // of the accessed address from X0
};

void fill_registers(CpuState& s) {
    for (unsigned n = 0; n < 31; ++n) {
        s.x[n] = 0x1111'1111'1111'1111u * (n % 15 + 1);
        s.v[n] = {.lo = 0x0101'0101'0101'0101u * n, .hi = 0x2020'2020'2020'2020u + n};
    }
}

struct Extension {
    const char* text;
    u32 insn;
    u64 expected;
};

}  // namespace

TEST_CASE("loads: each size extends to the width of its register", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    world.store<u64>(kData, 0xF7E6'D5C4'B3A2'9180u);
    const Extension c =
        GENERATE(Extension{"ldrb w1, [x0]", 0x39400001, 0x80}, Extension{"ldrh w1, [x0]", 0x79400001, 0x9180},
                 Extension{"ldr w1, [x0]", 0xB9400001, 0xB3A2'9180},
                 Extension{"ldr x1, [x0]", 0xF9400001, 0xF7E6'D5C4'B3A2'9180},
                 Extension{"ldrsb w1, [x0]", 0x39C00001, 0xFFFF'FF80},
                 Extension{"ldrsb x1, [x0]", 0x39800001, 0xFFFF'FFFF'FFFF'FF80},
                 Extension{"ldrsh w1, [x0]", 0x79C00001, 0xFFFF'9180},
                 Extension{"ldrsh x1, [x0]", 0x79800001, 0xFFFF'FFFF'FFFF'9180},
                 Extension{"ldrsw x1, [x0]", 0xB9800001, 0xFFFF'FFFF'B3A2'9180});
    CAPTURE(c.text);
    v->s.x[0] = kData;
    v->s.x[1] = ~u64{0};

    REQUIRE(execute(*v, c.insn) == Exec::next);

    CHECK(v->s.x[1] == c.expected);
}

TEST_CASE("stores: one that reaches into an unmapped page changes neither memory nor registers",
          "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Crossing c = GENERATE(
        Crossing{"stp x1, x2, [x0, #16]!", 0xA9810801, 16}, Crossing{"stp w1, w2, [x0, #8]!", 0x29810801, 8},
        Crossing{"stp q1, q2, [x0, #32]!", 0xAD810801, 32},
        Crossing{"stp d1, d2, [x0, #16]!", 0x6D810801, 16}, Crossing{"str x1, [x0, #8]!", 0xF8008C01, 8},
        Crossing{"str q1, [x0, #16]!", 0x3C810C01, 16},
        Crossing{"st1 {v1.16b-v4.16b}, [x0], #64", 0x4C9F2001, 0},
        Crossing{"st4 {v1.2s-v4.2s}, [x0], #32", 0x0C9F0801, 0},
        Crossing{"st3 {v1.s-v3.s}[1], [x0], #12", 0x0D9FB001, 0},
        Crossing{"st1 {v1.8h}, [x0], #16", 0x4C9F7401, 0});
    const bool warm = GENERATE(false, true);  // the first page in the TLB already
    CAPTURE(c.text, warm);
    fill_registers(v->s);
    if (warm) {
        v->s.x[0] = kUnmapped - 8;
        REQUIRE(execute(*v, 0xF9000001 /* str x1, [x0] */) == Exec::next);
    }
    v->s.x[0] = kUnmapped - 4 - static_cast<u64>(c.offset);
    const std::vector<u8> before = world.snapshot();
    const auto registers = v->s.x;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(exception_class(*v) == kEcDataAbortSame);
    CHECK(fault_status(*v) == kTranslationLevel3);
    CHECK(fault_was_write(*v));
    CHECK(align_down(v->s.far_el1, kPageSize) == kUnmapped);
    CHECK(world.snapshot() == before);
    CHECK(v->s.x == registers);
}

TEST_CASE("stores: one that reaches into a read-only page changes nothing", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    fill_registers(v->s);
    v->s.x[0] = kReadOnly - 16;  // wholly in the page: base + 16
    const std::vector<u8> before = world.snapshot();

    REQUIRE(execute(*v, 0xA9810801 /* stp x1, x2, [x0, #16]! */) == Exec::exception);

    CHECK(fault_status(*v) == kPermissionLevel3);
    CHECK(fault_was_write(*v));
    CHECK(v->s.far_el1 == kReadOnly);
    CHECK(v->s.x[0] == kReadOnly - 16);
    CHECK(world.snapshot() == before);
}

TEST_CASE("loads: one that reaches into an unmapped page leaves all registers as they were", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Crossing c = GENERATE(
        Crossing{"ldp x1, x2, [x0, #16]!", 0xA9C10801, 16}, Crossing{"ldp w1, w2, [x0, #8]!", 0x29C10801, 8},
        Crossing{"ldp q1, q2, [x0, #32]!", 0xADC10801, 32}, Crossing{"ldr x1, [x0, #8]!", 0xF8408C01, 8},
        Crossing{"ldr q1, [x0, #16]!", 0x3CC10C01, 16},
        Crossing{"ld4 {v1.2s-v4.2s}, [x0], #32", 0x0CDF0801, 0});
    CAPTURE(c.text);
    fill_registers(v->s);
    v->s.x[0] = kUnmapped - 4 - static_cast<u64>(c.offset);
    const auto registers = v->s.x;
    const auto vectors = v->s.v;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(fault_status(*v) == kTranslationLevel3);
    CHECK_FALSE(fault_was_write(*v));
    CHECK(align_down(v->s.far_el1, kPageSize) == kUnmapped);
    CHECK(v->s.x == registers);
    CHECK(v->s.v == vectors);
}

TEST_CASE("pairs: one that straddles two mapped pages transfers both halves", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData + kPageSize - 8 - 16;
    v->s.x[1] = 0x1122'3344'5566'7788;
    v->s.x[2] = 0x99AA'BBCC'DDEE'FF00;

    REQUIRE(execute(*v, 0xA9810801 /* stp x1, x2, [x0, #16]! */) == Exec::next);

    CHECK(v->s.x[0] == kData + kPageSize - 8);
    CHECK(world.load<u64>(kData + kPageSize - 8) == 0x1122'3344'5566'7788);
    CHECK(world.load<u64>(kData + kPageSize) == 0x99AA'BBCC'DDEE'FF00);
    v->s.x[0] -= 16;
    v->s.x[1] = v->s.x[2] = 0;
    REQUIRE(execute(*v, 0xA9C10801 /* ldp x1, x2, [x0, #16]! */) == Exec::next);
    CHECK(v->s.x[1] == 0x1122'3344'5566'7788);
    CHECK(v->s.x[2] == 0x99AA'BBCC'DDEE'FF00);
}

TEST_CASE("alignment: exclusive, ordered and atomic loads fault where they are not naturally aligned",
          "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c = GENERATE(Word{"ldxr x1, [x0]", 0xC85F7C01}, Word{"ldaxr w1, [x0]", 0x885FFC01},
                            Word{"ldxrh w1, [x0]", 0x485F7C01}, Word{"ldxp w1, w2, [x0]", 0x887F0801},
                            Word{"ldxp x1, x2, [x0]", 0xC87F0801}, Word{"ldar x1, [x0]", 0xC8DFFC01},
                            Word{"ldarh w1, [x0]", 0x48DFFC01}, Word{"ldapr w1, [x0]", 0xB8BFC001},
                            Word{"ldlar x1, [x0]", 0xC8DF7C01});
    const bool warm = GENERATE(false, true);
    CAPTURE(c.text, warm);
    v->s.x[0] = kData;
    if (warm) {
        REQUIRE(execute(*v, c.insn) == Exec::next);
    }
    v->s.x[0] = kData + 1;
    v->s.x[1] = 0x55;
    v->monitor.armed = false;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(exception_class(*v) == kEcDataAbortSame);
    CHECK(fault_status(*v) == kAlignment);
    CHECK_FALSE(fault_was_write(*v));
    CHECK(v->s.far_el1 == kData + 1);
    CHECK(v->s.x[1] == 0x55);
    CHECK_FALSE(v->monitor.armed);
}

TEST_CASE("alignment: exclusive, ordered and atomic stores fault and store nothing", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c = GENERATE(
        Word{"stxr w3, x1, [x0]", 0xC8037C01}, Word{"stlxr w3, w1, [x0]", 0x8803FC01},
        Word{"stxp w3, x1, x2, [x0]", 0xC8230801}, Word{"stxp w3, w1, w2, [x0]", 0x88230801},
        Word{"stlr x1, [x0]", 0xC89FFC01}, Word{"stlrh w1, [x0]", 0x489FFC01},
        Word{"stllr w1, [x0]", 0x889F7C01}, Word{"ldadd x1, x2, [x0]", 0xF8210002},
        Word{"stsetl w1, [x0]", 0xB861301F}, Word{"ldumaxh w1, w2, [x0]", 0x78216002},
        Word{"swpa w1, w2, [x0]", 0xB8A18002}, Word{"cas x1, x2, [x0]", 0xC8A17C02},
        Word{"casp w2, w3, w4, w5, [x0]", 0x08227C04}, Word{"casp x2, x3, x4, x5, [x0]", 0x48227C04});
    const bool warm = GENERATE(false, true);
    CAPTURE(c.text, warm);
    v->s.x[0] = kData;
    if (warm) {
        REQUIRE(execute(*v, c.insn) == Exec::next);
    }
    fill_registers(v->s);
    v->s.x[0] = kData + 1;
    const std::vector<u8> before = world.snapshot();
    const auto registers = v->s.x;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(exception_class(*v) == kEcDataAbortSame);
    CHECK(fault_status(*v) == kAlignment);
    const std::string_view name = c.text;
    const bool atomic = !name.starts_with("stx") && !name.starts_with("stl");
    CHECK(fault_was_write(*v) == !atomic);  // the read of an atomic has the fault already
    CHECK(v->s.far_el1 == kData + 1);
    CHECK(v->s.x == registers);
    CHECK(world.snapshot() == before);
}

TEST_CASE("alignment: a 16-byte pair needs more than 8-byte alignment", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c =
        GENERATE(Word{"ldxp x1, x2, [x0]", 0xC87F0801}, Word{"casp x2, x3, x4, x5, [x0]", 0x48227C04});
    CAPTURE(c.text);
    v->s.x[0] = kData + 8;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(fault_status(*v) == kAlignment);
}

TEST_CASE("alignment: a misaligned SP as base faults before any access", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c = GENERATE(Word{"ldr x1, [sp]", 0xF94003E1}, Word{"str w1, [sp, #8]!", 0xB8008FE1},
                            Word{"ldp x1, x2, [sp], #16", 0xA8C10BE1}, Word{"ldr q1, [sp, x3]", 0x3CE36BE1},
                            Word{"ld1 {v1.16b}, [sp]", 0x4C4073E1}, Word{"ldxr x1, [sp]", 0xC85F7FE1},
                            Word{"stxr w3, x1, [sp]", 0xC8037FE1}, Word{"ldar x1, [sp]", 0xC8DFFFE1},
                            Word{"ldadd x1, x2, [sp]", 0xF82103E2});
    CAPTURE(c.text);
    fill_registers(v->s);
    v->s.x[kSp] = kData + 8;
    const std::vector<u8> before = world.snapshot();
    const auto registers = v->s.x;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(exception_class(*v) == kEcSpAlignment);
    CHECK(v->s.x == registers);
    CHECK(world.snapshot() == before);
}

TEST_CASE("alignment: a misaligned SP is accepted while SCTLR_EL1.SA is clear", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.sctlr_el1 &= ~(u64{1} << 3);
    v->context_changed();
    world.store<u64>(kData + 8, 0x1234);
    v->s.x[kSp] = kData + 8;

    REQUIRE(execute(*v, 0xF94003E1 /* ldr x1, [sp] */) == Exec::next);

    CHECK(v->s.x[1] == 0x1234);
}

TEST_CASE("prefetch: never faults", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c =
        GENERATE(Word{"prfm pldl1keep, [sp]", 0xF98003E0}, Word{"prfm pldl1keep, [x0]", 0xF9800000},
                 Word{"prfum pldl1keep, [x0, #-1]", 0xF89FF000}, Word{"prfm pstl1keep, [x0, x3]", 0xF8A36810},
                 Word{"prfm pldl1keep, .+64", 0xD8000200});
    CAPTURE(c.text);
    v->s.x[0] = kUnmapped;
    v->s.x[kSp] = kUnmapped + 8;
    const auto registers = v->s.x;

    CHECK(execute(*v, c.insn) == Exec::next);

    CHECK(v->s.x == registers);
}

TEST_CASE("unprivileged: LDTR at EL1 sees what EL0 may see, unless UAO is set", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    world.store<u64>(kKernel, 0x1234);
    v->s.x[0] = kKernel;
    REQUIRE(execute(*v, 0xF9400001 /* ldr x1, [x0] */) == Exec::next);
    REQUIRE(v->s.x[1] == 0x1234);

    v->s.x[1] = 0;
    CHECK(execute(*v, 0xF8400801 /* ldtr x1, [x0] */) == Exec::exception);
    CHECK(fault_status(*v) == kPermissionLevel3);
    CHECK(v->s.x[1] == 0);

    v->s.uao = 1;
    v->context_changed();
    CHECK(execute(*v, 0xF8400801 /* ldtr x1, [x0] */) == Exec::next);
    CHECK(v->s.x[1] == 0x1234);
}

TEST_CASE("devices: ordered accesses reach a device exactly once", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kDevice + 0x10;
    v->s.x[1] = 0xCAFE'F00D;

    REQUIRE(execute(*v, 0x889FFC01 /* stlr w1, [x0] */) == Exec::next);
    CHECK(world.mmio.writes == 1);
    CHECK(world.mmio.last_pa == kDevicePa + 0x10);
    CHECK(world.mmio.last_size == 4);

    v->s.x[1] = 0;
    REQUIRE(execute(*v, 0x88DFFC01 /* ldar w1, [x0] */) == Exec::next);
    CHECK(world.mmio.reads == 1);
    CHECK(v->s.x[1] == 0xCAFE'F00D);
}

TEST_CASE("devices: exclusives and atomics take an abort", "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    const Word c = GENERATE(Word{"ldxr x1, [x0]", 0xC85F7C01}, Word{"ldadd x1, x2, [x0]", 0xF8210002},
                            Word{"cas x1, x2, [x0]", 0xC8A17C02});
    CAPTURE(c.text);
    v->s.x[0] = kDevice;

    REQUIRE(execute(*v, c.insn) == Exec::exception);

    CHECK(exception_class(*v) == kEcDataAbortSame);
    CHECK(world.mmio.reads + world.mmio.writes == 0);
}

TEST_CASE("tracing: an access is described as the profiling unit needs it", "[arch][ldst]") {
    struct Traced {
        const char* text;
        u32 insn;
        OpClass op_class;
        unsigned size;
        bool is_write, is_atomic, is_exclusive, is_ordered, returns_value;
    };
    LdstWorld world;
    const auto v = world.make_pe();
    const Traced c = GENERATE(
        Traced{"ldr x1, [x0]", 0xF9400001, OpClass::load, 8, false, false, false, false, false},
        Traced{"ldp w1, w2, [x0, #8]!", 0x29C10801, OpClass::load, 8, false, false, false, false, false},
        Traced{"ldp q1, q2, [x0, #32]!", 0xADC10801, OpClass::load_simd, 32, false, false, false, false,
               false},
        Traced{"stp d1, d2, [x0, #16]!", 0x6D810801, OpClass::store_fp, 16, true, false, false, false, false},
        Traced{"ldaxr w1, [x0]", 0x885FFC01, OpClass::load, 4, false, false, true, true, false},
        Traced{"stxr w3, x1, [x0]", 0xC8037C01, OpClass::store, 8, true, false, true, false, false},
        Traced{"ldar x1, [x0]", 0xC8DFFC01, OpClass::load, 8, false, false, false, true, false},
        Traced{"stlrh w1, [x0]", 0x489FFC01, OpClass::store, 2, true, false, false, true, false},
        Traced{"ldadd x1, x2, [x0]", 0xF8210002, OpClass::atomic, 8, true, true, false, false, true},
        Traced{"stsetl w1, [x0]", 0xB861301F, OpClass::atomic, 4, true, true, false, true, false},
        Traced{"ldadda with Rt = 31: acquire has no effect", 0xF8A1001F, OpClass::atomic, 8, true, true,
               false, false, false},
        Traced{"casp x2, x3, x4, x5, [x0]", 0x48227C04, OpClass::atomic, 16, true, true, false, false, true});
    CAPTURE(c.text);
    v->s.x[0] = kData;
    OpTrace trace;

    v->begin_trace(&trace);
    const Exec result = execute(*v, c.insn);
    v->end_trace();

    REQUIRE(result == Exec::next);
    CHECK(decode(c.insn)->op_class == c.op_class);
    CHECK(trace.has_va);
    CHECK(trace.pa_valid);
    CHECK(trace.pa == trace.va);
    CHECK(unsigned{trace.size} == c.size);
    CHECK(trace.is_write == c.is_write);
    CHECK(trace.is_atomic == c.is_atomic);
    CHECK(trace.is_exclusive == c.is_exclusive);
    CHECK(trace.is_ordered == c.is_ordered);
    CHECK(trace.returns_value == c.returns_value);
    CHECK_FALSE(trace.misaligned);
}

TEST_CASE("write-back: with the base as data register, the store uses the old base and the base is updated",
          "[arch][ldst]") {
    LdstWorld world;
    const auto v = world.make_pe();
    v->s.x[0] = kData;

    REQUIRE(execute(*v, 0xF8008C00 /* str x0, [x0, #8]! */) == Exec::next);

    CHECK(world.load<u64>(kData + 8) == kData);
    CHECK(v->s.x[0] == kData + 8);
}

TEST_CASE("decode: encodings of extensions that Neoverse N1 lacks have no row", "[arch][ldst]") {
    const Word c = GENERATE(
        Word{"ldapur w1, [x0]", 0x99400001}, Word{"stlur w1, [x0]", 0x99000001},
        Word{"ldraa x1, [x0]", 0xF8200401}, Word{"stgp x1, x2, [x0]", 0x69000801},
        Word{"stg x0, [x0]", 0xD9200800}, Word{"ldg x1, [x0]", 0xD9600001}, Word{"ld64b", 0xF83FD000},
        Word{"st64b", 0xF83F9000}, Word{"ldr x1, [x0, x2, option 000]", 0xF8620801},
        Word{"casp x1, x2, x4, x5, [x0]", 0x48217C04}, Word{"casp x2, x3, x5, x6, [x0]", 0x48227C05},
        Word{"ld2 {v0.1d, v1.1d}, [x0]", 0x0C408C00}, Word{"ld1 {v0.h}[..], size<0> = 1", 0x0D404400},
        Word{"ld1r, S = 1", 0x0D40D000}, Word{"st1r", 0x0D00C000}, Word{"ldpsw no-allocate", 0x68400000},
        Word{"ldp opc 11", 0xE9400000});
    CAPTURE(c.text);
    CHECK(decode(c.insn) == nullptr);
}

TEST_CASE("decode: every load/store row is reached by some word", "[arch][ldst]") {
    Rng rng(7);
    for (const auto section : {ldst_rows(), ldst_exclusive_rows(), ldst_atomics_rows(), ldst_simd_rows()}) {
        for (const DecodeRow& row : section) {
            CAPTURE(row.name, row.id);
            const u32 insn = (static_cast<u32>(rng.next() >> 32) & ~row.pattern.mask) | row.pattern.value;
            CHECK(decode(insn) == &row);
        }
    }
}

}  // namespace vmm::arch::test
