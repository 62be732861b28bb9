#!/usr/bin/env python3
"""Commands in a guest with Debian's kernel (vmm run --exec): what they get, what comes back, and each way it can end.

usage: exec_test.py VMM SOURCE_DIR
"""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import jsonschema

from guest import Verdict, cache_dir

LONG = 240  # seconds that nothing here takes
LOAD_FROM_NOWHERE = [0xD2800200, 0xF9400000]  # movz x0, #16; ldr x0, [x0]
FOREVER = [0x14000000]                        # b .
KINDS = {0: "ok", 223: "host-error", 224: "guest-ended", 226: "panic", 227: "oops", 228: "stall", 229: "reset", 230: "boot-timeout",
         231: "timeout", 232: "idle-timeout", 233: "stopped"}


class Runner:
    """Runs vmm with the guest that scripts/fetch_guest.sh fetches."""

    def __init__(self, vmm: str, source: pathlib.Path, folder: pathlib.Path, verdict: Verdict) -> None:
        self.vmm, self.cache, self.folder, self.verdict = vmm, cache_dir(source), folder, verdict
        self.schema = json.loads((source / "vmm/result.schema.json").read_text())
        self.result: dict = {}
        version = (self.cache / "kernel-version").read_text().strip()
        self.modules = self.cache / "root/lib/modules" / version

    def command(self, *options: str, initrd: bool = True) -> list[str]:
        files = ["-i", str(self.cache / "initramfs.cpio")] if initrd else []
        return [self.vmm, "run", "-k", str(self.cache / "vmlinuz"), *files, "-c", "1", "-m", "512",
                "--boot-timeout", str(LONG), "--result", str(self.folder / "result.json"), "--junit", str(self.folder / "junit.xml"),
                *options]

    def check_result(self, what: str, status: int) -> None:
        """The result of the last run keeps to its schema, and JUnit's says the same."""
        self.result = json.loads((self.folder / "result.json").read_text())
        errors = [error.message for error in jsonschema.Draft7Validator(self.schema).iter_errors(self.result)]
        self.verdict.expect(not errors, f"{what}: the result keeps to its schema {errors[:2]}")
        end = self.result["end"]
        self.verdict.expect(end["status"] == status and end["kind"] == KINDS.get(status, "command-failed"),
                            f"{what}: its result is {end['kind']} with status {end['status']}")
        suite = xml.etree.ElementTree.parse(self.folder / "junit.xml").getroot().find("testsuite")
        cases = suite.findall("testcase")
        counted = [len([case for case in cases if case.find(kind) is not None]) for kind in ("failure", "error", "skipped")]
        told = [int(suite.get(kind)) for kind in ("failures", "errors", "skipped")]
        bad = 0 if status == 0 else 1
        self.verdict.expect(counted == told and len(cases) == int(suite.get("tests")) and counted[0] + counted[1] == bad,
                            f"{what}: JUnit has {len(cases)} cases, {counted} of them failed, in error and skipped")
        (self.folder / "result.json").unlink()
        (self.folder / "junit.xml").unlink()

    def run(self, what: str, status: int, *options: str, initrd: bool = True) -> subprocess.CompletedProcess:
        result = subprocess.run(self.command(*options, initrd=initrd), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=LONG + 60, check=False)
        if not self.verdict.expect(result.returncode == status, f"{what}: status {result.returncode}, wanted {status}"):
            print(result.stdout[-2000:], result.stderr[-4000:])
        self.check_result(what, status)
        return result

    def bad_end(self, what: str, status: int, reason: str, *options: str, dump: bool = True) -> None:
        """A run that ends by a mishap: the status, the reason on its first line, the console's end and every CPU's state."""
        result = self.run(what, status, *options)
        lines = [line for line in result.stderr.splitlines() if line.startswith("vmm: ")] or [""]
        self.verdict.expect(reason in lines[0], f"{what}: \"{lines[0]}\"")
        if dump:
            shown = "the last lines of the guest's console" in result.stderr and "\n| [" in result.stderr
            self.verdict.expect(shown and "# vCPU 0" in result.stderr and "backtrace: " in result.stderr,
                                f"{what}: shows console, registers and backtrace")


