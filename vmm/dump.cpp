#include "vmm/dump.h"

#include <optional>

#include <fmt/format.h>

#include "arch/mmu.h"
#include "mm/guest_access.h"

namespace vmm {

namespace {

constexpr unsigned kMaxFrames = 32;

const char* power_name(PowerState::State state) {
    switch (state) {
        case PowerState::State::off: return "off";
        case PowerState::State::on_pending: return "starting";
        case PowerState::State::on: return "on";
    }
    return "?";
}

/// PSTATE as SPSR_EL1 would hold it, from plain state so that it works in any circumstances.
std::string pstate_text(const arch::CpuState& s) {
    return fmt::format("{}{}{}{} DAIF {}{}{}{} EL{}{}{}{}{}", s.nzcv.n ? 'N' : 'n', s.nzcv.z ? 'Z' : 'z',
                       s.nzcv.c ? 'C' : 'c', s.nzcv.v ? 'V' : 'v', (s.daif & arch::kDaifD) ? 'D' : '-',
                       (s.daif & arch::kDaifA) ? 'A' : '-', (s.daif & arch::kDaifI) ? 'I' : '-',
                       (s.daif & arch::kDaifF) ? 'F' : '-', s.el, s.sp_sel ? 'h' : 't', s.pan ? " PAN" : "",
                       s.uao ? " UAO" : "", s.il ? " IL" : "");
}

std::optional<u64> read_u64(Cpu& cpu, u64 va) {
    if ((va & 7) != 0) {
        return std::nullopt;
    }
    const arch::Translation t = cpu.vcpu.mmu().translate(va, arch::AccessType::read, true, true);
    const u8* host = t.ok ? cpu.vcpu.ram().host(t.pa, 8) : nullptr;
    if (host == nullptr) {
        return std::nullopt;
    }
    return mm::load_relaxed<u64>(host);
}

}  // namespace

std::string dump_registers(const Cpu& cpu) {
    const arch::CpuState& s = cpu.vcpu.s;
    std::string out = fmt::format("# vCPU {} ({}), {} operations executed\n", cpu.index(),
                                  power_name(cpu.power.state()), cpu.vcpu.ops_executed());
    out += fmt::format("  pc {:016x}  sp {:016x}  lr {:016x}  pstate {}\n", s.pc, s.x[arch::kSp], s.x[30],
                       pstate_text(s));
    for (unsigned n = 0; n < 31; ++n) {
        out += fmt::format("{}x{:<2} {:016x}", n % 4 == 0 ? "  " : "  ", n, s.x[n]);
        out += n % 4 == 3 || n == 30 ? "\n" : "";
    }
    out += fmt::format("  esr {:016x}  far {:016x}  elr {:016x}  spsr {:016x}\n", s.esr_el1, s.far_el1,
                       s.elr_el1, s.spsr_el1);
    out += fmt::format("  sctlr {:016x}  tcr {:016x}  ttbr0 {:016x}  ttbr1 {:016x}\n", s.sctlr_el1, s.tcr_el1,
                       s.ttbr0_el1, s.ttbr1_el1);
    out += fmt::format("  vbar {:016x}  sp_el0 {:016x}  tpidr_el1 {:016x}  irq {}\n", s.vbar_el1, s.sp_el0,
                       s.tpidr_el1, cpu.vcpu.pins.irq() ? "pending" : "idle");
    return out;
}

std::string dump_backtrace(Cpu& cpu) {
    const arch::CpuState& s = cpu.vcpu.s;
    std::string out = fmt::format("  backtrace: {:016x}", s.pc);
    u64 frame = s.x[29];
    out += fmt::format(" {:016x}", s.x[30]);
    for (unsigned depth = 0; depth < kMaxFrames; ++depth) {
        const std::optional<u64> next = read_u64(cpu, frame);
        const std::optional<u64> return_address = read_u64(cpu, frame + 8);
        if (!next || !return_address || *return_address == 0) {
            break;
        }
        out += fmt::format("{}{:016x}", depth % 4 == 2 ? "\n             " : " ", *return_address);
        // Frames grow towards higher addresses, except where another stack begins.
        if (*next == frame || *next == 0) {
            break;
        }
        frame = *next;
    }
    return out + "\n";
}

}  // namespace vmm
