#include "arch/sysregs.h"

#include "arch/pmu.h"

namespace vmm::arch {

namespace {

void add_state_rows(Vcpu& v, std::span<const PeRow> rows) {
    for (const PeRow& pe_row : rows) {
        SysregRow row = pe_row.row;
        if (pe_row.state != nullptr) {
            row.storage = &(v.s.*pe_row.state);
        }
        v.sysregs.add(std::span(&row, 1), nullptr);
    }
}

}  // namespace

void add_pe_sysregs(Vcpu& v) {
    add_id_rows(v);
    add_state_rows(v, control_rows());
    add_state_rows(v, debug_rows());
    add_debug_unit_rows(v);
    v.sysregs.add(system_instruction_rows(), nullptr);
    if (v.config.pmu) {
        v.pmu().add_sysregs(v.sysregs);
    }
}

}  // namespace vmm::arch
