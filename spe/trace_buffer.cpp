#include "spe/trace_buffer.h"

#include <chrono>
#include <utility>

namespace vmm::spe {

void TraceSignal::raise() {
    {
        const std::lock_guard lock(mutex_);
        raised_ = true;
    }
    changed_.notify_one();
}

void TraceSignal::wait(unsigned milliseconds) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return raised_; });
    raised_ = false;
}

void TraceBuffer::append(std::span<const u8> record, const RecordFacts& facts) {
    bool reached_half = false;
    {
        const std::lock_guard lock(mutex_);
        TraceBatch& batch = filling_;
        if (batch.lost != 0 || batch.records.size() + record.size() > limit_) {
            ++batch.lost;
            return;
        }
        const bool was_below = batch.records.size() < limit_ / 2;
        batch.records.insert(batch.records.end(), record.begin(), record.end());
        reached_half = was_below && batch.records.size() >= limit_ / 2;
        batch.last_timestamp = facts.timestamp;
        if (batch.contexts.empty() || batch.contexts.back() != facts.context) {
            batch.contexts.push_back(facts.context);
        }
        if (facts.code && batch.code.size() < kMaxCode) {
            batch.code.push_back(*facts.code);
        }
    }
    if (reached_half) {
        half_full_.raise();
    }
}

void TraceBuffer::take(TraceBatch& batch) {
    batch.records.clear();
    batch.contexts.clear();
    batch.code.clear();
    batch.lost = batch.last_timestamp = 0;
    const std::lock_guard lock(mutex_);
    std::swap(batch, filling_);
}

}  // namespace vmm::spe
