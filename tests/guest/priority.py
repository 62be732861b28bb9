#!/usr/bin/env python3
"""Runs the priority guest (priority.c) and judges each line: which exception is taken where an instruction has reason for several.

usage: priority.py [--engine KIND] VMM|qemu ELF

The order is the Arm ARM's (DDI 0487, D1.3.5.5; of aborts, D8.15.5): each of the functions in ORDER says whether its exception
is due, and the first that is wins. QEMU_OMITS lists what QEMU (7.2) does otherwise; `qemu` checks the test.
"""
import argparse
import dataclasses
import subprocess
import sys

EL0_TRAPS = {"msr_daif": 0x18 << 26 | 1 << 25 | 6 << 17 | 3 << 14 | 4 << 10 | 31 << 5 | 15 << 1,
             "mrs_cntvct": 0x18 << 26 | 1 << 25 | 3 << 20 | 2 << 17 | 3 << 14 | 14 << 10 | 2 << 5 | 0 << 1 | 1,
             "mrs_ctr": 0x18 << 26 | 1 << 25 | 3 << 20 | 1 << 17 | 3 << 14 | 0 << 10 | 2 << 5 | 0 << 1 | 1,
             "zva": 0x18 << 26 | 1 << 25 | 1 << 20 | 1 << 17 | 3 << 14 | 7 << 10 | 0 << 5 | 4 << 1,
             "civac": 0x18 << 26 | 1 << 25 | 1 << 20 | 1 << 17 | 3 << 14 | 7 << 10 | 0 << 5 | 14 << 1,
             "wfi": 1 << 26 | 1 << 25 | 1 << 24 | 0xE << 20}
CODE_FAULTS = {1: 0xF, 2: 7, 3: 0x10}
DATA_FINE, UNMAPPED, NO_FLAG, READ_ONLY, DEVICE, READ_ONLY_DEVICE, NOWHERE = range(8, 15)
WINDOW = 0x200000000
SLOT = 8
SIZES = {"ldr": 8, "str": 8, "ldar": 8, "ldadd": 8, "ldxr": 8, "ldtr": 8, "ldr_q": 16, "zva": 1, "civac": 1,
         "ldr_sp": 8, "str_sp": 8, "ldr_q_sp": 16, "ldadd_sp": 8}
NAMES = ["nop", "undefined", "fmov", "brk", "svc", "mrs_ttbr0", "msr_daif", "mrs_cntvct", "mrs_ctr", "wfi", "ldr", "str", "ldar",
         "ldadd", "ldxr", "ldtr", "ldr_q", "zva", "civac", "ldr_sp", "str_sp", "ldr_q_sp", "ldadd_sp"]


@dataclasses.dataclass
class Case:
    op: str
    el: int
    code: int
    misaligned_pc: int
    illegal: int
    step: int          # 0: none; 1: active, not pending; 2: pending
    fp_trapped: int
    data: int
    offset: int
    check: int         # SCTLR_EL1.A, or .SA or .SA0
    is_qemu: bool

    def pc(self) -> int:
        return WINDOW + self.code * 4096 + NAMES.index(self.op) * SLOT + 2 * self.misaligned_pc

    def address(self) -> int:
        return WINDOW + self.data * 4096 + 0x100 + self.offset

    def by_sp(self) -> bool:
        return self.op.endswith("_sp")

    def class_of(self, lower: int) -> int:
        """An exception class that tells EL0 from EL1, with IL."""
        return (lower + self.el) << 26 | 1 << 25


@dataclasses.dataclass
class Taken:
    """ESR_EL1; FAR_EL1 or 0; ELR_EL1 behind the instruction's address; SPSR_EL1.SS and IL."""
    esr: int
    far: int = 0
    elr: int = 0
    ss: int | None = None


def software_step(case: Case) -> Taken | None:
    # Nothing has been stepped: ISV is 0.
    return Taken(case.class_of(0x32) | 0x22) if case.step == 2 else None


def pc_alignment(case: Case) -> Taken | None:
    return Taken(0x22 << 26 | 1 << 25, case.pc()) if case.misaligned_pc else None


def instruction_abort(case: Case) -> Taken | None:
    return Taken(case.class_of(0x20) | CODE_FAULTS[case.code], case.pc()) if case.code in CODE_FAULTS else None


def illegal_state(case: Case) -> Taken | None:
    return Taken(0xE << 26 | 1 << 25) if case.illegal else None


def undefined(case: Case) -> Taken | None:
    return Taken(1 << 25) if case.op == "undefined" or case.op == "mrs_ttbr0" and case.el == 0 else None


def generated(case: Case) -> Taken | None:
    """SVC is a step of its own, BRK is not."""
    if case.op == "svc":
        return Taken(0x56000007, 0, 4, 0)
    return Taken(0xF2000005) if case.op == "brk" else None


def trapped(case: Case) -> Taken | None:
    return Taken(EL0_TRAPS[case.op]) if case.op in EL0_TRAPS and case.el == 0 else None


def fp_access(case: Case) -> Taken | None:
    return Taken(0x1FE00000) if case.fp_trapped and case.op in ("fmov", "ldr_q", "ldr_q_sp") else None


def sp_alignment(case: Case) -> Taken | None:
    return Taken(0x9A000000) if case.by_sp() and case.check and case.offset % 16 != 0 else None


