// Two processes in step, with a fault put into one of them.
#include "vmm/lockstep/lockstep.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/interconnect.h"
#include "vmm/base/unique_fd.h"

using namespace vmm;

namespace {

constexpr u64 kRamBase = 0x8000'0000;
constexpr u64 kSlice = 1000;
constexpr u64 kSlices = 100;
constexpr int kStatus = 9;

/// X0 counts up for ever, at kRamBase.
struct Counting {
    Counting() : memory(2 * arch::kPageSize) {
        u8* const page =
            memory.data() + (-reinterpret_cast<std::uintptr_t>(memory.data()) & (arch::kPageSize - 1));
        const u32 code[] = {0x91000400, 0xD503201F, 0x17FFFFFE};  // add x0, x0, #1; nop; b .-8
        std::memcpy(page, code, sizeof code);
        arch::VcpuConfig config;
        config.ram = mm::GuestRam(page, kRamBase, arch::kPageSize);
        config.interconnect = &interconnect;
        vcpu = std::make_unique<arch::Vcpu>(config);
        vcpu->s.pc = kRamBase;
    }
    void run_to(u64 operations) {
        while (vcpu->ops_executed() < operations) {
            vcpu->run(operations - vcpu->ops_executed());
        }
    }

    std::vector<u8> memory;
    arch::Interconnect interconnect;
    std::unique_ptr<arch::Vcpu> vcpu;
};

/// A guest whose X7 changes by itself after `fault_at` operations, when the interpreter runs it.
int run_guest(const MachineConfig& config, SliceObserver& slices, u64 fault_at) {
    std::signal(SIGTERM, SIG_DFL);  // not the test framework's
    Counting guest;
    const RunControl control;
    for (u64 n = 0; n < kSlices; ++n) {
        const u64 begin = guest.vcpu->ops_executed();
        const u64 end = begin + slices.before_slice(*guest.vcpu, kSlice, control);
        if (config.engine == EngineKind::interpreter && begin < fault_at && fault_at <= end) {
            guest.run_to(fault_at);
            guest.vcpu->s.x[7] = 0x77;
        }
        guest.run_to(end);
        slices.after_slice(*guest.vcpu, arch::RunResult::budget, control);
    }
    return kStatus;
}

struct Outcome {
    int status = 0;
    std::string text;  // on standard error
};

Outcome check(u64 fault_at) {
    MachineConfig config;
    config.check = EngineKind::interpreter;
    const UniqueFd before(::dup(STDERR_FILENO));
    const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(file.get() >= 0);
    ::dup2(file.get(), STDERR_FILENO);
    Outcome outcome;
    outcome.status =
        lockstep::run_checked(config, [fault_at](const MachineConfig& with, SliceObserver& slices) {
            return run_guest(with, slices, fault_at);
        });
    ::dup2(before.get(), STDERR_FILENO);
    outcome.text.resize(1 << 16);
    outcome.text.resize(
        static_cast<std::size_t>(::pread(file.get(), outcome.text.data(), outcome.text.size(), 0)));
    return outcome;
}

}  // namespace

TEST_CASE("two engines that agree are left to their guest's end") {
    const Outcome outcome = check(~u64{0});
    CHECK(outcome.status == kStatus);
    CHECK(outcome.text ==
          "vmm: --check: 100000 operations in 100 slices: translator and interpreter agree\n");
}

TEST_CASE("the first operation that differs is found") {
    const u64 operation = GENERATE(u64{1}, u64{1000}, u64{1001}, u64{54'321}, u64{100'000});
    const Outcome outcome = check(operation);
    INFO(outcome.text);
    CHECK(outcome.status == static_cast<int>(ExitStatus::internal_error));
    CHECK(outcome.text.find("differ after operation " + std::to_string(operation) + " of vCPU 0\n") !=
          std::string::npos);
    CHECK(outcome.text.find(
              "after it: translator: X7 0x0000000000000000; interpreter: X7 0x0000000000000077\n") !=
          std::string::npos);
    CHECK(outcome.text.find("before it: PC 0x000000008000000") != std::string::npos);
}
