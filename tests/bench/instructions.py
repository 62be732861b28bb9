#!/usr/bin/env python3
"""Counts what host instructions vmm executes per guest operation, by callgrind, and compares with instructions.txt.

usage: instructions.py [--update] [--folder DIR] VMM [CASE...]

Free of noise, so that a loss of speed shows where times cannot tell: the guest's clock follows its operations and nothing else
varies. More than 2 % above the file's figure fails; less than 2 % below asks for --update, which writes the figures found. They
belong to one compiler, named in the file: with another one there is nothing to compare with, and the status is 77.

The case "spe_sample" is per sample instead: what the same program costs more with profiling than without it.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from programs import FOLDER, Case, Programs, cases, vmm_command  # noqa: E402

FILE = FOLDER / "instructions.txt"
TOLERANCE = 0.02
SKIPPED = 77
SAMPLED = ("spe_sample", "bytecode", 1024)  # case of the file, the program it runs, operations between samples


def compiler_of(vmm: str) -> str:
    """What the program says of the compiler that made it."""
    comment = subprocess.run(["readelf", "-p", ".comment", vmm], check=True, capture_output=True, text=True).stdout
    return sorted(re.findall(r"\]\s+(.*)", comment))[0].strip()


def read_file() -> tuple[str, dict[str, tuple[int, float]]]:
    """The compiler, and count and figure by case."""
    compiler, rows = "", {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# compiler: "):
            compiler = line.removeprefix("# compiler: ")
        elif line and not line.startswith("#"):
            name, count, figure = line.split()
            rows[name] = (int(count), float(figure))
    return compiler, rows


def write_file(compiler: str, rows: dict[str, tuple[int, float]]) -> None:
    head = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    head = [f"# compiler: {compiler}" if line.startswith("# compiler: ") else line for line in head]
    body = [f"{name:20}{count:<10}{figure:.3f}" for name, (count, figure) in rows.items()]
    FILE.write_text("\n".join(head + body) + "\n", encoding="utf-8")


def count_run(vmm: str, elf: pathlib.Path, *options: str, per: str = r"(\d+) operations in") -> tuple[int, int]:
    """Host instructions of a run, and its guest operations or what else `per` finds."""
    command = vmm_command(vmm, elf, options=("--clock", "insn", "--sandbox", "off", "--loglevel", "info", *options))  # valgrind is no guest
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(["setarch", "-R", "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *command],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", result.stderr)
    operations = re.search(per, result.stderr)
    if result.returncode != 0 or "PASS" not in result.stdout or collected is None or operations is None:
        sys.exit(f"instructions.py: {' '.join(command)}: status {result.returncode}: {result.stdout}{result.stderr}")
    return int(collected[1]), int(operations[1])


def count_case(vmm: str, programs: Programs, case: Case, count: int, start: tuple[int, int]) -> tuple[int, int]:
    """Host instructions and guest operations of a case, without those of `start`."""
    instructions, operations = count_run(vmm, programs.elf(case, "vmm", count=count, bench_counted=1))
    return instructions - start[0], operations - start[1]


def count_samples(vmm: str, programs: Programs, case: Case, count: int) -> tuple[int, int]:
    """Host instructions that profiling adds to a case, and its samples."""
    off, on = (programs.elf(case, "vmm", count=count, bench_spe_period=period) for period in (0, SAMPLED[2]))
    without, _ = count_run(vmm, off, "--spe")
    instructions, samples = count_run(vmm, on, "--spe", per=r"(\d+) samples of")
    return instructions - without, samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER.parent.parent / "build/bench")
    parser.add_argument("vmm")
    parser.add_argument("case", nargs="*")
    options = parser.parse_args()
    compiler, rows = read_file()
    if compiler_of(options.vmm) != compiler and not options.update:
        print(f"skipped: {FILE.name} is for '{compiler}', this program was built by '{compiler_of(options.vmm)}'")
        return SKIPPED
    unknown = set(options.case) - set(rows)
    if unknown:
        sys.exit(f"instructions.py: not in {FILE.name}: {', '.join(sorted(unknown))}")
    programs = Programs(options.folder)
    table: dict[str, Case] = {case.name: case for case in cases()}
    start = count_run(options.vmm, programs.elf(table["empty"], "vmm"))
    failures = 0
    print("host instructions per guest operation")
    for name in options.case or rows:
        count, expected = rows[name]
        if name == SAMPLED[0]:
            instructions, times = count_samples(options.vmm, programs, table[SAMPLED[1]], count)
        else:
            instructions, times = count_case(options.vmm, programs, table[name], count, start)
        found = instructions / times
        change = found / expected - 1 if expected else 0.0
        verdict = "ok"
        if change > TOLERANCE:
            verdict = "MORE"
            failures += 1
        elif change < -TOLERANCE:
            verdict = "less: --update"
        unit = "samples" if name == SAMPLED[0] else "operations"
        print(f"{name:20}{times:10} {unit:10}  {found:9.3f}  kept {expected:9.3f}  {change:+7.1%}  {verdict}")
        rows[name] = (count, found)
    if options.update:
        write_file(compiler_of(options.vmm), rows)
        return 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
