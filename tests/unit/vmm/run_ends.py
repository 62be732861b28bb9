#!/usr/bin/env python3
"""Every way a run can end has its status, and the console works with and without a terminal.

usage: run_ends.py VMM
"""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

import tiny_elf as t

VMM = os.path.abspath(sys.argv.pop(1))

HALT = [t.WFI, 0x17FFFFFF]  # wfi; b .-4
ECHO = [0x39401422, 0x3607FFE2, 0x39400022, t.PUT_W2, 0x17FFFFFC]  # wait for LSR.DR, read, write, again
POWER_OFF = [*t.PSCI_SYSTEM_OFF, t.HVC, t.FOREVER]


class Ends(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def command(self, words, *options):
        path = os.path.join(self.folder.name, "guest.elf")
        with open(path, "wb") as file:
            file.write(t.elf(words))
        return [VMM, "run", "-k", path, "-m", "64", "-c", "1", *options]

    def run_guest(self, words, *options, data=b""):
        return subprocess.run(self.command(words, *options), input=data, capture_output=True, timeout=60, check=False)

    def start(self, words, *options):
        """A guest that has printed '>' and runs on."""
        process = subprocess.Popen(self.command([t.X1_IS_UART, *t.put_char(">"), *words], *options),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        for stream in (process.stdin, process.stdout, process.stderr):
            self.addCleanup(stream.close)
        self.assertEqual(process.stdout.read(1), b">")
        return process

    def test_power_off_is_success_and_quiet(self):
        result = self.run_guest([t.X1_IS_UART, *t.put_char("A"), *POWER_OFF])
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"A", b""))

    def test_several_cpus_and_both_clocks_power_off(self):
        for options in (["-c", "4"], ["--clock", "insn"], ["--clock", "insn", "-c", "3"], ["-c", "64"],
                        ["--pmu", "--spe"], ["--console", "virtio"], ["--rng"]):
            with self.subTest(options=options):
                result = self.run_guest(POWER_OFF, *options)
                self.assertEqual((result.returncode, result.stdout), (0, b""), result.stderr)

    def test_last_cpu_off_is_a_guest_error(self):
        result = self.run_guest([*t.PSCI_CPU_OFF, t.HVC, t.FOREVER])
        self.assertEqual(result.returncode, 4)
        self.assertIn(b"switched off all its CPUs", result.stderr)

    def test_timeout_shows_where_the_guest_is(self):
        for words in ([t.FOREVER], HALT):
            for clock in ("host", "insn"):
                with self.subTest(words=words, clock=clock):
                    result = self.run_guest(words, "--timeout", "1", "--clock", clock)
                    self.assertEqual(result.returncode, 124)
                    self.assertTrue(result.stderr.startswith(b"vmm: --timeout: the guest still ran after 1 s\n"))
                    self.assertRegex(result.stderr, rb"pc 000000008000000[04]")

    def test_a_disk_is_locked_for_the_life_of_its_guest(self):
        disk = os.path.join(self.folder.name, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        first = self.start(HALT, "-d", disk)
        for options in (["-d", disk], ["-d", disk + ",ro"]):
            result = self.run_guest(POWER_OFF, *options)
            self.assertEqual((result.returncode, result.stdout), (3, b""))
            self.assertRegex(result.stderr.decode(), rf"\Avmm: --disk: disk {disk}: another process .* open for writing.*\n\Z")
        first.send_signal(signal.SIGKILL)
        first.wait()
        readers = [self.start(HALT, "-d", disk + suffix) for suffix in (",ro", ",cow", ",ro")]
        result = self.run_guest(POWER_OFF, "-d", disk)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"',ro' or ',cow' would work\n", result.stderr)
        for reader in readers:
            reader.send_signal(signal.SIGKILL)
            reader.wait()
        result = self.run_guest(POWER_OFF, "-d", disk)
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_reset_starts_the_same_guest_again(self):
        # Prints a character of memory, changes it there and resets: every life begins with memory as loaded.
        words = [t.X1_IS_UART,
                 0x10000204,  # adr x4, .+64: zeros
                 0x39400082, 0x11000445, 0x39000085,  # ldrb w2, [x4]; add w5, w2, #1; strb w5, [x4]
                 0x1100BCA2, t.PUT_W2,  # add w2, w5, #'0'-1
                 *t.PSCI_SYSTEM_RESET, t.HVC, t.FOREVER]
        result = self.run_guest(words, "--timeout", "2")
        self.assertEqual(result.returncode, 124)
        self.assertGreater(len(result.stdout), 3)
        self.assertEqual(set(result.stdout), {ord("0")})

    def test_result_says_how_a_run_without_commands_ended(self):
        path = os.path.join(self.folder.name, "result.json")
        junit = os.path.join(self.folder.name, "junit.xml")
        for words, options, status, kind in ((POWER_OFF, [], 0, "ok"), ([t.FOREVER], ["--timeout", "1"], 124, "timeout"),
                                             ([*t.PSCI_CPU_OFF, t.HVC, t.FOREVER], [], 4, "guest-ended"),
                                             (POWER_OFF, ["-d", "missing.img"], 3, "host-error")):
            with self.subTest(kind=kind):
                self.assertEqual(self.run_guest(words, *options, "--result", path, "--junit", junit).returncode, status)
                with open(path, encoding="utf-8") as file:
                    end = json.load(file)["end"]
                self.assertEqual((end["kind"], end["status"]), (kind, status))
                with open(junit, encoding="utf-8") as file:
                    self.assertIn(f'tests="1" failures="0" errors="{int(status != 0)}"', file.read())

    def test_signals_end_a_run(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number):
                process = self.start([t.FOREVER])
                process.send_signal(number)
                self.assertEqual(process.wait(timeout=30), 128 + number)
                self.assertIn(f"ended by signal {number}".encode(), process.stderr.read())

    def test_sigquit_shows_the_state_and_the_guest_goes_on(self):
        process = self.start(ECHO)
        process.send_signal(signal.SIGQUIT)
        self.assertIn(b"# vCPU 0 (on)", process.stderr.readline())
        process.stdin.write(b"y")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(1), b"y")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 143)

    def test_console_without_a_terminal(self):
        process = self.start(ECHO)
        process.stdin.write(b"hello\n\x01\x01")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(7), b"hello\n\x01")
        process.stdin.write(b"\x01x")
        process.stdin.flush()
        self.assertEqual(process.wait(timeout=30), 0)

    def test_end_of_input_and_closed_output_are_not_fatal(self):
        process = self.start(ECHO)
        process.stdin.write(b"ab")
        process.stdin.close()
        self.assertEqual(process.stdout.read(2), b"ab")
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 143)

        process = self.start([*t.put_char("x"), 0x17FFFFFE])  # prints for ever
        process.stdout.close()
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 143)

    def test_a_reader_that_does_not_read_keeps_nobody_from_ending_the_run(self):
        prints_for_ever = [*t.put_char("x"), 0x17FFFFFE]
        process = self.start(prints_for_ever)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 143)
        # The same when the guest has printed more than a pipe holds and powers off.
        words = [0x52A00103,  # movz w3, #8, lsl #16
                 t.put_char("x")[0], t.PUT_W2, 0x71000463, 0x54FFFFC1,  # put; subs w3, w3, #1; b.ne put
                 *POWER_OFF]
        process = self.start(words)
        time.sleep(2)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertIn(process.wait(timeout=30), (0, 143))

    def terminal(self, words, *options):
        """A guest on a pseudo terminal of its own; returns its process and the terminal's two ends."""
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)
        process = subprocess.Popen(self.command(words, *options), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
                                   start_new_session=True, preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        return process, ours, theirs, before

    def read_until(self, fd, wanted):
        got = b""
        deadline = time.monotonic() + 30
        while wanted not in got:
            self.assertTrue(select.select([fd], [], [], deadline - time.monotonic())[0], f"only {got!r}")
            got += os.read(fd, 1000)
        return got

    def test_console_on_a_terminal(self):
        ready = [t.X1_IS_UART, *t.put_char(">"), *ECHO]
        for end, status in ((b"\x01x", 0), (None, 143)):
            with self.subTest(end=end):
                process, ours, theirs, before = self.terminal(ready)
                self.read_until(ours, b">")
                self.assertFalse(termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG))
                os.write(ours, b"\x03k")  # Ctrl-C is the guest's
                self.assertEqual(self.read_until(ours, b"k"), b"\x03k")
                if end is None:
                    process.send_signal(signal.SIGTERM)
                else:
                    os.write(ours, end)
                self.assertEqual(process.wait(timeout=30), status)
                self.assertEqual(termios.tcgetattr(theirs), before)

    def test_terminal_is_restored_after_power_off_and_timeout(self):
        for words, options, status in ((POWER_OFF, [], 0), ([t.FOREVER], ["--timeout", "1"], 124)):
            with self.subTest(status=status):
                process, _, theirs, before = self.terminal(words, *options)
                self.assertEqual(process.wait(timeout=30), status)
                self.assertEqual(termios.tcgetattr(theirs), before)

    def test_insn_clock_repeats_to_the_digit(self):
        words = [t.X1_IS_UART]
        for _ in range(40):
            words += [t.READ_COUNTER_X3, *t.W2_IS_X3_PRINTABLE, t.PUT_W2]
        first, second = (self.run_guest([*words, *POWER_OFF], "--clock", "insn") for _ in range(2))
        self.assertEqual(first.returncode, 0)
        self.assertEqual(first.stdout, second.stdout)
        # One operation is one nanosecond, and the counter counts nanoseconds: four operations from one to the next.
        values = [byte - 0x20 for byte in first.stdout]
        self.assertEqual(len(values), 40)
        self.assertEqual({(b - a) % 64 for a, b in zip(values, values[1:])}, {4})

    def test_dump_dtb_writes_the_tree_that_the_guest_gets(self):
        path = os.path.join(self.folder.name, "machine.dtb")
        result = self.run_guest(POWER_OFF, "--dump-dtb", path, "--spe", "-p", "some parameters")
        self.assertEqual(result.returncode, 0)
        with open(path, "rb") as file:
            tree = file.read()
        self.assertTrue(tree.startswith(b"\xd0\x0d\xfe\xed"))
        self.assertIn(b"console=ttyS0 some parameters\0", tree)
        self.assertIn(b"arm,statistical-profiling-extension-v1\0", tree)

    def test_help_and_version(self):
        for arguments in ([], ["help"], ["--help"], ["run", "--help"]):
            result = subprocess.run([VMM, *arguments], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("124", result.stdout)
        result = subprocess.run([VMM, "version"], capture_output=True, text=True, timeout=60, check=False)
        self.assertTrue(re.fullmatch(r"vmm \d+\.\d+\.\d+\n", result.stdout))


if __name__ == "__main__":
    unittest.main()
