// Firmware calls: SMC Calling Convention 1.1 (DEN0028) and PSCI 1.1 (DEN0022).
#pragma once

#include "arch/ports.h"
#include "vmm/base/types.h"

namespace vmm::devices {

/// PSCI return values.
enum class PsciStatus : s32 {
    success = 0,
    not_supported = -1,
    invalid_parameters = -2,
    denied = -3,
    already_on = -4,
    on_pending = -5,
    internal_failure = -6,
    not_present = -7,
    disabled = -8,
    invalid_address = -9,
};

/// What PSCI asks of the machine. Called on the thread of the calling vCPU.
class PowerControl {
  public:
    PowerControl() = default;
    PowerControl(const PowerControl&) = delete;
    PowerControl& operator=(const PowerControl&) = delete;
    virtual ~PowerControl() = default;

    /// Values of AFFINITY_INFO.
    static constexpr s32 kOn = 0;
    static constexpr s32 kOff = 1;
    static constexpr s32 kOnPending = 2;

    /// Starts the PE whose MPIDR affinity fields equal those of `mpidr` at `entry` with `context` in X0.
    virtual PsciStatus cpu_on(u64 mpidr, u64 entry, u64 context) = 0;
    /// Takes PE `cpu` offline; its run loop returns right after the call.
    virtual PsciStatus cpu_off(unsigned cpu) = 0;
    /// kOn, kOff, kOnPending, or invalid_parameters where no PE matches. `level`: affinity fields below it are ignored.
    virtual s32 affinity_info(u64 mpidr, unsigned level) = 0;
    virtual void system_off() = 0;
    virtual void system_reset() = 0;
};

class Psci final : public arch::FirmwarePort {
  public:
    static constexpr const char* kCompatible = "arm,psci-1.0";
    // Function identifiers that device trees of PSCI 0.1 style name.
    static constexpr u32 kCpuSuspend64 = 0xC4000001;
    static constexpr u32 kCpuOff = 0x84000002;
    static constexpr u32 kCpuOn64 = 0xC4000003;

    explicit Psci(PowerControl& power) : power_(power) {}

    arch::Exec call(arch::Vcpu& v) override;

    struct Call {
        u32 function = 0;
        u64 args[3] = {};   // X1..X3
        unsigned cpu = 0;   // index of the caller
    };
    struct Outcome {
        s64 result = 0;     // to X0
        arch::Exec exec = arch::Exec::next;
    };
    /// The call itself, apart from any Vcpu.
    Outcome handle(const Call& call);

  private:
    PowerControl& power_;
};

}  // namespace vmm::devices
