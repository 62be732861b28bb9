#include "spe/owner_regime.h"

#include <cstring>

namespace vmm::spe {

/// Where the page of `va` can be written; nullptr: `result` says why not.
u8* OwnerRegime::find(u64 va, StoreResult& result) {
    const u64 page = va & arch::kPageMask;
    if (last_.va == page && last_.generation == v_.mmu().generation()) [[likely]] {
        return last_.host;
    }
    const arch::Translation t = v_.mmu().translate(va, arch::AccessType::write, true, true);
    if (!t.ok) {
        result = {StoreResult::Kind::fault, t.fsc};
        return nullptr;
    }
    u8* host = v_.ram().host(t.pa & arch::kPageMask, arch::kPageSize);
    if (host == nullptr) {
        result = {StoreResult::Kind::external_abort, 0};
        return nullptr;
    }
    last_ = {page, v_.mmu().generation(), host};
    return host;
}

StoreResult OwnerRegime::store(u64 va, std::span<const u8> bytes) {
    StoreResult result;
    u8* const page = find(va, result);
    if (page == nullptr) {
        return result;
    }
    u8* host = page + (va & ~arch::kPageMask);
    if ((va | bytes.size()) % sizeof(u64) != 0) {
        for (const u8 byte : bytes) {
            mm::store_relaxed<u8>(host++, byte);
        }
        return {};
    }
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(u64)) {
        u64 word = 0;
        std::memcpy(&word, &bytes[i], sizeof(word));
        mm::store_relaxed<u64>(host + i, word);
    }
    return {};
}

bool OwnerRegime::start_fence(arch::StoreFence& fence, const mm::TableWatch& watch) {
    fence.start(v_);
    return v_.config.table_watch == &watch;
}

}  // namespace vmm::spe
