// How PEs reach each other: broadcast TLB and instruction-cache maintenance, and the barrier that waits for it.
#pragma once

#include <atomic>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "vmm/base/types.h"

namespace vmm::arch {

class Vcpu;

/// Maintenance one PE asks of the others.
struct RemoteRequest {
    enum class Kind : u8 { tlbi, invalidate_code_page, invalidate_all_code, forget_store_pages };

    Kind kind = Kind::tlbi;
    u8 tlbi_op = 0;   // arch::TlbiOp, for Kind::tlbi
    u16 asid = 0;
    u64 address = 0;  // VA for tlbi, guest-physical page for code
};

/// Connects all PEs of a machine. Built before any vCPU thread starts, immutable afterwards.
///
/// Requests are collected at the sender until its next DSB (nothing is promised before), then queued at each target,
/// whose run loop is kicked; targets serve their queue at the next block boundary. The DSB waits until every target that
/// is executing guest code has served what was queued before. A parked or stopped
/// target counts as done: it serves its queue before it executes again (Vcpu::serve_requests).
class Interconnect {
  public:
    void attach(Vcpu* vcpu) { vcpus_.push_back(vcpu); }
    const std::vector<Vcpu*>& vcpus() const { return vcpus_; }

    /// Addresses `request` to every PE but `from`. It travels with the next wait_for_completion().
    void broadcast(Vcpu& from, const RemoteRequest& request);

    /// DSB: waits as described above, serving `from`'s own queue meanwhile so that two waiters cannot deadlock.
    void wait_for_completion(Vcpu& from);

  private:
    void send(Vcpu& from);

    std::vector<Vcpu*> vcpus_;
};

/// Makes every PE look up anew which pages it may store to, so that none stores past mm::TableWatch: stores that begin
/// once done() has returned true see what was watched before start(), and earlier ones are in memory.
class StoreFence {
  public:
    /// On `from`'s thread. Nobody is waited for.
    void start(Vcpu& from);
    /// Any number of times after start(); stays true.
    bool done();

  private:
    struct Wait {
        Vcpu* vcpu;
        u64 sequence;
    };
    std::vector<Wait> waits_;
};

/// The queue of one PE.
class RequestQueue {
  public:
    /// Any thread. A queue that nobody serves (a PE that is switched off) is replaced by "invalidate everything".
    void post(std::span<const RemoteRequest> requests) {
        const std::lock_guard lock(mutex_);
        if (pending_.size() + requests.size() > kMostPending) {
            pending_ = {{.kind = RemoteRequest::Kind::tlbi, .tlbi_op = 0},
                        {.kind = RemoteRequest::Kind::invalidate_all_code}};
        } else {
            pending_.insert(pending_.end(), requests.begin(), requests.end());
        }
        posted_.fetch_add(1, std::memory_order_seq_cst);
    }

    void post(const RemoteRequest& request) { post(std::span(&request, 1)); }

    /// Owner thread: takes all pending requests; call served() when they have been carried out.
    std::vector<RemoteRequest> take(u64& sequence) {
        const std::lock_guard lock(mutex_);
        sequence = posted_.load(std::memory_order_relaxed);
        return std::exchange(pending_, {});
    }
    void set_served(u64 sequence) { served_.store(sequence, std::memory_order_seq_cst); }

    u64 posted() const { return posted_.load(std::memory_order_seq_cst); }
    u64 served() const { return served_.load(std::memory_order_seq_cst); }
    bool empty() const { return served() == posted(); }

    /// Owner thread: what this PE asks of the others, not sent yet.
    std::vector<RemoteRequest> outgoing;

  private:
    static constexpr std::size_t kMostPending = 256;

    std::mutex mutex_;
    std::vector<RemoteRequest> pending_;
    std::atomic<u64> posted_{0};
    std::atomic<u64> served_{0};
};

}  // namespace vmm::arch
