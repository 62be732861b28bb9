#!/usr/bin/env python3
"""Runs the translation guests (translation.c) on vmm, with each engine, and on QEMU, and compares line by line.

usage: translation.py [OPTIONS] VMM ELF QEMU_ELF [ELF QEMU_ELF ...]

QEMU is a peer, not the truth: DEVIATIONS lists where the Arm ARM (DDI 0487) says otherwise or leaves a choice. Each entry says
what vmm must print there instead; one that nothing needs any more is a fault as well.
"""
import argparse
import dataclasses
import re
import sys
from collections.abc import Callable

import peer

FLAGS = {"EPD": 1, "TBI": 2, "HPD": 4, "HA": 8, "HD": 16, "WXN": 32, "PAN": 64, "UAO": 128, "A": 256}
FRAMES = 0x80800000
CACHE = {"cvac", "cvau", "cvap", "civac", "ivac", "ivau"}
AT = {"s1e1r", "s1e1w", "s1e0r", "s1e0w", "s1e1rp", "s1e1wp"}
# Bytes of one access, all of them, and whether they must be aligned whatever the memory type.
SIZES = {"ldr": 8, "ldrw": 4, "ldrh": 2, "str": 8, "strw": 4, "strh": 2, "ldp": 8, "stp": 8, "ldrq": 16, "strq": 16,
         "ldpq": 16, "stpq": 16, "ld1r": 8, "ldtr": 8, "sttr": 8, "stpw": 4, "st4s": 4}
SEVERAL = {"ldp": 16, "stp": 16, "stpw": 8, "ldpq": 32, "stpq": 32, "ld4": 64, "st4": 64, "st4s": 64}  # bytes together
EXCLUSIVES = {"ldxr", "stxr", "ldxp", "stxp"}
ATOMICS = {"swp", "ldadd", "ldaddb", "stadd", "cas", "casfail", "casp"}
SYNDROME = re.compile(r"esr (\w+)(?: far (\w+))?")


