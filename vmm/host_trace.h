// --spe-host-trace: takes what the vCPUs' host profilers record, and puts it into a perf.data file.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "spe/trace_buffer.h"
#include "vmm/boot_loader.h"
#include "vmm/config.h"
#include "vmm/perf_data_writer.h"

namespace vmm {

/// Which code the guest was given, for perf to find symbols with.
struct GuestCode {
    std::string name;                   // shown as the command of context 0
    std::vector<PerfMapping> mappings;  // of every context
    mm::GuestRange kernel;              // a Linux image, guest-physical; size 0: none
    std::vector<u8> build_id;           // of that image; may be empty
};

GuestCode guest_code(const MachineConfig& config, const BootFiles& files, const BootPlan& plan);

/// The build ID (a GNU note) of a Linux image; empty where there is none. The last one counts: the vDSO's
/// comes before.
std::vector<u8> find_build_id(std::span<const u8> image);

class HostTrace {
  public:
    /// Creates the file and the thread that writes to it. Errors name the option and the file.
    static Result<std::unique_ptr<HostTrace>> create(const std::string& path, const PerfDataFacts& facts,
                                                     GuestCode code);
    ~HostTrace();

    /// Where vCPU `cpu` puts its records. Lives as long as the trace.
    spe::TraceBuffer& buffer(unsigned cpu) { return *buffers_[cpu]; }

    /// Once no vCPU executes any more: completes the file. The first error of all that was written.
    Result<> finish();

  private:
    HostTrace(std::string path, PerfDataWriter writer, unsigned cpus, GuestCode code);

    void thread_main();
    void drain();
    void store(unsigned cpu, const spe::TraceBatch& batch);
    void introduce(u32 context);
    void introduce_privileged();
    void locate_kernel(const spe::TraceBatch& batch);
    void note(Result<> result);
    void stop();

    const std::string path_;
    const GuestCode code_;
    spe::TraceSignal signal_;
    std::vector<std::unique_ptr<spe::TraceBuffer>> buffers_;

    // The thread's; after it has ended, finish()'s.
    PerfDataWriter writer_;
    spe::TraceBatch batch_;
    std::set<u32> contexts_;
    bool kernel_located_ = false;
    u64 lost_ = 0;
    Result<> result_;
    bool finished_ = false;

    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace vmm