def patched_module(original: bytes, words: list[int]) -> bytes:
    """A kernel module whose init function does `words`, after the instructions that Linux may want to patch itself."""
    image = bytearray(original.removesuffix(b"~Module signature appended~\n"))  # without it, it counts as not signed
    offset, = struct.unpack_from("<Q", image, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, offset + n * size) for n in range(count)]
    symbols = next(section for section in sections if section[1] == 2)
    strings = sections[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        if image[strings + name:].startswith(b"init_module\0"):
            break
    else:
        raise ValueError("no init_module")
    first = value + 16
    struct.pack_into(f"<{len(words)}I", image, sections[section][4] + first, *words)
    for rela in (each for each in sections if each[1] == 4 and each[7] == section):
        for at in range(rela[4], rela[4] + rela[5], 24):
            where, info = struct.unpack_from("<QQ", image, at)
            if first <= where < first + 4 * len(words):
                struct.pack_into("<Q", image, at + 8, info & ~0xFFFFFFFF)  # R_AARCH64_NONE
    return bytes(image)


def profile_in_one_line(guest: Runner) -> None:
    data = guest.folder / "perf.data"
    result = guest.run("perf record and report", 0, "--spe", "--modules", str(guest.modules),
                       "--exec", "perf record -q -e arm_spe_0// -c 4096 -o /tmp/perf.data -- /guest/workload",
                       "--exec", "perf report -q -i /tmp/perf.data --itrace=i1i --stdio --sort symbol",
                       "--copy-out", f"/tmp/perf.data:{data}")
    guest.verdict.expect("chase_pointers" in result.stdout, "the report names the workload's functions")
    guest.verdict.expect(result.stderr == "", f"nothing on standard error: {result.stderr[:200]}")
    totals, artifact = guest.result["statistics"]["totals"], guest.result["artifacts"][0]
    guest.verdict.expect(totals["spe"]["records"] > 100 and totals["operations"] > 10**8, "the result has what was counted")
    guest.verdict.expect((artifact["files"], artifact["bytes"]) == (1, data.stat().st_size), "and what was copied")
    guest.verdict.expect(data.is_file() and data.read_bytes()[:8] == b"PERFILE2", "perf.data is on the host")


def commands(guest: Runner) -> None:
    source, back, log = guest.folder / "in", guest.folder / "back", guest.folder / "console.log"
    (source / "sub").mkdir(parents=True)
    blob = os.urandom(300_000)
    (source / "sub/blob").write_bytes(blob)
    (source / "link").symlink_to("sub/blob")
    script = guest.folder / "script"
    script.write_text("#!/bin/busybox sh\necho script in $PWD says $WORD; echo aside >&2; mkdir /out; cp -a /data/in/. /out\n"
                      "chmod 750 /out/sub/blob; ps; exit 7\n")
    result = guest.run("a failing script", 7, "--exec", "echo first; exec 1>&-; printf err >&2", "--exec", "test -e /merged/sub/blob",
                       "--script", str(script), "--env", "WORD=hello there", "--cwd", "/data",
                       "--copy-in", f"{source}:/data/", "--copy-in", f"{source}/.:/merged", "--copy-out", f"/out/:{back}",
                       "--console-log", str(log))
    guest.verdict.expect(result.stdout.startswith("first\nscript in /data says hello there\n"), f"standard output: {result.stdout[:99]!r}")
    guest.verdict.expect(result.stderr == f'erraside\nvmm: script "{script}" ended with status 7\n', f"standard error: {result.stderr!r}")
    states = [(each["state"], each["status"]) for each in guest.result["commands"]]
    guest.verdict.expect(states == [("ended", 0), ("ended", 0), ("ended", 7)], f"the commands' results: {states}")
    guest.verdict.expect(guest.result["commands"][0]["stderr"] == {"bytes": 3, "tail": "err"}, "with their output")
    guest.verdict.expect((back / "sub/blob").is_file() and (back / "sub/blob").read_bytes() == blob, "a file comes back whole")
    guest.verdict.expect((back / "sub/blob").stat().st_mode & 0o777 == 0o750, "with its permissions")
    guest.verdict.expect(os.path.islink(back / "link") and os.readlink(back / "link") == "sub/blob", "and a link as a link")
    text = log.read_text(errors="replace")
    guest.verdict.expect("Linux version" in text and "script in" not in text, "the kernel's log is apart")


def root_folder(guest: Runner) -> None:
    root = guest.folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes((guest.cache / "root/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    before = sorted(root.rglob("*"))
    result = guest.run("a folder as the root", 0, "--root", str(root), "--clock", "insn",
                       "--exec", "ls -d /bin/busybox && echo new >/bin/new && rm /bin/busybox", initrd=False)
    guest.verdict.expect(result.stdout == "/bin/busybox\n", f"it is what the folder has: {result.stdout!r}")
    guest.verdict.expect(sorted(root.rglob("*")) == before, "the folder stays as it was")
    operations = []
    for _ in range(2):
        guest.run("a run with --clock=insn", 0, "--root", str(root), "--clock", "insn", "--name", "same", "--no-control",
                  "--exec", "true",
                  initrd=False)
        operations.append(guest.result["statistics"]["totals"]["operations"])
    guest.verdict.expect(operations[0] == operations[1], f"repeats to the operation: {operations}")


def root_image(guest: Runner) -> None:
    """A disk image as the root, raw and qcow2; what is missing is told in one line."""
    tree, raw, packed = guest.folder / "tree", guest.folder / "root.img", guest.folder / "root.qcow2"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/busybox").write_bytes((guest.cache / "root/bin/busybox").read_bytes())
    (tree / "bin/busybox").chmod(0o755)
    (tree / "mark").write_text("in the image\n")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, raw, "64M"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, packed], check=True)
    source, back = guest.folder / "root-in", guest.folder / "root-back"
    (source / "sub").mkdir(parents=True)
    blob = os.urandom(200_000)
    (source / "sub/blob").write_bytes(blob)
    (source / "sub/blob").chmod(0o640)
    (source / "link").symlink_to("sub/blob")
    modules = ("--modules", str(guest.modules))
    for image in (raw, packed):
        before = hashlib.sha256(image.read_bytes()).digest()
        result = guest.run(f"{image.name} as the root", 0, "--root", str(image), *modules, "--copy-in", f"{source}:/new/place",
                           "--exec", "cat /mark; rm /mark; grep -c ' / ext4 ' /proc/mounts; test -c /dev/null && test -d /proc/self",
                           "--exec", "test ! -e /mark; sha256sum <new/place/link", "--copy-out", f"/new/place:{back}", initrd=False)
        wanted = f"in the image\n1\n{hashlib.sha256(blob).hexdigest()}  -\n"
        guest.verdict.expect(result.stdout == wanted and result.stderr == "", f"commands run in it: {result.stdout!r} {result.stderr!r}")
        guest.verdict.expect((back / "sub/blob").read_bytes() == blob and (back / "sub/blob").stat().st_mode & 0o777 == 0o640
                             and os.readlink(back / "link") == "sub/blob", "copies go in and come out")
        guest.verdict.expect(hashlib.sha256(image.read_bytes()).digest() == before, "the image stays as it was")
        shutil.rmtree(back)
    for what, told, *options in (
            ("no driver for disks", "virtio_blk (see --modules)\n", "--root", str(raw)),
            ("no such file system", "lacks its module (see --modules): nofs\n", "--root", f"{raw},fstype=nofs", *modules),
            ("another file system", "cannot mount the image as xfs: Invalid argument\n", "--root", f"{raw},fstype=xfs", *modules)):
        result = guest.run(what, 224, *options, "--exec", "true", initrd=False)
        first = result.stderr.splitlines(keepends=True)[0]
        guest.verdict.expect(first.startswith("vmm: in the guest: --root: ") and first.endswith(told), f"{what}: {first!r}")


def standard_input(guest: Runner) -> None:
    """Commands share vmm's standard input; whether or not it ever ends, the run does."""
    blob = os.urandom(1 << 20)
    line = b"the first line\n"
    wanted = f"the first line\n{hashlib.sha256(blob).hexdigest()}  -\n0\n"
    commands = ("--exec", "true", "--exec", "read line; echo $line", "--exec", "sha256sum", "--exec", "wc -c")
    file = guest.folder / "input"
    file.write_bytes(line + blob)
    for what, data in (("a pipe", {"input": line + blob}), ("a file", {"stdin": file.open("rb")})):
        result = subprocess.run(guest.command(*commands), capture_output=True, timeout=LONG, check=False, **data)
        guest.verdict.expect((result.returncode, result.stdout.decode()) == (0, wanted), f"input from {what}: {result.stdout[-300:]!r}")
    result = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *guest.command("--exec", "wc -c; test -c /proc/self/fd/0")],
                            capture_output=True, timeout=LONG, check=False)
    guest.verdict.expect((result.returncode, result.stdout) == (0, b"0\n"), f"closed input is empty: {result.stdout!r} {result.stderr!r}")
    reads, writes = os.pipe()
    endless = (("a pipe without an end", reads, "echo on"), ("zeros without an end", os.open("/dev/zero", os.O_RDONLY), "echo on"),
               ("zeros of which some are read", os.open("/dev/zero", os.O_RDONLY), "dd bs=1M count=1 iflag=fullblock | wc -c"))
    for what, source, command in endless:
        result = subprocess.run(guest.command("--exec", command), stdin=source, capture_output=True, timeout=LONG, check=False)
        output = b"1048576\n" if "wc" in command else b"on\n"
        guest.verdict.expect((result.returncode, result.stdout) == (0, output), f"{what}: {result.stdout!r} {result.stderr!r}")
        os.close(source)
    os.close(writes)


