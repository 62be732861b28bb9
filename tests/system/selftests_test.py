#!/usr/bin/env python3
"""The kernel's own selftests judge the emulated CPU: each passes, or is listed below with what keeps it from that.

usage: selftests_test.py VMM SOURCE_DIR [--all | --only TEXT]

With two vCPUs. Without --all: those of the CPU (arm64, breakpoints). The others measure time or need much of it: with
--clock=insn, so that a busy host is none of their business. --only: of all, those that have TEXT in their names. A program counts as passed if it says so by its exit
status, no result of it is "not ok", and it has not skipped everything.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

from guest import Verdict, cache_dir

SECONDS = 600  # of the guest's time for one program
CPU_GROUPS = ("arm64-", "breakpoints")
ARGUMENTS = {"arm64-fp/fp-stress": "-t 3"}

# What is expected other than to pass: the state, words that the program's output must have, and why.
NO_MTE = ("skipped", "SKIP: MTE features unavailable", "a Neoverse N1 has no FEAT_MTE")
NO_SME = ("skipped", "SKIP", "a Neoverse N1 has no FEAT_SME")
NO_SVE = ("skipped", "SKIP", "a Neoverse N1 has no FEAT_SVE")
KNOWN = {
    "arm64-abi/tpidr2": ("skipped", "SME support not present", NO_SME[2]),
    "arm64-bti/btitest": ("skipped", "HWCAP2_BTI not present", "a Neoverse N1 has no FEAT_BTI"),
    "arm64-bti/nobtitest": ("skipped", "HWCAP2_BTI not present", "a Neoverse N1 has no FEAT_BTI"),
    "arm64-fp/sve-probe-vls": ("skipped", "SVE not available", NO_SVE[2]),
    "arm64-fp/sve-ptrace": ("skipped", "SVE not available", NO_SVE[2]),
    "arm64-fp/vec-syscfg": ("skipped", "SVE not supported", NO_SVE[2]),
    "arm64-fp/za-fork": ("skipped", "SME support not present", NO_SME[2]),
    "arm64-fp/za-ptrace": ("skipped", "SME not available", NO_SME[2]),
    "arm64-mte/check_buffer_fill": NO_MTE,
    "arm64-mte/check_child_memory": NO_MTE,
    "arm64-mte/check_gcr_el1_cswitch": NO_MTE,
    "arm64-mte/check_hugetlb_options": NO_MTE,
    "arm64-mte/check_ksm_options": NO_MTE,
    "arm64-mte/check_mmap_options": NO_MTE,
    "arm64-mte/check_tags_inclusion": NO_MTE,
    "arm64-mte/check_user_mem": NO_MTE,
    "arm64-pauth/pac": ("skipped", "PAUTH not enabled", "a Neoverse N1 has no FEAT_PAuth"),
    **{f"arm64-signal/{name}": NO_SVE for name in ("fake_sigreturn_sve_change_vl", "sve_regs", "sve_vl")},
    **{f"arm64-signal/{name}": NO_SME for name in ("fake_sigreturn_sme_change_vl", "sme_trap_no_sm", "sme_trap_non_streaming",
                                                   "sme_vl", "ssve_regs", "ssve_za_regs", "za_no_regs", "za_regs")},
    "vm/split_huge_page_test": ("failed", "No THP is allocated", "fills four huge pages and wants to find one: Linux 6.1's test is wrong"),
    "vm/soft-dirty": ("skipped", "soft-dirty is not support", "Linux 6.1 has no CONFIG_MEM_SOFT_DIRTY for arm64"),
}

# Messages of level warning that are no complaint.
HARMLESS = ("KASLR disabled due to lack of seed", "__vm_enough_memory: pid")

IN_GUEST = f"""#!/bin/busybox sh
while read -r group program arguments <&3; do
    cd /selftests/$group
    echo "@@ begin $group/$program"
    timeout -k 5 {SECONDS} ./$program $arguments </dev/null 2>&1
    status=$?
    echo
    echo "@@ end $group/$program $status"
