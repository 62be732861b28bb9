#!/usr/bin/env python3
"""Recordings of Linux with every SPE version, decoded by two generations of perf and by a decoder of our own.

usage: decoders_test.py VMM SOURCE_DIR PERF NEWEST_PERF
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from aux_records import DECODER, aux_chunks
from guest import Guest, Verdict
from repeat_test import recordings

# Version and optional features: each version plain or with what it can have.
CASES = (("1.0", "lds=0"), ("1.1", "ernd=1,count-size=16"), ("1.2", "pbt=1,max-size=128,align=128"),
         ("1.3", "max-size=2048,align=16"), ("1.4", "ernd=1,pbt=1,eft=1,count-size=16,collisions=1"),
         ("1.4", "lds=1"))


def own_count(data: bytes) -> tuple[int, int]:
    """Records and undecodable bytes by scripts/spe_decode.py."""
    records = undecodable = 0
    for chunk in aux_chunks(data):
        result = subprocess.run([sys.executable, DECODER, "--json", "-"], input=chunk, capture_output=True, check=False)
        summary = json.loads(result.stdout)["summary"]
        records += summary["records"]
        undecodable += summary["undecodable_bytes"]
    return records, undecodable


def perf_count(perf: str, file: pathlib.Path) -> tuple[int, list[str], str]:
    """Records by `perf report -D`, its lines about what it does not know, and its complaints."""
    run = subprocess.run([perf, "report", "-i", file, "-D"], capture_output=True, text=True, errors="replace", check=False)
    packets = [line for line in run.stdout.splitlines() if re.match(r"\. +[0-9a-f]+: ", line)]
    unknown = [line for line in packets if re.search(r"bad packet|unknown|unk\b|reserved", line, re.IGNORECASE)]
    complaints = "" if run.returncode == 0 else f"status {run.returncode}: {run.stderr[-300:]}"
    return sum(1 for line in packets if " PC 0x" in line), unknown, complaints


def main() -> int:
    vmm, source, perfs = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:5]
    verdict = Verdict()
    names = [subprocess.run([perf, "--version"], capture_output=True, text=True, check=True).stdout.strip() for perf in perfs]
    verdict.expect(names[0] != names[1], f"two generations of perf: {names}")
    with tempfile.TemporaryDirectory() as folder:
        for version, features in CASES:
            case = f"{version} {features}"
            options = ["-c", "1", "-m", "512", "--clock", "insn", "--spe-version", version,
                       "--spe-features", features]
            files = recordings(Guest(vmm, source, "repeat-check", options, verdict=verdict), verdict)
            for name in ("task", "system"):
                data = files.get(name, b"")
                if not verdict.expect(len(data) > 0, f"{case} {name}: recorded"):
                    continue
                file = pathlib.Path(folder) / f"{name}.data"
                file.write_bytes(data)
                records, undecodable = own_count(data)
                verdict.expect(records > 200 and undecodable == 0, f"{case} {name}: {records} records, {undecodable} undecodable bytes")
                for perf, perf_name in zip(perfs, names):
                    count, unknown, complaints = perf_count(perf, file)
                    verdict.expect(count == records and not unknown and not complaints,
                                   f"{case} {name}: {perf_name} finds {count} records, unknown: {unknown[:3]} {complaints}")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