@dataclasses.dataclass
class Case:
    """One line: what was done, and what came of it."""
    granule: int
    op: str
    el: int
    half: int
    size: int
    flags: int
    ips: int
    va: int
    base: int
    descriptors: list[int]
    following: int
    outcome: str   # of the access itself
    effects: str   # what it stored, and descriptors that it changed
    others: str    # what other operations say of the address

    def has(self, flag: str) -> bool:
        return self.flags & FLAGS[flag] != 0

    def first_level(self) -> int:
        stride, level = self.granule - 3, 3
        while level > 0 and self.granule + stride * (4 - level) < 64 - min(max(self.size, 16), 39):
            level -= 1
        return level

    def last_level(self) -> int:
        """The level of the first descriptor that is no table."""
        level = self.first_level()
        while level < 3 and self.descriptors[level] & 3 == 3:
            level += 1
        return level

    def fault(self) -> int | None:
        """The fault status code, of a data or instruction abort."""
        match = SYNDROME.match(self.outcome)
        return int(match[1], 16) & 0x3F if match and int(match[1], 16) >> 26 in (0x20, 0x21, 0x24, 0x25) else None

    def leaf(self) -> int:
        return self.descriptors[self.last_level()]

    def table_has(self, bit: int) -> bool:
        """A restriction of the tables above the leaf."""
        tables = self.descriptors[self.first_level():self.last_level()]
        return not self.has("HPD") and any(table >> bit & 1 for table in tables)

    def may_be_dirtied(self) -> bool:
        return self.has("HA") and self.has("HD") and self.leaf() >> 51 & self.leaf() >> 7 & 1 == 1 and not self.table_has(62)

    def marks(self, write: bool) -> str:
        """What hardware changes in the descriptor when the access comes so far, as a write or not."""
        now = self.leaf() | (1 << 10 if self.has("HA") and self.at_level() == 4 else 0)
        if write and self.may_be_dirtied():
            now &= ~(1 << 7)
        return f"changed {self.last_level():x} {now:x}" if now != self.leaf() else ""

    def leaf_shift(self) -> int:
        return self.granule + (self.granule - 3) * (3 - self.last_level())

    def crosses(self) -> bool:
        """Into the next page or block."""
        size = SEVERAL.get(self.op, SIZES.get(self.op, 1))
        return (self.va ^ self.va + size - 1) >> self.leaf_shift() != 0

    def second_page(self) -> int:
        return (self.va | (1 << self.leaf_shift()) - 1) + 1 & (1 << 64) - 1

    def unprivileged(self) -> bool:
        return self.el == 0 or self.op in ("ldtr", "sttr", "ldtrb", "sttrb") and not self.has("UAO")

    def following_is_written(self) -> bool:
        """Writable, if only because hardware marks it dirty."""
        dirtied = self.following >> 51 & 1 and self.has("HA") and self.has("HD")
        return not self.table_has(62) and (self.following >> 7 & 1 == 0 or bool(dirtied))

    def fault_of_following(self) -> int | None:
        """The fault status code, without a level, of the next page: a read, or a write by a store."""
        level, entry = self.last_level(), self.following
        if entry & 3 != (3 if level == 3 else 1):
            return 4
        if entry & (1 << 48) - 1 >> (32, 36, 40, 42, 44, 48, 48, 48)[self.ips] << (32, 36, 40, 42, 44, 48, 48, 48)[self.ips]:
            return 0
        if entry >> 10 & 1 == 0 and not self.has("HA"):
            return 8
        user = entry >> 6 & 1 == 1 and not self.table_has(61)
        refused = not user if self.unprivileged() else user and self.has("PAN")
        return 0xC if refused or self.op.startswith("st") and not self.following_is_written() else None

    def marks_of_following(self) -> str:
        """What hardware changes in the next page's descriptor when the access is allowed."""
        now = self.following | (1 << 10 if self.has("HA") else 0)
        if self.op.startswith("st"):
            now &= ~(1 << 7)
        return f"next {now:x}" if now != self.following else ""

    def at_code(self) -> int | None:
        """The fault status code that AT, as the operation, reports."""
        par = int(self.outcome[3:], 16) if self.op in AT and self.outcome.startswith("ok ") else 0
        return par >> 1 & 0x3F if par & 1 else None

    def par(self) -> int | None:
        """PAR_EL1 of AT S1E1R, unless that took an exception."""
        return int(self.others.split()[1], 16) if self.others.startswith("ok ") else None

    def at_level(self) -> int | None:
        """The level at which AT failed; 4: it did not."""
        par = self.par()
        return None if par is None else par >> 1 & 3 if par & 1 else 4

    def with_fault(self, code: int) -> "Case":
        """The case with a fault status code in place of whatever came."""
        others = f"ok {0x801 | code << 1:x}" if code != 0x21 else self.others
        if self.op in CACHE:
            byte = dataclasses.replace(self, op="strb" if self.op == "ivac" else "ldrb")
            others += " " + byte.fault_outcome(code)
        return dataclasses.replace(self, outcome=self.fault_outcome(code), effects="", others=others)

    def with_syndrome(self, low: int, far: int) -> "Case":
        """The case with other low bits (WnR, DFSC) in ESR_EL1, and FAR_EL1."""
        esr = int(SYNDROME.match(self.outcome)[1], 16) & ~0x7F | low
        return dataclasses.replace(self, outcome=re.sub(r"esr \w+ far \w+", f"esr {esr:x} far {far:x}", self.outcome))

    def with_far(self, far: int) -> "Case":
        return dataclasses.replace(self, outcome=re.sub(r" far \w+", f" far {far:x}", self.outcome))

    def pc(self) -> int:
        """The address after a branch to it, which drops a tag."""
        low = self.va & (1 << 56) - 1
        return (low | (0xFF << 56 if low >> 55 else 0)) if self.has("TBI") else self.va

    def fault_outcome(self, code: int) -> str:
        if self.op in CACHE | AT and self.outcome.startswith("esr 2000000"):
            return self.outcome  # of EL1 only
        if self.op in AT:
            return f"ok {0x801 | code << 1:x}"
        if self.op == "prfm":
            return self.outcome
        at = 4 if self.op == "casfail" else 0
        if self.op == "fetch":
            return f"esr {(0x86 if self.el else 0x82) << 24 | code:x} far {self.pc():x} elr {self.pc():x}"
        is_write = self.op in ("zva", *CACHE) or self.op.startswith("st") and self.op not in ("stxr", "stxp", "stadd")
        syndrome = (0x96 if self.el else 0x92) << 24 | code | is_write << 6 | (self.op in CACHE) << 8
        return f"esr {syndrome:x} far {self.va:x} at {at}"


