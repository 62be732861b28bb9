// CPUs on and off, and the end of the machine, as PSCI asks for them.
#include "vmm/machine.h"
#include "vmm/memory_map.h"

namespace vmm {

namespace {

constexpr u64 kMpidrAffinity = 0xFF'00FF'FFFF;

}  // namespace

Cpu* Machine::cpu_by_affinity(u64 mpidr) {
    for (const auto& cpu : cpus_) {
        if (cpu_affinity(cpu->index()) == (mpidr & kMpidrAffinity)) {
            return cpu.get();
        }
    }
    return nullptr;
}

devices::PsciStatus Machine::cpu_on(u64 mpidr, u64 entry, u64 context) {
    Cpu* cpu = cpu_by_affinity(mpidr);
    if (cpu == nullptr) {
        return devices::PsciStatus::invalid_parameters;
    }
    if (!memory_->ram().contains(entry, 4) || (entry & 3) != 0) {
        return devices::PsciStatus::invalid_address;
    }
    return cpu->power.switch_on({entry, context});
}

devices::PsciStatus Machine::cpu_off(unsigned index) {
    cpus_[index]->power.switch_off();
    for (const auto& cpu : cpus_) {
        if (cpu->power.state() != PowerState::State::off) {
            return devices::PsciStatus::success;
        }
    }
    control_.stop(StopReason::all_cpus_off);
    return devices::PsciStatus::success;
}

s32 Machine::affinity_info(u64 mpidr, unsigned level) {
    if (level > 3) {
        return static_cast<s32>(devices::PsciStatus::invalid_parameters);
    }
    static constexpr u64 kIgnoredBelow[] = {0, 0xFF, 0xFFFF, 0xFF'FFFF};
    const u64 compared = kMpidrAffinity & ~kIgnoredBelow[level];
    bool found = false;
    bool pending = false;
    for (const auto& cpu : cpus_) {
        if (((cpu_affinity(cpu->index()) ^ mpidr) & compared) != 0) {
            continue;
        }
        found = true;
        const PowerState::State state = cpu->power.state();
        if (state == PowerState::State::on) {
            return kOn;
        }
        pending |= state == PowerState::State::on_pending;
    }
    if (!found) {
        return static_cast<s32>(devices::PsciStatus::invalid_parameters);
    }
    return pending ? kOnPending : kOff;
}

void Machine::system_off() {
    control_.stop(StopReason::system_off);
    kick_cpus();
}

void Machine::system_reset() {
    control_.stop(StopReason::system_reset);
    kick_cpus();
}

}  // namespace vmm
