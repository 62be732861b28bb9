// vmm run --check: the same guest twice, by two engines, compared after every slice. The first difference is narrowed to one
// operation by running both again.
//
// Each guest is a process of its own; a third one, this one, compares. With --clock=insn a guest's run depends on nothing but
// itself, so what differs is a fault of an engine, or of what makes runs repeatable.
#pragma once

#include <functional>

#include "vmm/config.h"
#include "vmm/executor.h"
#include "vmm/lockstep/reporter.h"

namespace vmm::lockstep {

/// Runs a guest to its end in this process; returns its exit status. Its own output goes where standard output goes.
using RunGuest = std::function<int(const MachineConfig& config, SliceObserver& slices)>;

/// Runs `config` and, beside it, `*config.check`. Returns the guest's exit status, or that of an internal error where the two
/// differ, which is described on standard error.
int run_checked(const MachineConfig& config, const RunGuest& run_guest);

}  // namespace vmm::lockstep
