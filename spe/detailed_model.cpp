#include "spe/detailed_model.h"

#include <algorithm>
#include <bit>

#include "spe/op_type.h"
#include "spe/spe_words.h"
#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::spe {

namespace {

using arch::OpClass;

constexpr unsigned kPageShift = 12;
constexpr u8 kWeaklyNo = 1;
constexpr u8 kMaxCounter = 3;

void train(u8& counter, bool up) {
    counter = static_cast<u8>(up ? std::min<unsigned>(counter + 1u, kMaxCounter) : counter - (counter != 0));
}

bool says_yes(u8 counter) {
    return counter > kWeaklyNo;
}

template <class T>
T& entry(std::vector<T>& table, u64 hash) {
    return table[static_cast<std::size_t>(hash) & (table.size() - 1)];
}

/// The Neoverse encoding, which perf decodes by the MIDR.
constexpr u16 data_source(const AccessOutcome& data) {
    switch (data.origin) {
        case DataOrigin::l1: return 0x0;
        case DataOrigin::l2: return 0x8;
        case DataOrigin::peer_core: return data.modified ? 0x9 : 0xA;  // clean data of the cluster: "local cluster"
        case DataOrigin::peer_cluster: return 0xC;
        case DataOrigin::llc: return 0xB;
        case DataOrigin::dram: return 0xE;
    }
    return 0;
}

constexpr u16 kDeviceSource = 0xE;  // IMPDEF: the encoding has nothing for devices

bool writes(const arch::OpTrace& trace) {
    return trace.is_write || trace.is_atomic || trace.op_class == OpClass::dc_zva;
}

}  // namespace

// ── Branches ───────────────────────────────────────────────────────────────────────────────────────────────

BranchUnit::BranchUnit(const DetailedParameters& parameters)
    : bimodal_(parameters.bimodal_counters, kWeaklyNo),
      gshare_(parameters.gshare_counters, kWeaklyNo),
      prefer_gshare_(parameters.bimodal_counters, kWeaklyNo),
      by_path_(parameters.indirect_targets),
      by_pc_(parameters.indirect_targets),
      returns_(parameters.return_stack),
      history_mask_(ones(parameters.history_bits)) {
    VMM_CHECK(std::has_single_bit(bimodal_.size()) && std::has_single_bit(gshare_.size()));
    VMM_CHECK(std::has_single_bit(by_path_.size()) && !returns_.empty());
}

void BranchUnit::clear() {
    std::fill(bimodal_.begin(), bimodal_.end(), kWeaklyNo);
    std::fill(gshare_.begin(), gshare_.end(), kWeaklyNo);
    std::fill(prefer_gshare_.begin(), prefer_gshare_.end(), kWeaklyNo);
    std::fill(by_path_.begin(), by_path_.end(), Target{});
    std::fill(by_pc_.begin(), by_pc_.end(), Target{});
    top_ = depth_ = 0;
    history_ = path_ = 0;
}

bool BranchUnit::conditional(const arch::OpTrace& trace) {
    const u64 pc = trace.pc >> 2;
    u8& local = entry(bimodal_, pc ^ pc >> 13);
    u8& global = entry(gshare_, pc ^ pc >> 14 ^ history_);
    u8& choice = entry(prefer_gshare_, pc ^ pc >> 13);
    const bool local_right = says_yes(local) == trace.taken;
    const bool global_right = says_yes(global) == trace.taken;
    const bool right = says_yes(choice) ? global_right : local_right;
    if (local_right != global_right) {
        train(choice, global_right);
    }
    train(local, trace.taken);
    train(global, trace.taken);
    history_ = (history_ << 1 | static_cast<u64>(trace.taken)) & history_mask_;
    return !right;
}

bool BranchUnit::indirect(const arch::OpTrace& trace) {
    const u64 pc = trace.pc >> 2;
    Target& long_term = entry(by_path_, pc ^ pc >> 9 ^ path_);
    Target& last = entry(by_pc_, pc ^ pc >> 9);
    const Target& predicted = long_term.pc == trace.pc ? long_term : last;
    const bool right = predicted.pc == trace.pc && predicted.target == trace.target;
    long_term = last = {trace.pc, trace.target};
    path_ = (path_ << 3 ^ trace.target >> 2) & ones(24);
    path_ ^= path_ >> 12;
    return !right;
}

void BranchUnit::call(u64 return_address) {
    top_ = (top_ + 1) % returns_.size();
    depth_ = std::min(depth_ + 1, returns_.size());
    returns_[top_] = return_address;
}

