#!/usr/bin/env python3
"""The detailed event model in Linux: perf mem and perf c2c must tell the truth about programs whose truth is known.

usage: memory_test.py VMM SOURCE_DIR

With --clock=insn the CPUs take turns every few operations: who shares what then does not depend on the host.
"""
import pathlib
import re
import sys

from guest import Guest, Verdict


def chase_levels(facts: list[str]) -> dict[str, dict[str, int]]:
    """Loads of the pointer chase by size and by where perf mem says they were served from."""
    levels: dict[str, dict[str, int]] = {}
    for fact in facts:
        match = re.match(r"(\d+) +[0-9.]+% +(\d+) +(.+?)  +\[\.\] follow_pointers", fact)
        if match:
            levels.setdefault(match[1], {})[match[3]] = int(match[2])
    return levels


def judge_chase(verdict: Verdict, levels: dict[str, dict[str, int]], size: str, wanted: str) -> None:
    found = levels.get(size, {})
    total = sum(found.values())
    share = found.get(wanted, 0) / total if total else 0.0
    print(f"chase of {size} KiB: {found}, {share:.1%} {wanted}")
    # Nine of ten: the first pass over small memory misses, and large memory leaves some lines in the last-level cache.
    verdict.expect(total >= 200 and share >= 0.9, f"perf mem: a chase over {size} KiB is served by {wanted}")


def judge_sharing(verdict: Verdict, guest: Guest) -> None:
    shared = re.search(r"^memory-check: false-sharing: line (0x[0-9a-f]+) ", guest.console, re.MULTILINE)
    lines = [fact.split() for fact in guest.all("line")]  # index, address, node, PA count, peer snoop share, peer snoops, ...
    print("c2c:", *guest.all("c2c"), *guest.all("line"), *guest.all("access"), sep="\n  ")
    if not verdict.expect(shared is not None and len(lines) > 0, "perf c2c: reports shared lines"):
        return
    top = lines[0]
    verdict.expect(top[1] == shared[1], f"perf c2c: the top line {top[1]} is the program's, {shared[1]}")
    verdict.expect(float(top[4].rstrip("%")) >= 90 and int(top[5]) >= 20, "perf c2c: most peer snoops are of this line")
    # Offset within the line, and the share of peer snoops, of the program's function.
    accesses = [re.search(r" ([0-9.]+)% .* (0x[08]) .*\[\.\] count ", fact) for fact in guest.all("access")]
    offsets = {match[2] for match in accesses if match}
    verdict.expect(offsets == {"0x0", "0x8"}, f"perf c2c: both counters are named, by their offsets: {sorted(offsets)}")


def main() -> int:
    verdict = Verdict()
    guest = Guest(sys.argv[1], pathlib.Path(sys.argv[2]), "memory-check",
                  ["-c", "2", "-m", "512", "--spe-model", "detailed", "--clock", "insn"], verdict=verdict)
    levels = chase_levels(guest.all("chase"))
    judge_chase(verdict, levels, "65536", "Local RAM or RAM hit")
    judge_chase(verdict, levels, "16", "L1 or L1 hit")
    judge_sharing(verdict, guest)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
