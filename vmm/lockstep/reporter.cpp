#include "vmm/lockstep/reporter.h"

#include <unistd.h>

#include <fmt/format.h>

#include "arch/decode.h"
#include "arch/mmu.h"
#include "mm/guest_access.h"

namespace vmm::lockstep {

namespace {

constexpr auto kPatience = std::chrono::milliseconds(50);  // between looks at whether the guest is to stop

std::string instruction_at_pc(arch::Vcpu& v) {
    const u64 pc = v.s.pc;
    const arch::Translation t = v.mmu().translate(pc, arch::AccessType::fetch, v.s.el == 1, true);
    const u8* const host = t.ok && (pc & 3) == 0 ? v.ram().host(t.pa, sizeof(u32)) : nullptr;
    if (host == nullptr) {
        return "(not mapped)";
    }
    const u32 insn = mm::load_relaxed<u32>(host);
    const arch::DecodeRow* const row = arch::decode(insn);
    return fmt::format("{:08x} {}", insn, row != nullptr ? row->name : "UNDEFINED");
}

}  // namespace

std::string register_lines(arch::Vcpu& v) {
    std::string text = fmt::format("instruction {}\noperations {}\n", instruction_at_pc(v), v.ops_executed());
    text +=
        fmt::format("PC {:#018x}\nPSTATE {:#010x}\nSP {:#018x}\n", v.s.pc, v.pack_pstate(), v.s.x[arch::kSp]);
    for (unsigned n = 0; n < 31; ++n) {
        text += fmt::format("X{} {:#018x}\n", n, v.s.x[n]);
    }
    for (unsigned n = 0; n < 32; ++n) {
        text += fmt::format("V{} {:#018x}:{:016x}\n", n, v.s.v[n].hi, v.s.v[n].lo);
    }
    text += fmt::format("FPCR {:#010x}\nFPSR {:#010x}\n", v.s.fpcr, v.s.fpsr);
    for (const arch::SysregBank::Entry* entry : v.sysregs.entries()) {
        if (entry->readable_without_effect()) {
            text += fmt::format("{} {:#018x}\n", entry->full_name(), v.sysregs.peek(v, entry->key));
        }
    }
    return text;
}

void Reporter::end_here(arch::Vcpu& vcpu) {
    channel_.set_registers(register_lines(vcpu));
    ::_exit(0);
}

bool Reporter::deliver(const RunControl& control) {
    while (pending_ && !control.stopping()) {
        if (channel_.push(*pending_, kPatience)) {
            pending_.reset();
        }
    }
    return !pending_;
}

u64 Reporter::before_slice(arch::Vcpu& vcpu, u64 operations, const RunControl& control) {
    if (!deliver(control)) {
        return 0;
    }
    ++slice_;
    if (!stop_ || slice_ != stop_->slice) {
        return operations;
    }
    if (stop_->operations == 0) {
        end_here(vcpu);
    }
    return stop_->operations;
}

void Reporter::after_slice(arch::Vcpu& vcpu, arch::RunResult result, const RunControl& control) {
    if (stop_) {
        if (slice_ == stop_->slice) {
            end_here(vcpu);
        }
        return;
    }
    pending_ = Snapshot{slice_, vcpu.ops_executed(), vcpu.index(), result, vcpu.s};
    pending_->state.x[arch::kSink] = 0;
    deliver(control);
}

}  // namespace vmm::lockstep
