#!/usr/bin/env python3
"""stress-ng verifies what the CPU computes and how memory behaves, on two vCPUs: each stressor passes.

usage: stress_test.py VMM SOURCE_DIR [--all]

Without --all: some of each kind. One instance of a stressor for each CPU, for one second of the guest's time.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from guest import Verdict, cache_dir

LIBRARIES = ("libapparmor1 libbsd0 libc6 libcrypt1 libegl1 libgbm1 libgles2 libjpeg62-turbo libjudydebian1 libkmod2 libsctp1 libxxhash0 "
             "zlib1g libmd0 libgcc-s1 libglvnd0 libdrm2 libexpat1 libwayland-server0 liblzma5 libssl3 libzstd1 libffi8 libstdc++6").split()
FEW = "atomic cpu fp hash memcpy tlb-shootdown vecmath vm".split()
MORE = ("crypt icache longjmp mmapfork opcode qsort sigfpe zlib branch bsearch cache context fp-error funccall funcret "
        "futex goto heapsort hsearch jpeg judy list lockbus lsearch malloc matrix matrix-3d mcontend membarrier memrate "
        "mergesort mremap nop prefetch priv-instr radixsort regs rseq shellsort signal sigsegv sigtrap skiplist "
        "sparsematrix stackmmap str stream switch tree tsearch vecfp vecshuf vecwide vm-segv wcs").split()
# Messages of level warning that are no complaint. The second: the host had no time for the vCPU.
HARMLESS = ("KASLR disabled due to lack of seed", "hrtimer: interrupt took")


def root_image(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    tree, image = folder / "tree", folder / "root.img"
    subprocess.run([source / "scripts/fetch_guest.sh", "--unpack", tree, "busybox-static", "stress-ng", *LIBRARIES], check=True)
    shutil.rmtree(tree / "usr/share/doc", ignore_errors=True)
    (tree / "tmp").mkdir(exist_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "300M"], check=True)
    return image


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("vmm")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()

    verdict = Verdict()
    cache = cache_dir(options.source)
    stressors = sorted(FEW + MORE) if options.all else FEW
    # glibc registers each thread for rseq, unless told not to; then the stressor of rseq cannot.
    commands = ("export GLIBC_TUNABLES=glibc.pthread.rseq=0; "
                f"for s in {' '.join(stressors)}; do timeout -k 5 120 stress-ng --$s 2 --timeout 1 --verify </dev/null 2>&1; "
                "status=$?; echo; echo \"@@ $s $status\"; done")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command = [options.vmm, "run", "-k", str(cache / "vmlinuz"), "--root", str(root_image(options.source, folder)),
                   "--modules", str(cache / "root"), "-c", "2", "-m", "1024", "--console-log", str(folder / "console.log"),
                   "--exec", commands, "--exec", "dmesg -r | sed -n 's/^<[0-4]>/@@warning /p'"]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    if not verdict.expect(run.returncode == 0, f"all are run: status {run.returncode}"):
        print(run.stdout[-2000:], run.stderr[-4000:])
    ended = {each[1]: (each[0], each[2]) for each in re.findall(r"(.*?)^@@ (\S+) (\d+)$", run.stdout, re.MULTILINE | re.DOTALL)}
    for stressor in stressors:
        text, status = ended.get(stressor, ("", "none"))
        passed = status == "0" and "successful run completed" in text and not re.search(r"stress-ng: (fail|error)|skipp", text)
        if not verdict.expect(passed, f"{stressor}: status {status}"):
            print(text[-2000:])
    warnings = [line for line in re.findall(r"^@@warning (.*)", run.stdout, re.MULTILINE) if not any(known in line for known in HARMLESS)]
    verdict.expect(not warnings, f"the kernel warns about nothing {warnings}")
    print(f"{len(stressors) - sum(text.split(':')[0] in stressors for text in verdict.failures)} of {len(stressors)} stressors passed")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
