#include "spe/profiling_unit.h"

#include <algorithm>

#include "arch/pmu.h"
#include "arch/vcpu.h"
#include "spe/make_model.h"
#include "spe/max_buffer_size.h"
#include "spe/op_type.h"
#include "spe/owner_regime.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"

namespace vmm::spe {

namespace {

// PMU events of the profiling unit. Arm ARM, "Common event numbers".
constexpr u16 kSampleFeed = 0x4001;
constexpr u16 kSampleFiltrate = 0x4002;
constexpr u16 kSampleCollision = 0x4003;
constexpr u16 kSampleFeedDataSource = 0x8122;
constexpr u16 kSampleBufferFull = 0x8123;
constexpr u16 kSampleFeedBranch = 0x812A;
constexpr u16 kSampleFeedLoad = 0x812B;
constexpr u16 kSampleFeedStore = 0x812C;
constexpr u16 kSampleFeedOp = 0x812D;
constexpr u16 kSampleFeedEvent = 0x812E;
constexpr u16 kSampleFeedLatency = 0x812F;
constexpr u16 kSampleFeedFp = 0x8348;
constexpr u16 kSampleFeedSimd = 0x8349;

/// With previous branch targets: how many operations before a sample are followed, one by one. A branch longer ago is not
/// known, and its packet is left out.
constexpr u64 kFollowedOps = 256;

/// With eager faults: most bytes of a buffer that are looked at when it becomes enabled. What is beyond faults when written.
constexpr u64 kMaxExamined = u64{1} << 30;

constexpr RecordFormat record_format(const Features& features) {
    return {.counter_bits = features.counter_bits,
            .event_bytes = features.pmsver >= kSpeV1p4 ? 4u : 2u,
            .data_source_bytes = 1};
}

RegisterMasks masks_of(const Features& features, ModelKind model) {
    RegisterMasks masks = register_masks(features);
    masks.pmsevfr &= ~never_produced(model);
    return masks;
}

/// A PE that was given no memory system has one that it shares with nobody.
ProfilingConfig with_memory_system(ProfilingConfig config, unsigned core) {
    if (config.model == ModelKind::detailed && config.memory_system == nullptr) {
        config.memory_system = std::make_shared<MemorySystem>(MemoryGeometry{}, core + 1);
    }
    return config;
}

}  // namespace

ProfilingUnit::ProfilingUnit(arch::Vcpu& vcpu, const ProfilingConfig& config, mm::HostMemory* memory)
    : v_(vcpu),
      config_(with_memory_system(config, vcpu.index())),
      features_(resolve(config.pmsver, config.features)),
      masks_(masks_of(features_, config_.model)),
      format_(record_format(features_)),
      follows_ops_(config_.model == ModelKind::detailed),
      optional_facts_(features_.crr || features_.eft || features_.pbt || !features_.lds),
      sampler_(config.seed * 2 + 1, features_.ernd),
      model_(make_model(config.model, config.pmsver, config.seed * 2 + 2, config_.memory_system.get(), vcpu.index())),
      buffer_(features_, config.max_buffer_size),
      regime_(std::make_unique<OwnerRegime>(vcpu)) {
    VMM_CHECK(!invalid_features(features_));
    if (memory != nullptr && memory->pin_kind() != mm::PinKind::none) {
        pins_ = std::make_unique<PinCache>(*memory);
    }
}

ProfilingUnit::~ProfilingUnit() = default;

void ProfilingUnit::attach() {
    const std::vector<arch::SysregRow> rows = sysreg_rows();
    v_.sysregs.add(rows, this);
    v_.set_observer(this);
}

void ProfilingUnit::reset() {
    pmscr_ = kPmscrFixed;
    filters_ = {};
    sampler_.reset();
    model_->reset();
    buffer_.reset();
    segment_counts_ = false;
    last_target_.reset();
    busy_until_ = 0;
    follow_state();
    if (pins_ != nullptr) {
        pins_->clear();
        publish_pin_stats();
    }
}

// ── When profiling is on ───────────────────────────────────────────────────────────────────────────────────

/// Without EL2 and EL3: the buffer belongs to EL1, and PMSCR_EL1 selects the Exception levels.
bool ProfilingUnit::profiling_enabled(u8 el) const {
    const bool selected = el == 0 ? pmscr::E0Spe::get(pmscr_) != 0 : pmscr::E1Spe::get(pmscr_) != 0;
    return selected && buffer_active();
}

bool ProfilingUnit::profiling_enabled_somewhere() const {
    return profiling_enabled(0) || profiling_enabled(1);
}

bool ProfilingUnit::follows_all() const {
    return model_->wants_all() && profiling_enabled_somewhere();
}

u64 ProfilingUnit::ops_until_sample() {
    const u64 now = v_.ops_executed();
    if (segment_counts_) {
        counters_.blackout.add(now - reported_);
        sampler_.advance(reported_ - sampler_at_);
    }
    reported_ = sampler_at_ = now;
    if (enabled_at_[v_.s.el] && buffer_.wants_check()) [[unlikely]] {
        count_event(buffer_.check());
        follow_state();
    }
    segment_counts_ = enabled_at_[v_.s.el];
    if (!segment_counts_) {
        last_target_.reset();
        return ~u64{0};
    }
    const u64 ops = sampler_.ops_until_sample();
    sample_at_ = now + ops;
    if (follows_ops_) {
        return 1;
    }
    const u64 followed = features_.pbt ? kFollowedOps : 0;
    return ops > followed ? ops - followed : 1;
}

/// What a handler that looks at the sampler's counter must add. Includes the operation it is in.
u64 ProfilingUnit::ahead_of_sampler() const {
    return segment_counts_ ? v_.ops_executed() - sampler_at_ : 0;
}

void ProfilingUnit::catch_up() {
    const u64 ops = ahead_of_sampler();
    sampler_.advance(ops);
    sampler_at_ += ops;
}

[[gnu::always_inline]] inline void ProfilingUnit::report(u64 operations) {
    counters_.population.add(operations);
    reported_ += operations;
}

void ProfilingUnit::on_ops_executed(u64 count) {
    report(count);
    last_target_.reset();
}

// ── One sample ─────────────────────────────────────────────────────────────────────────────────────────────

/// Adds and takes away what depends on the optional features.
void ProfilingUnit::add_optional_facts(Sample& sample, const arch::OpTrace& trace) const {
    add_optional_type(sample.type, trace, features_);
    if (!features_.lds) {
        sample.data_source.reset();
    }
    if (features_.pbt && sample.target) {
        sample.previous_target = last_target_;
    }
}

/// Adds what depends on the collection controls.
[[gnu::always_inline]] inline void ProfilingUnit::complete(Sample& sample) const {
    if (pmscr::Cx::get(pmscr_) != 0) {
        sample.context_el1 = static_cast<u32>(v_.s.contextidr_el1);
    }
    if (pmscr::Pa::get(pmscr_) == 0) {
        sample.pa.reset();
    }
    if (pmscr::Ts::get(pmscr_) != 0) {
        sample.timestamp = v_.config.counter->count();
    }
}

/// Before filtering, and whatever PMSFCR_EL1 enables: what kind of operation it is and which filters it would pass.
void ProfilingUnit::count_filter_events(const Sample& sample) {
    arch::Pmu& pmu = v_.pmu();
    const u8 el = sample.pc.el;
    pmu.count_at(el, kSampleFeed, 1);
    if (config_.pmsver < kSpeV1p2) {
        return;
    }
    const FilterMatches matches = filter_matches(filters_, masks_.pmsevfr, sample);
    const u64 flags = sample.type.flags;
    struct Row {
        u16 event;
        bool happened;
    };
    const Row rows[] = {
        {kSampleFeedBranch, (flags & kTypeBranch) != 0},
        {kSampleFeedLoad, (flags & kTypeLoad) != 0},
        {kSampleFeedStore, (flags & kTypeStore) != 0},
        {kSampleFeedFp, (flags & kTypeFp) != 0},
        {kSampleFeedSimd, (flags & kTypeSimd) != 0},
        {kSampleFeedOp, matches.type},
        {kSampleFeedEvent, matches.events},
        {kSampleFeedLatency, matches.latency},
        {kSampleFeedDataSource, features_.fds && matches.data_source},
    };
    for (const Row& row : rows) {
        if (row.happened) {
            pmu.count_at(el, row.event, 1);
        }
    }
}

/// On the way of every sample: inline, one behind the other.
[[gnu::always_inline]] inline void ProfilingUnit::store_record(const Sample& sample) {
    const EncodedRecord record = encode_record(sample, format_);
    const BufferEvent event = store_times_.measure([&] { return buffer_.append(record, *regime_); });
    if (event == BufferEvent::written || event == BufferEvent::filled) {
        counters_.records.add(1);
        counters_.bytes.add(buffer_.padded(record.size));
    }
    const bool pins_changed = pins_ != nullptr && pins_->wants_attention(buffer_.pointer());
    if (event == BufferEvent::written && !pins_changed) [[likely]] {
        return;
    }
    count_event(event);
    if (pins_changed) {
        follow_pins();
    }
    follow_state();
}

[[gnu::always_inline]] inline void ProfilingUnit::take_sample(const arch::OpTrace& trace) {
    if (features_.collisions && active_ && collides(trace.el)) {
        model_->observe(trace);
        return;
    }
    counters_.samples.add(1);
    Sample sample = model_->evaluate(trace);
    if (optional_facts_) {
        add_optional_facts(sample, trace);
    }
    if (features_.collisions) {
        busy_until_ = v_.ops_executed() + sample.total_latency;
    }
    if (v_.pmu().active()) [[unlikely]] {
        count_filter_events(sample);
    }
    if (!active_) [[unlikely]] {  // the operation itself switched the buffer off
        counters_.dropped.add(1);
        return;
    }
    if (filters_.any() && !filter(filters_, masks_.pmsevfr, sample).keep()) {
        counters_.filtered.add(1);
        return;
    }
    v_.pmu().count_at(trace.el, kSampleFiltrate, 1);
    if (buffer_.discards()) {
        counters_.discarded.add(1);
        return;
    }
    complete(sample);
    store_record(sample);
}

/// The engine shows operations that are not sampled, too, if the model or the previous branch target needs them.
void ProfilingUnit::on_sample(const arch::OpTrace& trace) {
    report(1);
    if (reported_ == sample_at_) {
        take_sample(trace);
    } else {
        model_->observe(trace);
    }
    follow_branch(trace);
}

void ProfilingUnit::follow_branch(const arch::OpTrace& trace) {
    if (features_.pbt && trace.taken && !trace.exception) {
        last_target_ = CodeAddress{trace.target, trace.target_el};
    }
}

/// An operation chosen before the modelled end of the sample before it is lost. An operation takes one cycle.
bool ProfilingUnit::collides(u8 el) {
    if (v_.ops_executed() >= busy_until_) {
        return false;
    }
    counters_.collisions.add(1);
    v_.pmu().count_at(el, kSampleCollision, 1);
    buffer_.set_collision();
    return true;
}

void ProfilingUnit::count_event(BufferEvent event) {
    switch (event) {
        case BufferEvent::ready:
        case BufferEvent::written: break;
        case BufferEvent::ignored: counters_.ignored_aborts.add(1); break;
        case BufferEvent::filled:
            counters_.buffer_full.add(1);
            v_.pmu().count(kSampleBufferFull, 1);
            break;
        case BufferEvent::too_large:
            counters_.too_large.add(1);
            VMM_GUEST_LOG("spe", "buffer larger than the limit of {} bytes vcpu={} PMBPTR_EL1={:#x} PMBLIMITR_EL1={:#x}",
                          config_.max_buffer_size, v_.index(), buffer_.pointer(), buffer_.limitr());
            break;
        case BufferEvent::shortage: counters_.shortages.add(1); break;
        case BufferEvent::fault:
        case BufferEvent::misaligned:
            counters_.faults.add(1);
            VMM_GUEST_LOG("spe", "buffer fault vcpu={} PMBSR_EL1={:#x} PMBPTR_EL1={:#x} PMBLIMITR_EL1={:#x}",
                          v_.index(), buffer_.status(), buffer_.pointer(), buffer_.limitr());
            break;
    }
}

// ── Registers ──────────────────────────────────────────────────────────────────────────────────────────────

/// A buffer that is enabled is pinned at once, sampled or not: the walk then costs the guest's register write, not its
/// samples. Pages that are not mapped yet stay unpinned, and fault when they are written.
void ProfilingUnit::pin_buffer() {
    if (pins_ == nullptr) {
        return;
    }
    if (!buffer_active()) {
        pins_->disable();
        return;
    }
    if (buffer_.discards() || buffer_.exceeds_limit()) {
        return;
    }
    pins_->enable(buffer_.pointer(), buffer_.limit(), *regime_);
    follow_pins();
}

/// What changes about the pins of a buffer that stays enabled.
void ProfilingUnit::follow_pins() {
    if (buffer_active() && buffer_.pointer() >= pins_->mark()) {
        pins_->advance(buffer_.pointer(), buffer_.limit(), *regime_);
    }
    if (pins_->take_shortage()) {
        count_event(buffer_.refuse());
    }
    publish_pin_stats();
}

/// With eager faults: what a hypervisor does that must map and pin a buffer before it can be used. The first page that
/// cannot be written stops the buffer, though no record may ever have reached it. Nothing is remembered: each time all pages
/// are looked at.
BufferEvent ProfilingUnit::examine_buffer() {
    if (!features_.eager_faults || !buffer_active() || buffer_.discards()) {
        return BufferEvent::ready;
    }
    if (const BufferEvent event = buffer_.check(); event != BufferEvent::ready) {
        return event;
    }
    const u64 start = buffer_.pointer();
    const u64 end = start + std::min(buffer_.limit() - start, kMaxExamined);
    for (u64 va = start; va < end;) {
        const arch::Translation t = v_.mmu().translate(va, arch::AccessType::write, true, true);
        if (!t.ok) {
            buffer_.fault_at(va, t.fsc);
            return BufferEvent::fault;
        }
        const u64 next = align_down(va, t.page_size) + t.page_size;
        if (next <= va) {
            break;  // the last page of the address space
        }
        va = next;
    }
    return BufferEvent::ready;
}

/// Follows every change of the registers: where samples are taken, and whether the PMU stands still while the buffer does
/// (if software asks both for it).
void ProfilingUnit::follow_state() {
    active_ = buffer_active();
    enabled_at_[0] = profiling_enabled(0);
    enabled_at_[1] = profiling_enabled(1);
    v_.pmu().set_profiled(enabled_at_[0], enabled_at_[1]);
    v_.pmu().set_spe_stopped(buffer_.freezes_counters());
}

void ProfilingUnit::publish_pin_stats() {
    // stats() may be called from another thread: publish what the cache counts for its own.
    const PinCacheStats now = pins_->stats();
    const auto publish = [](Counter& counter, u64 value) { counter.add(value - counter.get()); };
    publish(counters_.enables, now.enables);
    publish(counters_.hits, now.hits);
    publish(counters_.pending_hits, now.pending_hits);
    publish(counters_.table_hits, now.table_hits);
    publish(counters_.walks, now.walks);
    publish(counters_.advances, now.advances);
    publish(counters_.pin_slowest_ns, now.slowest_ns);
    publish(counters_.pin_slowest_cpu_ns, now.slowest_cpu_ns);
    publish(counters_.pages_walked, now.pages_walked);
    publish(counters_.pin_failures, now.failures);
    publish(counters_.pinned_bytes, now.bytes);
}

void ProfilingUnit::control_written(bool buffer_registers) {
    if (buffer_registers) {
        count_event(examine_buffer());
        pin_buffer();
    }
    if (profiling_enabled(v_.s.el)) {
        count_event(buffer_.check());
    }
    follow_state();
    v_.observer_changed();
    if (exit_hook_ && wants_exit()) {
        exit_hook_();
    }
}

// ── Stopped by the host ────────────────────────────────────────────────────────────────────────────────────

bool ProfilingUnit::wants_exit() const {
    const bool selected = pmscr::E0Spe::get(pmscr_) != 0 || pmscr::E1Spe::get(pmscr_) != 0;
    return stop_mode() == StopMode::exit && selected && buffer_.enabled();
}

void ProfilingUnit::set_stop(StopMode mode) {
    stop_.store(mode, std::memory_order_relaxed);
    if (mode != StopMode::none && pins_ != nullptr) {
        pins_->clear();
        publish_pin_stats();
    }
    control_written(true);  // what the guest programmed meanwhile takes effect now
}

u64 ProfilingUnit::read_pmsicr(void* self, arch::Vcpu&) {
    const auto& unit = *static_cast<ProfilingUnit*>(self);
    return unit.sampler_.pmsicr_after(unit.ahead_of_sampler());
}

void ProfilingUnit::write_pmsicr(void* self, arch::Vcpu& v, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.catch_up();
    unit.sampler_.set_pmsicr(value & unit.masks_.pmsicr);
    v.observer_changed();
}

void ProfilingUnit::write_pmsirr(void* self, arch::Vcpu& v, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.catch_up();  // reloads so far used the old interval
    unit.sampler_.set_reload(value & unit.masks_.pmsirr);
    v.observer_changed();
}

void ProfilingUnit::write_pmscr(void* self, arch::Vcpu&, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.pmscr_ = (value & unit.masks_.pmscr) | kPmscrFixed;
    unit.control_written(false);
}

void ProfilingUnit::write_pmblimitr(void* self, arch::Vcpu&, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.buffer_.set_limitr(value);
    unit.control_written(true);
}

void ProfilingUnit::write_pmbptr(void* self, arch::Vcpu&, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.buffer_.set_pointer(value);
    unit.control_written(true);
}

void ProfilingUnit::write_pmbsr(void* self, arch::Vcpu&, u64 value) {
    auto& unit = *static_cast<ProfilingUnit*>(self);
    unit.buffer_.set_status(value);
    unit.control_written(true);
}

std::vector<arch::SysregRow> ProfilingUnit::sysreg_rows() {
    using arch::SysregAccess;
    using arch::SysregRow;
    // Sampling registers are S3_0_C9_C9_n, those of the buffer S3_0_C9_C10_n.
    const auto sampling = [](unsigned op2) { return arch::sysreg_key(3, 0, 9, 9, op2); };
    const auto buffer = [](unsigned op2) { return arch::sysreg_key(3, 0, 9, 10, op2); };
    const u64 pmsidr = pmsidr_value(features_);
    const auto max_size = encode_max_buffer_size(config_.max_buffer_size);
    VMM_CHECK(max_size.has_value());

    // clang-format off
    std::vector<SysregRow> rows{
        {.name = "PMSCR_EL1", .key = sampling(0), .reset = kPmscrFixed, .writable = masks_.pmscr, .fixed = kPmscrFixed,
         .write = &write_pmscr, .ends_block = true, .storage = &pmscr_},
        {.name = "PMSICR_EL1", .key = sampling(2), .writable = masks_.pmsicr, .read = &read_pmsicr,
         .write = &write_pmsicr, .ends_block = true},
        {.name = "PMSIRR_EL1", .key = sampling(3), .writable = masks_.pmsirr,
         .read = [](void* self, arch::Vcpu&) { return static_cast<ProfilingUnit*>(self)->sampler_.reload(); },
         .write = &write_pmsirr, .ends_block = true},
        {.name = "PMSFCR_EL1", .key = sampling(4), .writable = masks_.pmsfcr, .storage = &filters_.pmsfcr},
        {.name = "PMSEVFR_EL1", .key = sampling(5), .writable = masks_.pmsevfr, .storage = &filters_.pmsevfr},
        {.name = "PMSLATFR_EL1", .key = sampling(6), .writable = masks_.pmslatfr, .storage = &filters_.pmslatfr},
        {.name = "PMSIDR_EL1", .key = sampling(7), .access = SysregAccess::ro_el1, .reset = pmsidr, .writable = 0},
        {.name = "PMBIDR_EL1", .key = buffer(7), .access = SysregAccess::ro_el1, .reset = pmbidr_value(features_, *max_size),
         .writable = 0},
    };
    const SysregRow buffer_rows[] = {
        {.name = "PMBLIMITR_EL1", .key = buffer(0), .writable = masks_.pmblimitr,
         .read = [](void* self, arch::Vcpu&) { return static_cast<ProfilingUnit*>(self)->buffer_.limitr(); },
         .write = &write_pmblimitr, .ends_block = true},
        {.name = "PMBPTR_EL1", .key = buffer(1), .writable = masks_.pmbptr,
         .read = [](void* self, arch::Vcpu&) { return static_cast<ProfilingUnit*>(self)->buffer_.pointer(); },
         .write = &write_pmbptr, .ends_block = true},
        {.name = "PMBSR_EL1", .key = buffer(3), .writable = masks_.pmbsr,
         .read = [](void* self, arch::Vcpu&) { return static_cast<ProfilingUnit*>(self)->buffer_.status(); },
         .write = &write_pmbsr, .ends_block = true},
    };
    // clang-format on
    // An access that the owner traps and refuses looks like one to a register that is not there.
    if (!features_.higher_owner) {
        rows.insert(rows.end(), std::begin(buffer_rows), std::end(buffer_rows));
    }
    if (has_inverted_event_filter(config_.pmsver)) {
        rows.push_back({.name = "PMSNEVFR_EL1",
                        .key = sampling(1),
                        .writable = masks_.pmsevfr,
                        .storage = &filters_.pmsnevfr});
    }
    if (features_.fds) {
        rows.push_back(
            {.name = "PMSDSFR_EL1", .key = buffer(4), .writable = masks_.pmsdsfr, .storage = &filters_.pmsdsfr});
    }
    return rows;
}

ProfilingStats ProfilingUnit::stats() const {
    const Counters& c = counters_;
    return {.population = c.population.get(),
            .samples = c.samples.get(),
            .filtered = c.filtered.get(),
            .discarded = c.discarded.get(),
            .collisions = c.collisions.get(),
            .dropped = c.dropped.get(),
            .records = c.records.get(),
            .bytes = c.bytes.get(),
            .buffer_full = c.buffer_full.get(),
            .faults = c.faults.get(),
            .too_large = c.too_large.get(),
            .ignored_aborts = c.ignored_aborts.get(),
            .shortages = c.shortages.get(),
            .blackout = c.blackout.get(),
            .store_times = store_times_.histogram(),
            .pins = {.enables = c.enables.get(),
                     .hits = c.hits.get(),
                     .pending_hits = c.pending_hits.get(),
                     .table_hits = c.table_hits.get(),
                     .walks = c.walks.get(),
                     .advances = c.advances.get(),
                     .pages_walked = c.pages_walked.get(),
                     .failures = c.pin_failures.get(),
                     .bytes = c.pinned_bytes.get(),
                     .slowest_ns = c.pin_slowest_ns.get(),
                     .slowest_cpu_ns = c.pin_slowest_cpu_ns.get()}};
}

}  // namespace vmm::spe
