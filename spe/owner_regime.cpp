#include "spe/owner_regime.h"

#include <cstring>

namespace vmm::spe {

namespace {

/// Copies kRecordBytes, by words that are atomic where `to` is aligned.
void store_record(u8* to, const u8* from) {
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
    if (in_last_page(va)) {
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
    last_ = {va & arch::kPageMask, v_.mmu().generation(), host};
    return host;
}

/// Nearly always a whole record in the page of the one before.
StoreResult OwnerRegime::store(u64 va, std::span<const u8> bytes) {
    if (!in_last_page(va) || bytes.size() != kRecordBytes) [[unlikely]] {
        return store_elsewhere(va, bytes);
    }
    store_record(last_.host + (va & ~arch::kPageMask), bytes.data());
    return {};
}

/// Another page, or other sizes: parts of records, and padding.
StoreResult OwnerRegime::store_elsewhere(u64 va, std::span<const u8> bytes) {
    StoreResult result;
    u8* const page = host_page(va, result);
    if (page == nullptr) {
        return result;
    }
    u8* const host = page + (va & ~arch::kPageMask);
    std::size_t at = 0;
    for (; bytes.size() - at >= kRecordBytes; at += kRecordBytes) {
        store_record(host + at, &bytes[at]);
    }
    for (; at < bytes.size(); ++at) {
        mm::store_relaxed<u8>(host + at, bytes[at]);
    }
    return {};
}

bool OwnerRegime::start_fence(arch::StoreFence& fence, const mm::TableWatch& watch) {
    fence.start(v_);
    return v_.config.table_watch == &watch;
}

}  // namespace vmm::spe
