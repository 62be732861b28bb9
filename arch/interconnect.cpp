#include "arch/interconnect.h"

#include <thread>

#include "arch/engine.h"
#include "arch/mmu.h"
#include "arch/vcpu.h"

namespace vmm::arch {

void Interconnect::broadcast(Vcpu& from, const RemoteRequest& request) {
    for (Vcpu* target : vcpus_) {
        if (target != &from) {
            target->requests.post(request);
            target->pins.kick();
        }
    }
}

void Interconnect::wait_for_completion(Vcpu& from) {
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
        }
    }
    requests.set_served(sequence);
}

}  // namespace vmm::arch
