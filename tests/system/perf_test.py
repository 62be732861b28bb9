#!/usr/bin/env python3
"""perf's own tests of SPE, and of the events that go with it, pass in the guest.

usage: perf_test.py VMM SOURCE_DIR

With --clock=insn: the tests give perf one second to start, which a busy host may not. The unit is one of large records and a
long least interval: perf's buffer of 4 MiB holds fewer of them. That saves most of the time perf takes to report them, and
the test of forks wants to see the buffer fill within a second, at one record in 65536 operations.
"""
import pathlib
import subprocess
import sys
import tempfile

from guest import Guest, Verdict, cache_dir

WORDS = "SPE+trace SPE+doesn PERF_RECORD_"  # parts of the tests' names


def main() -> int:
    vmm, source = sys.argv[1], pathlib.Path(sys.argv[2])
    verdict = Verdict()
    subprocess.run([source / "scripts/fetch_guest.sh", "--perf-test"], check=True)
    cache = cache_dir(source)
    with tempfile.NamedTemporaryFile() as initrd:
        for part in ("initramfs.cpio", "perf-test.cpio"):
            initrd.write((cache / part).read_bytes())
        initrd.flush()
        guest = Guest(vmm, source, f"perf-test {WORDS}", ["-c", "2", "-m", "1024", "--clock", "insn",
                       "--spe-features", "interval=4096,max-size=512,align=512"], verdict=verdict,
                      initrd=pathlib.Path(initrd.name), timeout=560)
    results = guest.all("result")
    verdict.expect(guest.all("chosen") == ["3"] and len(results) == 3, f"three tests are found: {guest.all('chosen')}")
    for result in results:
        verdict.expect(result.startswith("Ok "), result)
    if verdict.failures:
        print(guest.console[-6000:])
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
