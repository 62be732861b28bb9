// The result of a run for programs: JSON (vmm/result.schema.json describes it) and JUnit XML.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "vmm/config.h"
#include "vmm/console_watch.h"
#include "vmm/guest_channel.h"
#include "vmm/json.h"
#include "vmm/run_end.h"

namespace vmm {

/// What is known when a run has ended. What a run without commands does not have is left as it is.
struct RunReport {
    RunEnd end;
    int status = 0;  // of the process
    std::chrono::system_clock::time_point started;
    f64 seconds = 0;                  // how long it took
    std::optional<f64> boot_seconds;  // until the guest's init ran; of the host's time
    std::string kernel_format;        // empty: it was not read
    GuestChannel::Progress progress;
    const ConsoleWatch* console = nullptr;
    Json statistics;  // as the control command "stat" has them; null: the guest never ran
};

Json to_json(const MachineConfig& config, const RunReport& report);

/// One test case for the boot, one for each command, and one for an end that is neither's.
std::string to_junit(const MachineConfig& config, const RunReport& report);

/// Whether write_reports() will find the folders it needs: to be known before the guest runs.
Result<> check_reports(const MachineConfig& config);

/// Writes the files that the configuration asks for. An error names the option and the file.
Result<> write_reports(const MachineConfig& config, const RunReport& report);

}  // namespace vmm
