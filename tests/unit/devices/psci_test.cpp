#include "devices/psci.h"

#include <string>

#include <catch2/catch.hpp>

#include <fmt/format.h>

namespace vmm::devices {
namespace {

struct FakePower final : PowerControl {
    PsciStatus cpu_on(u64 mpidr, u64 entry, u64 context) override {
        log = fmt::format("on {:x} {:x} {:x}", mpidr, entry, context);
        return PsciStatus::already_on;
    }
    PsciStatus cpu_off(unsigned cpu) override {
        log = fmt::format("off {}", cpu);
        return off_status;
    }
    s32 affinity_info(u64 mpidr, unsigned level) override {
        log = fmt::format("info {:x} {}", mpidr, level);
        return kOnPending;
    }
    void system_off() override { log = "system_off"; }
    void system_reset() override { log = "system_reset"; }

    std::string log;
    PsciStatus off_status = PsciStatus::success;
};

struct Setup {
    FakePower power;
    Psci psci{power};
    Psci::Outcome call(u32 function, u64 a = 0, u64 b = 0, u64 c = 0) { return psci.handle({function, {a, b, c}, 5}); }
};

TEST_CASE("versions and features") {
    Setup t;
    CHECK(t.call(0x80000000).result == 0x10001);
    CHECK(t.call(0x84000000).result == 0x10001);
    CHECK(t.call(0x84000006).result == 2);
    for (const u32 offered : {0x80000000u, 0x84000002u, 0xC4000003u, 0xC4000004u, 0x84000008u, 0x84000009u, 0xC4000012u}) {
        CHECK(t.call(0x8400000A, offered).result == 0);
    }
    CHECK(t.call(0x8400000A, 0x8400000F).result == -1);   // SET_SUSPEND_MODE
    CHECK(t.call(0x8400000A, 0x84000005).result == -1);   // MIGRATE
    CHECK(t.call(0x80000001, 0x80000001).result == 0);
    CHECK(t.call(0x80000001, 0x80008000).result == 1);    // WORKAROUND_1: not affected
    CHECK(t.call(0x80000001, 0x80000002).result == -1);   // SOC_ID
}

TEST_CASE("unknown functions are not supported and have no effect") {
    Setup t;
    for (const u32 function : {0u, 1u, 0x8600FF01u, 0x84000050u, 0xC4000000u, 0x04000000u, 0xFFFFFFFFu}) {
        const auto outcome = t.call(function, 1, 2, 3);
        CHECK(outcome.result == -1);
        CHECK(outcome.exec == arch::Exec::next);
    }
    CHECK(t.power.log.empty());
}

TEST_CASE("CPU_ON passes its arguments on, cut to 32 bits in the 32-bit convention") {
    Setup t;
    CHECK(t.call(0xC4000003, 0x1'0000'0203, 0x8000'1000, 0xFFFF'0000'0000'0001).result == -4);
    CHECK(t.power.log == "on 100000203 80001000 ffff000000000001");
    t.call(0x84000003, 0x1'0000'0203, 0x7'8000'1000, 0xFFFF'0000'0000'0001);
    CHECK(t.power.log == "on 203 80001000 1");
    t.power.log.clear();
    CHECK(t.call(0xC4000003, 0x8000'0000, 0x8000'1000).result == -2);
    CHECK(t.call(0xC4000003, 1, 0x8000'1002).result == -9);
    CHECK(t.power.log.empty());
}

TEST_CASE("CPU_OFF and the system calls leave the run loop") {
    Setup t;
    CHECK(t.call(0x84000002).exec == arch::Exec::stop);
    CHECK(t.power.log == "off 5");
    t.power.off_status = PsciStatus::denied;
    const auto denied = t.call(0x84000002);
    CHECK(denied.exec == arch::Exec::next);
    CHECK(denied.result == -3);
    CHECK(t.call(0x84000008).exec == arch::Exec::stop);
    CHECK(t.power.log == "system_off");
    CHECK(t.call(0x84000009).exec == arch::Exec::stop);
    CHECK(t.power.log == "system_reset");
    t.power.log.clear();
    CHECK(t.call(0xC4000012, 0x8000'0000).result == -2);
    CHECK(t.power.log.empty());
    CHECK(t.call(0xC4000012, 0).exec == arch::Exec::stop);
    CHECK(t.power.log == "system_reset");
}

TEST_CASE("AFFINITY_INFO and CPU_SUSPEND") {
    Setup t;
    CHECK(t.call(0xC4000004, 0x3, 1).result == 2);
    CHECK(t.power.log == "info 3 1");
    CHECK(t.call(0xC4000004, 0x3, 4).result == -2);
    CHECK(t.call(0xC4000001, 0x10000).exec == arch::Exec::wait);
    CHECK(t.call(0x84000001).result == 0);
}

}  // namespace
}  // namespace vmm::devices
