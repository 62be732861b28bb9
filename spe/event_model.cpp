#include "spe/event_model.h"

#include <algorithm>

#include "spe/latency_table.h"
#include "spe/op_type.h"
#include "spe/spe_words.h"

namespace vmm::spe {

namespace {

using arch::OpClass;

constexpr unsigned kLineShift = 6;
constexpr unsigned kPageShift = 12;
constexpr u64 kLineBytes = u64{1} << kLineShift;

// Capacities modelled: 64 KiB of L1 lines, 1 MiB and 8 MiB of pages.
constexpr unsigned kL1Sets = 256;
constexpr unsigned kL1Ways = 4;
constexpr unsigned kL2Sets = 32;
constexpr unsigned kL2Ways = 8;
constexpr unsigned kLlcSets = 256;
constexpr unsigned kLlcWays = 8;

/// Load-to-use, by where the data was.
constexpr Cycles memory_cycles(MemoryLevel level) {
    switch (level) {
        case MemoryLevel::l1: return {4, 1};
        case MemoryLevel::l2: return {11, 4};
        case MemoryLevel::llc: return {38, 24};
        case MemoryLevel::dram: return {150, 100};
        case MemoryLevel::device: return {120, 80};
    }
    return {4, 1};
}

/// The Neoverse encoding, which perf decodes by the MIDR.
constexpr u16 data_source(MemoryLevel level) {
    switch (level) {
        case MemoryLevel::l1: return 0x0;
        case MemoryLevel::l2: return 0x8;
        case MemoryLevel::llc: return 0xB;
        case MemoryLevel::dram:
        case MemoryLevel::device: return 0xE;  // IMPDEF: the encoding has nothing for devices
    }
    return 0;
}

}  // namespace

void RecencyTable::clear() {
    std::fill(tags_.begin(), tags_.end(), 0);
    std::fill(next_.begin(), next_.end(), u8{0});
}

bool BranchPredictor::conditional(const arch::OpTrace& trace) {
    u8& counter = counters_[(trace.pc >> 2 ^ trace.pc >> 12) % kCounters];
    if (counter == 0) {
        counter = trace.taken ? 3 : 2;  // a branch seen for the first time is guessed right
        return false;
    }
    const bool predicted_taken = counter >= 3;
    counter = static_cast<u8>(trace.taken ? std::min(counter + 1, 4) : std::max(counter - 1, 1));
    return predicted_taken != trace.taken;
}

bool BranchPredictor::indirect(const arch::OpTrace& trace) {
    Target& entry = targets_[(trace.pc >> 2 ^ trace.pc >> 10) % kTargets];
    const bool right = entry.pc == trace.pc && entry.target == trace.target;
    entry = {trace.pc, trace.target};
    return !right;
}

bool BranchPredictor::mispredicted(const arch::OpTrace& trace) {
    switch (trace.op_class) {
        case OpClass::branch_cond: return conditional(trace);
        case OpClass::branch_ind:
        case OpClass::branch_ind_link: return trace.taken && indirect(trace);
        default: return false;  // direct branches, and returns, which a return stack predicts
    }
}

void BranchPredictor::clear() {
    counters_.fill(0);
    targets_.fill({});
}

BasicModel::BasicModel(u8 pmsver, u64 seed)
    : pmsver_(pmsver),
      rng_(seed),
      l1_lines_(kL1Sets, kL1Ways),
      l2_pages_(kL2Sets, kL2Ways),
      llc_pages_(kLlcSets, kLlcWays) {}

void BasicModel::reset() {
    l1_lines_.clear();
    l2_pages_.clear();
    llc_pages_.clear();
    predictor_.clear();
}

/// A line sampled recently is a hit. Of the others, an access of `size` bytes in a sequence is the first of its line once
/// in 64/size times; the rest were brought in by neighbours that were not sampled. Pages stand for the levels below.
MemoryLevel BasicModel::locate(const arch::OpTrace& trace) {
    if (trace.is_device) {
        return MemoryLevel::device;
    }
    const bool in_l2 = l2_pages_.touch(trace.pa >> kPageShift);
    const bool in_llc = llc_pages_.touch(trace.pa >> kPageShift);
    if (l1_lines_.touch(trace.pa >> kLineShift)) {
        return MemoryLevel::l1;
    }
    if (rng_.below(kLineBytes) >= std::clamp<u64>(trace.size, 1, kLineBytes)) {
        return MemoryLevel::l1;
    }
    return in_l2 ? MemoryLevel::l2 : in_llc ? MemoryLevel::llc : MemoryLevel::dram;
}

MemoryLevel BasicModel::memory_events(const arch::OpTrace& trace, Sample& sample) {
    if (trace.has_va) {
        sample.events |= event::kTlbAccess;
        sample.events |= trace.tlb_walk ? event::kTlbWalk : 0;
        sample.events |= trace.misaligned && pmsver_ >= kSpeV1p1 ? event::kMisaligned : 0;
        sample.va = trace.va;
    }
    MemoryLevel level = MemoryLevel::l1;
    if (trace.pa_valid && !trace.exception) {
        sample.pa = trace.pa;
    }
    if (trace.accessed_memory()) {
        level = locate(trace);
        if (level != MemoryLevel::device) {
            sample.events |= event::kL1dAccess;
        }
        if (level == MemoryLevel::l2 || level == MemoryLevel::llc || level == MemoryLevel::dram) {
            sample.events |= event::kL1dRefill;
        }
        if (level == MemoryLevel::llc || level == MemoryLevel::dram) {
            sample.events |= event::kLlcAccess;
        }
        if (level == MemoryLevel::dram) {
            sample.events |= event::kLlcMiss;
        }
        if (pmsver_ >= kSpeV1p4 && sample.type.is_load() && (sample.events & event::kL1dRefill) != 0) {
            sample.events |= event::kL2Access | (level != MemoryLevel::l2 ? event::kL2Miss : 0);
        }
    }
    if (sample.type.is_load() && !trace.exception) {
        sample.data_source = data_source(level);
    }
    return level;
}

void BasicModel::latencies(const arch::OpTrace& trace, MemoryLevel level, Sample& sample) {
    const auto cycles = [this](Cycles c) { return vary(c.base, c.spread); };
    sample.issue_latency = cycles(kIssue);
    u32 rest = cycles(execution_cycles(trace.op_class));
    if (sample.type.is_memory() && trace.has_va) {
        const u32 translation =
            cycles(trace.tlb_walk ? kTlbWalk : trace.tlb_refill ? kTlbRefill : kTlbHit);
        sample.translation_latency = translation;
        rest += translation;
        rest += sample.type.is_load() && !trace.exception ? cycles(memory_cycles(level)) : 0;
        rest += trace.op_class == OpClass::atomic ? cycles(kAtomicExtra) : 0;
        rest += trace.misaligned ? cycles(kMisalignedExtra) : 0;
    }
    rest += (sample.events & event::kMispredicted) != 0 ? cycles(kMispredictPenalty) : 0;
    rest += trace.exception ? cycles(kExceptionExtra) : 0;
    sample.total_latency = sample.issue_latency + rest;
}

[[gnu::flatten]] Sample BasicModel::evaluate(const arch::OpTrace& trace) {
    Sample sample;
    sample.type = classify(trace, pmsver_);
    sample.pc = {trace.pc, trace.el};
    sample.events = event::kRetired;
    sample.events |= trace.exception ? event::kException : 0;
    sample.events |= trace.conditional && trace.cond_failed ? event::kNotTaken : 0;
    if (sample.type.packet == OpPacketClass::branch && !trace.exception) {
        sample.events |= predictor_.mispredicted(trace) ? event::kMispredicted : 0;
        if (trace.taken) {
            sample.target = CodeAddress{trace.target, trace.target_el};
        }
    }
    const MemoryLevel level = sample.type.is_memory() ? memory_events(trace, sample) : MemoryLevel::l1;
    latencies(trace, level, sample);
    return sample;
}

}  // namespace vmm::spe
