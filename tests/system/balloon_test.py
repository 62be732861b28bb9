#!/usr/bin/env python3
"""The balloon as Linux sees it: free memory goes back to the host by itself, and more when it is asked for.

usage: balloon_test.py VMM SOURCE_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import time

from guest import Verdict, cache_dir

NAME = f"balloon-test-{os.getpid()}"
MIB = 1 << 20


def resident(process: subprocess.Popen) -> int:
    """Bytes of the guest's process that are in memory."""
    return int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096


def eventually(condition, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


class Run:
    def __init__(self, vmm: str, source: pathlib.Path) -> None:
        cache = cache_dir(source)
        self.vmm = vmm
        self.console = ""
        self.process = subprocess.Popen(
            [vmm, "run", "--name", NAME, "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", "1", "-m", "512",
             "--balloon", "-p", "vmm.script=balloon-check", "--timeout", "200"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")

    def read_until(self, wanted: str) -> bool:
        for line in self.process.stdout:
            self.console += line
            if line.startswith(f"balloon-check: {wanted}"):
                return True
        print(self.console[-3000:])
        return False

    def balloon(self, *arguments: str) -> dict:
        done = subprocess.run([self.vmm, "balloon", NAME, "--json", *arguments], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


def main() -> int:
    verdict = Verdict()
    run = Run(sys.argv[1], pathlib.Path(sys.argv[2]))
    with run.process as process:
        if not verdict.expect(run.read_until(f"filled {192 * MIB}"), "the guest uses memory"):
            process.kill()
            return verdict.status()
        used = resident(process)
        verdict.expect(run.read_until("freed"), "and frees it")
        verdict.expect(eventually(lambda: resident(process) < used - 150 * MIB),
                       f"what is free goes back by itself: {used // MIB} MiB, then {resident(process) // MIB}")
        verdict.expect(run.balloon()["reported_bytes"] >= 150 * MIB, f"and is counted: {run.balloon()}")
        run.balloon("--size", "128")
        verdict.expect(eventually(lambda: run.balloon()["given_bytes"] == 128 * MIB), f"128 MiB are given when asked for: {run.balloon()}")
        verdict.expect(run.read_until("given"), "and the guest has so much less")
        run.balloon("--size", "0")
        verdict.expect(eventually(lambda: run.balloon()["given_bytes"] == 0), "and taken back")
        verdict.expect(run.read_until("back"), "and the guest has it all again")
        refused = subprocess.run([run.vmm, "balloon", NAME, "--size", "1G"], capture_output=True, text=True, check=False)
        verdict.expect(refused.returncode == 3 and "only" in refused.stderr, f"more than there is is refused: {refused.stderr.strip()}")
        verdict.expect(run.read_until(f"content 0 {192 * MIB}"), "memory that came back holds what is written to it")
        verdict.expect(run.read_until("done"), "the guest runs to its end")
        run.console += process.stdout.read()
    verdict.expect(process.returncode == 0, f"status {process.returncode}")
    for text in ("Oops", "BUG:", "WARNING:", " stall"):
        verdict.expect(text not in run.console, f"no '{text}' on the console")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
