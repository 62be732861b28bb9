#!/usr/bin/env python3
"""Boots Debian's kernel, lets its own perf record with SPE, and judges what perf and an independent decoder make of it.

usage: linux_test.py VMM SOURCE_DIR CPUS
"""
import pathlib
import re
import subprocess
import sys
import tempfile

SLOT = 16 << 20  # bytes of the disk per recording; scripts/guest/profile-check

# Messages of level warning that are no complaint: the first follows from the default seed of 0, which keeps KPTI off.
HARMLESS = ("KASLR disabled due to lack of seed",)


def main() -> int:
    vmm, source, cpus = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    cache = pathlib.Path(subprocess.run([source / "scripts/fetch_guest.sh", "--print-dir"], check=True,
                                        capture_output=True, text=True).stdout.strip())
    failures = []

    def expect(condition: bool, text: str) -> None:
        print(("ok   " if condition else "FAIL ") + text)
        if not condition:
            failures.append(text)

    with tempfile.TemporaryDirectory() as folder:
        disk = pathlib.Path(folder) / "disk.img"
        with disk.open("wb") as file:
            file.truncate(4 * SLOT)
        command = [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", str(cpus),
                   "-m", "1024", "--pmu", "--spe", "--spe-max-buffer-size=256M", "-d", str(disk), "--rng",
                   "-p", "vmm.script=profile-check", "--timeout", "280"]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        console = run.stdout.decode(errors="replace").replace("\r", "")
        expect(run.returncode == 0, f"the guest powers itself off: status {run.returncode}")
        facts: dict[str, str] = {}
        warnings = []
        for line in console.splitlines():
            match = re.match(r"profile-check: warning (.*)", line)
            if match:
                if not match[1].endswith(HARMLESS):
                    warnings.append(match[1])
                continue
            match = re.match(r"profile-check: (\S+ ?\S*) (\S.*)$|profile-check: (done)$", line)
            if match:
                facts[match[1] or match[3]] = match[2] or ""
        if "done" not in facts:
            print(console[-4000:], run.stderr.decode(errors="replace")[-2000:])
        expect("done" in facts, "the guest's script runs to its end")
        expect(facts.get("cpus") == str(cpus), f"the guest sees {cpus} CPUs")
        expect(not warnings, f"the kernel warns about nothing: {warnings}")
        for text in ("Oops", "BUG:", "WARNING:", "unexpected", "Unexpected", "stall", "lockup", "Call trace"):
            expect(text not in console, f"no '{text}' on the console")

        for slot, name in enumerate(("task", "system")):
            number = {key.split(" ", 1)[1]: int(value) for key, value in facts.items() if key.startswith(name + " ") and value.isdigit()}
            print(name, number)
            expect(number.get("records", 0) > 300, f"{name}: perf decodes records")
            expect(number.get("undecodable", 1) == 0, f"{name}: perf finds nothing undecodable")
            expect(number.get("lost", 1) == 0 and number.get("flagged", 1) == 0, f"{name}: nothing lost or truncated")
            expect(number.get("user", 0) > 0 and number.get("kernel", 0) > 0, f"{name}: samples of both EL0 and EL1")
            expect(number.get("user_symbols", 0) > 3, f"{name}: user symbols")
            expect(number.get("kernel_symbols", 0) > 3, f"{name}: kernel symbols")
            data = pathlib.Path(folder) / f"{name}.data"
            with disk.open("rb") as file:
                file.seek(slot * SLOT)
                data.write_bytes(file.read(number.get("size", 0)))
            decoded = subprocess.run([source / "tests/system/aux_records.py", data], capture_output=True, text=True, check=False)
            print(decoded.stdout.strip(), decoded.stderr.strip())
            match = re.search(r"(\d+) records, (\d+) undecodable bytes", decoded.stdout)
            expect(decoded.returncode == 0 and match is not None and int(match[2]) == 0,
                   f"{name}: the independent decoder finds nothing undecodable")
            expect(match is not None and int(match[1]) == number.get("records"), f"{name}: both decoders count the same records")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
