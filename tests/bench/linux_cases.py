"""The same Linux jobs on both machines: one boot runs all cases; the host's CPU time is read where the console says so."""
import pathlib
import re
import statistics
import subprocess
import sys
import time

from bare_cases import row_of
from measure import BenchError, killed_after, progress

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Case: repetitions, MiB or lines, so that each takes a second or more in vmm.
CASES = {
    "linux": {"getppid": 1000000, "read": 250000, "pipe": 15000, "fork": 2500, "exec": 300, "fault": 100000, "find": 1},
    "compute": {"sha256": 64, "gzip": 64, "sort": 200000},
    "boot": {"boot": 0},
    "smp": {"boot-4": 0, "getppid-all": 300000, "pipe-all": 4000, "fork-all": 700, "exec-all": 100, "sha256-all": 16,
            "gzip-all": 8},
}
GROUPS = tuple(CASES)
# Both get the same kernel, initramfs, RAM and CPU model, and no page-table isolation, which QEMU's KASLR seed would switch on.
PARAMETERS = "kpti=off vmm.script=bench vmm.args="


def cpu_seconds(pid: int) -> float:
    """CPU time of process `pid`, all threads, living and gone: its process clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def commands(vmm: str, cpus: int, words: list[str]) -> dict[str, list[str]]:
    cache = pathlib.Path(subprocess.run([ROOT / "scripts/fetch_guest.sh", "--print-dir"], check=True, capture_output=True,
                                        text=True).stdout.strip())
    kernel, initrd = str(cache / "vmlinuz"), str(cache / "initramfs.cpio")
    parameters = PARAMETERS + ",".join(words)
    return {"vmm": [vmm, "run", "-k", kernel, "-i", initrd, "-c", str(cpus), "-m", "2000", "-p", parameters],
            "qemu": ["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-smp", str(cpus), "-m", "2000",
                     "-nographic", "-nic", "none", "-kernel", kernel, "-initrd", initrd, "-append",
                     "console=ttyAMA0 " + parameters]}


def follow(command: list[str], boot: str, timeout: float) -> dict[str, float]:
    """Runs a guest to its end. CPU seconds of each case, and under the name `boot` of everything up to its init."""
    found: dict[str, float] = {}
    console = []
    begun = 0.0
    finished = False
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as guest, killed_after(guest, timeout):
        for line in guest.stdout:
            now = cpu_seconds(guest.pid)
            console.append(line)
            if "vmm-guest: init reached" in line:
                found[boot] = now
            match = re.match(r"vmm-bench: (begin|end|done)(?: (\S+))?(?: (\d+))?", line)
            if match is None:
                continue
            if match[1] == "begin":
                progress(f"{pathlib.Path(command[0]).name}: {match[2]}")
                begun = now
            elif match[1] == "end" and match[3] == "0":
                found[match[2]] = now - begun
            elif match[1] == "done":
                finished = True
    if not finished or guest.returncode != 0 or boot not in found:
        sys.stderr.write("".join(console)[-3000:])
        raise BenchError(f"the guest did not finish (status {guest.returncode}): {' '.join(command)}")
    return found


def measure(vmm: str, chosen: dict[str, list[str]], runs: int, scale: float = 1.0, timeout: float = 1200) -> list[dict]:
    """Rows of the cases in `chosen` (names by group), one boot on each machine per round and number of CPUs."""
    rows = []
    for cpus, boot, groups in ((1, "boot", ("boot", "linux", "compute")), (4, "boot-4", ("smp",))):
        names = {name: group for group in groups for name in chosen.get(group, [])}
        if not names:
            continue
        words = ["nothing=0"] + [f"{name}={max(int(CASES[group][name] * scale), 1)}" for name, group in names.items() if name != boot]
        by_machine = commands(vmm, cpus, words)
        found: dict[str, list[dict[str, float]]] = {machine: [] for machine in by_machine}
        for round_number in range(runs):
            for machine in sorted(by_machine, reverse=round_number % 2 == 0):
                found[machine].append(follow(by_machine[machine], boot, timeout))
        progress("")
        nothing = {machine: statistics.median(run["nothing"] for run in values) for machine, values in found.items()}
        for name, group in names.items():
            for machine, values in found.items():
                if any(name not in run for run in values):
                    raise BenchError(f"{machine}: the guest failed at {name}")
            seconds = {machine: [run[name] - (0 if name == boot else nothing[machine]) for run in values]
                       for machine, values in found.items()}
            rows.append(row_of(group, name, seconds))
    return rows
