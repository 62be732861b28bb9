#include "arch/interconnect.h"

#include <thread>

#include "arch/engine.h"
#include "arch/mmu.h"
#include "arch/vcpu.h"

namespace vmm::arch {

namespace {

constexpr std::size_t kMostOutgoing = 64;

/// The request says nothing that `last` has not said: cache maintenance walks a page line by line.
bool is_repeated(const std::vector<RemoteRequest>& outgoing, const RemoteRequest& request) {
    return !outgoing.empty() && outgoing.back().kind == RemoteRequest::Kind::invalidate_code_page &&
           request.kind == RemoteRequest::Kind::invalidate_code_page && outgoing.back().address == request.address;
}

}  // namespace

void Interconnect::broadcast(Vcpu& from, const RemoteRequest& request) {
    std::vector<RemoteRequest>& outgoing = from.requests.outgoing;
    if (vcpus_.size() < 2 || is_repeated(outgoing, request)) {
        return;
    }
    outgoing.push_back(request);
    if (outgoing.size() >= kMostOutgoing) {
        send(from);
    }
}

void Interconnect::send(Vcpu& from) {
    std::vector<RemoteRequest>& outgoing = from.requests.outgoing;
    for (Vcpu* target : vcpus_) {
        if (target != &from) {
            target->requests.post(outgoing);
            // One that is not executing serves its queue before it does again (Vcpu::run): let it sleep.
            if (target->executing.load(std::memory_order_seq_cst)) {
                target->pins.kick();
            }
        }
    }
    outgoing.clear();
}

void Interconnect::wait_for_completion(Vcpu& from) {
    if (vcpus_.size() < 2) {
        return;
    }
    if (!from.requests.outgoing.empty()) {
        send(from);
    }
    for (Vcpu* target : vcpus_) {
        if (target == &from) {
            continue;
        }
        const u64 sequence = target->requests.posted();
        while (target->requests.served() < sequence && target->executing.load(std::memory_order_seq_cst)) {
            from.serve_requests();
            std::this_thread::yield();
        }
    }
}

void StoreFence::start(Vcpu& from) {
    waits_.clear();
    from.tlb_.clear();
    if (from.config.interconnect == nullptr) {
        return;
    }
    for (Vcpu* target : from.config.interconnect->vcpus()) {
        if (target == &from) {
            continue;
        }
        target->requests.post({.kind = RemoteRequest::Kind::forget_store_pages});
        waits_.push_back({target, target->requests.posted()});
        if (target->executing.load(std::memory_order_seq_cst)) {
            target->pins.kick();
        }
    }
}

bool StoreFence::done() {
    // One that is not executing serves its queue before it does again.
    std::erase_if(waits_, [](const Wait& wait) {
        return wait.vcpu->requests.served() >= wait.sequence ||
               !wait.vcpu->executing.load(std::memory_order_seq_cst);
    });
    return waits_.empty();
}

void Vcpu::serve_requests() {
    if (requests.empty()) {
        return;
    }
    u64 sequence = 0;
    for (const RemoteRequest& request : requests.take(sequence)) {
        switch (request.kind) {
            case RemoteRequest::Kind::tlbi:
                mmu().tlbi(static_cast<TlbiOp>(request.tlbi_op), request.address, request.asid);
                break;
            case RemoteRequest::Kind::invalidate_code_page: engine().invalidate_code_page(request.address); break;
            case RemoteRequest::Kind::invalidate_all_code: engine().invalidate_all_code(); break;
            case RemoteRequest::Kind::forget_store_pages: tlb_.clear(); break;
        }
    }
    requests.set_served(sequence);
}

}  // namespace vmm::arch
