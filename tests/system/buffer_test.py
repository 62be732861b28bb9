#!/usr/bin/env python3
"""Profiling buffers of 256 MiB in Linux: the largest that --spe-max-buffer-size=256M allows, with filters and without.

usage: buffer_test.py VMM SOURCE_DIR
"""
import pathlib
import sys

from guest import Guest, Verdict


def main() -> int:
    verdict = Verdict()
    guest = Guest(sys.argv[1], pathlib.Path(sys.argv[2]), "buffer-check",
                  ["-c", "1", "-m", "900", "--spe-max-buffer-size=256M"], verdict=verdict)
    print(*guest.facts, sep="\n")
    facts = {tuple(fact.split()[:2]): fact.split()[2:] for fact in guest.facts if len(fact.split()) > 2}
    for name in ("filtered", "plain", "slow"):
        verdict.expect(facts.get((name, "status")) == ["0"], f"{name}: perf record and perf report work")
        verdict.expect(facts.get((name, "undecodable")) == ["0"], f"{name}: perf decodes everything")
        verdict.expect(facts.get((name, "flagged")) == ["0"], f"{name}: nothing is lost or truncated")
        records = int(facts.get((name, "records"), ["0"])[0])
        if name != "filtered":  # no operation of `true` need be that slow
            verdict.expect(records > 5, f"{name}: there are records: {records}")
        verdict.expect(facts.get((name, "fast")) == ["0"], f"{name}: no operation is faster than the filter allows")
    for name in ("filtered", "slow"):
        events = facts.get((name, "events"), ["?", ""])
        verdict.expect(events[0] == events[1], f"{name}: all records have the events")
    verdict.expect(not guest.all("warning"), f"the driver warns about nothing: {guest.all('warning')}")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
