// One host thread per vCPU: run, look at the timer, park.
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "vmm/base/check.h"
#include "vmm/executor.h"

namespace vmm {

namespace {

constexpr u64 kMaxSlice = 20'000;          // operations: what a stop request or a timer may be late by
constexpr u64 kMinSlice = 200;             // ... however near the deadline
constexpr u64 kMaxParkNs = 1'000'000'000;  // a parked vCPU looks up this often, whatever happens
constexpr u64 kMaxWfeParkNs = 50'000;      // events of other PEs may pass unseen: see cpu.h

/// How many operations fit before a deadline, from how fast the vCPU has been lately.
class Pacer {
  public:
    u64 budget(u64 ns_to_deadline) const {
        if (ns_to_deadline > kMaxSlice * kSlowestNsPerOp) {
            return kMaxSlice;
        }
        const f64 ops = static_cast<f64>(ns_to_deadline) * ops_per_ns_;
        return std::clamp(static_cast<u64>(ops), kMinSlice, kMaxSlice);
    }

    void observe(u64 ops, u64 ns) {
        if (ops >= kMinSlice && ns != 0) {
            const f64 now = static_cast<f64>(ops) / static_cast<f64>(ns);
            ops_per_ns_ = std::clamp(0.75 * ops_per_ns_ + 0.25 * now, 0.001, 10.0);
        }
    }

  private:
    static constexpr u64 kSlowestNsPerOp = 1000;

    f64 ops_per_ns_ = 0.1;
};

class ThreadedExecutor final : public Executor {
  public:
    explicit ThreadedExecutor(const ExecutorContext& context) : context_(context) {}
    ~ThreadedExecutor() override { VMM_CHECK(threads_.empty()); }

    void start() override {
        VMM_CHECK(threads_.empty());
        running_ = static_cast<unsigned>(
            std::ranges::count_if(context_.cpus, [](const auto& cpu) { return !cpu->held; }));
        for (const auto& cpu : context_.cpus) {
            if (cpu->held) {
                continue;
            }
            threads_.emplace_back([this, cpu = cpu.get()] { thread_main(*cpu); });
        }
    }

    void kick() override {
        for (const auto& cpu : context_.cpus) {
            cpu->vcpu.pins.kick();
            cpu->power.wake();
        }
    }

    bool join(std::chrono::milliseconds timeout) override {
        {
            std::unique_lock lock(mutex_);
            if (!finished_.wait_for(lock, timeout, [this] { return running_ == 0; })) {
                return false;
            }
        }
        for (std::thread& thread : threads_) {
            thread.join();
        }
        threads_.clear();
        return true;
    }

  private:
    void thread_main(Cpu& cpu) {
        // Fifteen characters are what the kernel keeps of a thread's name.
        ::pthread_setname_np(::pthread_self(), fmt::format("vcpu{}", cpu.index()).c_str());
        restrict_thread(context_.role);
        Pacer pacer;
        const auto stopping = [this] { return context_.control->stopping(); };
        while (!stopping()) {
            cpu.power.wait_while_off(stopping);
            if (const auto entry = cpu.power.take_entry()) {
                cpu.begin(*entry);
            }
            if (cpu.power.state() == PowerState::State::on && !stopping()) {
                run_while_on(cpu, pacer);
            }
        }
        const std::lock_guard lock(mutex_);
        --running_;
        finished_.notify_all();
    }

    void run_while_on(Cpu& cpu, Pacer& pacer) {
        const devices::SystemCounter& counter = *context_.counter;
        while (!context_.control->stopping()) {
            cpu.timer.update();
            const u64 start_ops = cpu.vcpu.ops_executed();
            const u64 start = counter.count();
            const arch::RunResult result =
                cpu.vcpu.run(pacer.budget(counter.ns_until(cpu.timer.next_deadline_count())));
            cpu.publish_operations();
            pacer.observe(cpu.vcpu.ops_executed() - start_ops, counter.count() - start);
            if (result == arch::RunResult::wait) {
                park(cpu);
            } else if (result == arch::RunResult::debug) {
                context_.control->stop(StopReason::host);
                kick();
            } else if (result == arch::RunResult::stop && cpu.power.state() != PowerState::State::on) {
                return;  // CPU_OFF
            }
        }
    }

    void park(Cpu& cpu) {
        cpu.timer.update();
        const u64 ns = context_.counter->ns_until(cpu.timer.next_deadline_count());
        if (ns != 0) {
            cpu.vcpu.pins.park(std::min(ns, cpu.waits_for_event() ? kMaxWfeParkNs : kMaxParkNs));
        }
    }

    const ExecutorContext context_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable finished_;
    unsigned running_ = 0;  // threads that have not finished
};

}  // namespace

std::unique_ptr<Executor> make_threaded_executor(const ExecutorContext& context) {
    return std::make_unique<ThreadedExecutor>(context);
}

}  // namespace vmm
