#include "vmm/power_state.h"

#include <thread>

#include <catch2/catch.hpp>

using namespace vmm;
using devices::PsciStatus;

TEST_CASE("a CPU goes from off through pending to on, and is started once") {
    PowerState power;
    REQUIRE(power.state() == PowerState::State::off);
    REQUIRE_FALSE(power.take_entry());
    REQUIRE(power.switch_on({0x1000, 7}) == PsciStatus::success);
    REQUIRE(power.switch_on({0x2000, 8}) == PsciStatus::on_pending);
    const auto entry = power.take_entry();
    REQUIRE(entry);
    REQUIRE(entry->pc == 0x1000);
    REQUIRE(entry->x0 == 7);
    REQUIRE_FALSE(power.take_entry());
    REQUIRE(power.switch_on({0x2000, 8}) == PsciStatus::already_on);
    power.switch_off();
    REQUIRE(power.switch_on({0x3000, 9}) == PsciStatus::success);
}

TEST_CASE("a waiting CPU wakes when it is switched on or told to stop") {
    PowerState power;
    std::atomic<bool> stop{false};
    std::thread waiting([&] { power.wait_while_off([&] { return stop.load(); }); });
    REQUIRE(power.switch_on({0, 0}) == PsciStatus::success);
    waiting.join();
    power.switch_off();
    std::thread stopped([&] { power.wait_while_off([&] { return stop.load(); }); });
    stop = true;
    power.wake();
    stopped.join();
    REQUIRE(power.state() == PowerState::State::off);
}
