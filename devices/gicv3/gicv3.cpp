#include "devices/gicv3/gicv3.h"

#include "devices/gicv3/frames.h"
#include "devices/gicv3/pe.h"
#include "vmm/base/check.h"

namespace vmm::devices {

GicV3::GicV3(std::span<const GicPe> pes, unsigned spis) {
    VMM_CHECK(!pes.empty() && pes.size() <= kMaxPes);
    VMM_CHECK(spis >= 1 && spis <= kMaxSpis);
    spis_.resize((spis + 31) / 32);
    routes_.resize(spis_.size() * 32);
    targets_.resize(spis_.size() * 32, -1);
    for (unsigned n = 0; n < routes_.size(); ++n) {
        spi_lines_.push_back(std::make_unique<Line>(*this, 0, kFirstSpi + n));
    }
    for (unsigned n = 0; n < pes.size(); ++n) {
        auto pe = std::make_unique<Pe>();
        pe->index = n;
        pe->affinity = pes[n].mpidr & kAffinityMask;
        pe->pins = pes[n].pins;
        pe->interface.reset(new GicCpuInterface(*this, n));
        for (unsigned i = 0; i < pe->ppi_lines.size(); ++i) {
            pe->ppi_lines[i] = std::make_unique<Line>(*this, n, kFirstPpi + i);
        }
        VMM_CHECK(pe_by_affinity(pe->affinity) < 0);
        pes_.push_back(std::move(pe));
    }
    distributor_ = std::make_unique<Distributor>(*this);
    redistributors_ = std::make_unique<Redistributors>(*this);
    reset();
}

GicV3::~GicV3() = default;

Device& GicV3::distributor() { return *distributor_; }
Device& GicV3::redistributors() { return *redistributors_; }

GicCpuInterface& GicV3::cpu_interface(unsigned cpu) {
    VMM_CHECK(cpu < pes_.size());
    return *pes_[cpu]->interface;
}

arch::IrqLine& GicV3::spi(unsigned intid) {
    VMM_CHECK(intid >= kFirstSpi && intid < intid_count());
    return *spi_lines_[intid - kFirstSpi];
}

arch::IrqLine& GicV3::ppi(unsigned cpu, unsigned intid) {
    VMM_CHECK(cpu < pes_.size() && intid >= kFirstPpi && intid < kFirstSpi);
    return *pes_[cpu]->ppi_lines[intid - kFirstPpi];
}

void GicV3::reset() {
    const std::lock_guard lock(mutex_);
    group_enables_ = 0;
    for (IrqWord& word : spis_) {
        word.reset(0);
    }
    for (unsigned n = 0; n < routes_.size(); ++n) {
        set_route(n, 0);
    }
    for (const auto& pe : pes_) {
        pe->local.reset(kSgiMask);
        pe->asleep = true;
        reset_pe(*pe);
        update_pe(*pe);
    }
}

void GicV3::reset_cpu_interface(unsigned cpu) {
    VMM_CHECK(cpu < pes_.size());
    const std::lock_guard lock(mutex_);
    reset_pe(*pes_[cpu]);
    update_pe(*pes_[cpu]);
}

void GicV3::reset_pe(Pe& pe) {
    pe.group_enable = {};
    pe.bpr = {kMinBpr[0], kMinBpr[1]};
    pe.active_priorities = {};
    pe.pmr = 0;
    pe.cbpr = false;
    pe.eoi_mode = false;
}

IrqWord* GicV3::word_of(Pe& pe, unsigned intid) {
    if (intid < kFirstSpi) {
        return &pe.local;
    }
    return intid < intid_count() ? &spis_[intid / 32 - 1] : nullptr;
}

GicV3::Candidate GicV3::highest_candidate(const Pe& pe) const {
    Candidate best = kNoCandidate;
    const bool enabled[2] = {pe.group_enable[0] && bit(group_enables_, 0), pe.group_enable[1] && bit(group_enables_, 1)};
    if (pe.asleep || !(enabled[0] || enabled[1])) {
        return best;
    }
    const auto consider = [&](const IrqWord& word, u32 mask, unsigned first) {
        u32 left = word.deliverable() & mask & ((enabled[0] ? ~word.group : 0) | (enabled[1] ? word.group : 0));
        for (; left != 0; left &= left - 1) {
            const auto n = static_cast<unsigned>(std::countr_zero(left));
            if (word.priority[n] < best.priority) {
                best = {first + n, word.priority[n], (word.group >> n) & 1};
            }
        }
    };
    consider(pe.local, ~u32{0}, 0);
    for (unsigned w = 0; w < spis_.size(); ++w) {
        consider(spis_[w], pe.targeted[w], kFirstSpi + 32 * w);
    }
    return best;
}

GicV3::Candidate GicV3::signalled(const Pe& pe) const {
    const Candidate best = highest_candidate(pe);
    const u8 mask = pe.group_priority_mask(best.group);
    const u8 running = pe.running_priority();
    const bool preempts = running == kIdlePriority || (best.priority & mask) < (running & mask);
    return best.priority < pe.pmr && preempts ? best : kNoCandidate;
}

void GicV3::update_pe(Pe& pe) {
    const Candidate next = signalled(pe);
    pe.pins->set_irq(next.intid != kSpurious && next.group == 1);
}

void GicV3::update_all() {
    for (const auto& pe : pes_) {
        update_pe(*pe);
    }
}

void GicV3::update_intid(Pe& pe, unsigned intid) {
    if (intid < kFirstSpi) {
        update_pe(pe);
    } else if (const int target = targets_[intid - kFirstSpi]; target >= 0) {
        update_pe(*pes_[static_cast<unsigned>(target)]);
    }
}

void GicV3::line_changed(unsigned cpu, unsigned intid, const std::atomic<bool>& level) {
    const std::lock_guard lock(mutex_);
    // The level is read with the lock held, so that the last of two racing callers brings the newest one.
    word_of(*pes_[cpu], intid)->set_level(intid % 32, level.load(std::memory_order_acquire));
    update_intid(*pes_[cpu], intid);
}

void GicV3::deactivate(Pe& pe, unsigned intid) {
    if (IrqWord* word = word_of(pe, intid)) {
        word->active &= ~(u32{1} << (intid % 32));
        update_intid(pe, intid);
    }
}

int GicV3::pe_by_affinity(u64 affinity) const {
    for (const auto& pe : pes_) {
        if (pe->affinity == affinity) {
            return static_cast<int>(pe->index);
        }
    }
    return -1;
}

void GicV3::set_route(unsigned spi, u64 route) {
    routes_[spi] = route & kAffinityMask;
    targets_[spi] = pe_by_affinity(routes_[spi]);
    for (const auto& pe : pes_) {
        u32& word = pe->targeted[spi / 32];
        word = static_cast<u32>(deposit(word, spi % 32, spi % 32, static_cast<int>(pe->index) == targets_[spi]));
    }
}

void GicV3::send_sgi(const Pe& from, u64 value, bool any_group) {
    const u32 mask = u32{1} << bits(value, 27, 24);
    const bool all_but_self = bit(value, 40);
    const u64 cluster = bits(value, 55, 48) << 32 | bits(value, 39, 32) << 16 | bits(value, 23, 16) << 8;
    const u64 first = bits(value, 47, 44) * 16;  // RS
    for (const auto& pe : pes_) {
        const u64 affinity0 = pe->affinity & 0xFF;
        const bool listed = (pe->affinity & ~u64{0xFF}) == cluster && affinity0 >= first && affinity0 < first + 16 &&
                            bit(value, static_cast<unsigned>(affinity0 - first));
        if (!(all_but_self ? pe.get() != &from : listed)) {
            continue;
        }
        if (any_group || (pe->local.group & mask) == 0) {
            pe->local.latch |= mask;
            update_pe(*pe);
        }
    }
}

}  // namespace vmm::devices
