#!/usr/bin/env python3
"""Runs every program of scripts/bench briefly on vmm and on QEMU: they must compute the same.

usage: agree.py [--folder DIR] VMM
"""
import argparse
import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from bare_cases import GROUPS, both_commands, run_all  # noqa: E402
from measure import BenchError  # noqa: E402
from programs import ROOT, Programs, cases  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/bench")
    parser.add_argument("vmm")
    options = parser.parse_args()
    programs = Programs(options.folder)
    commands = {}
    for case in cases():
        brief = dataclasses.replace(case, count=max(case.count // 200, 1))
        if case.group in GROUPS:
            commands[case.name] = both_commands(programs, options.vmm, brief)
        elif case.group == "throughput":
            commands[case.name] = both_commands(programs, options.vmm, brief, 2)
    run_all(commands, 1)
    print(f"{len(commands)} programs agree")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"agree.py: {error}")
