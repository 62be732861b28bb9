#include "tests/oracle/fp_bench.h"

#include <cstring>

#include "arch/cpu_model.h"
#include "arch/decode.h"
#include "arch/engine.h"
#include "vmm/base/check.h"

namespace vmm::oracle {

namespace {

constexpr u64 kCode = 0x80000000;
constexpr u64 kOperands = kCode + 0x10000;
constexpr u64 kResults = kOperands + kMaxFpCases * sizeof(FpOperands);
constexpr u64 kRamSize = kResults + kMaxFpCases * sizeof(FpResult) - kCode;
constexpr u64 kEnd = kCode + sizeof kFpLoop;  // a branch to itself, where the loop returns to
constexpr u32 kBranchToSelf = 0x14000000;

}  // namespace

struct FpBench::Ports final : arch::MmioPort, arch::FirmwarePort, arch::CounterPort {
    bool read(u64, unsigned, u64&, unsigned) override { return false; }
    bool write(u64, unsigned, u64, unsigned) override { return false; }
    arch::Exec call(arch::Vcpu&) override { return arch::Exec::next; }
    u64 count() const override { return 0; }
    u64 frequency() const override { return 1'000'000; }

    arch::Interconnect interconnect;
};

FpBench::FpBench(bool host_code) : memory_(kRamSize + 4096), ports_(std::make_unique<Ports>()) {
    u8* aligned = memory_.data() + (-reinterpret_cast<std::uintptr_t>(memory_.data()) & 4095);
    ram_ = mm::GuestRam(aligned, kCode, kRamSize);
    arch::VcpuConfig config;
    config.ram = ram_;
    config.model = arch::find_cpu_model("neoverse-n1");
    config.mmio = ports_.get();
    config.firmware = ports_.get();
    config.counter = ports_.get();
    config.interconnect = &ports_->interconnect;
    config.translate_after = host_code ? 1 : 0;
    vcpu_ = std::make_unique<arch::Vcpu>(config);
    ports_->interconnect.attach(vcpu_.get());
    vcpu_->reset(kCode, 0);
    vcpu_->s.cpacr_el1 = u64{3} << 20;  // FPEN
    vcpu_->context_changed();
}

FpBench::~FpBench() = default;

bool FpBench::executes(u32 insn) {
    const arch::DecodeRow* row = arch::decode(insn);
    return row != nullptr && row->handler(*vcpu_, insn) == arch::Exec::next;
}

std::vector<FpResult> FpBench::run(u32 insn, u32 fpcr, const FpOperands* operands, u64 count) {
    VMM_CHECK(count <= kMaxFpCases);
    std::memcpy(ram_.host(kCode, sizeof kFpLoop), kFpLoop, sizeof kFpLoop);
    std::memcpy(ram_.host(kCode + 4 * FP_LOOP_INSN, 4), &insn, 4);
    std::memcpy(ram_.host(kEnd, 4), &kBranchToSelf, 4);
    std::memcpy(ram_.host(kOperands, count * sizeof(FpOperands)), operands, count * sizeof(FpOperands));
    vcpu_->engine().invalidate_all_code();
    arch::CpuState& s = vcpu_->s;
    s.pc = kCode;
    s.x[20] = kOperands;
    s.x[21] = kResults;
    s.x[22] = count;
    s.x[23] = fpcr;
    s.x[30] = kEnd;
    for (u64 turns = 0; s.pc != kEnd && turns < count + 1000; ++turns) {
        vcpu_->run(10'000);
    }
    if (s.pc != kEnd || s.el != 1 || s.x[22] != 0) {
        return {};
    }
    std::vector<FpResult> results(count);
    std::memcpy(results.data(), ram_.host(kResults, count * sizeof(FpResult)), count * sizeof(FpResult));
    return results;
}

}  // namespace vmm::oracle
