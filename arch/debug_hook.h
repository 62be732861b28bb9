// What a debugger outside the guest wants of one PE: breakpoints, watchpoints, single steps. The guest sees nothing of it:
// no memory is patched and no debug register of its own is used.
#pragma once

#include <algorithm>
#include <bitset>
#include <optional>
#include <utility>
#include <vector>

#include "vmm/base/bits.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// A range of virtual addresses, bits [55:0] of which are compared.
struct Watchpoint {
    u64 va = 0;
    u64 size = 0;  // bytes, at least 1
    bool on_read = false;
    bool on_write = false;

    friend bool operator==(const Watchpoint&, const Watchpoint&) = default;
};

/// Why a PE stopped for the debugger.
struct DebugStop {
    enum class Kind : u8 {
        breakpoint,  // the operation at PC is the next one
        watchpoint,  // so it is here: it has done nothing, because it would access `watchpoint`
        step,        // one operation was executed
    };
    Kind kind = Kind::step;
    Watchpoint watchpoint;
};

/// Belongs to the debugger. Its thread changes it while the PE does not execute (then Vcpu::set_debug_hook() again);
/// inside Vcpu::run() it is the engine's.
class DebugHook {
  public:
    void set_breakpoints(std::vector<u64> addresses) {
        std::ranges::sort(addresses);
        breakpoints_ = std::move(addresses);
        marked_.reset();
        for (const u64 address : breakpoints_) {
            marked_.set(word_of(address));
        }
    }
    void set_watchpoints(std::vector<Watchpoint> watchpoints) { watchpoints_ = std::move(watchpoints); }

    /// Before the PE runs on. `step`: it stops after one operation, before which it takes no interrupt.
    void begin(bool step) {
        stop_.reset();
        step_ = step ? Step::wanted : Step::none;
    }
    const std::vector<u64>& breakpoints() const { return breakpoints_; }
    bool wants_anything() const { return !breakpoints_.empty() || !watchpoints_.empty() || step_ != Step::none; }
    /// Set where Vcpu::run() returned RunResult::debug.
    const std::optional<DebugStop>& stop() const { return stop_; }

    // ── For the engine ─────────────────────────────────────────────────────────────────────────────────────

    bool holds_interrupts() const { return step_ != Step::none; }
    bool steps() const { return step_ != Step::none; }

    /// True where the operation at `pc` is not to be executed now.
    bool stops_before(u64 pc) {
        if (step_ == Step::done) {
            stop_ = DebugStop{DebugStop::Kind::step, {}};
        } else if (step_ == Step::none && std::ranges::binary_search(breakpoints_, pc)) {
            stop_ = DebugStop{DebugStop::Kind::breakpoint, {}};
        }
        return stop_.has_value();
    }

    /// The operation at `pc` must be executed alone and traced.
    bool alone(u64 pc) const { return steps() || !watchpoints_.empty() || marked(word_of(pc)); }

    void operation_done() {
        if (step_ == Step::wanted) {
            step_ = Step::done;
        }
    }

    /// Some breakpoint has this position in its page (in words).
    bool marked(unsigned word) const { return marked_.test(word); }

    /// How long a block that begins at `start` may be, at most `most`.
    unsigned block_limit(unsigned start, unsigned most) const {
        unsigned length = 1;
        while (length < most && start + length < kWordsPerPage && !marked(start) && !marked(start + length)) {
            ++length;
        }
        return length;
    }

    /// True for an access that must not be made: the PE is to stop in front of its operation.
    bool refuses(u64 va, u64 size, bool is_write) {
        for (const Watchpoint& watch : watchpoints_) {
            const bool kind = is_write ? watch.on_write : watch.on_read;
            const u64 ahead = bits(va - watch.va, 55, 0);   // how far the access begins into the range
            const u64 behind = bits(watch.va - va, 55, 0);  // ... or the range into the access
            if (kind && (ahead < watch.size || behind < size)) {
                stop_ = DebugStop{DebugStop::Kind::watchpoint, watch};
                return true;
            }
        }
        return false;
    }

  private:
    static constexpr unsigned kWordsPerPage = 1024;
    static unsigned word_of(u64 address) { return static_cast<unsigned>(bits(address, 11, 2)); }

    enum class Step : u8 { none, wanted, done };

    std::vector<u64> breakpoints_;  // sorted
    std::bitset<kWordsPerPage> marked_;
    std::vector<Watchpoint> watchpoints_;
    Step step_ = Step::none;
    std::optional<DebugStop> stop_;
};

}  // namespace vmm::arch
