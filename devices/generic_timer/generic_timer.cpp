#include "devices/generic_timer/generic_timer.h"

#include <algorithm>

#include "arch/vcpu.h"
#include "vmm/base/bits.h"

namespace vmm::devices {

namespace {

using Guard = GenericTimer::Guard;
using Which = GenericTimer::Which;

// CNTx_CTL_EL0 bits.
constexpr u64 kEnable = 1 << 0;
constexpr u64 kImask = 1 << 1;
constexpr u64 kIstatus = 1 << 2;

GenericTimer& self_of(void* self) { return *static_cast<GenericTimer*>(self); }

template <Guard guard>
arch::SysregTrap check(void*, arch::Vcpu& v, bool) {
    return v.s.el == 0 && GenericTimer::el0_trapped(guard, v.s.cntkctl_el1) ? arch::SysregTrap::trap_el1
                                                                            : arch::SysregTrap::allow;
}

u64 read_count(void* self, arch::Vcpu&) { return self_of(self).count(); }
u64 read_frequency(void* self, arch::Vcpu&) { return self_of(self).frequency(); }
void write_frequency(void* self, arch::Vcpu&, u64 value) { self_of(self).set_frequency(value); }

template <Which which>
u64 read_ctl(void* self, arch::Vcpu&) { return self_of(self).read_ctl(which); }
template <Which which>
void write_ctl(void* self, arch::Vcpu&, u64 value) { self_of(self).write_ctl(which, value); }
template <Which which>
u64 read_cval(void* self, arch::Vcpu&) { return self_of(self).read_cval(which); }
template <Which which>
void write_cval(void* self, arch::Vcpu&, u64 value) { self_of(self).write_cval(which, value); }
template <Which which>
u64 read_tval(void* self, arch::Vcpu&) { return self_of(self).read_tval(which); }
template <Which which>
void write_tval(void* self, arch::Vcpu&, u64 value) { self_of(self).write_tval(which, value); }

constexpr arch::SysregKey timer_key(unsigned crm, unsigned op2) { return arch::sysreg_key(3, 3, 14, crm, op2); }

using enum arch::SysregAccess;
constexpr auto P = Which::physical;
constexpr auto V = Which::virtual_;

// clang-format off
const arch::SysregRow kRows[] = {
    {.name = "CNTFRQ_EL0",    .key = timer_key(0, 0), .access = el0_reads, .read = read_frequency, .write = write_frequency,
     .check = check<Guard::frequency>},
    {.name = "CNTPCT_EL0",    .key = timer_key(0, 1), .access = ro_el0, .read = read_count, .check = check<Guard::physical_counter>},
    {.name = "CNTVCT_EL0",    .key = timer_key(0, 2), .access = ro_el0, .read = read_count, .check = check<Guard::virtual_counter>},
    {.name = "CNTP_TVAL_EL0", .key = timer_key(2, 0), .access = rw_el0, .read = read_tval<P>, .write = write_tval<P>,
     .check = check<Guard::physical_timer>},
    {.name = "CNTP_CTL_EL0",  .key = timer_key(2, 1), .access = rw_el0, .read = read_ctl<P>,  .write = write_ctl<P>,
     .check = check<Guard::physical_timer>},
    {.name = "CNTP_CVAL_EL0", .key = timer_key(2, 2), .access = rw_el0, .read = read_cval<P>, .write = write_cval<P>,
     .check = check<Guard::physical_timer>},
    {.name = "CNTV_TVAL_EL0", .key = timer_key(3, 0), .access = rw_el0, .read = read_tval<V>, .write = write_tval<V>,
     .check = check<Guard::virtual_timer>},
    {.name = "CNTV_CTL_EL0",  .key = timer_key(3, 1), .access = rw_el0, .read = read_ctl<V>,  .write = write_ctl<V>,
     .check = check<Guard::virtual_timer>},
    {.name = "CNTV_CVAL_EL0", .key = timer_key(3, 2), .access = rw_el0, .read = read_cval<V>, .write = write_cval<V>,
     .check = check<Guard::virtual_timer>},
};
// clang-format on

}  // namespace

GenericTimer::GenericTimer(const arch::CounterPort& counter, arch::IrqLine& physical, arch::IrqLine& virtual_line)
    : counter_(counter), cntfrq_(counter.frequency()) {
    timer(Which::physical).line = &physical;
    timer(Which::virtual_).line = &virtual_line;
}

std::span<const arch::SysregRow> GenericTimer::rows() { return kRows; }

bool GenericTimer::el0_trapped(Guard guard, u64 cntkctl) {
    const bool el0_pct = bit(cntkctl, 0);
    const bool el0_vct = bit(cntkctl, 1);
    switch (guard) {
        case Guard::physical_counter: return !el0_pct;
        case Guard::virtual_counter: return !el0_vct;
        case Guard::frequency: return !el0_pct && !el0_vct;
        case Guard::virtual_timer: return !bit(cntkctl, 8);
        case Guard::physical_timer: return !bit(cntkctl, 9);
    }
    return true;
}

void GenericTimer::reset() {
    for (Timer& t : timers_) {
        t.enable = false;
        t.imask = false;
        t.cval = 0;
    }
    cntfrq_ = counter_.frequency();  // as firmware would
    evaluate();
}

u64 GenericTimer::read_ctl(Which which) const {
    const Timer& t = timer(which);
    u64 value = (t.enable ? kEnable : 0) | (t.imask ? kImask : 0);
    if (t.enable && counter_.count() >= t.cval) {
        value |= kIstatus;
    }
    return value;
}

void GenericTimer::write_ctl(Which which, u64 value) {
    timer(which).enable = (value & kEnable) != 0;
    timer(which).imask = (value & kImask) != 0;
    evaluate();
}

void GenericTimer::write_cval(Which which, u64 value) {
    timer(which).cval = value;
    evaluate();
}

u64 GenericTimer::read_tval(Which which) const { return static_cast<u32>(timer(which).cval - counter_.count()); }

void GenericTimer::write_tval(Which which, u64 value) {
    timer(which).cval = counter_.count() + static_cast<u64>(sign_extend(value, 32));
    evaluate();
}

void GenericTimer::evaluate() {
    const u64 now = counter_.count();
    deadline_ = kNever;
    for (Timer& t : timers_) {
        const bool signals = t.enable && !t.imask;
        const bool met = now >= t.cval;
        if (signals && !met) {
            deadline_ = std::min(deadline_, t.cval);
        }
        t.line->set(signals && met);
    }
}

}  // namespace vmm::devices
