#include "spe/memory_system.h"

#include <algorithm>
#include <bit>

#include "vmm/base/check.h"

namespace vmm::spe {

namespace {

constexpr std::size_t kMaxDirectoryEntries = std::size_t{1} << 20;

u64 lines_of(const CacheGeometry& geometry) {
    return geometry.bytes >> kCacheLineShift;
}

std::size_t sets_of(const CacheGeometry& geometry) {
    VMM_CHECK(geometry.ways != 0 && std::has_single_bit(lines_of(geometry) / geometry.ways));
    return static_cast<std::size_t>(lines_of(geometry) / geometry.ways);
}

/// Twice what all private caches hold, so that it seldom forgets what matters, within kMaxDirectoryEntries.
std::size_t directory_sets(const MemoryGeometry& geometry, unsigned cores) {
    const u64 wanted = 2 * cores * (lines_of(geometry.l1) + lines_of(geometry.l2));
    const std::size_t entries = std::min(static_cast<std::size_t>(std::bit_ceil(wanted)), kMaxDirectoryEntries);
    return std::max(std::bit_floor(entries / geometry.directory_ways), std::size_t{64});
}

LineState state_of(u64 word) {
    return static_cast<LineState>(word & 3);
}

}  // namespace

// ── Private caches ─────────────────────────────────────────────────────────────────────────────────────────

PrivateCaches::Array::Array(const CacheGeometry& geometry)
    : sets(sets_of(geometry)), ways(geometry.ways), words(sets * ways), used(sets * ways) {}

std::size_t PrivateCaches::Array::victim(std::size_t first) const {
    std::size_t oldest = first;
    for (std::size_t i = first; i < first + ways; ++i) {
        if (words[i].load(std::memory_order_relaxed) == 0) {
            return i;
        }
        oldest = used[i] < used[oldest] ? i : oldest;
    }
    return oldest;
}

PrivateCaches::PrivateCaches(const MemoryGeometry& geometry) : l1_(geometry.l1), l2_(geometry.l2) {}

std::size_t PrivateCaches::find(const Array& array, u64 line) {
    const std::size_t first = array.set(line);
    for (std::size_t i = first; i < first + array.ways; ++i) {
        if (array.words[i].load(std::memory_order_seq_cst) >> 2 == line + 1) {
            return i;
        }
    }
    return kAbsent;
}

bool PrivateCaches::in_l1(u64 line) {
    const std::size_t at = find(l1_, line);
    if (at == kAbsent) {
        return false;
    }
    l1_.used[at] = ++clock_;
    return true;
}

LineState PrivateCaches::in_l2(u64 line) {
    const std::size_t at = find(l2_, line);
    if (at == kAbsent) {
        return LineState::invalid;
    }
    l2_.used[at] = ++clock_;
    return state_of(l2_.words[at].load(std::memory_order_seq_cst));
}

bool PrivateCaches::own(u64 line) {
    const std::size_t at = find(l2_, line);
    if (at == kAbsent) {
        return false;
    }
    u64 expected = word(line, LineState::exclusive);
    return l2_.words[at].compare_exchange_strong(expected, word(line, LineState::modified)) ||
           expected == word(line, LineState::modified);
}

/// The line may be taken away between in_l2() and here: then the other PE either sees it in L1 and removes it, or we see that
/// it is gone from L2.
void PrivateCaches::fill_l1(u64 line) {
    if (find(l1_, line) == kAbsent) {
        const std::size_t at = l1_.victim(l1_.set(line));
        l1_.words[at].store(word(line, LineState::shared));
        l1_.used[at] = ++clock_;
    }
    if (find(l2_, line) == kAbsent) {
        drop_l1(line);
    }
}

u64 PrivateCaches::fill(u64 line, LineState state) {
    std::size_t at = find(l2_, line);
    u64 victim = 0;
    if (at == kAbsent) {
        at = l2_.victim(l2_.set(line));
        victim = l2_.words[at].exchange(word(line, state));
        if (victim != 0) {
            drop_l1((victim >> 2) - 1);
        }
    } else {
        l2_.words[at].store(word(line, state));
    }
    l2_.used[at] = ++clock_;
    fill_l1(line);
    return state_of(victim) == LineState::modified ? victim >> 2 : 0;
}

void PrivateCaches::clear() {
    for (Array* array : {&l2_, &l1_}) {
        for (Word& w : array->words) {
            w.store(0);
        }
    }
}

LineState PrivateCaches::peek(u64 line) const {
    const std::size_t at = find(l2_, line);
    const u64 now = at == kAbsent ? 0 : l2_.words[at].load();
    return now >> 2 == line + 1 ? state_of(now) : LineState::invalid;
}

void PrivateCaches::downgrade(u64 line) {
    const std::size_t at = find(l2_, line);
    if (at == kAbsent) {
        return;
    }
    u64 now = l2_.words[at].load();
    while (now >> 2 == line + 1 && !l2_.words[at].compare_exchange_weak(now, word(line, LineState::shared))) {
    }
}

void PrivateCaches::invalidate(u64 line) {
    const std::size_t at = find(l2_, line);
    if (at != kAbsent) {
        u64 now = l2_.words[at].load();
        while (now >> 2 == line + 1 && !l2_.words[at].compare_exchange_weak(now, 0)) {
        }
    }
    drop_l1(line);
}

void PrivateCaches::drop_l1(u64 line) {
    const std::size_t at = find(l1_, line);
    if (at != kAbsent) {
        u64 expected = word(line, LineState::shared);
        l1_.words[at].compare_exchange_strong(expected, 0);
    }
}

// ── All of them ────────────────────────────────────────────────────────────────────────────────────────────

MemorySystem::MemorySystem(const MemoryGeometry& geometry, unsigned cores)
    : geometry_(geometry),
      shards_(kShards),
      directory_sets_(directory_sets(geometry, cores)),
      directory_(directory_sets_ * geometry.directory_ways),
      llc_sets_(sets_of(geometry.llc)),
      llc_(llc_sets_ * geometry.llc.ways) {
    VMM_CHECK(cores >= 1 && cores <= kMaxCores);
    VMM_CHECK(geometry.cores_per_cluster != 0);
    // A set, of the directory or the last-level cache, belongs to one shard.
    VMM_CHECK(directory_sets_ % kShards == 0 && llc_sets_ % kShards == 0);
    for (unsigned i = 0; i < cores; ++i) {
        cores_.push_back(std::make_unique<PrivateCaches>(geometry));
    }
}

AccessOutcome MemorySystem::access(unsigned core, u64 line, bool exclusive) {
    PrivateCaches& own = *cores_[core];
    AccessOutcome outcome;
    if (!own.in_l1(line)) {
        if (own.in_l2(line) == LineState::invalid) {
            return fetch(core, line, exclusive);
        }
        own.fill_l1(line);
        outcome.origin = DataOrigin::l2;
    }
    if (exclusive && !own.own(line)) {
        const AccessOutcome upgrade = fetch(core, line, true);
        if (upgrade.origin != DataOrigin::l2) {
            return upgrade;  // it was taken away meanwhile
        }
        outcome.snooped = upgrade.snooped;
    }
    return outcome;
}

/// The PE lacks the line, or the right to write it (then the answer is l2: no data moves).
AccessOutcome MemorySystem::fetch(unsigned core, u64 line, bool exclusive) {
    PrivateCaches& own = *cores_[core];
    AccessOutcome outcome;
    u64 written_back = 0;
    {
        Shard& s = shard(line);
        const std::lock_guard lock(s.mutex);
        DirectoryEntry& entry = directory_entry(s, line);
        bool others = false;
        outcome = snoop(core, line, exclusive, entry, others);
        if (own.peek(line) != LineState::invalid) {
            outcome.origin = DataOrigin::l2;
        } else {
            // The last-level cache comes first, unless a peer has newer data; a clean copy of a peer comes before DRAM.
            const bool in_llc = touch_llc(s, line);
            if (!outcome.modified && in_llc) {
                outcome = {DataOrigin::llc, false, false};
            }
        }
        entry.sharers |= u64{1} << core;
        const LineState state = exclusive ? LineState::modified
                                : others  ? LineState::shared
                                          : LineState::exclusive;
        written_back = own.fill(line, state);
    }
    if (written_back != 0) {
        Shard& s = shard(written_back - 1);
        const std::lock_guard lock(s.mutex);
        touch_llc(s, written_back - 1);
    }
    return outcome;
}

/// Looks the line up at the peers that may have it, and takes from them what `core` needs.
AccessOutcome MemorySystem::snoop(unsigned core, u64 line, bool exclusive, DirectoryEntry& entry, bool& others) {
    AccessOutcome outcome{DataOrigin::dram, false, false};
    for (u64 left = entry.sharers & ~(u64{1} << core); left != 0; left &= left - 1) {
        const unsigned peer = static_cast<unsigned>(std::countr_zero(left));
        const LineState state = cores_[peer]->peek(line);
        if (state == LineState::invalid) {
            entry.sharers &= ~(u64{1} << peer);  // left silently
            continue;
        }
        const bool near = peer / geometry_.cores_per_cluster == core / geometry_.cores_per_cluster;
        outcome.snooped = true;
        outcome.modified |= state == LineState::modified;
        if (near || outcome.origin == DataOrigin::dram) {
            outcome.origin = near ? DataOrigin::peer_core : DataOrigin::peer_cluster;
        }
        if (exclusive) {
            cores_[peer]->invalidate(line);
            entry.sharers &= ~(u64{1} << peer);
        } else {
            cores_[peer]->downgrade(line);
            others = true;
        }
    }
    return outcome;
}

MemorySystem::DirectoryEntry& MemorySystem::directory_entry(Shard& s, u64 line) {
    DirectoryEntry* const first = &directory_[(line & (directory_sets_ - 1)) * geometry_.directory_ways];
    DirectoryEntry* chosen = first;
    for (DirectoryEntry* e = first; e != first + geometry_.directory_ways; ++e) {
        if (e->tag == line + 1) {
            e->used = ++s.clock;
            return *e;
        }
        chosen = e->used < chosen->used ? e : chosen;  // free entries have never been used
    }
    if (chosen->tag != 0) {
        for (u64 left = chosen->sharers; left != 0; left &= left - 1) {
            PrivateCaches& peer = *cores_[static_cast<unsigned>(std::countr_zero(left))];
            if (peer.peek(chosen->tag - 1) == LineState::modified) {
                touch_llc(s, chosen->tag - 1);  // the same shard
            }
            peer.invalidate(chosen->tag - 1);
        }
    }
    *chosen = {line + 1, 0, ++s.clock};
    return *chosen;
}

/// True when present; inserts it otherwise.
bool MemorySystem::touch_llc(Shard& s, u64 line) {
    SharedWay* const first = &llc_[(line & (llc_sets_ - 1)) * geometry_.llc.ways];
    SharedWay* chosen = first;
    for (SharedWay* w = first; w != first + geometry_.llc.ways; ++w) {
        if (w->tag == line + 1) {
            w->used = ++s.clock;
            return true;
        }
        chosen = w->used < chosen->used ? w : chosen;
    }
    *chosen = {line + 1, ++s.clock};
    return false;
}

}  // namespace vmm::spe