bool BranchUnit::returns_elsewhere(u64 target) {
    if (depth_ == 0) {
        return true;
    }
    const u64 predicted = returns_[top_];
    top_ = (top_ + returns_.size() - 1) % returns_.size();
    --depth_;
    return predicted != target;
}

bool BranchUnit::mispredicted(const arch::OpTrace& trace) {
    bool wrong = false;
    switch (trace.op_class) {
        case OpClass::branch_cond: return conditional(trace);
        case OpClass::branch_link: call(trace.pc + 4); return false;
        case OpClass::branch_ind: return trace.taken && indirect(trace);
        case OpClass::branch_ind_link:
            wrong = trace.taken && indirect(trace);
            call(trace.pc + 4);
            return wrong;
        case OpClass::branch_ret: return trace.taken && returns_elsewhere(trace.target);
        default: return false;  // B and ERET
    }
}

// ── The model ──────────────────────────────────────────────────────────────────────────────────────────────

DetailedModel::DetailedModel(u8 pmsver, u64 seed, MemorySystem& memory, unsigned core,
                             const DetailedParameters& parameters)
    : pmsver_(pmsver),
      parameters_(parameters),
      rng_(seed),
      memory_(memory),
      core_(core),
      l1_dtlb_(parameters.l1_dtlb.sets, parameters.l1_dtlb.ways),
      l2_dtlb_(parameters.l2_dtlb.sets, parameters.l2_dtlb.ways),
      branches_(parameters) {
    VMM_CHECK(core < memory.cores());
}

void DetailedModel::reset() {
    memory_.reset(core_);
    l1_dtlb_.clear();
    l2_dtlb_.clear();
    branches_.clear();
    fills_ = {};
    last_ready_ = now_ = 0;
}

const Cycles& DetailedModel::origin_cycles(DataOrigin origin) const {
    switch (origin) {
        case DataOrigin::l1: return parameters_.l1;
        case DataOrigin::l2: return parameters_.l2;
        case DataOrigin::peer_core: return parameters_.peer_core;
        case DataOrigin::peer_cluster: return parameters_.peer_cluster;
        case DataOrigin::llc: return parameters_.llc;
        case DataOrigin::dram: return parameters_.dram;
    }
    return parameters_.l1;
}

/// An entry is a pair of pages, so that address spaces do not meet each other's. What the guest invalidated shows as a walk
/// that was really made.
void DetailedModel::translate(const arch::OpTrace& trace, Facts& facts) {
    facts.tlb_walk = trace.tlb_walk;
    if (!trace.pa_valid) {
        return;
    }
    constexpr u64 kSpread = 0x9E3779B97F4A7C15;
    const u64 key = (trace.va >> kPageShift) ^ ((trace.pa >> kPageShift) * kSpread << 20);  // neighbours in other sets
    facts.tlb_refill = !l1_dtlb_.touch(key);
    if (facts.tlb_refill && !l2_dtlb_.touch(key)) {
        facts.tlb_walk = true;
    }
}

void DetailedModel::access_line(u64 line, bool exclusive, Facts& facts) {
    const AccessOutcome outcome = memory_.access(core_, line, exclusive);
    if (outcome.origin != DataOrigin::l1) {
        fills_[next_fill_] = {line, now_ + origin_cycles(outcome.origin).base};
        last_ready_ = std::max(last_ready_, fills_[next_fill_].ready);
        next_fill_ = (next_fill_ + 1) % fills_.size();
    } else if (now_ < last_ready_) {
        for (const Fill& fill : fills_) {
            if (fill.line == line && fill.ready > now_) {
                facts.fetching = true;
                facts.wait_cycles = std::max(facts.wait_cycles, static_cast<u32>(fill.ready - now_));
            }
        }
    }
    // Of several lines the one that came from furthest away counts.
    if (!facts.cached || origin_cycles(outcome.origin).base > origin_cycles(facts.data.origin).base) {
        facts.data = outcome;
    }
    facts.cached = true;
}

void DetailedModel::access(const arch::OpTrace& trace, Facts& facts) {
    const u64 page_end = trace.pa | ones(kPageShift);
    const u64 last = std::min(trace.pa + std::max<u64>(trace.size, 1) - 1, page_end);  // what follows is elsewhere
    for (u64 line = trace.pa >> kCacheLineShift; line <= last >> kCacheLineShift; ++line) {
        access_line(line, writes(trace), facts);
    }
    facts.fetching = facts.fetching && facts.data.origin == DataOrigin::l1;
}

