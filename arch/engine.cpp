#include "arch/engine.h"

#include "arch/decode.h"
#include "arch/mmu.h"

namespace vmm::arch {

struct Engine::Impl {
    explicit Impl(Vcpu& vcpu) : v(vcpu) {}

    RunResult run(u64 budget) {
        for (u64 i = 0; i < budget; ++i) {
            const Translation t = v.mmu().translate(v.s.pc, AccessType::fetch, v.s.el == 1);
            const u8* host = t.ok ? v.ram().host(t.pa, 4) : nullptr;
            ++executed;
            if (host == nullptr) {
                v.instruction_abort(v.s.pc, t.ok ? 0x10 : t.fsc);
                continue;
            }
            const u32 insn = mm::load_relaxed<u32>(host);
            const DecodeRow* row = decode(insn);
            const Exec result = row == nullptr ? v.undefined() : row->handler(v, insn);
            switch (result) {
                case Exec::next:
                case Exec::end_block: v.s.pc += 4; break;
                case Exec::wait: v.s.pc += 4; return RunResult::wait;
                case Exec::stop: v.s.pc += 4; return RunResult::stop;
                case Exec::branch:
                case Exec::exception: break;
            }
            if (v.irq_deliverable()) {
                v.irq();
            }
        }
        return RunResult::budget;
    }

    Vcpu& v;
    u64 executed = 0;
};

Engine::Engine(Vcpu& vcpu) : impl_(std::make_unique<Impl>(vcpu)) {}
Engine::~Engine() = default;
RunResult Engine::run(u64 budget) {
    return impl_->run(budget);
}
u64 Engine::ops_executed() const {
    return impl_->executed;
}
void Engine::invalidate_code_page(u64) {}
void Engine::invalidate_all_code() {}
void Engine::invalidate_links() {}
void Engine::context_changed() {}
void Engine::observer_changed() {}

RunResult Vcpu::run(u64 budget) {
    return engine_->run(budget);
}
u64 Vcpu::ops_executed() const {
    return engine_->ops_executed();
}
void Vcpu::observer_changed() {
    engine_->observer_changed();
}

}  // namespace vmm::arch
