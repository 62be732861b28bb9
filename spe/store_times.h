// How long records take to reach memory, in host time. Most records are not timed: reading a clock twice costs as much as
// storing one.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>

#include "vmm/base/types.h"

namespace vmm::spe {

/// Bucket n counts stores of [2^n, 2^(n+1)) ns, the first also shorter and the last also longer ones.
inline constexpr std::size_t kStoreTimeBuckets = 24;
using StoreTimeHistogram = std::array<u64, kStoreTimeBuckets>;

/// One writer, any readers.
class StoreTimes {
  public:
    static constexpr u64 kTimedOneIn = 64;

    /// Calls `store` and returns what it does; times the first call and every 64th after it.
    template <class Store>
    auto measure(Store&& store) {
        if (calls_++ % kTimedOneIn != 0) [[likely]] {
            return store();
        }
        const auto start = std::chrono::steady_clock::now();
        auto result = store();
        count(static_cast<u64>((std::chrono::steady_clock::now() - start).count()));
        return result;
    }

    StoreTimeHistogram histogram() const {
        StoreTimeHistogram out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = buckets_[i].load(std::memory_order_relaxed);
        }
        return out;
    }

  private:
    void count(u64 ns) {
        const std::size_t bucket = std::min<std::size_t>(std::bit_width(ns | 1) - 1, kStoreTimeBuckets - 1);
        buckets_[bucket].store(buckets_[bucket].load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    u64 calls_ = 0;
    std::array<std::atomic<u64>, kStoreTimeBuckets> buckets_{};
};

}  // namespace vmm::spe