done 3</selftests/list
cd /
dmesg -r | sed -n 's/^<[0-4]>/@@ warning /p'
echo "@@ done"
"""


def judge(status: int, output: str) -> tuple[str, str]:
    """State and reason of a program that ended so."""
    wrong = [line for line in output.splitlines() if re.match(r"not ok\b", line) and not re.search(r"# *(SKIP|XFAIL|TODO)", line)]
    skips = [line for line in output.splitlines()
             if re.search(r"\bskip|not support|not present|not available", line, re.IGNORECASE) and "Totals:" not in line]
    totals = re.findall(r"^# Totals: pass:(\d+) fail:(\d+) xfail:\d+ xpass:\d+ skip:(\d+)", output, re.MULTILINE)
    if wrong:
        return "failed", f"{len(wrong)} results, the first: {wrong[0]}"
    if status == 4:
        return "skipped", skips[0] if skips else "status 4"
    if status != 0:
        return "failed", f"status {status}" + (", took too long" if status in (137, 143) else "")
    if totals and int(totals[-1][1]):
        return "failed", output.splitlines()[-1]
    if totals and int(totals[-1][0]) == 0 and int(totals[-1][2]):
        return "skipped", skips[0] if skips else "all results"
    return "passed", f"{totals[-1][0]} results" if totals else ""


def run(vmm: str, source: pathlib.Path, selftests: pathlib.Path, tests: list[str], verdict: Verdict, *machine: str) -> str:
    cache = cache_dir(source)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "script").write_text(IN_GUEST)
        lines = (" ".join((*test.split("/"), ARGUMENTS.get(test, ""))).strip() for test in tests)
        (folder / "list").write_text("".join(f"{line}\n" for line in lines))
        command = [vmm, "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", "2", *machine,
                   "--script", str(folder / "script"), "--copy-in", f"{folder / 'list'}:/selftests/list",
                   "--console-log", str(folder / "console.log")]
        for group in sorted({test.split("/")[0] for test in tests}):
            command += ["--copy-in", f"{selftests / group}:/selftests/{group}"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        output = result.stdout.decode(errors="replace")
        if not verdict.expect(result.returncode == 0 and "@@ done" in output, f"all are run: status {result.returncode}"):
            print(output[-2000:], result.stderr.decode(errors="replace")[-4000:])
    return output


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("vmm")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--show", action="store_true", help="print the programs' output")
    options = parser.parse_args()

    fetched = subprocess.run([options.source / "scripts/fetch_selftests.sh"], check=True, stdout=subprocess.PIPE, text=True)
    selftests = pathlib.Path(fetched.stdout.strip())
    tests = [line for line in (selftests / "tests").read_text().split()
             if (options.only in line if options.only else options.all or line.startswith(CPU_GROUPS))]
    verdict = Verdict()
    of_cpu = [test for test in tests if test.startswith(CPU_GROUPS)]
    others = [test for test in tests if test not in of_cpu]
    output = ""
    if of_cpu:
        output += run(options.vmm, options.source, selftests, of_cpu, verdict, "-m", "512")
    if others:
        output += run(options.vmm, options.source, selftests, others, verdict, "-m", "4096", "--clock", "insn")
    if options.show:
        print(output)
    ended = {name: (int(status), text) for name, text, status in
             re.findall(r"^@@ begin (\S+)\n(.*?)^@@ end \1 (\d+)$", output, re.MULTILINE | re.DOTALL)}
    counts = collections.Counter()
    for test in tests:
        status, text = ended.get(test, (-1, ""))
        state, reason = judge(status, text)
        counts[state] += 1
        wanted, words, why = KNOWN.get(test, ("passed", "", ""))
        told = f"{test}: {state}" + (f" ({reason})" if reason else "") + (f": {why}" if why else "")
        if not verdict.expect(state == wanted and words in text, told if state == wanted else f"{told}; wanted: {wanted}"):
            print("\n".join("    " + line for line in text.splitlines()[-30:]))
    warnings = [line for line in re.findall(r"^@@ warning (.*)", output, re.MULTILINE) if not any(text in line for text in HARMLESS)]
    verdict.expect(not warnings, f"the kernel warns about nothing {warnings}")
    if options.all:
        verdict.expect(set(KNOWN) <= set(tests), f"what is listed exists {set(KNOWN) - set(tests)}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