DetailedModel::Facts DetailedModel::follow(const arch::OpTrace& trace) {
    Facts facts;
    ++now_;
    if (trace.has_va) {
        translate(trace, facts);
        if (trace.accessed_memory() && !trace.is_device) {
            access(trace, facts);
        }
    } else if (!trace.exception) {
        facts.mispredicted = branches_.mispredicted(trace);
    }
    return facts;
}

void DetailedModel::memory_events(const arch::OpTrace& trace, const Facts& facts, Sample& sample) const {
    if (trace.has_va) {
        sample.events |= event::kTlbAccess;
        sample.events |= facts.tlb_walk ? event::kTlbWalk : 0;
        sample.events |= trace.misaligned && pmsver_ >= kSpeV1p1 ? event::kMisaligned : 0;
        sample.va = trace.va;
    }
    if (trace.pa_valid && !trace.exception) {
        sample.pa = trace.pa;
    }
    const bool load = sample.type.is_load();
    if (facts.cached) {
        const DataOrigin origin = facts.data.origin;
        const bool beyond_l2 = origin != DataOrigin::l1 && origin != DataOrigin::l2;
        sample.events |= event::kL1dAccess;
        sample.events |= origin != DataOrigin::l1 ? event::kL1dRefill : 0;
        sample.events |= beyond_l2 ? event::kLlcAccess : 0;
        sample.events |= beyond_l2 && origin != DataOrigin::llc ? event::kLlcMiss : 0;
        if (load && pmsver_ >= kSpeV1p4) {
            sample.events |= origin != DataOrigin::l1 ? event::kL2Access : 0;
            sample.events |= beyond_l2 ? event::kL2Miss : 0;
            sample.events |= beyond_l2 && facts.data.modified ? event::kHitModified : 0;
            sample.events |= beyond_l2 && facts.data.snooped ? event::kSnooped : 0;
            sample.events |= facts.fetching ? event::kRecentlyFetched : 0;
        }
    }
    if (load && !trace.exception) {
        sample.data_source = facts.cached ? data_source(facts.data) : trace.is_device ? kDeviceSource : u16{0};
    }
}

Cycles DetailedModel::memory_cycles(const arch::OpTrace& trace, const Facts& facts) const {
    if (!facts.cached) {
        return trace.is_device ? parameters_.device : parameters_.l1;
    }
    Cycles cycles = origin_cycles(facts.data.origin);
    cycles.base = std::max(cycles.base, facts.fetching ? facts.wait_cycles : 0);
    return cycles;
}

void DetailedModel::latencies(const arch::OpTrace& trace, const Facts& facts, Sample& sample) {
    const auto cycles = [this](Cycles c) { return c.base + static_cast<u32>(rng_.below(u64{c.spread} + 1)); };
    sample.issue_latency = cycles(kIssue);
    u32 rest = cycles(execution_cycles(trace.op_class));
    if (sample.type.is_memory() && trace.has_va) {
        const u32 translation = cycles(facts.tlb_walk ? kTlbWalk : facts.tlb_refill ? kTlbRefill : kTlbHit);
        sample.translation_latency = translation;
        rest += translation;
        rest += sample.type.is_load() && !trace.exception ? cycles(memory_cycles(trace, facts)) : 0;
        rest += trace.op_class == OpClass::atomic ? cycles(kAtomicExtra) : 0;
        rest += trace.misaligned ? cycles(kMisalignedExtra) : 0;
    }
    rest += facts.mispredicted ? cycles(kMispredictPenalty) : 0;
    rest += trace.exception ? cycles(kExceptionExtra) : 0;
    sample.total_latency = sample.issue_latency + rest;
}

Sample DetailedModel::evaluate(const arch::OpTrace& trace) {
    const Facts facts = follow(trace);
    Sample sample;
    sample.type = classify(trace, pmsver_);
    sample.pc = {trace.pc, trace.el};
    sample.events = event::kRetired;
    sample.events |= trace.exception ? event::kException : 0;
    sample.events |= trace.conditional && trace.cond_failed ? event::kNotTaken : 0;
    sample.events |= facts.mispredicted ? event::kMispredicted : 0;
    if (sample.type.packet == OpPacketClass::branch && !trace.exception && trace.taken) {
        sample.target = CodeAddress{trace.target, trace.target_el};
    }
    if (sample.type.is_memory()) {
        memory_events(trace, facts, sample);
    }
    latencies(trace, facts, sample);
    return sample;
}

}  // namespace vmm::spe
