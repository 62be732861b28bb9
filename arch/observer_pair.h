// Two observers on one vCPU: each is shown exactly what it would see alone.
#pragma once

#include <algorithm>

#include "arch/op_trace.h"

namespace vmm::arch {

/// Stops where either wants a sample. An operation that only one of them asked for counts as executed for the
/// other, and one that has no use for operations at the moment hears of none.
class ObserverPair final : public OpObserver {
  public:
    /// Both outlive the pair. At one operation, `first` is called first.
    ObserverPair(OpObserver& first, OpObserver& second) : halves_{{&first}, {&second}} {}

    bool armed() const override { return halves_[0].observer->armed() || halves_[1].observer->armed(); }

    u64 ops_until_sample() override {
        for (Half& half : halves_) {
            half.until_sample = half.observer->ops_until_sample();
        }
        return std::min(halves_[0].until_sample, halves_[1].until_sample);
    }

    void on_ops_executed(u64 count) override {
        for (Half& half : halves_) {
            if (half.until_sample != kNever) {
                half.until_sample -= count;
                half.observer->on_ops_executed(count);
            }
        }
    }

    void on_sample(const OpTrace& trace) override {
        for (Half& half : halves_) {
            if (half.until_sample == 1) {
                half.observer->on_sample(trace);
            } else if (half.until_sample != kNever) {
                half.observer->on_ops_executed(1);
            }
        }
    }

  private:
    static constexpr u64 kNever = ~u64{0};

    struct Half {
        OpObserver* observer = nullptr;
        u64 until_sample = kNever;  // its last answer, less what was executed since
    };

    Half halves_[2];
};

}  // namespace vmm::arch
