#!/usr/bin/env python3
"""With --clock=insn, two runs of the same perf record make the same AUX data, to the byte.

usage: repeat_test.py VMM SOURCE_DIR CPUS
"""
import base64
import gzip
import hashlib
import pathlib
import re
import sys

from aux_records import aux_chunks
from guest import Guest, Verdict

RECORD = 64  # bytes


def recordings(guest: Guest, verdict: Verdict) -> dict[str, bytes]:
    """The files that scripts/guest/repeat-check printed."""
    files = {}
    for name, size, text in re.findall(r"^repeat-check: file (\w+) (\d+)\n(.*?)^repeat-check: end$", guest.console,
                                       re.MULTILINE | re.DOTALL):
        # The kernel may say something in between.
        lines = [line for line in text.splitlines() if re.fullmatch(r"[A-Za-z0-9+/]+=*", line)]
        files[name] = gzip.decompress(base64.b64decode("".join(lines)))
        verdict.expect(len(files[name]) == int(size), f"{name}: {size} bytes arrive")
    return files


def main() -> int:
    vmm, source, cpus = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    verdict = Verdict()
    runs = [recordings(Guest(vmm, source, "repeat-check", ["-c", cpus, "-m", "512", "--clock", "insn"], verdict=verdict), verdict)
            for _ in range(2)]
    for name in ("task", "system"):
        first, second = (b"".join(aux_chunks(run[name])) if name in run else b"" for run in runs)
        print(f"{name}: {len(first)} and {len(second)} bytes of AUX data, SHA-256 {hashlib.sha256(first).hexdigest()[:16]} "
              f"and {hashlib.sha256(second).hexdigest()[:16]}; whole files equal: {runs[0].get(name) == runs[1].get(name)}")
        verdict.expect(len(first) > 200 * RECORD and first == second, f"{name}: the AUX data repeats")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
