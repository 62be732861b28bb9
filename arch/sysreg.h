// System registers and system instructions as tables. Each layer declares rows for what it owns; the machine hands them
// to every vCPU's bank with the object that serves them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arch/exec.h"
#include "vmm/base/types.h"

namespace vmm::arch {

/// op0, op1, CRn, CRm, op2 packed as in bits [20:5] of MRS/MSR/SYS (op0 includes bit 20).
using SysregKey = u16;

constexpr SysregKey sysreg_key(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
    return static_cast<SysregKey>(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2);
}

/// The lowest Exception level that may read and write; higher levels inherit. What is not allowed is UNDEFINED.
enum class SysregAccess : u8 {
    rw_el1, ro_el1, wo_el1,
    rw_el0, ro_el0, wo_el0,
    el0_reads,  // EL0 reads, EL1 reads and writes
};

/// Outcome of a row's access check.
enum class SysregTrap : u8 {
    allow,
    undefined,
    trap_el1,  // exception to EL1 with EC 0x18
    trap_fp,   // exception to EL1 with EC 0x07: SIMD&FP access is disabled (CPACR_EL1.FPEN)
};

/// One register (op0 = 2, 3) or system instruction (op0 = 1; only `write` is called, with Xt).
///
/// An access runs these steps: the row exists, else UNDEFINED; `access` allows it, else UNDEFINED; `check`, if any, may
/// still trap it; then read: `read` or the stored value; write: `write` with the value as given by the guest, or the
/// stored value becomes (value & writable) | fixed. A `write` hook of a system instruction may take an exception
/// (data_abort of DC, IC): the access then ends with it (system_access.cpp).
struct SysregRow {
    const char* name = "";
    SysregKey key = 0;
    SysregAccess access = SysregAccess::rw_el1;
    u64 reset = 0;              // value at reset; constant value of a read-only register without `read`
    u64 writable = ~u64{0};     // bits a write can change
    u64 fixed = 0;              // bits that always read as one (RES1)
    u64 (*read)(void* self, Vcpu&) = nullptr;
    void (*write)(void* self, Vcpu&, u64 value) = nullptr;
    SysregTrap (*check)(void* self, Vcpu&, bool is_write) = nullptr;
    bool ends_block = false;    // a write may change translation, decoding, interrupts or profiling
    u64* storage = nullptr;     // set by the bank unless the row came with its own

    /// The name, or the generic one of a row that has none.
    std::string full_name() const;
    /// A register that a debugger may read at any time: nothing is acknowledged or used up by it.
    bool readable_without_effect() const;
};

/// The registers of one vCPU.
class SysregBank {
  public:
    SysregBank();
    ~SysregBank();
    SysregBank(const SysregBank&) = delete;
    SysregBank& operator=(const SysregBank&) = delete;

    struct Entry : SysregRow {
        void* self = nullptr;  // passed to the hooks
        u64 own_storage = 0;
    };

    /// Adds rows served by `self`. A key that is already present is a bug of ours.
    void add(std::span<const SysregRow> rows, void* self);

    /// nullptr where no register is implemented. The result stays valid for the bank's lifetime.
    Entry* find(SysregKey key) const { return index_[key].get(); }

    /// Sets every stored register to its reset value.
    void reset();

    /// Raw access for tests, dumps and debuggers: runs the read hook but no check.
    u64 peek(Vcpu& v, SysregKey key) const;

    /// All entries, ordered by key.
    std::vector<const Entry*> entries() const;

  private:
    std::vector<std::unique_ptr<Entry>> index_;  // by key; 64 Ki pointers
};

/// "S3_0_C9_C10_1": the manual's generic name of an encoding.
std::string generic_sysreg_name(SysregKey key);

}  // namespace vmm::arch
