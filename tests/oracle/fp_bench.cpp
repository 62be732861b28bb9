#include "tests/oracle/fp_bench.h"

#include <cstring>

#include "arch/decode.h"
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

FpBench::FpBench(bool host_code) : pe_(kCode, kRamSize, host_code ? 1 : 0) {
    arch::Vcpu& vcpu = pe_.vcpu();
    vcpu.reset(kCode, 0);
    vcpu.s.cpacr_el1 = u64{3} << 20;  // FPEN
    vcpu.context_changed();
}

bool FpBench::executes(u32 insn) {
    const arch::DecodeRow* row = arch::decode(insn);
    return row != nullptr && row->handler(pe_.vcpu(), insn) == arch::Exec::next;
}

std::vector<FpResult> FpBench::run(u32 insn, u32 fpcr, const FpOperands* operands, u64 count) {
    VMM_CHECK(count <= kMaxFpCases);
    std::memcpy(pe_.ram().host(kCode, sizeof kFpLoop), kFpLoop, sizeof kFpLoop);
    std::memcpy(pe_.ram().host(kCode + 4 * FP_LOOP_INSN, 4), &insn, 4);
    std::memcpy(pe_.ram().host(kEnd, 4), &kBranchToSelf, 4);
    std::memcpy(pe_.ram().host(kOperands, count * sizeof(FpOperands)), operands, count * sizeof(FpOperands));
    pe_.vcpu().engine().invalidate_all_code();
    arch::CpuState& s = pe_.vcpu().s;
    s.pc = kCode;
    s.x[20] = kOperands;
    s.x[21] = kResults;
    s.x[22] = count;
    s.x[23] = fpcr;
    s.x[30] = kEnd;
    for (u64 turns = 0; s.pc != kEnd && turns < count + 1000; ++turns) {
        pe_.vcpu().run(10'000);
    }
    if (s.pc != kEnd || s.el != 1 || s.x[22] != 0) {
        return {};
    }
    std::vector<FpResult> results(count);
    std::memcpy(results.data(), pe_.ram().host(kResults, count * sizeof(FpResult)), count * sizeof(FpResult));
    return results;
}

}  // namespace vmm::oracle
