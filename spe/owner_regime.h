// The translation regime that the profiling buffer belongs to: EL1&0 of the unit's own PE.
#pragma once

#include "arch/mmu.h"
#include "arch/vcpu.h"
#include "spe/pin_cache.h"
#include "spe/profiling_buffer.h"

namespace vmm::spe {

/// Buffer writes are privileged, and PSTATE.PAN does not apply to them. Arm ARM, "The owning translation
/// regime".
class OwnerRegime final : public RecordSink, public BufferRegime {
  public:
    explicit OwnerRegime(arch::Vcpu& vcpu) : v_(vcpu) {}

    // RecordSink
    StoreResult store(u64 va, std::span<const u8> bytes) override;

    // BufferRegime
    mm::RangeRegime regime(u64 va) const override { return v_.mmu().range_regime(va); }
    arch::TlbMaintenance maintenance() const override { return v_.mmu().maintenance(); }
    bool start_fence(arch::StoreFence& fence, const mm::TableWatch& watch) override;

  private:
    /// The page written last, in RAM: good for as long as the translation cannot have changed.
    struct LastPage {
        u64 va = ~u64{0};
        u64 generation = 0;
        u8* host = nullptr;
    };
    bool in_last_page(u64 va) const {
        return last_.va == (va & arch::kPageMask) && last_.generation == v_.mmu().generation();
    }
    u8* host_page(u64 va, StoreResult& result);
    StoreResult store_elsewhere(u64 va, std::span<const u8> bytes);

    arch::Vcpu& v_;
    LastPage last_;
};

}  // namespace vmm::spe
