// All vCPUs on one host thread, in a fixed order, with time that only their own progress moves: runs repeat
// exactly.
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "vmm/base/check.h"
#include "vmm/base/rng.h"
#include "vmm/executor.h"

namespace vmm {

namespace {

constexpr u64 kSlice = 10'000;           // operations a vCPU runs before it is the next one's turn
constexpr u64 kFineSlice = 32;           // ... on average, while a profiling unit follows caches that PEs share
constexpr u64 kIdlePollNs = 10'000'000;  // host time, while the guest waits for nothing but input

class InsnExecutor final : public Executor {
  public:
    InsnExecutor(const ExecutorContext& context, InsnClock& clock)
        : context_(context), clock_(clock), waiting_(context.cpus.size()) {}
    ~InsnExecutor() override { VMM_CHECK(!thread_.joinable()); }

    void start() override {
        VMM_CHECK(!thread_.joinable());
        finished_ = false;
        thread_ = std::thread([this] {
            ::pthread_setname_np(::pthread_self(), "vcpus");
            thread_main();
            const std::lock_guard lock(mutex_);
            finished_ = true;
            done_.notify_all();
        });
    }

    void kick() override {
        for (const auto& cpu : context_.cpus) {
            cpu->vcpu.pins.kick();
        }
    }

    bool join(std::chrono::milliseconds timeout) override {
        {
            std::unique_lock lock(mutex_);
            if (!done_.wait_for(lock, timeout, [this] { return finished_; })) {
                return false;
            }
        }
        if (thread_.joinable()) {
            thread_.join();
        }
        return true;
    }

  private:
    void thread_main() {
        restrict_thread(context_.role);
        while (!context_.control->stopping()) {
            bool progress = false;
            fine_ = std::ranges::any_of(context_.cpus,
                                        [](const auto& cpu) { return cpu->spe && cpu->spe->follows_all(); });
            for (std::size_t i = 0; i < context_.cpus.size() && !context_.control->stopping(); ++i) {
                progress |= turn(*context_.cpus[i], i);
            }
            if (!progress && !context_.control->stopping()) {
                idle();
            }
        }
    }

    /// Fine slices differ in length: a loop or a sampling interval that fits into equal ones would always meet the same
    /// neighbours.
    u64 slice() {
        if (!fine_) {
            return kSlice;
        }
        return kFineSlice / 2 + rng_.below(kFineSlice + 1);
    }

    /// The engine alone comes back a little early, where the next block does not fit: a matter of where it
    /// was interrupted before, by samples for instance. Slices end where they should, so that no observer
    /// changes who runs when.
    static arch::RunResult run_exactly(arch::Vcpu& vcpu, u64 operations) {
        const u64 end = vcpu.ops_executed() + operations;
        for (;;) {
            const arch::RunResult result = vcpu.run(end - vcpu.ops_executed());
            if (result != arch::RunResult::budget || vcpu.ops_executed() >= end) {
                return result;
            }
        }
    }

    /// One slice of one vCPU; false where it has nothing to do.
    bool turn(Cpu& cpu, std::size_t i) {
        if (const auto entry = cpu.power.take_entry()) {
            cpu.begin(*entry);
            waiting_[i] = false;
        }
        if (cpu.power.state() != PowerState::State::on || cpu.held) {
            return false;
        }
        cpu.timer.update();
        if (waiting_[i] && !cpu.vcpu.pins.attention()) {
            return false;
        }
        const u64 now = context_.counter->count();
        const u64 deadline = cpu.timer.next_deadline_count();
        u64 operations = std::clamp<u64>(deadline > now ? deadline - now : 1, 1, slice());
        if (context_.slices != nullptr) {
            operations = context_.slices->before_slice(cpu.vcpu, operations, *context_.control);
            if (operations == 0) {
                return false;
            }
        }
        clock_.begin_slice(cpu.vcpu);
        const arch::RunResult result = run_exactly(cpu.vcpu, operations);
        clock_.end_slice();
        if (context_.slices != nullptr) {
            context_.slices->after_slice(cpu.vcpu, result, *context_.control);
        }
        cpu.publish_operations();
        if (result == arch::RunResult::debug) {
            context_.control->stop(StopReason::host);
        }
        waiting_[i] = result == arch::RunResult::wait && !cpu.waits_for_event();
        return true;
    }

    /// Every vCPU waits: time jumps to the first deadline; with none, only the host can bring news.
    void idle() {
        u64 first = ~u64{0};
        Cpu* on = context_.cpus.front().get();
        for (const auto& cpu : context_.cpus) {
            if (cpu->power.state() == PowerState::State::on && !cpu->held) {
                first = std::min(first, context_.counter->ns_until(cpu->timer.next_deadline_count()));
                on = cpu.get();
            }
        }
        if (first != ~u64{0}) {
            clock_.advance_to(clock_.now_ns() + first);
        } else {
            on->vcpu.pins.park(kIdlePollNs);
        }
    }

    const ExecutorContext context_;
    InsnClock& clock_;
    bool fine_ = false;          // this round
    Rng rng_{1};                 // the same in every run
    std::vector<bool> waiting_;  // for each vCPU: in WFI, until its pins are kicked
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable done_;
    bool finished_ = true;
};

}  // namespace

std::unique_ptr<Executor> make_insn_executor(const ExecutorContext& context, InsnClock& clock) {
    return std::make_unique<InsnExecutor>(context, clock);
}

}  // namespace vmm
