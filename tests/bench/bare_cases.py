"""The bare-metal programs on both machines, and the throughput of two CPUs."""
import statistics

from measure import BenchError, Run, progress, run_program, spread
from programs import Case, Programs, cases, qemu_command, vmm_command

GROUPS = ("kernel", "system", "fp-kernel", "fp", "integer")


def case_names(group: str) -> list[str]:
    return [case.name for case in cases() if case.group == group]


def both_commands(programs: Programs, vmm: str, case: Case, cpus: int = 1) -> dict[str, list[str]]:
    return {"vmm": vmm_command(vmm, programs.elf(case, "vmm"), cpus), "qemu": qemu_command(programs.elf(case, "qemu"), cpus)}


def run_all(commands: dict[str, dict[str, list[str]]], runs: int) -> dict[str, dict[str, list[Run]]]:
    """Every case `runs` times on both machines, alternating, first once on this and once on that. Results must agree."""
    found: dict[str, dict[str, list[Run]]] = {name: {"vmm": [], "qemu": []} for name in commands}
    results: dict[str, str] = {}
    for round_number in range(runs):
        for name, by_machine in commands.items():
            for machine in sorted(by_machine, reverse=round_number % 2 == 0):
                progress(f"round {round_number + 1}/{runs}: {name}, {machine}")
                run = run_program(by_machine[machine])
                # Counters tell the time, everything else must be the same everywhere.
                if name != "counter" and results.setdefault(name, run.result) != run.result:
                    raise BenchError(f"{name}: vmm and QEMU disagree: {results[name]} and {run.result}")
                found[name][machine].append(run)
    progress("")
    return found


def measure(programs: Programs, vmm: str, chosen: dict[str, list[str]], runs: int) -> list[dict]:
    """Rows of the cases in `chosen` (names by group); CPU seconds without those of starting and ending a machine."""
    table = {case.name: case for case in cases()}
    names = [name for group in GROUPS for name in chosen.get(group, [])]
    if not names:
        return []
    found = run_all({name: both_commands(programs, vmm, table[name]) for name in ["empty", *names]}, runs)
    start = {machine: statistics.median(run.cpu for run in found["empty"][machine]) for machine in ("vmm", "qemu")}
    rows = []
    for name in names:
        seconds = {machine: [run.cpu - start[machine] for run in found[name][machine]] for machine in start}
        rows.append(row_of(table[name].group, name, seconds))
    return rows


def row_of(group: str, name: str, seconds: dict[str, list[float]]) -> dict:
    medians = {machine: statistics.median(values) for machine, values in seconds.items()}
    return {"group": group, "name": name, **medians, "ratio": medians["vmm"] / medians["qemu"],
            "vmm_spread": spread(seconds["vmm"]), "qemu_spread": spread(seconds["qemu"]),
            "vmm_runs": seconds["vmm"], "qemu_runs": seconds["qemu"]}


def measure_throughput(programs: Programs, vmm: str, runs: int) -> dict:
    """Work per second of two CPUs relative to one: by CPU time (medians), and by the shortest elapsed times."""
    table = {case.name: case for case in cases()}
    found = run_all({"one_cpu": both_commands(programs, vmm, table["one_cpu"], 2),
                     "two_cpus": both_commands(programs, vmm, table["two_cpus"], 2)}, runs)
    result = {}
    for machine in ("vmm", "qemu"):
        one, two = found["one_cpu"][machine], found["two_cpus"][machine]
        # Two CPUs do twice the work; without loss each takes the CPU time that one takes alone.
        result[machine] = {
            "cpu": 4 * statistics.median(run.cpu for run in one) / statistics.median(run.cpu for run in two),
            "elapsed": 2 * min(run.wall for run in one) / min(run.wall for run in two),
            "one_cpu": [[run.cpu, run.wall] for run in one], "two_cpus": [[run.cpu, run.wall] for run in two]}
    return result