def data_abort(case: Case, code: int, is_write: bool) -> Taken:
    return Taken(case.class_of(0x24) | is_write << 6 | code | (case.op == "civac") << 8, case.address())


def is_write(case: Case) -> bool:
    return case.op.startswith("str") or case.op in ("zva", "civac")


def data_alignment(case: Case) -> Taken | None:
    """What does not depend on the memory: checks asked for, and accesses that are always aligned."""
    checked = case.check and not case.by_sp() or case.op in ("ldar", "ldadd", "ldxr", "ldadd_sp")
    return data_abort(case, 0x21, is_write(case)) if checked and case.offset % SIZES.get(case.op, 1) != 0 else None


def translation(case: Case) -> Taken | None:
    code = {UNMAPPED: 7, NO_FLAG: 0xB}.get(case.data)
    return data_abort(case, code, is_write(case)) if case.op in SIZES and code is not None else None


def permission(case: Case) -> Taken | None:
    writes = is_write(case) and case.op != "civac" or case.op.startswith("ldadd")
    return data_abort(case, 0xF, True) if writes and case.data in (READ_ONLY, READ_ONLY_DEVICE) else None


def device_alignment(case: Case) -> Taken | None:
    misaligned = case.op == "zva" or case.op in SIZES and case.offset % SIZES[case.op] != 0
    return data_abort(case, 0x21, is_write(case)) if misaligned and case.data in (DEVICE, READ_ONLY_DEVICE) else None


def external_abort(case: Case) -> Taken | None:
    if case.op not in SIZES or case.data != NOWHERE or case.op == "civac":
        return None
    # What memory exclusives and atomics are supported for is the implementation's; QEMU reports the read.
    unsupported = case.op in ("ldxr", "ldadd", "ldadd_sp") and not case.is_qemu
    return data_abort(case, 0x35 if unsupported else 0x10, is_write(case) or unsupported and case.op != "ldxr")


def completed(case: Case) -> Taken:
    if case.step == 1 and case.op == "msr_daif" and not case.is_qemu:
        return Taken(0x56000FFF, 0, 8, 0)  # the step masks debug exceptions; QEMU takes this one all the same
    if case.step == 1:
        return Taken(case.class_of(0x32) | 0x22 | 1 << 24 | (case.op == "ldxr") << 6, 0, 4, 0)
    return Taken(0x56000FFF, 0, 8)


ORDER = [software_step, pc_alignment, instruction_abort, illegal_state, undefined, generated, trapped, fp_access, sp_alignment,
         data_alignment, translation, device_alignment, permission, external_abort]
QEMU_OMITS = {
    software_step: lambda case: case.code in (1, 2),      # it translates the address before all else
    pc_alignment: lambda case: case.code in (1, 2),
    sp_alignment: lambda case: True,                      # "for the sake of guest program performance"
    device_alignment: lambda case: True,                  # no memory types
    translation: lambda case: case.op == "civac",         # no caches
    trapped: lambda case: case.op == "wfi" and case.step == 1,  # does nothing while stepping
}


def expected(case: Case) -> Taken:
    for due in ORDER:
        if case.is_qemu and due in QEMU_OMITS and QEMU_OMITS[due](case):
            continue
        if taken := due(case):
            return as_qemu(case, taken) if case.is_qemu else taken
    return completed(case)


def as_qemu(case: Case, taken: Taken) -> Taken:
    if case.op == "zva" and taken.esr & 0x7F == 0x50:
        taken.far -= case.offset  # FAR_EL1 has the operand, C5.3 (DC ZVA)
    if taken.esr == EL0_TRAPS["msr_daif"]:
        taken.esr = 0x620793FE  # Op1 and Op2 the wrong way round
    if taken.esr & 0x7F == 0x10 and taken.far == case.address():
        taken.far -= case.offset % 8  # a misaligned load is two loads
    return taken


def judge(line: str, is_qemu: bool) -> str | None:
    op, *words = line.split()
    numbers = [int(word, 16) for word in words]
    case = Case(op, *numbers[:9], is_qemu)
    found = numbers[9:]
    want = expected(case)
    ss = want.ss if want.ss is not None else int(case.step == 1)
    wanted = [want.esr, want.far, want.elr, case.illegal | ss << 1]
    return None if found == wanted else f"{line}\n    expected {' '.join(f'{number:x}' for number in wanted)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="translator")
    parser.add_argument("machine")
    parser.add_argument("elf")
    options = parser.parse_args()
    if options.machine == "qemu":
        command = ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-m", "1200", "-nic", "none",
                   "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", options.elf]
    else:
        command = [options.machine, "run", "-k", options.elf, "-c", "1", "-m", "64", "--nodefaults", "--timeout", "60", "--engine",
                   options.engine]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
    *lines, end = [line.rstrip("\r") for line in result.stdout.splitlines()] or [""]
    if result.returncode != 0 or end != "END" or len(lines) < 9000:
        print(f"status {result.returncode}, {len(lines)} lines, the last {end!r}\n{result.stderr}")
        return 1
    wrong = [fault for line in lines if (fault := judge(line, options.machine == "qemu"))]
    print(f"{len(lines)} combinations, {len(wrong)} wrong")
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
