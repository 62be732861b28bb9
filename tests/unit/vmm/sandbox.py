#!/usr/bin/env python3
"""What /proc says of a running machine: every thread is in the sandbox, and nothing inherited is left open.

usage: sandbox.py VMM [SANITIZERS]

SANITIZERS are those that VMM was built with, if any: then it has no sandbox, and says so.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import tiny_elf as t

VMM = os.path.abspath(sys.argv.pop(1))
SANITIZED = len(sys.argv) > 1 and sys.argv.pop(1) != ""


class Sandbox(unittest.TestCase):
    def start(self, *options, pass_fds=(), stderr=None):
        """A guest of two CPUs that has printed '>' and runs on."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "guest.elf"
        path.write_bytes(t.elf([t.X1_IS_UART, *t.put_char(">"), t.FOREVER]))
        process = subprocess.Popen([VMM, "run", "-k", path, "-m", "64", "-c", "2", *options], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=stderr, pass_fds=pass_fds)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.read(1), b">")
        return pathlib.Path(f"/proc/{process.pid}")

    def threads(self, process):
        """Of each thread: name, no new privileges, seccomp mode, number of filters."""
        found = []
        for task in (process / "task").iterdir():
            status = (task / "status").read_text()
            found.append((re.search(r"Name:\t(.*)", status)[1],
                          *(int(re.search(rf"{key}:\t(\d+)", status)[1]) for key in ("NoNewPrivs", "Seccomp", "Seccomp_filters"))))
        return found

    def test_every_thread_is_inside_and_vcpus_have_a_second_filter(self):
        outside_mode, outside = (int(re.search(rf"{key}:\t(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
                                 for key in ("Seccomp", "Seccomp_filters"))
        for options in ([], ["--rng", "--balloon"], ["--pmu", "--spe"], ["--clock", "insn"]):
            with self.subTest(options=options):
                process, wanted = self.start(*options), 1 if "insn" in options else 2
                if SANITIZED:
                    self.assertEqual({(mode, filters - outside) for *_, mode, filters in self.threads(process)}, {(outside_mode, 0)})
                    continue
                until = time.monotonic() + 10  # the other CPU's thread may still be on its way
                while True:
                    threads = self.threads(process)
                    if sum(name.startswith("vcpu") and filters - outside == 2 for name, *_, filters in threads) == wanted:
                        break
                    self.assertLess(time.monotonic(), until, threads)
                for name, privileges, mode, filters in threads:
                    self.assertEqual((privileges, mode, filters - outside), (1, 2, 2 if name.startswith("vcpu") else 1), name)

    def test_which_fences_are_up_is_said(self):
        with tempfile.TemporaryFile() as said:
            self.start("--loglevel", "info", stderr=said)
            said.seek(0)
            self.assertIn(b"sandbox: none in a build with sanitizers" if SANITIZED else b"sandbox: no new privileges, seccomp, ",
                          said.read())

    def test_off_means_off(self):
        outside = int(re.search(r"NoNewPrivs:\t(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
        for _, privileges, mode, _ in self.threads(self.start("--sandbox", "off")):
            self.assertEqual(privileges, outside)
            self.assertEqual(mode, int(re.search(r"Seccomp:\t(\d+)", pathlib.Path("/proc/self/status").read_text())[1]))

    def test_inherited_descriptors_are_closed(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        pipe = os.readlink(f"/proc/self/fd/{writer}")
        for options, left in (([], 0), (["--sandbox", "off"], 1)):
            process = self.start(*options, pass_fds=(writer,))
            self.assertEqual([os.readlink(fd) for fd in (process / "fd").iterdir()].count(pipe), left)

    def test_runs_without_privileges(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            guest, program = folder / "guest.elf", folder / "vmm"
            guest.write_bytes(t.elf([t.X1_IS_UART, *t.put_char(">"), *t.PSCI_SYSTEM_OFF, t.HVC]))
            shutil.copy(VMM, program)  # it may lie where only root may look
            nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
            run = subprocess.run([program, "run", "-k", guest, "-m", "64", "-c", "2", "--spe", "--pmu"],
                                 stdin=subprocess.DEVNULL, capture_output=True, cwd="/", env={"PATH": "/nowhere"}, check=False, **nobody)
            self.assertEqual((run.returncode, run.stdout), (0, b">"), run.stderr)


if __name__ == "__main__":
    unittest.main()
