#!/usr/bin/env python3
"""Boots Debian's kernel by two engines in step (vmm run --check) and records a profile there: they agree to the end.

usage: check_test.py VMM SOURCE_DIR
"""
import pathlib
import re
import subprocess
import sys

from guest import Verdict, cache_dir

ENOUGH = 400_000_000  # operations: more than the boot alone
PROFILE = ("perf record -e arm_spe_0// -c 4096 -o /tmp/perf.data -- /guest/workload && "
           "perf report -i /tmp/perf.data --itrace=i1i --stdio | grep -c workload")


def main() -> int:
    vmm, source = sys.argv[1], pathlib.Path(sys.argv[2])
    cache, verdict = cache_dir(source), Verdict()
    for cpus, engines in (("2", ("translator", "interpreter")), ("1", ("translator", "reference"))):
        command = [vmm, "run", "-k", cache / "vmlinuz", "-i", cache / "initramfs.cpio", "--modules", cache / "root", "-c", cpus,
                   "-m", "512", "--pmu", "--spe", f"--engine={engines[0]}", f"--check={engines[1]}", "--exec", PROFILE]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        told = re.search(r"--check: (\d+) operations in (\d+) slices: (\w+) and (\w+) agree", run.stderr)
        good = run.returncode == 0 and told is not None and told.group(3, 4) == engines and int(told[1]) > ENOUGH
        if not verdict.expect(good, f"{cpus} CPUs: {told[0] if told else 'they do not agree'}, status {run.returncode}"):
            print(run.stdout[-2000:], run.stderr[-4000:])
        lines = (run.stdout.split() or ["no"])[-1]
        verdict.expect(lines.isdigit() and int(lines) > 3, f"the guest has a profile: {lines} lines")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
