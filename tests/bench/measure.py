"""Running things and what their times say."""
import contextlib
import dataclasses
import math
import os
import re
import statistics
import subprocess
import sys
import threading
import time


@dataclasses.dataclass
class Run:
    cpu: float      # user and system time of the process and its threads, seconds
    wall: float
    result: str     # what the program computed
    records: int    # that the profiling unit wrote


class BenchError(Exception):
    """Something that must work did not."""


@contextlib.contextmanager
def killed_after(child: subprocess.Popen, seconds: float):
    """Kills `child` if it takes longer."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def run_program(command: list[str]) -> Run:
    """Runs a bare-metal program to its end; it must print its result, the bytes of its profile, and PASS."""
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child, \
            killed_after(child, 300):
        output = child.stdout.read().decode(errors="replace")
        errors = child.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    result = re.fullmatch(r"\s*([0-9a-f]{16}) ([0-9a-f]{16}) PASS\s*", output)
    if child.returncode != 0 or result is None:
        raise BenchError(f"{' '.join(command)}: status {child.returncode}: {output[-500:]}{errors[-500:]}")
    return Run(usage.ru_utime + usage.ru_stime, wall, result[1], int(result[2], 16) // 64)


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def spread(values: list[float]) -> float:
    """Half the distance of the extremes, as a fraction of the median."""
    return (max(values) - min(values)) / 2 / statistics.median(values)


def progress(text: str) -> None:
    """A line that the next one overwrites, for terminals only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