def kernel_mishaps(guest: Runner) -> None:
    original = (guest.modules / "kernel/lib/ts_kmp.ko").read_bytes()
    for name, words in (("oops", LOAD_FROM_NOWHERE), ("hang", FOREVER)):
        (guest.folder / f"{name}.ko").write_bytes(patched_module(original, words))
    load = ["--copy-in", f"{guest.folder}/oops.ko:/", "--exec", "insmod /oops.ko; echo survived"]
    guest.bad_end("an oops", 227, "Unable to handle kernel NULL pointer dereference", *load)
    result = guest.run("an oops, commands finished", 227, *load, "--on-oops", "finish")
    guest.verdict.expect(result.stdout == "survived\n", f"the command ended: {result.stdout!r}")
    guest.run("an oops, ignored", 0, *load, "--on-oops", "ignore")
    guest.bad_end("a soft lockup", 228, "soft lockup", "--copy-in", f"{guest.folder}/hang.ko:/",
                  "--exec", "echo 1 >/proc/sys/kernel/watchdog_thresh; insmod /hang.ko")
    guest.bad_end("a panic", 226, "Kernel panic - not syncing: sysrq triggered crash", "--exec", "echo c >/proc/sysrq-trigger")
    guest.bad_end("a panic that resets at once", 226, "Kernel panic", "-p", "panic=-1", "--exec", "echo c >/proc/sysrq-trigger")


