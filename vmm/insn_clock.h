// The clock of --clock=insn: one nanosecond for each operation that any vCPU has executed.
#pragma once

#include <atomic>

#include "arch/vcpu.h"
#include "vmm/base/clock.h"

namespace vmm {

/// Read on the one thread that runs the vCPUs, where it is exact even within an instruction; elsewhere it
/// shows the start of the running slice.
class InsnClock final : public Clock {
  public:
    u64 now_ns() const override {
        const u64 base = base_ns_.load(std::memory_order_relaxed);
        return running() == nullptr ? base : base + (running()->ops_executed() - ops_at_start_);
    }
    u64 wall_seconds() const override { return kEpoch + now_ns() / 1'000'000'000; }

    /// The calling thread is about to run `vcpu`.
    void begin_slice(const arch::Vcpu& vcpu) {
        ops_at_start_ = vcpu.ops_executed();
        running() = &vcpu;
    }
    void end_slice() {
        const u64 now = now_ns();
        running() = nullptr;
        base_ns_.store(now, std::memory_order_relaxed);
    }

    /// Jumps ahead while nothing runs; never back.
    void advance_to(u64 ns) {
        if (ns > base_ns_.load(std::memory_order_relaxed)) {
            base_ns_.store(ns, std::memory_order_relaxed);
        }
    }

  private:
    static constexpr u64 kEpoch = 1'700'000'000;  // a fixed wall time, so that runs repeat

    static const arch::Vcpu*& running() {
        static thread_local const arch::Vcpu* vcpu = nullptr;
        return vcpu;
    }

    std::atomic<u64> base_ns_{0};
    u64 ops_at_start_ = 0;
};

}  // namespace vmm