def parse(line: str, granule: int) -> Case | str:
    head, _, tail = line.partition(" -> ")
    words = head.split()
    if words[0] == "perm" or not tail:
        return line
    numbers = [int(word, 16) for word in words[1:]]
    outcome, effects, others = (part.strip() for part in (" " + tail).split(" |"))
    return Case(granule, words[0], *numbers[:7], numbers[7:11], numbers[11], outcome, effects, others)


# What vmm must print where QEMU prints the case given; the same case: the deviation does not concern it.
Amend = Callable[[Case], Case]


@dataclasses.dataclass
class Deviation:
    name: str
    reason: str
    amend: Amend
    uses: int = 0


def without_stores(effects: str) -> str:
    return re.sub(r"stored \w+ \w+ ?", "", effects).strip()


def size_out_of_range(case: Case) -> Case:
    if 16 <= case.size <= 39:
        return case
    pa = case.descriptors[3] & 0xFFFFF000
    word = 0xD4000001 | ((pa - FRAMES) >> 12) << 5
    return dataclasses.replace(case, outcome=f"ok {word << 32 | word:x}", others=f"ok {0xFF << 56 | pa | 0x980:x}")


def reserved_block(case: Case) -> Case:
    level = case.last_level()
    reserved = level < (1 if case.granule == 12 else 2) and case.descriptors[level] & 3 == 1
    if not reserved or case.at_level() is None or case.at_level() < level:
        return case
    faulting = case.with_fault(4 | level)
    return dataclasses.replace(case, others=faulting.others) if case.fault() == 0x21 else faulting


def misaligned_fetch(case: Case) -> Case:
    if case.op != "fetch" or case.va & 3 == 0:
        return case
    return dataclasses.replace(case, outcome=f"esr 8a000000 far {case.pc():x} elr {case.pc():x}", effects="")


def cache_maintenance(case: Case) -> Case:
    """QEMU says beside it how a byte is read there (IVAC: written) with PAN and alignment checks off."""
    if case.op not in CACHE or case.outcome.startswith("esr 2000000"):
        return case
    match = SYNDROME.search(case.others[case.others.find(" ", 4):])
    fails = match is not None and int(match[1], 16) & 0x3F != 0x10
    outcome = f"esr {int(match[1], 16) | 0x140:x} far {match[2]} at 0" if fails else "ok 0"
    return dataclasses.replace(case, outcome=outcome, effects=case.marks(False))


def shareability(case: Case) -> Case:
    def amend(par: int) -> int:
        return par & ~(3 << 7) | 2 << 7 if par & 1 == 0 and par >> 56 in (0x04, 0x44) else par

    first, *rest = case.others.split(" ", 2)
    if first == "ok":
        rest[0] = f"{amend(int(rest[0], 16)):x}"
    outcome = case.outcome
    if case.op in AT and outcome.startswith("ok "):
        outcome = f"ok {amend(int(outcome[3:], 16)):x}"
    return dataclasses.replace(case, outcome=outcome, others=" ".join([first, *rest]))


def ordered_alignment(case: Case) -> Case:
    return case.with_fault(0x21) if case.op == "ldapr" and case.va % 8 != 0 else case


