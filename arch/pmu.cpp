#include "arch/pmu.h"

#include <algorithm>

#include "arch/cpu_model.h"
#include "arch/vcpu.h"

namespace vmm::arch {

namespace {

constexpr u64 kImplemented = ones(Pmu::kCounters) | u64{1} << Pmu::kCycleCounter;
constexpr u64 kFilterEl1 = u64{1} << 31;  // P
constexpr u64 kFilterEl0 = u64{1} << 30;  // U
constexpr u64 kTypeWritable = kFilterEl1 | kFilterEl0 | 0xFFFF;

// PMCR_EL0.
constexpr u64 kPmcrE = 1 << 0;
constexpr u64 kPmcrP = 1 << 1;
constexpr u64 kPmcrC = 1 << 2;
constexpr u64 kPmcrX = 1 << 4;
constexpr u64 kPmcrDp = 1 << 5;
constexpr u64 kPmcrLp = 1 << 7;             // PMUv3p5
constexpr u64 kPmcrFzo = 1 << 9;            // PMUv3p7
constexpr u64 kPmcrFzs = u64{1} << 32;      // PMUv3p7 and SPEv1p2
constexpr u64 kPmcrLc = 1 << 6;  // RES1 without AArch32: the cycle counter overflows at 64 bits

constexpr u16 kEvents[] = {
    pmu_event::kSwIncr,     pmu_event::kInstRetired,      pmu_event::kExcTaken, pmu_event::kExcReturn,
    pmu_event::kCidWriteRetired, pmu_event::kCpuCycles,   pmu_event::kInstSpec, pmu_event::kTtbrWriteRetired,
    pmu_event::kChain,      pmu_event::kStallFrontend,    pmu_event::kStallBackend,
};
constexpr u16 kSampleEvents[] = {pmu_event::kSamplePop, pmu_event::kSampleFeed, pmu_event::kSampleFiltrate,
                                 pmu_event::kSampleCollision};

/// The event counts executed operations.
constexpr bool is_operation(u64 type) {
    const u64 event = type & 0xFFFF;
    return event == pmu_event::kInstRetired || event == pmu_event::kCpuCycles || event == pmu_event::kInstSpec;
}

/// The event counts those executed operations that SPE could sample.
constexpr bool is_population(u64 type) {
    return (type & 0xFFFF) == pmu_event::kSamplePop;
}

}  // namespace

void Pmu::reset() {
    global_enable_ = false;
    spe_stopped_ = false;
    profiled_ = {};
    control_ = enabled_ = overflowed_ = interrupts_ = selected_ = user_enable_ = cycle_filter_ = cycles_ = 0;
    types_.fill(0);
    counters_.fill(0);
    accounted_ = v_.ops_executed();
    update();
}

bool Pmu::counts(unsigned n) const {
    if (!global_enable_ || !bit(enabled_, n)) {
        return false;
    }
    if (n != kCycleCounter) {
        return !frozen_by_spe() && !frozen_by_overflow();
    }
    return (control_ & kPmcrDp) == 0 || !(frozen_by_overflow() || (frozen_by_spe() && has_dpfzs()));
}

bool Pmu::frozen_by_spe() const {
    return (control_ & kPmcrFzs) != 0 && spe_stopped_;
}

bool Pmu::frozen_by_overflow() const {
    return (control_ & kPmcrFzo) != 0 && (overflowed_ & ones(kCounters)) != 0;
}

bool Pmu::has_dpfzs() const {
    return v_.config.pmu && has_freeze_on_spe() && v_.config.uniform_spe;
}

bool Pmu::wide() const {
    return v_.config.model->pmuver >= kPmuV3p5;
}

bool Pmu::overflows_at_64() const {
    return (control_ & kPmcrLp) != 0;
}

bool Pmu::has_freeze_on_spe() const {
    constexpr u8 kSpeV1p2 = 3;
    return v_.config.model->pmuver >= kPmuV3p7 && v_.config.pmsver >= kSpeV1p2;
}

u64 Pmu::writable_controls() const {
    return kPmcrX | kPmcrDp | (wide() ? kPmcrLp : 0) | (v_.config.model->pmuver >= kPmuV3p7 ? kPmcrFzo : 0) |
           (has_freeze_on_spe() ? kPmcrFzs : 0);
}

void Pmu::set_spe_stopped(bool stopped) {
    if (stopped != spe_stopped_) {
        sync();
        spe_stopped_ = stopped;
        update();
    }
}

void Pmu::set_profiled(bool el0, bool el1) {
    const std::array now{el0, el1};
    if (now != profiled_) {
        sync();
        profiled_ = now;
    }
}

bool Pmu::filtered(u64 filter, u8 el) const {
    return (filter & (el == 0 ? kFilterEl0 : kFilterEl1)) != 0;
}

bool Pmu::counts_operations(unsigned n) const {
    const bool each = is_operation(types_[n]) || (is_population(types_[n]) && profiled_[v_.s.el]);
    return counts(n) && each && !filtered(types_[n], v_.s.el);
}

/// What CHAIN counts are overflows at 32 bits.
bool Pmu::chains(unsigned n) const {
    return n % 2 == 0 && n + 1 < kCounters && (types_[n + 1] & 0xFFFF) == pmu_event::kChain && !overflows_at_64();
}

/// Adds to an event counter; overflow sets its status bit and advances a chained odd neighbour.
void Pmu::add(unsigned n, u64 amount) {
    const u64 before = counters_[n];
    const u64 sum = before + amount;
    const u64 wraps = overflows_at_64() ? u64{sum < before}
                                        : ((bits(before, 31, 0) + bits(amount, 31, 0)) >> 32) + (amount >> 32);
    counters_[n] = wide() ? sum : bits(sum, 31, 0);
    if (wraps == 0) {
        return;
    }
    const bool chained = chains(n) && counts(n + 1) && !filtered(types_[n + 1], v_.s.el);
    overflowed_ |= u64{1} << n;
    if (chained) {
        add(n + 1, wraps);
    }
}

void Pmu::sync() {
    const u64 now = v_.ops_executed();
    const u64 operations = now - accounted_;
    accounted_ = now;
    if (!active_ || operations == 0) {
        return;
    }
    // An overflow may freeze the others, but only from the next operation on.
    const bool counts_cycles = counts(kCycleCounter) && !filtered(cycle_filter_, v_.s.el);
    u64 counting = 0;
    for (unsigned n = 0; n < kCounters; ++n) {
        counting |= u64{counts_operations(n)} << n;
    }
    for (unsigned n = 0; n < kCounters; ++n) {
        if (bit(counting, n)) {
            add(n, operations);
        }
    }
    if (counts_cycles) {
        const u64 before = cycles_;
        cycles_ += operations;
        if (cycles_ < before) {
            overflowed_ |= u64{1} << kCycleCounter;
        }
    }
    drive_irq();
}

void Pmu::count_event(u8 el, u16 event, u64 amount) {
    for (unsigned n = 0; n < kCounters; ++n) {
        if (counts(n) && (types_[n] & 0xFFFF) == event && !filtered(types_[n], el)) {
            add(n, amount);
        }
    }
    drive_irq();
}

void Pmu::count_here(u16 event, u64 n) {
    count_event(v_.s.el, event, n);
}

void Pmu::software_increment(u64 mask) {
    for (unsigned n = 0; n < kCounters; ++n) {
        if (bit(mask, n) && counts(n) && (types_[n] & 0xFFFF) == pmu_event::kSwIncr &&
            !filtered(types_[n], v_.s.el)) {
            add(n, 1);
        }
    }
    drive_irq();
}

u64 Pmu::ops_until_overflow() const {
    u64 least = ~u64{0};
    if (!active_) {
        return least;
    }
    const u64 done = v_.ops_executed() - accounted_;  // already executed, not yet counted
    const auto consider = [&](u64 until) { least = std::min(least, until > done ? until - done : 1); };
    for (unsigned n = 0; n < kCounters; ++n) {
        const bool matters = bit(interrupts_, n) || (chains(n) && bit(interrupts_, n + 1)) || (control_ & kPmcrFzo) != 0;
        if (matters && counts_operations(n)) {
            consider(overflows_at_64() ? ~counters_[n] + (counters_[n] != 0)
                                       : (u64{1} << 32) - bits(counters_[n], 31, 0));
        }
    }
    if (counts(kCycleCounter) && !filtered(cycle_filter_, v_.s.el) && bit(interrupts_, kCycleCounter) && cycles_ != 0) {
        consider(~cycles_ + 1);
    }
    return least;
}

bool Pmu::overflow_depends_on_el() const {
    if (!active_ || (interrupts_ == 0 && (control_ & kPmcrFzo) == 0)) {
        return false;
    }
    const auto has_filter = [](u64 type) { return (type & (kFilterEl1 | kFilterEl0)) != 0; };
    const bool some_profiled = profiled_[0] != profiled_[1];
    for (unsigned n = 0; n < kCounters; ++n) {
        if (counts(n) && (has_filter(types_[n]) || (some_profiled && is_population(types_[n])))) {
            return true;
        }
    }
    return counts(kCycleCounter) && has_filter(cycle_filter_);
}

// ── Registers ──────────────────────────────────────────────────────────────────────────────────────────────

void Pmu::update() {
    active_ = global_enable_ && enabled_ != 0;
    drive_irq();
    v_.observer_changed();
}

void Pmu::drive_irq() {
    const bool level = global_enable_ && (overflowed_ & interrupts_) != 0;
    if (level != irq_level_) {
        irq_level_ = level;
        if (irq_ != nullptr) {
            irq_->set(level);
        }
    }
}

u64 Pmu::pmcr() const {
    return v_.config.model->pmcr_id | control_ | kPmcrLc | (global_enable_ ? kPmcrE : 0);
}

void Pmu::set_pmcr(u64 value) {
    sync();
    global_enable_ = (value & kPmcrE) != 0;
    control_ = value & writable_controls();
    if ((value & kPmcrP) != 0) {
        counters_.fill(0);
    }
    if ((value & kPmcrC) != 0) {
        cycles_ = 0;
    }
    update();
}

void Pmu::set_enabled(u64 mask) {
    sync();
    enabled_ = mask & kImplemented;
    update();
}

void Pmu::set_overflowed(u64 mask) {
    sync();
    overflowed_ = mask & kImplemented;
    update();
}

void Pmu::set_interrupts(u64 mask) {
    sync();
    interrupts_ = mask & kImplemented;
    update();
}

void Pmu::set_event_type(unsigned n, u64 value) {
    sync();
    types_[n] = value & kTypeWritable;
    update();
}

void Pmu::set_counter(unsigned n, u64 value) {
    sync();
    counters_[n] = wide() ? value : bits(value, 31, 0);
    update();
}

void Pmu::set_cycle_filter(u64 value) {
    sync();
    cycle_filter_ = value & (kFilterEl1 | kFilterEl0);
    update();
}

void Pmu::set_cycles(u64 value) {
    sync();
    cycles_ = value;
    update();
}

u64 Pmu::implemented_events(unsigned word) const {
    u64 result = 0;
    const auto mark = [&](u16 event) {
        const unsigned number = event & 0x3FFF;
        if (number / 32 == word) {
            result |= u64{1} << (number % 32 + (event >= 0x4000 ? 32 : 0));
        }
    };
    std::for_each(std::begin(kEvents), std::end(kEvents), mark);
    if (v_.config.pmsver != 0) {
        std::for_each(std::begin(kSampleEvents), std::end(kSampleEvents), mark);
    }
    return result;
}

}  // namespace vmm::arch
