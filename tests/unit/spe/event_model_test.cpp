#include <catch2/catch.hpp>

#include "spe/event_model.h"
#include "spe/spe_words.h"

namespace vmm::spe::test {

namespace {

using arch::OpClass;
using arch::OpTrace;

OpTrace load(u64 va) {
    OpTrace trace;
    trace.pc = 0x1000;
    trace.op_class = OpClass::load;
    trace.has_va = true;
    trace.pa_valid = true;
    trace.va = va;
    trace.pa = va;
    trace.size = 8;
    return trace;
}

OpTrace branch(OpClass op_class, u64 pc, bool taken, u64 target = 0x2000) {
    OpTrace trace;
    trace.pc = pc;
    trace.op_class = op_class;
    trace.conditional = op_class == OpClass::branch_cond;
    trace.cond_failed = !taken;
    trace.taken = taken;
    trace.target = target;
    trace.target_el = 1;
    return trace;
}

}  // namespace

TEST_CASE("event model: latencies are ordered and never zero, for any trace", "[spe][event_model]") {
    BasicModel model(5, 3);
    Rng rng(11);
    for (int i = 0; i < 50000; ++i) {
        OpTrace trace;
        trace.pc = rng.next();
        trace.op_class = static_cast<OpClass>(rng.below(static_cast<u64>(OpClass::dc_zva) + 1));
        trace.insn = static_cast<u32>(rng.next());
        trace.el = static_cast<u8>(rng.below(2));
        const u64 flags = rng.next();
        trace.conditional = flags & 1;
        trace.cond_failed = flags & 2;
        trace.taken = flags & 4;
        trace.has_va = flags & 8;
        trace.pa_valid = trace.has_va && (flags & 16);
        trace.is_device = flags & 32;
        trace.tlb_refill = flags & 64;
        trace.tlb_walk = flags & 128;
        trace.misaligned = flags & 256;
        trace.exception = flags & 512;
        trace.returns_value = flags & 1024;
        trace.size = static_cast<u8>(rng.next());
        trace.va = rng.next();
        trace.pa = rng.next();
        const Sample sample = model.evaluate(trace);
        REQUIRE(sample.issue_latency >= 1);
        REQUIRE(sample.total_latency >= sample.issue_latency);
        REQUIRE(sample.translation_latency.value_or(0) <= sample.total_latency);
        REQUIRE((sample.events & event::kRetired) != 0);
        REQUIRE(((sample.events & event::kException) != 0) == trace.exception);
        REQUIRE(!(sample.target && sample.va));
        REQUIRE((sample.events & ~(filterable_events(5) | event::kException)) == 0);
        REQUIRE((!sample.data_source || sample.type.is_load()));
        REQUIRE((sample.type.packet == OpPacketClass::load_store || !sample.va));
    }
}

TEST_CASE("event model: ordinary loads and stores access L1D and the TLB", "[spe][event_model]") {
    BasicModel model(3, 1);
    OpTrace trace = load(0x80000000);
    CHECK((model.evaluate(trace).events & 0x14) == 0x14);
    trace.op_class = OpClass::store;
    const Sample store = model.evaluate(trace);
    CHECK((store.events & 0x14) == 0x14);
    CHECK_FALSE(store.data_source);
    CHECK(store.translation_latency);
}

TEST_CASE("event model: a load has a data source that agrees with its events", "[spe][event_model]") {
    BasicModel model(5, 1);
    Rng rng(2);
    unsigned seen = 0;
    for (int i = 0; i < 20000; ++i) {
        const Sample sample = model.evaluate(load(0x80000000 + rng.below(64u << 20)));
        REQUIRE(sample.data_source);
        const u64 events = sample.events & (event::kL1dRefill | event::kLlcAccess | event::kLlcMiss |
                                            event::kL2Access | event::kL2Miss);
        switch (*sample.data_source) {
            case 0x0:
                REQUIRE(events == 0);
                seen |= 1;
                break;
            case 0x8:
                REQUIRE(events == (event::kL1dRefill | event::kL2Access));
                seen |= 2;
                break;
            case 0xB:
                REQUIRE(events == (event::kL1dRefill | event::kL2Access | event::kL2Miss | event::kLlcAccess));
                seen |= 4;
                break;
            case 0xE:
                REQUIRE(events == (event::kL1dRefill | event::kL2Access | event::kL2Miss | event::kLlcAccess |
                                   event::kLlcMiss));
                REQUIRE(sample.total_latency >= 100);
                seen |= 8;
                break;
            default: FAIL("data source " << *sample.data_source);
        }
    }
    CHECK(seen == 15);
}

TEST_CASE("event model: a small working set hits, a large one misses", "[spe][event_model]") {
    const auto refills = [](u64 bytes) {
        BasicModel model(3, 1);
        Rng rng(9);
        unsigned count = 0;
        for (int i = 0; i < 20000; ++i) {
            const Sample sample = model.evaluate(load(0x80000000 + (rng.below(bytes) & ~u64{7})));
            count += i >= 10000 && (sample.events & event::kL1dRefill) != 0;
        }
        return count;
    };
    CHECK(refills(16 << 10) == 0);
    CHECK(refills(256 << 20) > 800);
}

TEST_CASE("event model: events above EV15 appear only from SPEv1p4 on", "[spe][event_model]") {
    BasicModel model(3, 1);
    Rng rng(4);
    u64 all = 0;
    for (int i = 0; i < 5000; ++i) {
        all |= model.evaluate(load(rng.next() & 0xFFFFFFF8)).events;
    }
    CHECK((all >> 16) == 0);
    CHECK((all & event::kLlcMiss) != 0);
}

TEST_CASE("event model: a walk, misalignment and a failed condition show as what they are", "[spe][event_model]") {
    BasicModel model(3, 1);
    OpTrace trace = load(0x80000001);
    CHECK((model.evaluate(trace).events & (event::kTlbWalk | event::kMisaligned)) == 0);
    trace.tlb_walk = true;
    trace.misaligned = true;
    const Sample sample = model.evaluate(trace);
    CHECK((sample.events & event::kTlbWalk) != 0);
    CHECK((sample.events & event::kMisaligned) != 0);
    CHECK(*sample.translation_latency >= 25);
    CHECK((BasicModel(1, 1).evaluate(trace).events & event::kMisaligned) == 0);  // EV11 is SPEv1p1

    const Sample not_taken = model.evaluate(branch(OpClass::branch_cond, 0x1000, false));
    CHECK((not_taken.events & event::kNotTaken) != 0);
    CHECK_FALSE(not_taken.target);
    const Sample taken = model.evaluate(branch(OpClass::branch_cond, 0x1000, true));
    CHECK((taken.events & event::kNotTaken) == 0);
    CHECK(taken.target->address == 0x2000);
    CHECK(taken.target->el == 1);
}

TEST_CASE("event model: a faulting load keeps its address but nothing of the access", "[spe][event_model]") {
    BasicModel model(3, 1);
    OpTrace trace = load(0x123456);
    trace.exception = true;
    trace.pa_valid = false;
    trace.tlb_walk = true;
    const Sample sample = model.evaluate(trace);
    CHECK(sample.events == (event::kException | event::kRetired | event::kTlbAccess | event::kTlbWalk));
    CHECK(sample.va == 0x123456);
    CHECK_FALSE(sample.pa);
    CHECK_FALSE(sample.data_source);
}

TEST_CASE("event model: a store-exclusive that fails touches no cache", "[spe][event_model]") {
    BasicModel model(3, 1);
    OpTrace trace = load(0x80000000);
    trace.op_class = OpClass::store;
    trace.is_write = trace.is_exclusive = trace.not_stored = true;
    const Sample sample = model.evaluate(trace);
    CHECK(sample.events == (event::kRetired | event::kTlbAccess));
    CHECK(sample.va == 0x80000000);
    CHECK(sample.translation_latency);
}

TEST_CASE("event model: device accesses touch no cache", "[spe][event_model]") {
    BasicModel model(3, 1);
    OpTrace trace = load(0x1000000);
    trace.is_device = true;
    const Sample sample = model.evaluate(trace);
    CHECK((sample.events & (event::kL1dAccess | event::kL1dRefill | event::kLlcAccess)) == 0);
    CHECK(sample.data_source);
}

TEST_CASE("event model: the predictor learns a biased branch and fails on a random one", "[spe][event_model]") {
    BasicModel model(3, 1);
    Rng rng(6);
    unsigned biased = 0;
    unsigned random = 0;
    for (int i = 0; i < 1000; ++i) {
        biased += (model.evaluate(branch(OpClass::branch_cond, 0x1000, true)).events & event::kMispredicted) != 0;
        const bool taken = rng.below(2) != 0;
        random += (model.evaluate(branch(OpClass::branch_cond, 0x1F04, taken)).events & event::kMispredicted) != 0;
    }
    CHECK(biased == 0);
    CHECK(random > 350);
    CHECK(random < 650);
}

TEST_CASE("event model: indirect branches mispredict when their target changes", "[spe][event_model]") {
    BasicModel model(3, 1);
    const auto missed = [&](OpClass op_class, u64 target) {
        return (model.evaluate(branch(op_class, 0x1000, true, target)).events & event::kMispredicted) != 0;
    };
    CHECK(missed(OpClass::branch_ind, 0x2000));
    CHECK_FALSE(missed(OpClass::branch_ind, 0x2000));
    CHECK(missed(OpClass::branch_ind, 0x3000));
    CHECK_FALSE(missed(OpClass::branch_ret, 0x4000));
    CHECK_FALSE(missed(OpClass::branch, 0x5000));
}

TEST_CASE("event model: one seed gives one sequence", "[spe][event_model]") {
    BasicModel first(3, 42);
    BasicModel second(3, 42);
    Rng rng(1);
    for (int i = 0; i < 1000; ++i) {
        const OpTrace trace = load(rng.next() & 0xFFFFFF8);
        const Sample a = first.evaluate(trace);
        const Sample b = second.evaluate(trace);
        REQUIRE(a.events == b.events);
        REQUIRE(a.total_latency == b.total_latency);
    }
}

}  // namespace vmm::spe::test
