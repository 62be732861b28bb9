#!/usr/bin/env python3
"""Debian's kernel brings up all CPUs there are, also more than the host has, and finds nothing to complain about.

usage: cpus_test.py VMM SOURCE_DIR CPUS...
"""
import json
import pathlib
import subprocess
import sys
import tempfile

from guest import Verdict, cache_dir

# Messages of level warning that are no complaint: it follows from the default seed of 0.
# The second: the host had no time for the vCPU.
HARMLESS = ("KASLR disabled due to lack of seed", "hrtimer: interrupt took")

# The third: a task moves to each CPU in turn and tells where it ran last (field 39 of its stat).
COMMANDS = (
    "cat /sys/devices/system/cpu/online",
    "grep -c '^processor' /proc/cpuinfo",
    "i=0; n=$(nproc); while [ $i -lt $n ]; do taskset -p $(printf %x $((1 << i))) $$ >/dev/null; "
    "awk '{printf \"%s \", $39}' /proc/$$/stat; i=$((i + 1)); done; echo",
    "dmesg -r | grep '^<[0-4]>' || true",
)


def boot(vmm: str, cache: pathlib.Path, cpus: int, verdict: Verdict) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command = [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", str(cpus), "-m", "512",
                   "--result", str(folder / "result.json"), "--console-log", str(folder / "console.log")]
        for text in COMMANDS:
            command += ["--exec", text]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not verdict.expect(run.returncode == 0, f"{cpus} CPUs: status {run.returncode}"):
            print(run.stdout[-2000:], run.stderr[-4000:])
            return
        online, count, places, *messages = run.stdout.splitlines()
        verdict.expect(online == (f"0-{cpus - 1}" if cpus > 1 else "0") and count == str(cpus), f"{cpus} CPUs: online are {online}")
        verdict.expect(places.split() == [str(n) for n in range(cpus)], f"{cpus} CPUs: a task runs on each: {places}")
        warnings = [line for line in messages if not any(text in line for text in HARMLESS)]
        verdict.expect(not warnings, f"{cpus} CPUs: the kernel warns about nothing {warnings}")
        result = json.loads((folder / "result.json").read_text())
        executed = [cpu["operations"] for cpu in result["statistics"]["cpus"]]
        verdict.expect(len(executed) == cpus and min(executed) > 10**5, f"{cpus} CPUs: operations of each {executed}")
        times = result["times"]
        print(f"{cpus} CPUs: " + ", ".join(f"{key} {value:.2f}" for key, value in times.items() if isinstance(value, float)))


def main() -> int:
    verdict = Verdict()
    cache = cache_dir(pathlib.Path(sys.argv[2]))
    for cpus in sys.argv[3:]:
        boot(sys.argv[1], cache, int(cpus), verdict)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
