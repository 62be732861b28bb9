#!/usr/bin/env python3
"""What Debian's kernel makes of SPE on some CPUs, of another interrupt, of eager faults, and of a buffer that is not its own.

usage: options_test.py VMM SOURCE_DIR
"""
import pathlib
import sys

from guest import Guest, Verdict

# The default KASLR seed of 0 keeps KPTI off, which the kernel remarks on.
HARMLESS = "KASLR disabled due to lack of seed"


def some_cpus(vmm: str, source: pathlib.Path, verdict: Verdict) -> None:
    guest = Guest(vmm, source, "spe-config record",
                  ["-c", "4", "-m", "1024", "--cpu", "max", "--spe-cpus", "0-1,3", "--spe-ppi", "20", "--spe-faults", "eager"],
                  verdict=verdict)
    print(*guest.facts, sep="\n")
    verdict.expect(guest.all("cpumask") == ["0-1,3"], "the driver's cpumask is 0-1,3")
    verdict.expect(any("probed for CPUs 0-1,3 " in text for text in guest.all("driver")), "and so it says")
    warnings = [text for text in guest.all("warning") + guest.all("last") if not text.endswith(HARMLESS)]
    verdict.expect(not warnings, f"the kernel warns about nothing: {warnings}")
    verdict.expect(guest.all("recorded") == ["0"] and guest.all("undecodable") == ["0"], "perf records and decodes")
    verdict.expect([text.split() for text in guest.all("sampled")] == [["0", "1", "3"]], "samples of CPUs 0, 1 and 3, not 2")
    # "30: COUNT COUNT COUNT COUNT GICv3-20 0 Level arm_spe_pmu", or "GICv3 20 Level" where the kernel says it so
    lines = [text.split() for text in guest.all("interrupts")]
    verdict.expect(len(lines) == 1 and any(word in ("GICv3-20", "20") for word in lines[0][5:7]), "the interrupt is INTID 20")
    counts = [int(word) for word in lines[0][1:5]] if lines else []
    verdict.expect(len(counts) == 4 and counts[2] == 0 and counts[1] > 0 and counts[3] > 0,
                   f"and comes on CPUs that have SPE, not on CPU 2: {counts}")


def higher_owner(vmm: str, source: pathlib.Path, verdict: Verdict) -> None:
    guest = Guest(vmm, source, "spe-config", ["-c", "1", "-m", "512", "--spe-owner=higher"], verdict=verdict)
    print(*guest.facts, sep="\n")
    verdict.expect(guest.all("driver") == ["profiling buffer owned by higher exception level"], "the driver gives up, and says why")
    verdict.expect("No such file" in "".join(guest.all("cpumask")), "there is no SPE device")


def main() -> int:
    vmm, source = sys.argv[1], pathlib.Path(sys.argv[2])
    verdict = Verdict()
    some_cpus(vmm, source, verdict)
    higher_owner(vmm, source, verdict)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
