#include "arch/sysreg.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "arch/vcpu.h"
#include "vmm/base/bits.h"
#include "vmm/base/check.h"

namespace vmm::arch {

std::string SysregRow::full_name() const {
    return *name != 0 ? name : generic_sysreg_name(key);
}

bool SysregRow::readable_without_effect() const {
    static constexpr std::string_view kChangeWhenRead[] = {"ICC_IAR0_EL1", "ICC_IAR1_EL1", "RNDR", "RNDRRS",
                                                           "DBGDTRRX_EL0"};
    const bool is_register = bits(key, 15, 14) >= 2;  // op0
    const bool readable = access != SysregAccess::wo_el1 && access != SysregAccess::wo_el0;
    return is_register && readable && std::ranges::find(kChangeWhenRead, name) == std::end(kChangeWhenRead);
}

SysregBank::SysregBank() : index_(std::size_t{1} << 16) {}
SysregBank::~SysregBank() = default;

void SysregBank::add(std::span<const SysregRow> rows, void* self) {
    for (const SysregRow& row : rows) {
        VMM_CHECK(index_[row.key] == nullptr);
        auto entry = std::make_unique<Entry>();
        static_cast<SysregRow&>(*entry) = row;
        entry->self = self;
        if (entry->storage == nullptr) {
            entry->storage = &entry->own_storage;
        }
        *entry->storage = entry->reset | entry->fixed;
        index_[row.key] = std::move(entry);
    }
}

void SysregBank::reset() {
    for (const auto& entry : index_) {
        if (entry != nullptr) {
            *entry->storage = entry->reset | entry->fixed;
        }
    }
}

u64 SysregBank::peek(Vcpu& v, SysregKey key) const {
    const Entry* entry = find(key);
    if (entry == nullptr) {
        return 0;
    }
    return entry->read != nullptr ? entry->read(entry->self, v) : *entry->storage;
}

std::vector<const SysregBank::Entry*> SysregBank::entries() const {
    std::vector<const Entry*> result;
    for (const auto& entry : index_) {
        if (entry != nullptr) {
            result.push_back(entry.get());
        }
    }
    return result;
}

std::string generic_sysreg_name(SysregKey key) {
    return fmt::format("S{}_{}_C{}_C{}_{}", bits(key, 15, 14), bits(key, 13, 11), bits(key, 10, 7), bits(key, 6, 3),
                       bits(key, 2, 0));
}

}  // namespace vmm::arch