def device_alignment(case: Case) -> Case:
    passed = case.outcome.startswith("ok") or case.fault() == 0x10
    second = f"far {case.second_page():x}" in case.outcome
    refused = case.fault() is not None and case.fault() >> 2 == 3 and not second
    if case.par() is None or case.par() & 1 or not (passed or second or refused):
        return case
    reaches_device = case.crosses() and case.following >> 2 & 7 == 1 and case.fault_of_following() in (None, 0xC)
    devices = [case.par() >> 60 == 0, (passed or second) and reaches_device]
    if not (devices[0] and case.op == "zva" or any(devices) and case.va % SIZES.get(case.op, 1) != 0):
        return case
    # Of several elements, the first that reaches into Device memory.
    element = SIZES.get(case.op, 1)
    far = case.va if devices[0] else case.va + (case.second_page() - case.va) // element * element
    effects = case.marks(False) if refused else without_stores(case.effects)
    if devices[0]:
        effects = re.sub(r" ?next \w+", "", effects)  # the second page is not looked at
    return dataclasses.replace(case.with_fault(0x21).with_far(far), effects=effects)


def access_flag(case: Case) -> Case:
    fault = case.at_code() if case.op in AT else case.fault()
    if fault is None or fault >> 2 != 3 or not case.has("HA"):
        return case
    if f"far {case.second_page():x}" not in case.outcome:
        return dataclasses.replace(case, effects=case.marks(False))
    if case.following >> 10 & 1:
        return case
    return dataclasses.replace(case, effects=f"{case.effects} next {case.following | 1 << 10:x}".strip())


def dirty_by_at(case: Case) -> Case:
    return dataclasses.replace(case, effects=case.marks(False)) if case.op in AT and case.outcome.startswith("ok") else case


def never_executed(case: Case) -> Case:
    allowed = case.outcome.startswith("esr 56") or case.fault() == 0x10
    if case.op != "fetch" or not allowed or not case.may_be_dirtied():
        return case
    user = case.leaf() >> 6 & 1 and not case.table_has(61)
    if case.el == 1 and user or case.has("WXN") and (case.el == 1 or user):
        return dataclasses.replace(case.with_fault(0xC | case.last_level()), others=case.others, effects=case.marks(False))
    return case


def no_atomics(case: Case) -> Case:
    if case.fault() != 0x10 or case.op not in EXCLUSIVES | ATOMICS:
        return case
    if case.op in EXCLUSIVES:
        return case.with_syndrome(0x35, case.va)
    read_only = (case.leaf() >> 7 & 1 or case.table_has(62)) and not case.may_be_dirtied()
    if read_only:
        return case.with_syndrome(0x4C | case.last_level(), case.va)
    return dataclasses.replace(case.with_syndrome(0x75, case.va), effects=case.marks(True))


def crossing_order(case: Case) -> Case:
    if case.op == "fetch":
        return case
    if case.fault() == 0x10 and int(SYNDROME.match(case.outcome)[2], 16) < case.va and not case.crosses():
        return case.with_syndrome(int(SYNDROME.match(case.outcome)[1], 16) & 0x7F, case.va)
    if not case.crosses() or case.fault() is None:
        return case
    page = case.second_page()
    if case.fault() == 0x10 and f"far {page:x}" in case.outcome:
        return case  # nothing refused the second page beforehand: what belongs to the first is stored
    case = dataclasses.replace(case, effects=without_stores(case.effects))
    if case.fault() != 0x10:
        return case
    write = int(SYNDROME.match(case.outcome)[1], 16) & 0x40
    code = case.fault_of_following()
    if code is None:
        effects = f"{case.effects} {case.marks_of_following()}".strip()
        return dataclasses.replace(case.with_syndrome(0x10 | write, case.va), effects=effects)
    marks = "" if code != 0xC or not case.has("HA") or case.following >> 10 & 1 else f" next {case.following | 1 << 10:x}"
    return dataclasses.replace(case.with_syndrome(code | case.last_level() | write, page), effects=(case.effects + marks).strip())


