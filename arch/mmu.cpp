#include "arch/mmu.h"

#include "arch/engine.h"
#include "arch/syndrome.h"

namespace vmm::arch {

struct Mmu::Impl {
    explicit Impl(Vcpu& vcpu) : v(vcpu) {}
    Vcpu& v;
    u64 generation = 1;
};

Mmu::Mmu(Vcpu& vcpu) : impl_(std::make_unique<Impl>(vcpu)) {}
Mmu::~Mmu() = default;

Translation Mmu::translate(u64 va, AccessType, bool, bool) {
    return {.ok = true, .pa = va, .attr = 0, .device = false};
}
Translation Mmu::walk_for_pin(u64 va, const std::function<void(u64)>&) {
    return translate(va, AccessType::write, true, true);
}
u64 Mmu::granule_bytes(u64) const {
    return kPageSize;
}
void Mmu::tlbi(TlbiOp, u64, u16) {
    ++impl_->generation;
}
u64 Mmu::generation() const {
    return impl_->generation;
}
void Mmu::update_context() {}
u16 Mmu::fetch_context() const {
    return impl_->v.s.el;
}

void Vcpu::context_changed() {
    mmu_->update_context();
    engine_->context_changed();
}

void Vcpu::begin_trace(OpTrace* trace) {
    trace_ = trace;
    ctx_ = unprivileged_ctx_ = kNoFastPath;
}

void Vcpu::end_trace() {
    trace_ = nullptr;
    mmu_->update_context();
}

bool Vcpu::read_slow(u64 va, unsigned size, u64& value, AccessKind) {
    if (const u8* p = config.ram.host(va, size)) {
        value = 0;
        std::memcpy(&value, p, size);
        return true;
    }
    if (config.mmio != nullptr && config.mmio->read(va, size, value, config.index)) {
        return true;
    }
    data_abort(va, fsc::kExternalAbort, false);
    return false;
}

bool Vcpu::write_slow(u64 va, unsigned size, u64 value, AccessKind) {
    if (u8* p = config.ram.host(va, size)) {
        std::memcpy(p, &value, size);
        return true;
    }
    if (config.mmio != nullptr && config.mmio->write(va, size, value, config.index)) {
        return true;
    }
    data_abort(va, fsc::kExternalAbort, true);
    return false;
}

bool Vcpu::read_pair(u64 va, u64& first, u64& second, AccessKind kind) {
    return read_slow(va, 8, first, kind) && read_slow(va + 8, 8, second, kind);
}

bool Vcpu::write_pair(u64 va, u64 first, u64 second, AccessKind kind) {
    return write_slow(va, 8, first, kind) && write_slow(va + 8, 8, second, kind);
}

bool Vcpu::probe_access(u64 va, u64 size, AccessType type, AccessKind) {
    if (config.ram.host(va, size) != nullptr) {
        return true;
    }
    data_abort(va, fsc::kExternalAbort, type == AccessType::write);
    return false;
}

u8* Vcpu::host_for_atomic(u64 va, unsigned size, AccessType type, AccessKind) {
    u8* p = is_aligned(va, size) ? config.ram.host(va, size) : nullptr;
    if (p == nullptr) {
        data_abort(va, is_aligned(va, size) ? fsc::kUnsupportedAtomic : fsc::kAlignment, type == AccessType::write);
    }
    return p;
}

}  // namespace vmm::arch
