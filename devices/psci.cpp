#include "devices/psci.h"

#include "arch/vcpu.h"
#include "vmm/base/bits.h"

namespace vmm::devices {

namespace {

constexpr s64 kNotSupported = -1;
constexpr u64 kAffinityMask = 0xFF'00FF'FFFF;

/// Function identifiers; the 64-bit convention's are marked 64.
enum Function : u32 {
    kSmcccVersion = 0x80000000,
    kSmcccArchFeatures = 0x80000001,
    kArchWorkaround1 = 0x80008000,
    kArchWorkaround2 = 0x80007FFF,
    kArchWorkaround3 = 0x80003FFF,
    kPsciVersion = 0x84000000,
    kCpuSuspend = 0x84000001,
    kCpuOff = 0x84000002,
    kCpuOn = 0x84000003,
    kAffinityInfo = 0x84000004,
    kMigrateInfoType = 0x84000006,
    kSystemOff = 0x84000008,
    kSystemReset = 0x84000009,
    kPsciFeatures = 0x8400000A,
    kSystemReset2 = 0x84000012,
    kCpuSuspend64 = 0xC4000001,
    kCpuOn64 = 0xC4000003,
    kAffinityInfo64 = 0xC4000004,
    kSystemReset264 = 0xC4000012,
};

constexpr s64 kVersion1_1 = 0x1'0001;
constexpr s64 kNoMigration = 2;          // MIGRATE_INFO_TYPE: no trusted OS that would need migration
constexpr s64 kWorkaroundUnaffected = 1; // ARCH_FEATURES of WORKAROUND_1 and _3: callable, this PE does not need it
constexpr s64 kWorkaroundNotRequired = -2;  // ... of WORKAROUND_2

s64 psci_features(u32 function) {
    switch (function) {
        case kSmcccVersion:
        case kPsciVersion:
        case kCpuSuspend: case kCpuSuspend64:  // original StateID format, no OS-initiated mode
        case kCpuOff:
        case kCpuOn: case kCpuOn64:
        case kAffinityInfo: case kAffinityInfo64:
        case kMigrateInfoType:
        case kSystemOff:
        case kSystemReset:
        case kSystemReset2: case kSystemReset264:
        case kPsciFeatures: return 0;
        default: return kNotSupported;
    }
}

s64 arch_features(u32 function) {
    switch (function) {
        case kSmcccVersion:
        case kSmcccArchFeatures: return 0;
        case kArchWorkaround1:
        case kArchWorkaround3: return kWorkaroundUnaffected;
        case kArchWorkaround2: return kWorkaroundNotRequired;
        default: return kNotSupported;
    }
}

s64 value_of(PsciStatus status) { return static_cast<s64>(status); }

/// Arguments of the 32-bit convention are 32 bits wide.
u64 argument(u32 function, u64 value) { return bit(function, 30) ? value : static_cast<u32>(value); }

}  // namespace

Psci::Outcome Psci::handle(const Call& call) {
    using arch::Exec;
    const auto arg = [&](unsigned n) { return argument(call.function, call.args[n]); };
    switch (call.function) {
        case kSmcccVersion: return {kVersion1_1};
        case kSmcccArchFeatures: return {arch_features(static_cast<u32>(call.args[0]))};
        case kArchWorkaround1:
        case kArchWorkaround2:
        case kArchWorkaround3: return {0};
        case kPsciVersion: return {kVersion1_1};
        case kPsciFeatures: return {psci_features(static_cast<u32>(call.args[0]))};
        case kMigrateInfoType: return {kNoMigration};
        case kCpuSuspend:
        case kCpuSuspend64:
            // Any state is entered as standby, which a caller must cope with: the PE waits and keeps its context.
            return {value_of(PsciStatus::success), Exec::wait};
        case kCpuOff: {
            const PsciStatus status = power_.cpu_off(call.cpu);
            return {value_of(status), status == PsciStatus::success ? Exec::stop : Exec::next};
        }
        case kCpuOn:
        case kCpuOn64:
            if ((arg(0) & ~kAffinityMask) != 0) {
                return {value_of(PsciStatus::invalid_parameters)};
            }
            if ((arg(1) & 3) != 0) {
                return {value_of(PsciStatus::invalid_address)};
            }
            return {value_of(power_.cpu_on(arg(0), arg(1), arg(2)))};
        case kAffinityInfo:
        case kAffinityInfo64:
            if ((arg(0) & ~kAffinityMask) != 0 || arg(1) > 3) {
                return {value_of(PsciStatus::invalid_parameters)};
            }
            return {power_.affinity_info(arg(0), static_cast<unsigned>(arg(1)))};
        case kSystemOff: power_.system_off(); return {0, Exec::stop};
        case kSystemReset: power_.system_reset(); return {0, Exec::stop};
        case kSystemReset2:
        case kSystemReset264:
            // 0: SYSTEM_WARM_RESET. Vendor-specific reset types have bit 31 set.
            if (static_cast<u32>(call.args[0]) != 0) {
                return {value_of(PsciStatus::invalid_parameters)};
            }
            power_.system_reset();
            return {0, Exec::stop};
        default: return {kNotSupported};
    }
}

arch::Exec Psci::call(arch::Vcpu& v) {
    const Outcome outcome = handle({v.w(0), {v.x(1), v.x(2), v.x(3)}, v.index()});
    v.set_x(0, static_cast<u64>(outcome.result));
    return outcome.exec;
}

}  // namespace vmm::devices