DEVIATIONS = [
    Deviation("TnSZ out of range: a translation fault",
              "D24.2.184 (TCR_EL1): the PE may behave as if the nearest value had been written; this one does.", size_out_of_range),
    Deviation("a block at level 0 (4 KiB) or 1 (16, 64 KiB) translates",
              "D8.3.1: reserved without FEAT_LPA2 or 52-bit addresses, so a translation fault.", reserved_block),
    Deviation("a misaligned fetch from where nothing can be fetched: an instruction abort",
              "D1.3.5.5: PC alignment faults come before instruction aborts.", misaligned_fetch),
    Deviation("PAR_EL1.SH is that of the descriptor",
              "D24.2.141: 0b10 for Device memory, and for Normal memory that is not cacheable.", shareability),
    Deviation("LDAPR may be misaligned",
              "B2.8.2: a load with acquire semantics is aligned, without FEAT_LSE2.", ordered_alignment),
    Deviation("Device memory may be accessed misaligned, and zeroed",
              "B2.8.2, DC ZVA: alignment faults, before permission faults (D8.15.5).", device_alignment),
    Deviation("AT of a write marks the page dirty",
              "D8.5.2.2: it never does.", dirty_by_at),
    Deviation("a page with DBM that is clean counts as read-only for fetches",
              "D8.5.2.2: for WXN, and for privileged execution of what EL0 may write, it counts as writable.",
              never_executed),
    Deviation("the access flag is not set by an access that takes a permission fault",
              "D8.5.1: it may be.", access_flag),
    Deviation("cache maintenance by VA does nothing, CVAP reports no maintenance",
              "D8.15.3, C5.3: translation and access flag faults, and permission faults (IVAC at EL1: of a write, but no page gets "
              "dirty, D8.5.2.2; EL0: of a read), with ISS.CM and WnR set. QEMU has no caches.", cache_maintenance),
    Deviation("atomics and exclusives where nothing answers: an external abort",
              "B2.9, ESR_EL1.DFSC 0b110101: what memory they are supported for is the implementation's.", no_atomics),
    Deviation("of two pages, the first is accessed before the second is translated, and FAR_EL1 may be below the address",
              "B2.3: bytes of an access may be accessed in any order.", crossing_order),
]


def any_register_first(theirs: Case, ours: Case) -> bool:
    """Several registers over two pages that both have a fault: which one is reported is the PE's choice (D1.4.5.6)."""
    if ours.op not in SEVERAL or not ours.crosses() or ours.fault() is None:
        return False
    places = {ours.va + offset for offset in range(0, 64, 4)} | {ours.second_page()}
    known = ours.fault() in (0x10, 0x21) or ours.fault() & ~3 == ours.fault_of_following()
    rest = dataclasses.replace(theirs, outcome=ours.outcome, effects=ours.effects)
    return known and int(SYNDROME.match(ours.outcome)[2], 16) in places and rest == ours


def same(theirs: Case | str, ours: Case | str) -> bool:
    if theirs == ours:
        return True
    if isinstance(theirs, str) or isinstance(ours, str):
        return False
    for deviation in DEVIATIONS:
        amended = deviation.amend(theirs)
        deviation.uses += amended != theirs
        theirs = amended
    return theirs == ours or any_register_first(theirs, ours)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000, help="of random cases")
    parser.add_argument("--show", type=int, default=20, help="so many differences at most")
    parser.add_argument("vmm")
    parser.add_argument("elfs", nargs="+")
    options = parser.parse_args()
    parameters = f"translation.seed={options.seed} translation.count={options.count}"
    differences, compared = [], 0
    for elf, qemu_elf, granule in zip(options.elfs[0::2], options.elfs[1::2], (12, 14, 16)):
        wanted = peer.run_qemu(qemu_elf, parameters)
        lines = peer.run_vmm(options.vmm, elf, "translator", parameters)
        for engine in peer.ENGINES[1:]:
            others = peer.run_vmm(options.vmm, elf, engine, parameters)
            differences += [f"{engine}: {other}\n  translator: {line}" for line, other in zip(lines, others) if line != other]
        if not len(lines) == len(others) == len(wanted):
            differences.append(f"{elf}: {len(lines)}, {len(others)} and {len(wanted)} lines")
        compared += len(lines)
        for line, theirs in zip(lines, wanted):
            if not same(parse(theirs, granule), parse(line, granule)):
                differences.append(f"{line}\n  QEMU: {theirs}")
    for deviation in DEVIATIONS:
        print(f"{deviation.uses:6} {deviation.name}")
        if deviation.uses == 0:
            differences.append(f"a deviation that nothing needs: {deviation.name}")
    print(f"{compared} lines compared, {len(differences)} differences")
    print("\n".join(differences[:options.show]))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
