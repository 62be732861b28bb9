#!/usr/bin/env python3
"""Runs one bare-metal guest and compares what it prints with the header comment of its source.

usage: run.py VMM SOURCE ELF [QEMU_ELF]

The source's leading comment says how to run and what to expect:

    // vmm: OPTIONS           more options of `vmm run` (may repeat: one run each)
    // qemu: OPTIONS          run it on qemu-system-aarch64 as well, as a check of the test (may repeat)
    // expect: LINE           the output, line by line
    // status: N              the exit status of vmm (default 0)

For QEMU it is built with REFERENCE_QEMU defined: what stands in its #ifndef is what QEMU (7.2) does otherwise, with the reason.
"""
import shlex
import subprocess
import sys


def vmm_command(vmm: str, elf: str, options: list[str]) -> list[str]:
    command = [vmm, "run", "-k", elf, "-m", "64", "--nodefaults", *options]
    for name, value in (("-c", "1"), ("--timeout", "60")):
        if name not in options:
            command += [name, value]
    return command


def qemu_command(elf: str, options: list[str]) -> list[str]:
    return ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-m", "1200", "-nic", "none",
            "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", elf, *options]


def main() -> int:
    vmm, source, elf, *qemu_elf = sys.argv[1:]
    runs, expected, status = [], [], 0
    with open(source, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("//"):
                break
            key, _, value = line[2:].strip().partition(":")
            if key == "vmm":
                runs.append((vmm_command(vmm, elf, shlex.split(value)), True))
            elif key == "qemu" and qemu_elf:
                runs.append((qemu_command(qemu_elf[0], shlex.split(value)), False))
            elif key == "expect":
                expected.append(value.strip())
            elif key == "status":
                status = int(value)
    if not runs or not expected:
        print(f"{source}: no 'vmm:' or no 'expect:' line")
        return 1
    failures = 0
    for command, is_vmm in runs:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        output = [line.rstrip("\r") for line in result.stdout.splitlines()]
        wanted = status if is_vmm else 0
        if output != expected or result.returncode != wanted:
            failures += 1
            print("ran:", shlex.join(command))
            print("expected:", expected, "status", wanted)
            print("found:   ", output, "status", result.returncode)
            print(result.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
