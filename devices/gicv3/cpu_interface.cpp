#include "devices/gicv3/pe.h"

namespace vmm::devices {

namespace {

// ICC_CTLR_EL1
constexpr u64 kCbpr = 1 << 0;
constexpr u64 kEoiMode = 1 << 1;
constexpr u64 kPriorityBits = 4 << 8;  // PRIbits: 5 bits
constexpr u64 kA3v = 1 << 15;
constexpr u64 kRss = 1 << 18;

constexpr u64 kSystemRegisters = 7;    // ICC_SRE_EL1: DIB, DFB, SRE

GicCpuInterface& self_of(void* self) { return *static_cast<GicCpuInterface*>(self); }

template <auto Method, unsigned Group>
u64 read_group(void* self, arch::Vcpu&) { return (self_of(self).*Method)(Group); }
template <auto Method, unsigned Group>
void write_group(void* self, arch::Vcpu&, u64 value) { (self_of(self).*Method)(Group, value); }
template <auto Method>
u64 read_plain(void* self, arch::Vcpu&) { return (self_of(self).*Method)(); }
template <auto Method>
void write_plain(void* self, arch::Vcpu&, u64 value) { (self_of(self).*Method)(value); }
template <bool AnyGroup>
void write_sgi(void* self, arch::Vcpu&, u64 value) { self_of(self).send_sgi(value, AnyGroup); }

constexpr arch::SysregKey icc_key(unsigned crm, unsigned op2) { return arch::sysreg_key(3, 0, 12, crm, op2); }

using enum arch::SysregAccess;
using Icc = GicCpuInterface;

// ICC_AP0R1..3 and ICC_AP1R1..3 do not exist with 5 bits of priority.
// clang-format off
const arch::SysregRow kRows[] = {
    {.name = "ICC_PMR_EL1",     .key = arch::sysreg_key(3, 0, 4, 6, 0), .access = rw_el1,
     .read = read_plain<&Icc::priority_mask>,          .write = write_plain<&Icc::set_priority_mask>},
    {.name = "ICC_IAR0_EL1",    .key = icc_key(8, 0),  .access = ro_el1, .read = read_group<&Icc::acknowledge, 0>},
    {.name = "ICC_EOIR0_EL1",   .key = icc_key(8, 1),  .access = wo_el1, .write = write_group<&Icc::end_of_interrupt, 0>},
    {.name = "ICC_HPPIR0_EL1",  .key = icc_key(8, 2),  .access = ro_el1, .read = read_group<&Icc::highest_pending, 0>},
    {.name = "ICC_BPR0_EL1",    .key = icc_key(8, 3),  .access = rw_el1,
     .read = read_group<&Icc::binary_point, 0>,        .write = write_group<&Icc::set_binary_point, 0>},
    {.name = "ICC_AP0R0_EL1",   .key = icc_key(8, 4),  .access = rw_el1,
     .read = read_group<&Icc::active_priorities, 0>,   .write = write_group<&Icc::set_active_priorities, 0>},
    {.name = "ICC_AP1R0_EL1",   .key = icc_key(9, 0),  .access = rw_el1,
     .read = read_group<&Icc::active_priorities, 1>,   .write = write_group<&Icc::set_active_priorities, 1>},
    {.name = "ICC_DIR_EL1",     .key = icc_key(11, 1), .access = wo_el1, .write = write_plain<&Icc::deactivate>},
    {.name = "ICC_RPR_EL1",     .key = icc_key(11, 3), .access = ro_el1, .read = read_plain<&Icc::running_priority>},
    {.name = "ICC_SGI1R_EL1",   .key = icc_key(11, 5), .access = wo_el1, .write = write_sgi<true>},
    {.name = "ICC_ASGI1R_EL1",  .key = icc_key(11, 6), .access = wo_el1, .write = write_sgi<false>},
    {.name = "ICC_SGI0R_EL1",   .key = icc_key(11, 7), .access = wo_el1, .write = write_sgi<false>},
    {.name = "ICC_IAR1_EL1",    .key = icc_key(12, 0), .access = ro_el1, .read = read_group<&Icc::acknowledge, 1>},
    {.name = "ICC_EOIR1_EL1",   .key = icc_key(12, 1), .access = wo_el1, .write = write_group<&Icc::end_of_interrupt, 1>},
    {.name = "ICC_HPPIR1_EL1",  .key = icc_key(12, 2), .access = ro_el1, .read = read_group<&Icc::highest_pending, 1>},
    {.name = "ICC_BPR1_EL1",    .key = icc_key(12, 3), .access = rw_el1,
     .read = read_group<&Icc::binary_point, 1>,        .write = write_group<&Icc::set_binary_point, 1>},
    {.name = "ICC_CTLR_EL1",    .key = icc_key(12, 4), .access = rw_el1,
     .read = read_plain<&Icc::control>,                .write = write_plain<&Icc::set_control>},
    {.name = "ICC_SRE_EL1",     .key = icc_key(12, 5), .access = rw_el1, .reset = kSystemRegisters, .writable = 0,
     .fixed = kSystemRegisters},
    {.name = "ICC_IGRPEN0_EL1", .key = icc_key(12, 6), .access = rw_el1,
     .read = read_group<&Icc::group_enable, 0>,        .write = write_group<&Icc::set_group_enable, 0>},
    {.name = "ICC_IGRPEN1_EL1", .key = icc_key(12, 7), .access = rw_el1,
     .read = read_group<&Icc::group_enable, 1>,        .write = write_group<&Icc::set_group_enable, 1>},
};
// clang-format on

}  // namespace

std::span<const arch::SysregRow> GicCpuInterface::rows() { return kRows; }

u32 GicCpuInterface::acknowledge(unsigned group) {
    const std::lock_guard lock(gic_.mutex_);
    auto& pe = *gic_.pes_[cpu_];
    const GicV3::Candidate taken = gic_.signalled(pe);
    if (taken.intid == kSpurious || taken.group != group) {
        return kSpurious;
    }
    IrqWord& word = *gic_.word_of(pe, taken.intid);
    const u32 mask = u32{1} << (taken.intid % 32);
    word.active |= mask;
    word.latch &= ~mask;
    pe.active_priorities[group] |= u32{1} << ((taken.priority & pe.group_priority_mask(group)) >> 3);
    gic_.update_pe(pe);
    return taken.intid;
}

u32 GicCpuInterface::highest_pending(unsigned group) const {
    const std::lock_guard lock(gic_.mutex_);
    const GicV3::Candidate best = gic_.highest_candidate(*gic_.pes_[cpu_]);
    return best.group == group ? best.intid : kSpurious;
}

void GicCpuInterface::end_of_interrupt(unsigned group, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    auto& pe = *gic_.pes_[cpu_];
    const auto intid = static_cast<unsigned>(value & 0xFF'FFFF);
    if (gic_.word_of(pe, intid) == nullptr) {
        return;
    }
    // Ending what is not running is UNPREDICTABLE: nothing happens where the running priority is not one of this group.
    u32& mine = pe.active_priorities[group];
    const u32 others = pe.active_priorities[group ^ 1];
    if (mine == 0 || (others != 0 && std::countr_zero(others) < std::countr_zero(mine))) {
        return;
    }
    mine &= mine - 1;  // priority drop
    if (!pe.eoi_mode) {
        gic_.deactivate(pe, intid);
    }
    gic_.update_pe(pe);
}

void GicCpuInterface::deactivate(u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    auto& pe = *gic_.pes_[cpu_];
    if (pe.eoi_mode) {
        gic_.deactivate(pe, static_cast<unsigned>(value & 0xFF'FFFF));
    }
}

u64 GicCpuInterface::running_priority() const {
    const std::lock_guard lock(gic_.mutex_);
    return gic_.pes_[cpu_]->running_priority();
}

u64 GicCpuInterface::priority_mask() const {
    const std::lock_guard lock(gic_.mutex_);
    return gic_.pes_[cpu_]->pmr;
}

void GicCpuInterface::set_priority_mask(u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    gic_.pes_[cpu_]->pmr = static_cast<u8>(value) & kPriorityMask;
    gic_.update_pe(*gic_.pes_[cpu_]);
}

u64 GicCpuInterface::binary_point(unsigned group) const {
    const std::lock_guard lock(gic_.mutex_);
    const auto& pe = *gic_.pes_[cpu_];
    return group == 1 && pe.cbpr ? std::min(pe.bpr[0] + 1, 7) : pe.bpr[group];
}

void GicCpuInterface::set_binary_point(unsigned group, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    auto& pe = *gic_.pes_[cpu_];
    if (group == 0 || !pe.cbpr) {
        pe.bpr[group] = std::max(static_cast<u8>(value & 7), kMinBpr[group]);
    }
    gic_.update_pe(pe);
}

u64 GicCpuInterface::control() const {
    const std::lock_guard lock(gic_.mutex_);
    const auto& pe = *gic_.pes_[cpu_];
    return kPriorityBits | kA3v | kRss | (pe.cbpr ? kCbpr : 0) | (pe.eoi_mode ? kEoiMode : 0);
}

void GicCpuInterface::set_control(u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    auto& pe = *gic_.pes_[cpu_];
    pe.cbpr = (value & kCbpr) != 0;
    pe.eoi_mode = (value & kEoiMode) != 0;
    gic_.update_pe(pe);
}

u64 GicCpuInterface::group_enable(unsigned group) const {
    const std::lock_guard lock(gic_.mutex_);
    return gic_.pes_[cpu_]->group_enable[group];
}

void GicCpuInterface::set_group_enable(unsigned group, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    gic_.pes_[cpu_]->group_enable[group] = (value & 1) != 0;
    gic_.update_pe(*gic_.pes_[cpu_]);
}

u64 GicCpuInterface::active_priorities(unsigned group) const {
    const std::lock_guard lock(gic_.mutex_);
    return gic_.pes_[cpu_]->active_priorities[group];
}

void GicCpuInterface::set_active_priorities(unsigned group, u64 value) {
    const std::lock_guard lock(gic_.mutex_);
    gic_.pes_[cpu_]->active_priorities[group] = static_cast<u32>(value);
    gic_.update_pe(*gic_.pes_[cpu_]);
}

void GicCpuInterface::send_sgi(u64 value, bool any_group) {
    const std::lock_guard lock(gic_.mutex_);
    gic_.send_sgi(*gic_.pes_[cpu_], value, any_group);
}

}  // namespace vmm::devices
