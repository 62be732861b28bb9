"""What profiling costs the compiled C programs: the same objects with profiling off and on, alternating."""
import statistics

from measure import BenchError, geometric_mean, progress, run_program, spread
from programs import Programs, cases, vmm_command

GROUPS = ("integer", "fp")
PERIODS = (4096, 1024)
TARGETS = {4096: 1.05}


def case_names() -> list[str]:
    return [case.name for case in cases() if case.group in GROUPS]


def measure(programs: Programs, vmm: str, names: list[str], runs: int) -> dict:
    """Per program and period: CPU seconds, their ratio to profiling off, and the geometric means."""
    commands = {}
    for case in cases():
        if case.name in names:
            commands[case.name] = {
                period: vmm_command(vmm, programs.elf(case, "vmm", bench_spe_period=period),
                                    options=("--spe", "--spe-max-buffer-size", "8M")) for period in (0, *PERIODS)}
    times: dict[str, dict[int, list[float]]] = {name: {period: [] for period in (0, *PERIODS)} for name in commands}
    records: dict[str, dict[int, int]] = {name: {} for name in commands}
    results: dict[str, str] = {}
    for round_number in range(runs):
        for name, by_period in commands.items():
            for period, command in by_period.items():
                progress(f"spe: round {round_number + 1}/{runs}, {name}, period {period}")
                run = run_program(command)
                if results.setdefault(name, run.result) != run.result:
                    raise BenchError(f"{name}: profiling changed the result from {results[name]} to {run.result}")
                if (run.records > 0) != (period > 0):
                    raise BenchError(f"{name}: {run.records} records with period {period}")
                times[name][period].append(run.cpu)
                records[name][period] = run.records
    progress("")
    rows = []
    for name, by_period in times.items():
        row = {"name": name, "off": statistics.median(by_period[0]), "spread": spread(by_period[0]), "runs": by_period}
        for period in PERIODS:
            row[str(period)] = statistics.median(by_period[period])
            row[f"ratio_{period}"] = row[str(period)] / row["off"]
            row[f"ns_{period}"] = (row[str(period)] - row["off"]) / records[name][period] * 1e9
        rows.append(row)
    means = {str(period): geometric_mean([row[f"ratio_{period}"] for row in rows]) for period in PERIODS}
    return {"rows": rows, "means": means, "targets": {str(period): target for period, target in TARGETS.items()}}


def print_table(result: dict) -> None:
    print("Cost of SPE: CPU seconds of compiled C programs in vmm with profiling off and on (buffer 512 KiB, TS PA CX)")
    print(f"{'case':16}{'off':>8}{'spread':>8}" + "".join(f"{f'at {period}':>10}{'ratio':>8}{'ns/rec':>8}" for period in PERIODS))
    for row in result["rows"]:
        print(f"{row['name']:16}{row['off']:8.3f}{row['spread']:7.1%} " +
              "".join(f"{row[str(period)]:10.3f}{row[f'ratio_{period}']:8.3f}{row[f'ns_{period}']:8.0f}"
              for period in PERIODS))
    print(f"{'geometric mean':32}" + "".join(f"{'':10}{result['means'][str(period)]:8.3f}{'':8}" for period in PERIODS))
    print()
