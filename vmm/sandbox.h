// What the process gives up before the first guest instruction: whoever breaks out of the guest finds little that it can do.
//
// Three fences, each of which may be missing on a host without it: no new privileges, so that no program executed gains any;
// Landlock, so that only the files that the options name are within reach; seccomp filters, so that only the system calls that
// a thread's work needs are. Descriptors that the process inherited and does not use are closed.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/config.h"

namespace vmm {

/// What a thread does, and so which system calls it may make.
enum class ThreadRole : u8 {
    service,  // main, console, control, devices: files and sockets that are open or below permitted paths; no programs
    vcpu,  // guest code: memory, time, waiting, descriptors that are open
};

/// Descriptors above standard error that are open now: the process inherited them.
class InheritedDescriptors {
  public:
    InheritedDescriptors();
    void close_all();

  private:
    std::vector<int> numbers_;
};

/// Files and folders that a running machine may open.
struct SandboxPaths {
    std::vector<std::string> read;
    std::vector<std::string> write;  // and create and remove below
};
SandboxPaths sandbox_paths(const MachineConfig& config);

/// For all threads of the process, those to come included. A fence that the host lacks is left out, and named at log level
/// info. A forbidden system call ends the process: a line on standard error says which thread wanted what, then `end` is
/// called, in a signal handler; it does not come back.
void enter_sandbox(const SandboxPaths& paths, void (*end)(bool may_remove_files));

/// For the calling thread alone, once the process is in its sandbox; does nothing otherwise.
void restrict_thread(ThreadRole role);

}  // namespace vmm
