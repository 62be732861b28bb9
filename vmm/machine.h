// The machine: owns all parts, connects them, runs them, ends them.
//
// Threads: vCPUs as the executor sees fit; one for console input, one for console output, one per virtio
// device; the main thread, inside run(), waits for whatever ends or pauses the guest. Resetting and dumping
// happen on the main thread while no vCPU executes.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "devices/bus.h"
#include "devices/generic_timer/system_counter.h"
#include "devices/gicv3/gicv3.h"
#include "devices/host_io/fd_sink.h"
#include "devices/pl031.h"
#include "devices/psci.h"
#include "devices/uart16550.h"
#include "devices/virtio/console.h"
#include "devices/virtio/mmio_transport.h"
#include "mm/host_memory.h"
#include "vmm/boot_loader.h"
#include "vmm/config.h"
#include "vmm/console.h"
#include "vmm/cpu.h"
#include "vmm/executor.h"
#include "vmm/host_events.h"
#include "vmm/host_trace.h"
#include "vmm/run_control.h"

namespace vmm {

class Machine final : private devices::PowerControl {
  public:
    /// Checks and reads everything the configuration names before anything is created or written.
    static Result<std::unique_ptr<Machine>> create(const MachineConfig& config);
    ~Machine() override;

    /// Runs the guest to its end; returns the process's exit status.
    int run(HostEvents& events);

    /// Registers and backtraces of all vCPUs. While no vCPU executes.
    std::string dump();
    /// Registers of all vCPUs, whatever is going on: for a failed check.
    std::string dump_unsafely() const;

  private:
    explicit Machine(const MachineConfig& config) : config_(config) {}

    // Assembly, in this order.
    Result<> load_files();
    Result<> open_virtio_devices();
    Result<> build_tree();
    Result<> map_memory();
    void build_cpus();
    Result<> build_devices();
    Result<> write_dtb() const;
    Result<> start_host_trace();

    // Running.
    void boot();
    void reset();
    /// Brings all vCPU threads to a halt; ends the process where that fails, because nothing can be trusted
    /// then.
    void pause(StopReason reason);
    void resume();
    void kick_cpus();
    /// An exit status where the stop reason ends the run; nullopt where the guest goes on.
    std::optional<int> handle_stop();
    int end(const char* why, int status);
    /// Waits until standard output has taken everything; a signal ends the wait, and so does `patience`.
    void drain_output(std::chrono::milliseconds patience);
    std::size_t console_input(std::span<const u8> bytes);
    void log_statistics() const;

    // devices::PowerControl
    devices::PsciStatus cpu_on(u64 mpidr, u64 entry, u64 context) override;
    devices::PsciStatus cpu_off(unsigned cpu) override;
    s32 affinity_info(u64 mpidr, unsigned level) override;
    void system_off() override;
    void system_reset() override;
    Cpu* cpu_by_affinity(u64 mpidr);

    const MachineConfig config_;
    BootFiles files_;
    BootPlan plan_;
    std::vector<u8> dtb_;

    std::unique_ptr<Clock> clock_;
    InsnClock* insn_clock_ = nullptr;  // clock_, where it is one
    std::unique_ptr<devices::SystemCounter> counter_;
    std::unique_ptr<mm::HostMemory> memory_;
    RunControl control_;

    devices::FdSink output_{1};
    devices::Bus bus_;
    devices::Psci psci_{*this};
    arch::Interconnect interconnect_;
    std::vector<std::unique_ptr<arch::Vcpu>> vcpus_;
    std::unique_ptr<devices::GicV3> gic_;
    std::unique_ptr<HostTrace> host_trace_;  // nullptr: none
    std::vector<std::unique_ptr<Cpu>> cpus_;

    std::vector<std::unique_ptr<devices::Uart16550>> uarts_;
    std::vector<std::unique_ptr<devices::ByteSink>> unconnected_;  // where UARTs other than the console write
    std::unique_ptr<devices::Pl031> rtc_;
    std::vector<std::unique_ptr<devices::virtio::VirtioDevice>>
        virtio_devices_;  // until their transports own them
    std::vector<std::unique_ptr<devices::virtio::MmioTransport>> transports_;
    devices::virtio::Console* virtio_console_ = nullptr;

    HostEvents* events_ = nullptr;  // inside run()
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::unique_ptr<Executor> executor_;
    std::unique_ptr<ConsoleInput> input_;  // last: its thread uses what stands above
};

}  // namespace vmm
