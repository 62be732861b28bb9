#include "mm/walker.h"

#include <algorithm>

namespace vmm::mm {

namespace {

constexpr unsigned kDescriptorShift = 3;
constexpr unsigned kLastLevel = 3;

/// Address bits that one level resolves.
constexpr unsigned stride(Granule granule) {
    return granule_shift(granule) - kDescriptorShift;
}

/// log2 of the bytes that one descriptor at `level` maps.
constexpr unsigned level_shift(Granule granule, unsigned level) {
    return granule_shift(granule) + stride(granule) * (kLastLevel - level);
}

/// The level of the first lookup.
constexpr unsigned start_level(Granule granule, unsigned input_bits) {
    const unsigned to_resolve = input_bits - granule_shift(granule);
    const unsigned levels = (to_resolve + stride(granule) - 1) / stride(granule);
    return kLastLevel + 1 - levels;
}

/// Block descriptors exist at level 1 with 4 KiB granules and at level 2 with any.
constexpr bool block_allowed(Granule granule, unsigned level) {
    return level == 2 || (level == 1 && granule == Granule::k4);
}

/// The address belongs to the half that `params` describe.
bool in_range(const WalkParams& params, u64 va) {
    const unsigned top = params.top_byte_ignored ? 55 : 63;
    const u64 above = bits(va, top, params.input_bits);
    return above == (params.upper ? ones(top - params.input_bits + 1) : 0);
}

WalkResult failed(WalkFault fault, unsigned level) {
    WalkResult result;
    result.fault = fault;
    result.level = static_cast<u8>(level);
    return result;
}

/// Restrictions collected from table descriptors.
struct Hierarchy {
    u64 seen = 0;
    bool has(u64 flag) const { return (seen & flag) != 0; }
};

WalkResult leaf(const WalkParams& params, u64 va, unsigned level, u64 value, u64 value_pa, Hierarchy tables) {
    const unsigned shift = level_shift(params.granule, level);
    WalkResult result;
    result.level = static_cast<u8>(level);
    result.block_shift = static_cast<u8>(shift);
    result.attr_index = static_cast<u8>(bits(value, descriptor::kAttrIndexShift + 2, descriptor::kAttrIndexShift));
    result.table_read_only = tables.has(descriptor::kTableReadOnly);
    result.user = (value & descriptor::kApUser) != 0 && !tables.has(descriptor::kTableNoUser);
    result.read_only = (value & descriptor::kApReadOnly) != 0 || result.table_read_only;
    result.dirty_modifier = (value & descriptor::kDirtyModifier) != 0;
    result.privileged_never = (value & descriptor::kPrivilegedNever) != 0 || tables.has(descriptor::kTablePrivilegedNever);
    result.user_never = (value & descriptor::kUserNever) != 0 || tables.has(descriptor::kTableUserNever);
    result.global = (value & descriptor::kNotGlobal) == 0;
    result.contiguous = (value & descriptor::kContiguous) != 0;
    result.pa = descriptor::address(value, shift) | (va & ones(shift));
    result.descriptor_pa = value_pa;
    result.descriptor = value;
    return result;
}

}  // namespace

WalkResult walk(const WalkParams& params, u64 va, DescriptorPort& port, WalkTrail* trail) {
    if (params.disabled || !in_range(params, va)) {
        return failed(WalkFault::translation, 0);
    }
    const Granule granule = params.granule;
    unsigned level = start_level(granule, params.input_bits);
    // The first table may be smaller than a granule; its base is aligned to its size.
    const unsigned first_bits = params.input_bits - level_shift(granule, level);
    u64 table = descriptor::address(params.table, first_bits + kDescriptorShift);
    if ((table >> params.output_bits) != 0) {
        return failed(WalkFault::address_size, 0);
    }
    unsigned index_bits = first_bits;
    Hierarchy tables;
    for (;;) {
        const unsigned shift = level_shift(granule, level);
        const u64 value_pa = table + (bits(va, shift + index_bits - 1, shift) << kDescriptorShift);
        if (trail != nullptr) {
            trail->table[trail->count++] = value_pa;
        }
        u64 value = 0;
        if (!port.read(value_pa, value)) {
            return failed(WalkFault::external_abort, level);
        }
        const u64 type = value & descriptor::kTypeMask;
        if (level < kLastLevel && type == descriptor::kTable) {
            table = descriptor::address(value, granule_shift(granule));
            if ((table >> params.output_bits) != 0) {
                return failed(WalkFault::address_size, level);
            }
            if (!params.ignore_hierarchy) {
                tables.seen |= value;
            }
            index_bits = stride(granule);
            ++level;
            continue;
        }
        const bool is_leaf = level == kLastLevel ? type == descriptor::kPage
                                                 : type == descriptor::kBlock && block_allowed(granule, level);
        if (!is_leaf) {
            return failed(WalkFault::translation, level);
        }
        if ((descriptor::address(value, shift) >> params.output_bits) != 0) {
            return failed(WalkFault::address_size, level);
        }
        if ((value & descriptor::kAccessFlag) == 0) {
            if (!params.set_access_flag) {
                return failed(WalkFault::access_flag, level);
            }
            if (!port.compare_exchange(value_pa, value, value | descriptor::kAccessFlag)) {
                if (trail != nullptr) {
                    --trail->count;
                }
                continue;  // it changed under us: look again
            }
            value |= descriptor::kAccessFlag;
        }
        return leaf(params, va, level, value, value_pa, tables);
    }
}

bool mark_dirty(WalkResult& result, DescriptorPort& port) {
    const u64 desired = result.descriptor & ~descriptor::kApReadOnly;
    if (!port.compare_exchange(result.descriptor_pa, result.descriptor, desired)) {
        return false;
    }
    result.descriptor = desired;
    result.read_only = result.table_read_only;
    return true;
}

}  // namespace vmm::mm
