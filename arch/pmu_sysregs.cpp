// The registers of the PMU. Arm ARM D24.5.
#include <array>
#include <utility>
#include <vector>

#include "arch/cpu_model.h"
#include "arch/pmu.h"
#include "arch/vcpu.h"

namespace vmm::arch {

namespace {

using enum SysregAccess;

constexpr SysregKey key(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return sysreg_key(3, op1, crn, crm, op2);
}

Pmu& pmu_of(void* self) {
    return *static_cast<Pmu*>(self);
}

// PMUSERENR_EL0: what EL0 may do. EN allows everything.
constexpr unsigned kEn = 0;
constexpr unsigned kSw = 1;  // PMSWINC_EL0
constexpr unsigned kCr = 2;  // reading PMCCNTR_EL0
constexpr unsigned kEr = 3;  // reading event counters, PMSELR_EL0

/// EL0 needs PMUSERENR_EL0.EN, or the bit `also`; `also_only_reads`: that one only for reading.
template <unsigned also = kEn, bool also_only_reads = false>
SysregTrap check_user(void* self, Vcpu& v, bool is_write) {
    const u64 enable = pmu_of(self).user_enable();
    const bool allowed = v.s.el != 0 || bit(enable, kEn) || (bit(enable, also) && !(also_only_reads && is_write));
    return allowed ? SysregTrap::allow : SysregTrap::trap_el1;
}

template <u64 (Pmu::*getter)() const>
u64 read(void* self, Vcpu&) {
    pmu_of(self).sync();
    return (pmu_of(self).*getter)();
}
template <void (Pmu::*setter)(u64)>
void write(void* self, Vcpu&, u64 value) {
    (pmu_of(self).*setter)(value);
}
template <u64 (Pmu::*getter)() const, void (Pmu::*setter)(u64)>
void write_set(void* self, Vcpu&, u64 value) {
    pmu_of(self).sync();
    (pmu_of(self).*setter)((pmu_of(self).*getter)() | value);
}
template <u64 (Pmu::*getter)() const, void (Pmu::*setter)(u64)>
void write_clear(void* self, Vcpu&, u64 value) {
    pmu_of(self).sync();
    (pmu_of(self).*setter)((pmu_of(self).*getter)() & ~value);
}

template <unsigned word>
u64 read_ceid(void* self, Vcpu&) {
    return pmu_of(self).implemented_events(word);
}

template <unsigned n>
u64 read_counter(void* self, Vcpu&) {
    pmu_of(self).sync();
    return pmu_of(self).counter(n);
}
template <unsigned n>
void write_counter(void* self, Vcpu&, u64 value) {
    pmu_of(self).set_counter(n, value);
}
template <unsigned n>
u64 read_type(void* self, Vcpu&) {
    return pmu_of(self).event_type(n);
}
template <unsigned n>
void write_type(void* self, Vcpu&, u64 value) {
    pmu_of(self).set_event_type(n, value);
}

// PMXEVTYPER_EL0 and PMXEVCNTR_EL0 name what PMSELR_EL0 selects; a counter that does not exist is RAZ/WI.
u64 read_selected_type(void* self, Vcpu&) {
    const Pmu& pmu = pmu_of(self);
    const u64 n = pmu.selected();
    return n == Pmu::kCycleCounter ? pmu.cycle_filter() : n < Pmu::kCounters ? pmu.event_type(static_cast<unsigned>(n)) : 0;
}
void write_selected_type(void* self, Vcpu&, u64 value) {
    Pmu& pmu = pmu_of(self);
    const u64 n = pmu.selected();
    if (n == Pmu::kCycleCounter) {
        pmu.set_cycle_filter(value);
    } else if (n < Pmu::kCounters) {
        pmu.set_event_type(static_cast<unsigned>(n), value);
    }
}
u64 read_selected_counter(void* self, Vcpu&) {
    Pmu& pmu = pmu_of(self);
    pmu.sync();
    return pmu.selected() < Pmu::kCounters ? pmu.counter(static_cast<unsigned>(pmu.selected())) : 0;
}
void write_selected_counter(void* self, Vcpu&, u64 value) {
    Pmu& pmu = pmu_of(self);
    if (pmu.selected() < Pmu::kCounters) {
        pmu.set_counter(static_cast<unsigned>(pmu.selected()), value);
    }
}

// clang-format off
constexpr SysregRow kRows[] = {
    {.name = "PMINTENSET_EL1", .key = key(0, 9, 14, 1), .read = read<&Pmu::interrupts>,
     .write = write_set<&Pmu::interrupts, &Pmu::set_interrupts>, .ends_block = true},
    {.name = "PMINTENCLR_EL1", .key = key(0, 9, 14, 2), .read = read<&Pmu::interrupts>,
     .write = write_clear<&Pmu::interrupts, &Pmu::set_interrupts>, .ends_block = true},
    {.name = "PMCR_EL0",       .key = key(3, 9, 12, 0), .access = rw_el0, .read = read<&Pmu::pmcr>,
     .write = write<&Pmu::set_pmcr>, .check = check_user<>, .ends_block = true},
    {.name = "PMCNTENSET_EL0", .key = key(3, 9, 12, 1), .access = rw_el0, .read = read<&Pmu::enabled>,
     .write = write_set<&Pmu::enabled, &Pmu::set_enabled>, .check = check_user<>, .ends_block = true},
    {.name = "PMCNTENCLR_EL0", .key = key(3, 9, 12, 2), .access = rw_el0, .read = read<&Pmu::enabled>,
     .write = write_clear<&Pmu::enabled, &Pmu::set_enabled>, .check = check_user<>, .ends_block = true},
    {.name = "PMOVSCLR_EL0",   .key = key(3, 9, 12, 3), .access = rw_el0, .read = read<&Pmu::overflowed>,
     .write = write_clear<&Pmu::overflowed, &Pmu::set_overflowed>, .check = check_user<>, .ends_block = true},
    {.name = "PMSWINC_EL0",    .key = key(3, 9, 12, 4), .access = wo_el0, .write = write<&Pmu::software_increment>,
     .check = check_user<kSw>, .ends_block = true},
    {.name = "PMSELR_EL0",     .key = key(3, 9, 12, 5), .access = rw_el0, .read = read<&Pmu::selected>,
     .write = write<&Pmu::set_selected>, .check = check_user<kEr>},
    {.name = "PMCEID0_EL0",    .key = key(3, 9, 12, 6), .access = ro_el0, .read = read_ceid<0>, .check = check_user<>},
    {.name = "PMCEID1_EL0",    .key = key(3, 9, 12, 7), .access = ro_el0, .read = read_ceid<1>, .check = check_user<>},
    {.name = "PMCCNTR_EL0",    .key = key(3, 9, 13, 0), .access = rw_el0, .read = read<&Pmu::cycles>,
     .write = write<&Pmu::set_cycles>, .check = check_user<kCr, true>, .ends_block = true},
    {.name = "PMXEVTYPER_EL0", .key = key(3, 9, 13, 1), .access = rw_el0, .read = read_selected_type,
     .write = write_selected_type, .check = check_user<>, .ends_block = true},
    {.name = "PMXEVCNTR_EL0",  .key = key(3, 9, 13, 2), .access = rw_el0, .read = read_selected_counter,
     .write = write_selected_counter, .check = check_user<kEr, true>, .ends_block = true},
    {.name = "PMUSERENR_EL0",  .key = key(3, 9, 14, 0), .access = el0_reads, .read = read<&Pmu::user_enable>,
     .write = write<&Pmu::set_user_enable>},
    {.name = "PMOVSSET_EL0",   .key = key(3, 9, 14, 3), .access = rw_el0, .read = read<&Pmu::overflowed>,
     .write = write_set<&Pmu::overflowed, &Pmu::set_overflowed>, .check = check_user<>, .ends_block = true},
    {.name = "PMCCFILTR_EL0",  .key = key(3, 14, 15, 7), .access = rw_el0, .read = read<&Pmu::cycle_filter>,
     .write = write<&Pmu::set_cycle_filter>, .check = check_user<>, .ends_block = true},
};

constexpr std::array kCounterNames = {"PMEVCNTR0_EL0", "PMEVCNTR1_EL0", "PMEVCNTR2_EL0",
                                      "PMEVCNTR3_EL0", "PMEVCNTR4_EL0", "PMEVCNTR5_EL0"};
constexpr std::array kTypeNames = {"PMEVTYPER0_EL0", "PMEVTYPER1_EL0", "PMEVTYPER2_EL0",
                                   "PMEVTYPER3_EL0", "PMEVTYPER4_EL0", "PMEVTYPER5_EL0"};
// clang-format on
static_assert(kCounterNames.size() == Pmu::kCounters && kTypeNames.size() == Pmu::kCounters);

template <unsigned n>
void add_counter_rows(std::vector<SysregRow>& rows) {
    rows.push_back({.name = kCounterNames[n],
                    .key = key(3, 14, 8 + n / 8, n % 8),
                    .access = rw_el0,
                    .read = read_counter<n>,
                    .write = write_counter<n>,
                    .check = check_user<kEr, true>,
                    .ends_block = true});
    rows.push_back({.name = kTypeNames[n],
                    .key = key(3, 14, 12 + n / 8, n % 8),
                    .access = rw_el0,
                    .read = read_type<n>,
                    .write = write_type<n>,
                    .check = check_user<>,
                    .ends_block = true});
}

template <std::size_t... n>
std::vector<SysregRow> counter_rows(std::index_sequence<n...>) {
    std::vector<SysregRow> rows;
    (add_counter_rows<static_cast<unsigned>(n)>(rows), ...);
    return rows;
}

// PMUv3p4. SLOTS is 0: no slots are counted.
constexpr SysregRow kPmmir = {.name = "PMMIR_EL1", .key = key(0, 9, 14, 6), .access = ro_el1, .reset = 0, .writable = 0};

}  // namespace

void Pmu::add_sysregs(SysregBank& bank) {
    bank.add(kRows, this);
    if (v_.config.model->pmuver >= kPmuV3p4) {
        bank.add(std::span(&kPmmir, 1), this);
    }
    bank.add(counter_rows(std::make_index_sequence<kCounters>{}), this);
}

}  // namespace vmm::arch
