// In the process of a guest that runs for comparison: tells the other process of every slice.
#pragma once

#include <optional>

#include "vmm/executor.h"
#include "vmm/lockstep/channel.h"

namespace vmm::lockstep {

/// Where a guest that runs again shall end: `operations` into its slice number `slice`.
struct StopAt {
    u64 slice = 0;
    u64 operations = 0;
};

class Reporter final : public SliceObserver {
  public:
    /// With `stop` nothing is told of slices; the process ends there, and has set_registers() then.
    Reporter(Channel& channel, const std::optional<StopAt>& stop) : channel_(channel), stop_(stop) {}

    u64 before_slice(arch::Vcpu& vcpu, u64 operations, const RunControl& control) override;
    void after_slice(arch::Vcpu& vcpu, arch::RunResult result, const RunControl& control) override;

  private:
    bool deliver(const RunControl& control);
    [[noreturn]] void end_here(arch::Vcpu& vcpu);

    Channel& channel_;
    const std::optional<StopAt> stop_;
    u64 slice_ = 0;
    std::optional<Snapshot> pending_;  // not taken yet
};

/// Registers of one vCPU, one "NAME VALUE" to a line, the instruction at PC first.
std::string register_lines(arch::Vcpu& v);

}  // namespace vmm::lockstep
