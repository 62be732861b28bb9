// The power state of one vCPU as PSCI sees it. Any thread may switch on; only the vCPU's own thread takes it
// further.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "devices/psci.h"
#include "vmm/base/types.h"

namespace vmm {

class PowerState {
  public:
    enum class State : u8 { off, on_pending, on };

    /// Where a vCPU begins to execute.
    struct Entry {
        u64 pc = 0;  // guest-physical
        u64 x0 = 0;
    };

    /// off → on_pending.
    devices::PsciStatus switch_on(Entry entry) {
        const std::lock_guard lock(mutex_);
        switch (state_) {
            case State::on: return devices::PsciStatus::already_on;
            case State::on_pending: return devices::PsciStatus::on_pending;
            case State::off: break;
        }
        state_ = State::on_pending;
        entry_ = entry;
        changed_.notify_all();
        return devices::PsciStatus::success;
    }

    /// on_pending → on; the caller resets the vCPU to the entry returned. nullopt in any other state.
    std::optional<Entry> take_entry() {
        const std::lock_guard lock(mutex_);
        if (state_ != State::on_pending) {
            return std::nullopt;
        }
        state_ = State::on;
        return entry_;
    }

    void switch_off() {
        const std::lock_guard lock(mutex_);
        state_ = State::off;
    }

    State state() const {
        const std::lock_guard lock(mutex_);
        return state_;
    }

    /// Blocks while off, until `stop()` is true; wake() makes it look again.
    template <class Stop>
    void wait_while_off(Stop&& stop) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return state_ != State::off || stop(); });
    }

    void wake() {
        const std::lock_guard lock(mutex_);
        changed_.notify_all();
    }

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    State state_ = State::off;
    Entry entry_;
};

}  // namespace vmm
