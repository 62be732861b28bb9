#!/usr/bin/env python3
"""vmm matrix with Debian's kernel: here, and as a job array of a Slurm cluster that is this machine.

usage: matrix_test.py VMM SOURCE_DIR
"""
import pathlib
import subprocess
import sys
import tempfile

from guest import Verdict, cache_dir
from slurm_node import Cluster

MATRIX = """[run]
initrd = "{cache}/initramfs.cpio"
cpus = 1
mem = "512M"
boot-timeout = 200
timeout = 240
[[kernels]]
name = "debian"
kernel = "{cache}/vmlinuz"
[[spe]]
name = "none"
[[spe]]
name = "spe"
spe = true
modules = "{cache}/root"
[[commands]]
name = "device"
exec = ["echo it\\"'\\"s in; cat /proc/cpuinfo >/tmp/facts", "test -d /sys/bus/event_source/devices/arm_spe_0"]
copy-out = "/tmp/facts:facts"
[[commands]]
name = "true"
exec = "true"
[[exclude]]
spe = "none"
commands = "true"
"""
NAMES = ["debian/none/device", "debian/spe/device", "debian/spe/true"]
KINDS = ["command-failed", "ok", "ok"]


def rows(output: str) -> list[list[str]]:
    return [line.split()[:2] for line in output.splitlines()[1:-1]]


def check(verdict: Verdict, where: str, result: subprocess.CompletedProcess, output: pathlib.Path) -> None:
    print(result.stdout)
    verdict.expect(result.returncode == 1, f"{where}: status {result.returncode}, as one cell fails")
    verdict.expect(rows(result.stdout) == [list(row) for row in zip(NAMES, KINDS)], f"{where}: SPE is there where it should be")
    verdict.expect((output / NAMES[1] / "stdout").read_text() == "it's in\n", f"{where}: the command's output is kept")
    verdict.expect("CPU part" in (output / NAMES[1] / "facts").read_text(), f"{where}: the copy is in the cell's folder")
    verdict.expect("Linux version" in (output / NAMES[2] / "console.log").read_text(), f"{where}: so is the console's log")


def run(*command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False, **options)


def slurm(vmm: str, matrix: pathlib.Path, folder: pathlib.Path, verdict: Verdict) -> None:
    jobs = folder / "job's folder"
    written = run(vmm, "matrix", str(matrix), "--slurm", str(jobs))
    verdict.expect(written.returncode == 0, f"--slurm writes the job array {written.stderr}")
    early = run(str(jobs / "collect.sh"))
    verdict.expect(early.returncode == 1 and [kind for _, kind in rows(early.stdout)] == ["no-result"] * 3, "nothing has run yet")
    (folder / "cluster").mkdir()
    with Cluster(folder / "cluster") as cluster:
        submitted = run("sbatch", "--wait", str(jobs / "job.sh"), env=cluster.environment)
        verdict.expect(submitted.returncode == 1, f"sbatch --wait: {submitted.returncode}, of the task that fails {submitted.stderr}")
        states = run("squeue", "--states=all", "--noheader", "--array", "--format=%K %T", env=cluster.environment).stdout
        verdict.expect(sorted(states.split("\n"))[1:] == ["0 FAILED", "1 COMPLETED", "2 COMPLETED"], f"Slurm's own view: {states.split()}")
    check(verdict, "Slurm", run(str(jobs / "collect.sh")), jobs)


def main() -> int:
    vmm, source = sys.argv[1], pathlib.Path(sys.argv[2])
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        matrix = folder / "m.toml"
        matrix.write_text(MATRIX.format(cache=cache_dir(source)))
        check(verdict, "here", run(vmm, "matrix", str(matrix), "--output", str(folder / "out")), folder / "out")
        only = MATRIX.replace('spe = "none"\ncommands = "true"', 'spe = "none"')
        matrix.write_text(only.format(cache=cache_dir(source)))
        passed = run(vmm, "matrix", str(matrix), "--output", str(folder / "good"))
        verdict.expect(passed.returncode == 0 and "2 cells: 2 passed" in passed.stdout, f"all pass: status {passed.returncode}")
        matrix.write_text(MATRIX.format(cache=cache_dir(source)))
        slurm(vmm, matrix, folder, verdict)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
