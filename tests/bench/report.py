"""The table of scripts/bench: figures with their targets."""
from measure import geometric_mean

TITLES = {
    "linux": "System work in Linux", "system": "Exceptions, masks, counter, MMIO, TLB, ASIDs, changing code (bare metal)",
    "fp": "Floating-point and Advanced SIMD programs, compiled C", "fp-kernel": "Floating-point and Advanced SIMD loops",
    "integer": "Integer programs, compiled C", "kernel": "Loops over integers, memory, branches, atomics",
    "compute": "Computing in Linux", "boot": "Linux boot to init, 1 CPU", "smp": "Linux with 4 CPUs",
}
# Largest ratio of the group's geometric mean, or of each case.
TARGETS = {"linux": 0.67, "system": 0.3, "fp": 0.6, "boot": 1.3, "integer": 1.4, "compute": 2.0}
EACH = {"compute"}
TARGET_ALL = 0.9
TARGET_THROUGHPUT = 1.8


def verdict(value: float, target: float, at_most: bool = True) -> str:
    return "met" if (value <= target if at_most else value >= target) else "MISSED"


def summary(report: dict) -> list[dict]:
    """The figures: name, value, target (None: none) and verdict."""
    figures = []
    rows = report.get("rows", [])
    for group, title in TITLES.items():
        ratios = {row["name"]: row["ratio"] for row in rows if row["group"] == group}
        target = TARGETS.get(group)
        each = ratios.items() if group in EACH else [("geometric mean", geometric_mean(list(ratios.values())))] if ratios else []
        for name, value in each:
            figures.append({"name": f"{title}: {name}", "value": value, "target": target and f"<= {target}",
                            "verdict": verdict(value, target) if target else ""})
    if rows and report["complete"]:
        value = geometric_mean([row["ratio"] for row in rows])
        figures.append({"name": f"All {len(rows)} cases: geometric mean", "value": value, "target": f"<= {TARGET_ALL}",
                        "verdict": verdict(value, TARGET_ALL)})
    if "throughput" in report:
        for key, title in (("cpu", "by CPU time"), ("elapsed", "by elapsed time")):
            value = report["throughput"]["vmm"][key]
            figures.append({"name": f"2 CPUs busy, throughput against 1, {title}", "value": value,
                            "target": f">= {TARGET_THROUGHPUT}", "verdict": verdict(value, TARGET_THROUGHPUT, False)})
    for period, value in report.get("spe", {}).get("means", {}).items():
        target = report["spe"]["targets"].get(period)
        figures.append({"name": f"SPE on at period {period}, against off: geometric mean", "value": value,
                        "target": target and f"<= {target}", "verdict": verdict(value, target) if target else ""})
    return figures


def print_rows(rows: list[dict]) -> None:
    print("CPU seconds (medians), ratio vmm / QEMU, and half the distance of the extremes of each")
    for group in dict.fromkeys(row["group"] for row in rows):
        print(f"{group}: {TITLES[group]}")
        for row in (row for row in rows if row["group"] == group):
            print(f"  {row['name']:24}{row['vmm']:9.3f}{row['qemu']:9.3f}{row['ratio']:8.2f}"
                  f"    +-{row['vmm_spread']:5.1%}{row['qemu_spread']:7.1%}")
    print()


def print_summary(figures: list[dict]) -> None:
    for figure in figures:
        print(f"{figure['name']:84}{figure['value']:7.3f}  {figure['target'] or '':9}{figure['verdict']}")
