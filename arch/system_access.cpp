#include "arch/system_access.h"

#include "arch/vcpu.h"

namespace vmm::arch {

namespace {

/// Whether `access` lets Exception level `el` (0 or 1) read or write.
bool permits(SysregAccess access, unsigned el, bool is_write) {
    switch (access) {
        case SysregAccess::rw_el1: return el == 1;
        case SysregAccess::ro_el1: return el == 1 && !is_write;
        case SysregAccess::wo_el1: return el == 1 && is_write;
        case SysregAccess::rw_el0: return true;
        case SysregAccess::ro_el0: return !is_write;
        case SysregAccess::wo_el0: return is_write;
        case SysregAccess::el0_reads: return el == 1 || !is_write;
    }
    return false;
}

/// The instruction word of the access, for the syndrome.
u32 instruction_word(SysregKey key, bool is_write, unsigned rt) {
    return 0xD5000000 | (is_write ? 0u : 1u << 21) | u32{key} << 5 | rt;
}

bool is_system_instruction(SysregKey key) {
    return bits(key, 15, 14) == 0b01;
}

}  // namespace

Exec access_system_register(Vcpu& v, SysregKey key, SystemAccess access, unsigned rt) {
    const bool is_write = access == SystemAccess::write;
    SysregBank::Entry* row = v.sysregs.find(key);
    if (row == nullptr || !permits(row->access, v.s.el, is_write)) {
        return v.undefined();
    }
    if (!is_write && is_system_instruction(key) && row->read == nullptr) {
        return v.undefined();  // SYSL of an instruction that returns nothing
    }
    if (row->check != nullptr) {
        switch (row->check(row->self, v, is_write)) {
            case SysregTrap::allow: break;
            case SysregTrap::undefined: return v.undefined();
            case SysregTrap::trap_fp: return v.trap_fp_access();
            case SysregTrap::trap_el1: return v.trap_system_access(instruction_word(key, is_write, rt));
        }
    }
    if (!is_write) {
        v.set_x(rt, row->read != nullptr ? row->read(row->self, v) : *row->storage);
        return Exec::next;
    }
    if (row->write != nullptr) {
        const u64 exceptions = v.exceptions_taken;
        row->write(row->self, v, v.x(rt));
        if (v.exceptions_taken != exceptions) {
            return Exec::exception;
        }
    } else {
        *row->storage = (v.x(rt) & row->writable) | row->fixed;
    }
    return row->ends_block ? Exec::end_block : Exec::next;
}

}  // namespace vmm::arch
