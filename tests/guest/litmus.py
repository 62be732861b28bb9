#!/usr/bin/env python3
"""Runs the litmus guest (litmus.c) and judges its report: no forbidden outcome, and every test of the table was run.

usage: litmus.py [OPTIONS] VMM|qemu ELF

`qemu` runs an ELF built with -DREFERENCE_QEMU on QEMU, to check the tests themselves. With --wrong, outcomes that the
architecture allows count as forbidden, and the guest must say so.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

SKIPPED = 77
LINE = re.compile(r"(\S.*?) +(allowed|forbidden|exact) +(\d+) \|((?: \d*:\d+)+)(  WRONG)?$")

# QEMU (7.2, on x86) has no barrier between STLR and a later LDAR, which the architecture orders ("barrier-ordered-before").
QEMU_WEAK = {"SB+stlr-ldars", "SB+dmb+stlr-ldar", "R+stlr+stlr-ldar"}


def command_of(options: argparse.Namespace) -> list[str]:
    words = [f"litmus.runs={options.runs}", f"litmus.ms={options.ms}", f"litmus.rounds={options.rounds}"]
    words += [f"litmus.stride={options.stride}", f"litmus.patience={options.patience}"]
    words += [f"litmus.only={options.only}"] if options.only else []
    words += ["litmus.wrong"] if options.wrong else []
    parameters = " ".join(words)
    if options.machine == "qemu":
        return ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", options.cpu, "-smp", "4", "-m", "1200",
                "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", options.elf,
                "-append", parameters]
    return [options.machine, "run", "-k", options.elf, "-c", "4", "-m", "64", "--nodefaults", "--engine", options.engine,
            "--cpu", options.cpu, "--timeout", str(options.timeout), "-p", parameters]


def expected_names() -> set[str]:
    folder = pathlib.Path(__file__).resolve().parent
    litmus = re.findall(r'^    T[234]\(\w+, "([^"]+)"', (folder / "litmus_tests.h").read_text(encoding="utf-8"), re.M)
    atomics = re.findall(r'^    \{"([^"]+)", \w+, \w+\},', (folder / "litmus_atomics.c").read_text(encoding="utf-8"), re.M)
    return {*litmus, *atomics}


def judge(options: argparse.Namespace, lines: list[str]) -> list[str]:
    """What is wrong with the report."""
    faults, names = [], set()
    for line in lines[:-1]:
        match = LINE.match(line)
        if match is None:
            faults.append(f"not a line of a report: {line!r}")
            continue
        name, verdict, seen = match[1], match[2], int(match[3])
        names.add(name)
        if sum(int(count) for count in re.findall(r":(\d+)", match[4])) == 0:
            faults.append(f"{name} did not run")
        if verdict != "allowed" and seen != 0 and not (options.machine == "qemu" and name in QEMU_WEAK):
            faults.append(f"{name}: {seen} times what must not be")
    wanted = {options.only} if options.only else expected_names()
    if names != wanted:
        faults.append(f"missing {sorted(wanted - names)}, unknown {sorted(names - wanted)}")
    if lines[-1] not in ("PASS", "FAIL") or (lines[-1] == "FAIL" and options.machine != "qemu" and not faults):
        faults.append(f"ended with {lines[-1]!r}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000000, help="at most, of each test")
    parser.add_argument("--ms", type=int, default=400, help="at most, for each test")
    parser.add_argument("--rounds", type=int, default=20000, help="of the atomics, for each CPU")
    parser.add_argument("--stride", type=int, default=1, help="runs between waits for one another, a power of two")
    parser.add_argument("--patience", type=int, default=0, help="polls to wait so; 0: as fits a busy host")
    parser.add_argument("--only", metavar="TEST")
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--engine", default="translator")
    parser.add_argument("--cpu", default="neoverse-n1")
    parser.add_argument("--timeout", type=int, default=240)
    parser.add_argument("machine")
    parser.add_argument("elf")
    options = parser.parse_args()
    if options.wrong and len(os.sched_getaffinity(0)) < 2:
        print("skipped: one host CPU shows no weak outcome")
        return SKIPPED
    result = subprocess.run(command_of(options), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=options.timeout + 30, check=False)
    lines = [line.rstrip("\r") for line in result.stdout.splitlines()] or [""]
    print("\n".join(lines))
    faults = judge(options, lines)
    if result.returncode != 0:
        faults.append(f"exit status {result.returncode}: {result.stderr}")
    if options.wrong:
        found = lines[-1] == "FAIL" and result.returncode == 0
        print("it fails as it should" if found else "the allowed outcome was never seen, or the guest did not fail")
        return 0 if found else 1
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
