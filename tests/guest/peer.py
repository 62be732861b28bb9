#!/usr/bin/env python3
"""Runs a bare-metal guest on vmm, with each engine, and on QEMU: they must print the same, line by line, up to END.

usage: peer.py [--cpus N] [--parameters TEXT] VMM ELF QEMU_ELF
"""
import argparse
import subprocess
import sys

ENGINES = ("translator", "interpreter")


def run(command: list[str]) -> list[str]:
    """What the guest prints before END."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150, check=False)
    lines = [line.rstrip("\r") for line in result.stdout.splitlines()]
    if result.returncode != 0 or not lines or lines[-1] != "END":
        sys.exit(f"{' '.join(command)}: status {result.returncode}, ended with {lines[-1:]}\n{result.stderr}")
    return lines[:-1]


def run_vmm(vmm: str, elf: str, engine: str, parameters: str, cpus: int = 1) -> list[str]:
    return run([vmm, "run", "-k", elf, "-c", str(cpus), "-m", "64", "--nodefaults", "--engine", engine, "--timeout", "140",
                "-p", parameters])


def run_qemu(elf: str, parameters: str, cpus: int = 1) -> list[str]:
    return run(["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-smp", str(cpus), "-m", "1200",
                "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", elf, "-append", parameters])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--parameters", default="")
    parser.add_argument("vmm")
    parser.add_argument("elf")
    parser.add_argument("qemu_elf")
    options = parser.parse_args()
    wanted = run_qemu(options.qemu_elf, options.parameters, options.cpus)
    failures = 0
    for engine in ENGINES:
        found = run_vmm(options.vmm, options.elf, engine, options.parameters, options.cpus)
        different = [i for i, (ours, peer) in enumerate(zip(found, wanted)) if ours != peer]
        print(f"{engine}: {len(found)} lines, QEMU {len(wanted)}, {len(different)} differ")
        if different or len(found) != len(wanted):
            failures += 1
            first = different[0] if different else min(len(found), len(wanted))
            print("\n".join(wanted[max(0, first - 8):first]))
            print("vmm: ", *found[first:first + 1])
            print("QEMU:", *wanted[first:first + 1])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
