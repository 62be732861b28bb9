// Operation Type payloads and filter flags, by instruction.
#include <catch2/catch.hpp>

#include "spe/op_type.h"

namespace vmm::spe::test {

namespace {

using arch::OpClass;

struct Facts {
    bool ordered = false;
    bool exclusive = false;
    bool returns_value = false;
};

OpType of(OpClass op_class, Facts facts = {}, u32 insn = 0, u8 pmsver = 3) {
    arch::OpTrace trace;
    trace.op_class = op_class;
    trace.insn = insn;
    trace.is_ordered = facts.ordered;
    trace.is_exclusive = facts.exclusive;
    trace.is_atomic = op_class == OpClass::atomic;
    trace.returns_value = facts.returns_value;
    return classify(trace, pmsver);
}

constexpr u8 kB = kTypeBranch, kLd = kTypeLoad, kSt = kTypeStore;
constexpr auto kOther = OpPacketClass::other;
constexpr auto kLdst = OpPacketClass::load_store;
constexpr auto kBranch = OpPacketClass::branch;

}  // namespace

TEST_CASE("op type: plain classes", "[spe][op_type]") {
    CHECK(of(OpClass::other) == OpType{kOther, 0x00, 0});
    CHECK(of(OpClass::crypto) == OpType{kOther, 0x00, 0});
    CHECK(of(OpClass::prefetch) == OpType{kOther, 0x00, 0});
    CHECK(of(OpClass::cache_op) == OpType{kOther, 0x00, 0});
    CHECK(of(OpClass::cond_select) == OpType{kOther, 0x01, 0});
    CHECK(of(OpClass::fp_cond) == OpType{kOther, 0x01, 0});
    CHECK(of(OpClass::load) == OpType{kLdst, 0x00, kLd});
    CHECK(of(OpClass::store) == OpType{kLdst, 0x01, kSt});
    CHECK(of(OpClass::load_fp) == OpType{kLdst, 0x04, kLd});
    CHECK(of(OpClass::store_simd) == OpType{kLdst, 0x05, kSt});
}

TEST_CASE("op type: branches", "[spe][op_type]") {
    CHECK(of(OpClass::branch) == OpType{kBranch, 0x00, kB});
    CHECK(of(OpClass::branch_link) == OpType{kBranch, 0x00, kB});
    CHECK(of(OpClass::branch_cond) == OpType{kBranch, 0x01, kB});
    CHECK(of(OpClass::branch_ind) == OpType{kBranch, 0x02, kB});
    CHECK(of(OpClass::branch_ind_link) == OpType{kBranch, 0x02, kB});
    CHECK(of(OpClass::branch_ret) == OpType{kBranch, 0x02, kB});
    CHECK(of(OpClass::eret) == OpType{kBranch, 0x02, kB});
}

TEST_CASE("op type: acquire, release and exclusive", "[spe][op_type]") {
    CHECK(of(OpClass::load, {.ordered = true}) == OpType{kLdst, 0x12, kLd});                       // LDAR
    CHECK(of(OpClass::store, {.ordered = true}) == OpType{kLdst, 0x13, kSt});                      // STLR
    CHECK(of(OpClass::load, {.exclusive = true}) == OpType{kLdst, 0x0A, kLd});                     // LDXR
    CHECK(of(OpClass::store, {.exclusive = true}) == OpType{kLdst, 0x0B, kSt});                    // STXR
    CHECK(of(OpClass::load, {.ordered = true, .exclusive = true}) == OpType{kLdst, 0x1A, kLd});    // LDAXR
    CHECK(of(OpClass::store, {.ordered = true, .exclusive = true}) == OpType{kLdst, 0x1B, kSt});   // STLXR
}

// Words from the GNU assembler.
TEST_CASE("op type: atomics are loads when they return a value", "[spe][op_type]") {
    CHECK(of(OpClass::atomic, {.returns_value = true}, 0xf8200041) == OpType{kLdst, 0x06, kLd | kSt});  // ldadd x0, x1
    CHECK(of(OpClass::atomic, {.ordered = true, .returns_value = true}, 0xf8e00041) ==
          OpType{kLdst, 0x16, kLd | kSt});                                                               // ldaddal
    CHECK(of(OpClass::atomic, {}, 0xf820005f) == OpType{kLdst, 0x07, kSt});                              // stadd
    CHECK(of(OpClass::atomic, {.ordered = true}, 0xf860005f) == OpType{kLdst, 0x17, kSt});               // staddl
    // ldadda x0, xzr, [x2]: without a result acquire means nothing.
    CHECK(of(OpClass::atomic, {.ordered = true}, 0xf8a0005f) == OpType{kLdst, 0x07, kSt});
}

TEST_CASE("op type: SWP and CAS stay loads whatever their destination", "[spe][op_type]") {
    CHECK(of(OpClass::atomic, {}, 0xf820805f) == OpType{kLdst, 0x06, kLd | kSt});  // swp x0, xzr, [x2]
    CHECK(of(OpClass::atomic, {}, 0xc8bf7c41) == OpType{kLdst, 0x06, kLd | kSt});  // cas xzr, x1, [x2]
}

TEST_CASE("op type: DC ZVA is a store of unspecified registers from SPEv1p1 on", "[spe][op_type]") {
    CHECK(of(OpClass::dc_zva, {}, 0, 1) == OpType{kLdst, 0x01, kSt});
    CHECK(of(OpClass::dc_zva, {}, 0, 2) == OpType{kLdst, 0x11, kSt});
}

}  // namespace vmm::spe::test
