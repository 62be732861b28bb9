// The registers of a vCPU as GDB numbers them.
//
// The features org.gnu.gdb.aarch64.core and .fpu are GDB's; org.vmm.aarch64.system is ours: every system register that can
// be read without changing anything, by its name in the Arm ARM.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/cpu.h"

namespace vmm::gdb {

class RegisterFile {
  public:
    /// The system registers are those of all the vCPUs together: profiling registers may exist on some only.
    explicit RegisterFile(std::span<const std::unique_ptr<Cpu>> cpus);

    unsigned count() const;
    /// Core and SIMD&FP registers: the first ones.
    unsigned general_count() const;
    /// Bytes; `number` is below count(), here and below.
    unsigned size(unsigned number) const;
    /// Least significant byte first; empty where this vCPU does not have it.
    std::vector<u8> read(Cpu& cpu, unsigned number) const;
    /// As the guest would write it. False where it is read-only, absent, or the value is not possible.
    bool write(Cpu& cpu, unsigned number, std::span<const u8> bytes) const;
    /// The target description (target.xml).
    std::string description() const;

  private:
    struct SystemRegister {
        arch::SysregKey key = 0;
        std::string name;
    };
    std::vector<SystemRegister> system_;
};

}  // namespace vmm::gdb