def other_ends(guest: Runner) -> None:
    guest.bad_end("a reset", 229, "reset itself before all commands had ended", "--exec", "reboot -f")
    guest.bad_end("a power-off", 224, "powered itself off before all commands had ended", "--exec", "poweroff -f")
    # With the slowest engine: with the fastest a second may do.
    guest.bad_end("a boot that takes too long", 230, "--boot-timeout", "--boot-timeout", "1", "--engine", "reference", "--exec", "true")
    guest.bad_end("a command that takes too long", 231, "--timeout", "--timeout", "12",
                  "--exec", "while :; do echo on; sleep 1; done")
    guest.bad_end("a command that prints nothing", 232, "--idle-timeout", "--idle-timeout", "6", "--exec", "sleep 1000")
    result = guest.run("a copy of what is not there", 223, "--exec", "true", "--copy-out", f"/nothing:{guest.folder}/nothing")
    guest.verdict.expect("--copy-out \"/nothing:" in result.stderr, "and says which")
    with subprocess.Popen(guest.command("--exec", "echo up; sleep 1000"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        process.stdout.read(3)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        guest.verdict.expect(process.wait(60) == 233, f"SIGTERM: status {process.returncode}, wanted 233")
    guest.check_result("SIGTERM", 233)


def main() -> int:
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as folder:
        guest = Runner(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(folder), verdict)
        for part in (profile_in_one_line, commands, root_folder, root_image, standard_input, kernel_mishaps, other_ends):
            part(guest)
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
