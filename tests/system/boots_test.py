#!/usr/bin/env python3
"""Boots Debian's kernel many times, in a row and at once, with --clock=insn: every run says the same and leaves nothing behind.

usage: boots_test.py VMM SOURCE_DIR [--boots N] [--parallel N] [--cpus N]

N boots in a row, then as many at once as --parallel says. Compared to the byte: the commands' output, the kernel's log, how
many operations the guest executed and its own times. Looked for afterwards: processes, sockets and files of vmm.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from guest import Verdict, cache_dir

LINES = 20000
COMMANDS = [f"seq 1 {LINES}; echo to stderr >&2", "dmesg | wc -l; cat /proc/uptime", "sha256sum /bin/busybox; exit 3"]
STATUS = 3
LONG = 600  # seconds that no boot takes, not even one of twenty on one core


class Boot:
    """One run of vmm, to its end, in folders of its own."""

    def __init__(self, vmm: str, cache: pathlib.Path, folder: pathlib.Path, cpus: int) -> None:
        self.folder = folder
        for name in ("run", "tmp"):
            (folder / name).mkdir(parents=True)
        command = [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", str(cpus), "-m", "256",
                   "--clock", "insn", "--pmu", "--spe", "--boot-timeout", str(LONG), "--timeout", str(LONG), "--name", "boot",
                   "--console-log", str(folder / "console.log"), "--result", str(folder / "result.json")]
        for text in COMMANDS:
            command += ["--exec", text]
        environment = dict(os.environ, XDG_RUNTIME_DIR=str(folder / "run"), TMPDIR=str(folder / "tmp"))
        started = time.monotonic()
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.status = process.returncode
        self.seconds = time.monotonic() - started
        self.peak_mib = usage.ru_maxrss / 1024

    def facts(self) -> dict[str, object]:
        """What must be the same each time."""
        result = json.loads((self.folder / "result.json").read_text())
        return {
            "status": self.status,
            "end": result["end"],
            "stdout": digest(self.folder / "stdout"),
            "stderr": digest(self.folder / "stderr"),
            "console": digest(self.folder / "console.log"),
            "operations": result["statistics"]["totals"]["operations"],
            "boot_guest_seconds": result["times"]["boot_guest_seconds"],
            "commands": [(each["state"], each["status"], each["seconds"]) for each in result["commands"]],
        }

    def left_behind(self) -> list[str]:
        return [str(path) for name in ("run", "tmp") for path in (self.folder / name).rglob("*") if not path.is_dir()]


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def processes_of(folder: pathlib.Path) -> list[str]:
    """What still runs with the surroundings that Boot gave it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"TMPDIR={folder}/".encode() in (entry / "environ").read_bytes():
                    found.append(entry.name)
            except OSError:
                pass
    return found


def judge(boots: list[Boot], reference: dict[str, object], what: str, verdict: Verdict) -> None:
    different: dict[str, int] = {}
    for boot in boots:
        facts = boot.facts()
        for key, value in facts.items():
            if value != reference[key]:
                different[key] = different.get(key, 0) + 1
                print(f"  {boot.folder.name}: {key} {value}, at first {reference[key]}")
    seconds = sorted(boot.seconds for boot in boots)
    peaks = sorted(boot.peak_mib for boot in boots)
    print(f"{what}: {len(boots)} boots, {seconds[0]:.1f}/{seconds[len(seconds) // 2]:.1f}/{seconds[-1]:.1f} s (min/median/max), "
          f"peak memory {peaks[0]:.0f} to {peaks[-1]:.0f} MiB")
    verdict.expect(not different, f"{what}: all say the same as the first {different or ''}")
    left = [name for boot in boots for name in boot.left_behind()]
    verdict.expect(not left, f"{what}: no socket or file is left behind {left[:3]}")
    verdict.expect(peaks[-1] < 1.2 * peaks[0], f"{what}: none needs more memory than others")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("vmm")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--boots", type=int, default=200)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--cpus", type=int, default=1)
    options = parser.parse_args()

    verdict = Verdict()
    cache = cache_dir(options.source)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        row = [Boot(options.vmm, cache, folder / f"row-{n}", options.cpus) for n in range(options.boots)]
        with concurrent.futures.ThreadPoolExecutor(options.parallel) as pool:
            at_once = list(pool.map(lambda n: Boot(options.vmm, cache, folder / f"at-once-{n}", options.cpus),
                                    range(options.parallel)))
        reference = row[0].facts()
        output = (row[0].folder / "stdout").read_text()
        verdict.expect(reference["status"] == STATUS, f"the last command's status is vmm's: {reference['status']}")
        verdict.expect(output.startswith("".join(f"{n}\n" for n in range(1, LINES + 1))), "all of the first command's output is there")
        verdict.expect("to stderr" in (row[0].folder / "stderr").read_text(), "and what it wrote to stderr")
        judge(row, reference, "in a row", verdict)
        judge(at_once, reference, "at once", verdict)
        left = processes_of(folder)
        verdict.expect(not left, f"no process is left behind {left}")
        return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
