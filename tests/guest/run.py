#!/usr/bin/env python3
"""Runs one bare-metal guest and compares what it prints with the header comment of its source.

usage: run.py VMM SOURCE ELF

The source's leading comment says how to run and what to expect:

    // vmm: OPTIONS           more options of `vmm run` (may repeat: one run each)
    // expect: LINE           the output, line by line
    // status: N              the exit status (default 0)
"""
import shlex
import subprocess
import sys


def main() -> int:
    vmm, source, elf = sys.argv[1:4]
    runs, expected, status = [], [], 0
    with open(source, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("//"):
                break
            key, _, value = line[2:].strip().partition(":")
            if key == "vmm":
                runs.append(shlex.split(value))
            elif key == "expect":
                expected.append(value.strip())
            elif key == "status":
                status = int(value)
    if not runs or not expected:
        print(f"{source}: no 'vmm:' or no 'expect:' line")
        return 1
    failures = 0
    for options in runs:
        command = [vmm, "run", "-k", elf, "-m", "64", "--nodefaults", *options]
        for name, value in (("-c", "1"), ("--timeout", "60")):
            if name not in options:
                command += [name, value]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        output = [line.rstrip("\r") for line in result.stdout.splitlines()]
        if output != expected or result.returncode != status:
            failures += 1
            print("ran:", shlex.join(command))
            print("expected:", expected, "status", status)
            print("found:   ", output, "status", result.returncode)
            print(result.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
