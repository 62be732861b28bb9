#!/usr/bin/env python3
"""SIGKILL at random moments: what the guest had flushed is on the disk, nothing else has changed, the next guest starts.

usage: kill_test.py VMM SOURCE_DIR
"""
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from guest import Verdict, cache_dir

RECORD = 65536
RECORDS = 1024
ROUNDS = 3


def content_of(record: int) -> bytes:
    line = f"record {record}\n".encode()
    return (line * (RECORD // len(line) + 1))[:RECORD]


def run_and_kill(vmm: str, cache: pathlib.Path, disk: pathlib.Path, delay: float) -> int:
    """Lets the guest write for `delay` seconds; returns the last record that it said was flushed."""
    command = [vmm, "run", "--name", "kill-test", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", "1",
               "-m", "256", "--disk", str(disk), "-p", "quiet vmm.script=write-check", "--timeout", "120"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        flushed = -1
        killer = None
        for line in run.stdout:
            if match := re.match(r"write-check: flushed (\d+)", line):
                flushed = int(match[1])
                if killer is None:
                    killer = threading.Thread(target=lambda: (time.sleep(delay), run.send_signal(signal.SIGKILL)))
                    killer.start()
        status = run.wait()
        if killer is not None:
            killer.join()
        if status != -signal.SIGKILL:
            print(run.stderr.read())
            return -1
    return flushed


def main() -> int:
    verdict = Verdict()
    cache = cache_dir(pathlib.Path(sys.argv[2]))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        for _ in range(ROUNDS):
            disk = pathlib.Path(name) / "disk.img"
            with disk.open("wb") as file:
                file.truncate(0)
                file.truncate(RECORDS * RECORD)
            delay = rng.uniform(0, 1.5)
            flushed = run_and_kill(sys.argv[1], cache, disk, delay)
            if not verdict.expect(flushed >= 0, f"killed {delay:.2f} s after the first record, {flushed} flushed"):
                continue
            data = disk.read_bytes()
            wrong = [n for n in range(flushed + 1) if data[n * RECORD:(n + 1) * RECORD] != content_of(n)]
            verdict.expect(not wrong, f"all {flushed + 1} records that were flushed are there: {wrong}")
            # One more may have been written, or be under way, and its message not read.
            verdict.expect(not any(data[(flushed + 3) * RECORD:]), "and nothing is where nothing was written")
            verdict.expect(len(data) == RECORDS * RECORD, "the disk has its size")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
