// The machine: owns all parts, connects them, runs them, ends them.
//
// Threads: vCPUs as the executor sees fit; one for console input, one for console output, one for the control
// socket, one per virtio device; the main thread, inside run(), waits for whatever ends or pauses the guest. Resetting and dumping
// happen on the main thread while no vCPU executes.
#pragma once

#include <atomic>
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
#include "devices/virtio/balloon.h"
#include "devices/virtio/console.h"
#include "devices/virtio/mmio_transport.h"
#include "mm/host_memory.h"
#include "vmm/boot_loader.h"
#include "vmm/config.h"
#include "vmm/console.h"
#include "vmm/control_server.h"
#include "vmm/cpu.h"
#include "vmm/executor.h"
#include "vmm/host_events.h"
#include "vmm/host_trace.h"
#include "vmm/run_control.h"
#include "vmm/scripted_run.h"

namespace vmm::gdb {
class Stub;
}

namespace vmm {

/// Number of the UART where the init of a scripted run talks to us: ttyS1.
inline constexpr unsigned kChannelUart = 1;

/// How long a reader of our output is waited for once a run has to end.
inline constexpr auto kPrintPatience = std::chrono::milliseconds(1000);

/// What the guest is doing, for whoever asks from outside.
enum class GuestState : u8 {
    running,
    paused,    // as requested, or by the debugger
    spe_exit,  // it would profile, which StopMode::exit does not allow
    pin_shortage,  // a profiling buffer waits for memory that can be pinned
    ending,    // its output is still to be read
};

class Machine final : private devices::PowerControl {
  public:
    /// Checks and reads everything the configuration names before anything is created or written.
    /// `slices` outlives the machine; nullptr: nobody looks, and always with ClockKind::host.
    static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, SliceObserver* slices = nullptr);
    ~Machine() override;

    /// Runs the guest to its end; returns the process's exit status.
    int run(HostEvents& events);

    /// Registers and backtraces of all vCPUs. While no vCPU executes.
    std::string dump();
    /// Registers of all vCPUs, whatever is going on: for a failed check.
    std::string dump_unsafely() const;

  private:
    Machine(const MachineConfig& config, SliceObserver* slices);

    // Assembly, in this order (machine_assembly.cpp).
    Result<> load_files();
    Result<> prepare_script();
    Result<> open_virtio_devices();
    Result<> open_console_ports();
    Result<> build_tree();
    Result<> map_memory();
    void build_cpus();
    Result<> build_devices();
    Result<> open_control();
    Result<> open_gdb();
    Result<> write_dtb() const;
    Result<> start_host_trace();

    // Running.
    void boot();
    /// Starts the guest anew, from its files as they are now: an error when they would not go where they went before.
    Result<> reset();
    /// Brings all vCPU threads to a halt; ends the process where that fails, because nothing can be trusted
    /// then.
    void pause(StopReason reason);
    /// After pause(): whether the guest may go on. From here on the outside sees it as paused or running.
    bool update_state();
    /// After pause(): lets the guest go on, unless someone wants it to stay paused.
    void resume();
    /// True when every buffer that could not be pinned is; else says once what is missing.
    bool pins_found();
    void kick_cpus();
    void set_output_limited(bool limited);
    /// After pause(): an exit status where the stop reason ends the run; nullopt where the guest goes on.
    std::optional<int> handle_stop();
    /// `patience`: how long the reader of our output is waited for.
    int end(const char* why, int status, std::chrono::milliseconds patience);
    /// The same for a run that executes commands.
    int end_script(RunEnd run_end);
    /// Writes the files that tell of the end; returns the status, or another one where that fails after success.
    int report_end(const RunEnd& run_end, int status);
    /// Waits until standard output has taken everything; a signal ends the wait, and so does `patience`.
    void drain_output(std::chrono::milliseconds patience);
    void start_console_input();
    std::size_t console_input(std::span<const u8> bytes);
    void log_statistics() const;

    // Control requests (machine_control.cpp). The server's thread answers info and stat itself, from numbers that any
    // thread may read; the rest is done by the main thread while no vCPU executes.
    void start_control();
    std::optional<Json> answer_now(const ControlRequest& request) const;
    /// An exit status where a request ends the run.
    std::optional<int> serve_control();
    /// The same for the debugger (machine_gdb.cpp).
    std::optional<int> serve_gdb();
    /// While the output drains: true when a request asks not to wait any longer.
    bool serve_control_at_end();
    Json execute(const ControlRequest& request);
    /// What the guest is asked for and has given; sets the former first where there is a value.
    Json balloon(std::optional<u64> bytes);
    Json set_spe_stop(spe::StopMode mode);
    /// The first vCPU whose profiling unit wants_exit(); nullptr: none.
    const Cpu* cpu_in_spe_exit() const;
    /// Name, process, state and uptime.
    Json info() const;
    Json stat() const;

    // devices::PowerControl (machine_power.cpp)
    devices::PsciStatus cpu_on(u64 mpidr, u64 entry, u64 context) override;
    devices::PsciStatus cpu_off(unsigned cpu) override;
    s32 affinity_info(u64 mpidr, unsigned level) override;
    void system_off() override;
    void system_reset() override;
    Cpu* cpu_by_affinity(u64 mpidr);

    const MachineConfig config_;
    SliceObserver* const slices_;
    BootFiles files_;
    BootPlan plan_;
    std::vector<u8> dtb_;

    std::unique_ptr<Clock> clock_;
    InsnClock* insn_clock_ = nullptr;  // clock_, where it is one
    std::unique_ptr<devices::SystemCounter> counter_;
    std::unique_ptr<mm::HostMemory> memory_;
    RunControl control_;

    devices::FdSink output_{1};
    std::unique_ptr<ScriptedRun> script_;  // nullptr: nothing to execute
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
    devices::virtio::Balloon* balloon_ = nullptr;

    HostEvents* events_ = nullptr;  // inside run()
    std::atomic<bool> short_of_pins_{false};
    bool shortage_reported_ = false;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    const std::chrono::system_clock::time_point started_at_ = std::chrono::system_clock::now();
    std::unique_ptr<Executor> executor_;
    std::unique_ptr<ConsoleInput> input_;  // its thread uses what stands above

    std::atomic<GuestState> state_{GuestState::running};
    bool pause_requested_ = false;
    bool stop_requested_ = false;
    bool spe_exit_reported_ = false;
    std::optional<ControlListener> control_listener_;  // until the server has it
    std::unique_ptr<ControlServer> control_server_;    // its thread uses what stands above
    std::unique_ptr<gdb::Stub> gdb_;                   // nullptr: none. As well
};

}  // namespace vmm
