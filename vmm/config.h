// MachineConfig: everything `vmm run` was asked for, checked, as plain data.
#pragma once

#include <array>
#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "devices/net/user_network.h"
#include "mm/host_memory.h"
#include "spe/event_model.h"
#include "spe/features.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"
#include "vmm/base/types.h"
#include "vmm/exec_config.h"

namespace vmm {

struct DiskConfig {
    std::string path;
    bool read_only = false;
    bool copy_on_write = false;  // changes are gone in the end
    bool raw = false;            // whatever the file looks like
    bool qcow2 = false;          // not only because it looks so
};

/// A folder of the host as a 9P file system.
struct ShareConfig {
    std::string path;
    std::string tag;
    bool read_only = false;
};

struct NetworkConfig {
    devices::net::UserNetworkOptions user;
    std::array<u8, 6> mac{};
};

/// A port of the guest's virtio console, connected to a file or Unix socket of the host.
struct ConsolePortConfig {
    std::string name;
    std::string path;
    bool socket = false;
};

enum class ConsoleKind : u8 { serial, virtio };
enum class ClockKind : u8 { host, insn };

struct SpeConfig {
    bool enabled = false;
    u64 max_buffer_size = u64{4} << 20;  // bytes; 0 = no limit. What PMBIDR_EL1.MaxBuffSize can say
    u8 pmsver = 3;                       // ID_AA64DFR0_EL1.PMSVer: 3 = SPE version 1.2
    mm::PinChoice pin = mm::PinChoice::automatic;
    mm::PinPolicy pin_policy = mm::PinPolicy::eager;
    u64 pin_age_seconds = 30;  // what is not enabled for so long is given back; 0 = never
    u64 pin_budget = 0;        // bytes all CPUs together may pin; 0 = what the host allows
    mm::ShortagePolicy pin_shortage = mm::ShortagePolicy::degrade;
    spe::ModelKind model = spe::ModelKind::basic;
    spe::FeatureOptions features;
    unsigned intid = 21;  // of PMBIRQ: a PPI that nothing else of the machine uses
    u64 cpus = ~u64{0};   // bit n: vCPU n has SPE

    bool on_cpu(unsigned index) const { return enabled && (cpus >> index & 1) != 0; }
    /// How many of the first `total` vCPUs have SPE.
    unsigned count(unsigned total) const {
        return enabled ? static_cast<unsigned>(std::popcount(cpus & ones(total))) : 0;
    }
};

struct HostTraceConfig {
    std::string path;  // empty: no trace
    u64 period = 4096;
    spe::ModelKind model = spe::ModelKind::basic;
};

struct ControlConfig {
    bool enabled = true;
    std::string path;         // of the socket; empty: in control_directory(), under the guest's name
    bool name_given = false;  // then nobody else may have that name
};

struct GdbConfig {
    bool enabled = false;
    std::string path;  // of a Unix socket; empty: `port` of localhost
    u16 port = 0;      // 0: one the host chooses
    bool wait = false; // the guest does not start before the debugger lets it
};

/// How guest code is executed. Results are the same.
enum class EngineKind : u8 {
    translator,   // what is executed often becomes host code, where the host has a translator
    interpreter,  // none of it does
    reference,    // interpreted, every instruction by its own handler
};

/// As the command line has it.
const char* name_of(EngineKind kind);

struct MachineConfig {
    std::string name;
    ControlConfig control;
    GdbConfig gdb;
    std::string kernel;
    std::string initrd;  // empty: none
    std::string params;  // appended to the default command line
    unsigned cpus = 1;
    u64 memory = 0;  // bytes, a multiple of 4 KiB
    std::vector<DiskConfig> disks;
    std::vector<ShareConfig> shares;
    std::vector<NetworkConfig> networks;
    std::vector<ConsolePortConfig> console_ports;
    bool balloon = false;
    bool rng = false;
    ConsoleKind console = ConsoleKind::serial;
    bool nodefaults = false;  // the guest gets `params` and nothing else as its command line
    std::string dump_dtb;     // empty: no
    u64 kaslr_seed = 0;
    std::string cpu_model;  // a name that arch::find_cpu_model() knows
    bool pmu = false;
    SpeConfig spe;
    HostTraceConfig host_trace;
    ClockKind clock = ClockKind::host;
    EngineKind engine = EngineKind::translator;
    std::optional<EngineKind> check;  // run a second time with it, and compare
    bool sandbox = true;
    u64 timeout_seconds = 0;  // 0: none
    ExecConfig exec;
    std::string result;  // a file for the result as JSON; empty: none
    std::string junit;   // ... as JUnit XML
    LogLevel log_level = LogLevel::warning;
};

/// The guest's command line: console and root device unless `nodefaults`, then the user's parameters.
std::string kernel_command_line(const MachineConfig& config);

}  // namespace vmm
