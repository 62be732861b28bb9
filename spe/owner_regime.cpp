#include "spe/owner_regime.h"

#include <cstring>

namespace vmm::spe {

namespace {

/// Copies kRecordBytes, by words that are atomic where `to` is aligned.
void store_line(u8* to, const u8* from) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kRecordBytes; i += sizeof(u64)) {
        u64 word = 0;
        std::memcpy(&word, from + i, sizeof(word));
        mm::store_relaxed<u64>(to + i, word);
    }
}

}  // namespace

/// Where the page of `va` can be written; nullptr: `result` says why not.
u8* OwnerRegime::host_page(u64 va, StoreResult& result) {
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
    last_ = {va & arch::kPageMask, v_.mmu().generation(), host};
    return host;
}

StoreResult OwnerRegime::store(u64 va, std::span<const u8> bytes) {
    u8* page = last_.host;
    if (last_.va != (va & arch::kPageMask) || last_.generation != v_.mmu().generation()) [[unlikely]] {
        StoreResult result;
        page = host_page(va, result);
        if (page == nullptr) {
            return result;
        }
    }
    u8* const host = page + (va & ~arch::kPageMask);
    if ((va | bytes.size()) % kRecordBytes != 0) [[unlikely]] {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            mm::store_relaxed<u8>(host + i, bytes[i]);
        }
        return {};
    }
    for (std::size_t i = 0; i < bytes.size(); i += kRecordBytes) {
        store_line(host + i, &bytes[i]);
    }
    return {};
}

bool OwnerRegime::start_fence(arch::StoreFence& fence, const mm::TableWatch& watch) {
    fence.start(v_);
    return v_.config.table_watch == &watch;
}

}  // namespace vmm::spe
