#!/usr/bin/env python3
"""The control socket: every command does what it says, and no client can harm the guest or another client.

usage: control.py VMM
"""
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

import tiny_elf as t

VMM = os.path.abspath(sys.argv.pop(1))

USAGE, HOST = 2, 3
MAX_REQUEST = 4096
POWER_OFF = [*t.PSCI_SYSTEM_OFF, t.HVC, t.FOREVER]
READ_W2 = [0x39401422, 0x3607FFE2, 0x39400022]  # ldrb w2, [x1, #5]; tbz w2, #0, .-4; ldrb w2, [x1]
ECHO = [*READ_W2, t.PUT_W2, 0x17FFFFFC]  # and again
PRINT_FOR_EVER = [*t.put_char("x"), 0x17FFFFFE]


def msr_x0(crm: int, op2: int) -> int:
    """msr S3_0_C9_Cn_m, x0"""
    return 0xD5180000 | 9 << 12 | crm << 8 | op2 << 5


# PMBPTR 0x8080_0000, PMBLIMITR 1 MiB further and E, PMSIRR one sample in 65536, PMSCR E0SPE and E1SPE: from here on the
# guest profiles. Then it prints '!' and spins.
PROFILE = [0xD2B01000, msr_x0(10, 1),              # movz x0, #0x8080, lsl #16
           0xD2B01200, 0xF2800020, msr_x0(10, 0),  # movz x0, #0x8090, lsl #16; movk x0, #1
           0xD2A00020, msr_x0(9, 3),               # movz x0, #1, lsl #16
           0xD2800060, msr_x0(9, 0),               # movz x0, #3
           *t.put_char("!"), t.FOREVER]


class ControlTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.sockets = os.path.join(self.folder, "vmm")
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": self.folder}

    def command(self, words, *options):
        path = os.path.join(self.folder, "guest.elf")
        with open(path, "wb") as file:
            file.write(t.elf(words))
        return [VMM, "run", "-k", path, "-m", "64", "-c", "1", *options]

    def run_guest(self, words, *options, data=b"", environment=None):
        return subprocess.run(self.command(words, *options), input=data, capture_output=True, timeout=60, check=False,
                              env=environment or self.environment)

    def start(self, words, *options):
        """A guest that has printed '>' and runs on."""
        process = subprocess.Popen(self.command([t.X1_IS_UART, *t.put_char(">"), *words], *options),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment)
        for stream in (process.stdin, process.stdout, process.stderr):
            self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.read(1), b">")
        return process

    def vmm(self, *arguments, status=0):
        result = subprocess.run([VMM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                                check=False, env=self.environment)
        self.assertEqual(result.returncode, status, (arguments, result.stdout, result.stderr))
        if status == 0:
            self.assertEqual(result.stderr, "")
        else:
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        return result.stdout if status == 0 else result.stderr

    def stat(self, name):
        return json.loads(self.vmm("stat", name, "--json"))

    def operations(self, name):
        return self.stat(name)["totals"]["operations"]

    def until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def socket_path(self, name):
        return os.path.join(self.sockets, name + ".sock")

    def connect(self, name):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(20)
        client.connect(self.socket_path(name))
        return client

    def answer(self, client):
        line = b""
        while not line.endswith(b"\n"):
            piece = client.recv(65536)
            self.assertNotEqual(piece, b"", "the connection ended")
            line += piece
        return json.loads(line)


class Commands(ControlTest):
    def test_list(self):
        self.assertEqual(json.loads(self.vmm("list", "--json")), [])
        process = self.start([t.FOREVER], "--name", "one")
        other = self.start([t.FOREVER])
        time.sleep(1.1)
        guests = {guest["name"]: guest for guest in json.loads(self.vmm("list", "--json"))}
        self.assertEqual(set(guests), {"one", f"guest-{other.pid}"})
        self.assertEqual((guests["one"]["pid"], guests["one"]["state"]), (process.pid, "running"))
        self.assertGreater(guests["one"]["uptime_seconds"], 1)
        lines = self.vmm("list").splitlines()
        self.assertEqual(lines[0].split(), ["PID", "NAME", "STATE", "UPTIME"])
        self.assertRegex("\n".join(lines[1:]), rf"(?m)^ *{process.pid} one +running +0:00:\d\d$")
        self.assertEqual(len(lines), 3)
        # A process that is stopped as a whole does not stop the list.
        process.send_signal(signal.SIGSTOP)
        states = {guest["name"]: guest["state"] for guest in json.loads(self.vmm("list", "--json"))}
        self.assertEqual(states, {"one": "unresponsive", f"guest-{other.pid}": "running"})

    def test_stat(self):
        self.start([t.FOREVER], "--name", "one", "-c", "3", "--spe", "--spe-pin", "populate")
        facts = self.stat("one")
        self.assertEqual((facts["name"], facts["state"], len(facts["cpus"])), ("one", "running", 3))
        self.assertEqual([cpu["power"] for cpu in facts["cpus"]], ["on", "off", "off"])
        self.assertEqual([cpu["spe"]["state"] for cpu in facts["cpus"]], ["running"] * 3)
        for key in ("pinned_bytes", "peak_bytes"):
            self.assertEqual(facts["memory"]["pins"][key], 0)
        self.assertEqual(facts["memory"]["bytes"], 64 << 20)
        self.assertGreater(facts["process"]["resident_bytes"], 1 << 20)
        self.until(lambda: self.operations("one") > facts["totals"]["operations"])
        # The text form says the same.
        lines = dict(line.split(" ", 1) for line in self.vmm("stat", "one").splitlines())
        self.assertEqual(lines["cpus.2.spe.pins.hits"], "0")
        self.assertEqual(lines["memory.pins.backend"], "populate")
        self.assertGreater(int(lines["totals.operations"]), facts["totals"]["operations"])

    def test_pause_and_resume(self):
        for clock in ("host", "insn"):
            with self.subTest(clock=clock):
                process = self.start(ECHO, "--name", "one", "--clock", clock)
                self.assertEqual(self.vmm("pause", "one"), "Guest one paused\n")
                facts = self.stat("one")
                self.assertEqual((facts["state"], facts["reason"]), ("paused", "requested"))
                process.stdin.write(b"k")
                process.stdin.flush()
                time.sleep(0.3)
                self.assertEqual(self.operations("one"), facts["totals"]["operations"])
                self.assertEqual(self.vmm("pause", "-n", "one"), "Guest one is already paused.\n")
                self.assertEqual(self.vmm("resume", "one"), "Guest one resumed\n")
                self.assertEqual(process.stdout.read(1), b"k")  # typed meanwhile
                self.assertEqual(self.vmm("resume", "--name", "one"), "Guest one is still running.\n")
                self.assertEqual(self.stat("one")["state"], "running")
                self.assertEqual(self.vmm("stop", "one"), "Guest one stopped\n")
                self.assertEqual(process.wait(timeout=30), 0)

    def test_a_paused_guest_still_ends(self):
        for end, status in ((lambda process: self.vmm("stop", "one"), 0),
                            (lambda process: process.send_signal(signal.SIGTERM), 143),
                            (lambda process: (process.stdin.write(b"\x01x"), process.stdin.flush()), 0)):
            process = self.start([t.FOREVER], "--name", "one")
            self.vmm("pause", "one")
            process.send_signal(signal.SIGQUIT)
            self.assertIn(b"# vCPU 0 (on)", process.stderr.readline())
            self.assertEqual(self.stat("one")["state"], "paused")
            end(process)
            self.assertEqual(process.wait(timeout=30), status)
            self.assertEqual(os.listdir(self.sockets), [])
        self.assertEqual(self.run_guest([t.FOREVER], "--timeout", "1").returncode, 124)

    def test_all(self):
        self.assertEqual(self.vmm("stop", "--all"), "")
        guests = [self.start([t.FOREVER], "--name", name) for name in ("a", "b")]
        self.assertEqual(self.vmm("pause", "--all"), "Guest a paused\nGuest b paused\n")
        self.assertEqual(self.vmm("resume", "-a"), "Guest a resumed\nGuest b resumed\n")
        self.assertEqual(self.vmm("stop", "-a"), "Guest a stopped\nGuest b stopped\n")
        self.assertEqual([guest.wait(timeout=30) for guest in guests], [0, 0])

    def test_stop_waits_for_the_end_but_not_for_a_reader(self):
        process = self.start(PRINT_FOR_EVER, "--name", "one")
        time.sleep(1)
        self.assertEqual(self.vmm("stop", "one"), "Guest one stopped\n")
        self.assertFalse(os.path.exists(self.socket_path("one")))
        self.assertEqual(process.wait(timeout=10), 0)
        # A guest that has ended but whose output nobody reads is stopped as well.
        words = [0x52A00103, t.put_char("x")[0], t.PUT_W2, 0x71000463, 0x54FFFFC1, *POWER_OFF]  # prints 512 KiB
        process = self.start(words, "--name", "one")
        self.until(lambda: json.loads(self.vmm("list", "--json"))[0]["state"] == "ending")
        self.assertIn("has ended", self.vmm("pause", "one", status=HOST))
        self.vmm("stop", "one")
        self.assertEqual(process.wait(timeout=10), 0)

    def test_a_pause_loses_no_output(self):
        # Far more than a pipe and the buffers before it hold; nobody reads while the guest is paused.
        count = 2 << 20
        words = [0x52A00403,  # movz w3, #0x20, lsl #16
                 *t.put_char("x"), 0x71000463, 0x54FFFFA1, *POWER_OFF]  # mov; strb; subs w3, w3, #1; b.ne mov
        process = self.start(words, "--name", "one")
        time.sleep(1)
        self.vmm("pause", "one")
        self.vmm("debug", "one")
        self.vmm("resume", "one")
        self.assertEqual(len(process.stdout.read()), count)
        self.assertEqual(process.wait(timeout=30), 0)

    def test_debug(self):
        self.start([t.FOREVER], "--name", "one", "-c", "2")
        for _ in range(2):
            text = self.vmm("debug", "one")
            self.assertRegex(text, r"# vCPU 0 \(on\), \d+ operations executed\n  pc 000000008000000c")
            self.assertIn("# vCPU 1 (off)", text)
            self.assertEqual(text.count("backtrace:"), 2)
            self.vmm("pause", "one")  # the second time it is paused, and stays so
        self.assertEqual(self.stat("one")["state"], "paused")

    def test_unknown_names(self):
        self.assertIn('stat "x": no guest of that name runs (none does)', self.vmm("stat", "x", status=HOST))
        self.start([t.FOREVER], "--name", "a")
        self.start([t.FOREVER], "--name", "b")
        for command in (["stat"], ["stop"], ["pause"], ["resume"], ["debug"], ["spe", "stop"], ["spe", "resume"]):
            self.assertIn('"x": no guest of that name runs (running: a, b)', self.vmm(*command, "x", status=HOST))
            self.vmm(*command, status=USAGE)
        self.assertIn("--mode", self.vmm("spe", "stop", "a", "--mode", "x", status=USAGE))
        self.assertIn("has no SPE", self.vmm("spe", "stop", "a", status=HOST))


class Spe(ControlTest):
    def samples(self, name):
        return self.stat(name)["totals"]["spe"]["samples"]

    def state(self, name):
        facts = self.stat(name)
        return facts["state"], facts.get("reason"), facts["cpus"][0]["spe"]["state"]

    def go(self, process):
        process.stdin.write(b"g")
        process.stdin.flush()

    def test_trap(self):
        process = self.start([*READ_W2, *PROFILE], "--name", "one", "--spe", "--spe-pin", "populate")
        self.vmm("spe", "stop", "one")
        self.go(process)
        self.assertEqual(process.stdout.read(1), b"!")
        self.assertEqual(self.state("one"), ("running", None, "stopped-trap"))
        before = self.operations("one")
        self.until(lambda: self.operations("one") > before + 300_000)
        facts = self.stat("one")
        self.assertEqual(facts["totals"]["spe"]["samples"], 0)
        self.assertEqual(facts["totals"]["spe"]["population"], 0)
        self.assertEqual(facts["memory"]["pins"]["peak_bytes"], 0)
        self.vmm("spe", "resume", "one")
        self.until(lambda: self.stat("one")["totals"]["spe"]["records"] > 3)
        facts = self.stat("one")
        self.assertEqual(facts["memory"]["pins"]["pinned_bytes"], 1 << 20)
        self.assertEqual(facts["totals"]["spe"]["bytes"] % 64, 0)
        # And back.
        self.vmm("spe", "stop", "one", "--mode", "trap")
        stopped = self.samples("one")
        before = self.operations("one")
        self.until(lambda: self.operations("one") > before + 300_000)
        self.assertEqual(self.samples("one"), stopped)
        self.assertEqual(self.stat("one")["memory"]["pins"]["pinned_bytes"], 0)

    def test_exit(self):
        for clock in ("host", "insn"):
            with self.subTest(clock=clock):
                process = self.start([*READ_W2, *PROFILE], "--name", "one", "--spe", "--clock", clock)
                self.vmm("spe", "stop", "one", "--mode", "exit")
                self.assertEqual(self.state("one"), ("running", None, "stopped-exit"))
                self.go(process)
                self.until(lambda: self.state("one") == ("paused", "spe-exit", "stopped-exit"))
                self.assertIn(b"vCPU 0 would profile", process.stderr.readline())
                operations = self.operations("one")
                self.assertIn("would profile", self.vmm("resume", "one", status=HOST))
                self.vmm("spe", "stop", "one", "--mode", "exit")
                self.assertEqual(self.state("one"), ("paused", "spe-exit", "stopped-exit"))
                self.assertEqual(self.operations("one"), operations)
                # The last request wins: as trap, the guest runs.
                self.vmm("spe", "stop", "one", "--mode", "trap")
                self.assertEqual(process.stdout.read(1), b"!")
                self.assertEqual(self.state("one"), ("running", None, "stopped-trap"))
                self.assertEqual(self.samples("one"), 0)
                self.vmm("spe", "stop", "one", "--mode", "exit")
                self.assertEqual(self.state("one"), ("paused", "spe-exit", "stopped-exit"))
                self.vmm("spe", "resume", "one")
                self.until(lambda: self.samples("one") > 0)
                self.assertEqual(self.state("one"), ("running", None, "running"))
                self.vmm("stop", "one")
                self.assertEqual(process.wait(timeout=30), 0)

    def test_a_pause_outlives_spe_resume(self):
        process = self.start([*READ_W2, *PROFILE], "--name", "one", "--spe")
        self.vmm("spe", "stop", "one", "--mode", "exit")
        self.go(process)
        self.until(lambda: self.state("one")[1] == "spe-exit")
        self.vmm("pause", "one")
        self.vmm("spe", "resume", "one")
        self.assertEqual(self.state("one"), ("paused", "requested", "running"))
        self.vmm("resume", "one")
        self.assertEqual(process.stdout.read(1), b"!")


class Sockets(ControlTest):
    def test_the_socket_is_the_users_alone_and_goes_with_the_guest(self):
        ends = {"power off": ([*READ_W2, *POWER_OFF], [], 0), "all CPUs off": ([*READ_W2, *t.PSCI_CPU_OFF, t.HVC], [], 4),
                "timeout": ([t.FOREVER], ["--timeout", "2"], 124), "signal": ([t.FOREVER], [], 143),
                "quit": ([t.FOREVER], [], 0)}
        for end, (words, options, status) in ends.items():
            with self.subTest(end=end):
                process = self.start(words, "--name", "one", *options)
                self.assertEqual(stat.S_IMODE(os.stat(self.sockets).st_mode), 0o700)
                self.assertEqual(stat.S_IMODE(os.stat(self.socket_path("one")).st_mode), 0o600)
                if end == "signal":
                    process.send_signal(signal.SIGTERM)
                else:
                    process.stdin.write(b"\x01x" if end == "quit" else b"g")
                    process.stdin.flush()
                self.assertEqual(process.wait(timeout=30), status)
                self.assertEqual(os.listdir(self.sockets), [])
        # A run that does not come to be leaves none either.
        self.assertEqual(self.run_guest([t.FOREVER], "--dump-dtb", "no/such/folder/x").returncode, HOST)
        self.assertEqual(os.listdir(self.sockets), [])

    def test_a_name_is_taken_only_while_its_guest_is_alive(self):
        first = self.start([t.FOREVER], "--name", "one")
        refused = self.run_guest(POWER_OFF, "--name", "one")
        self.assertEqual(refused.returncode, HOST)
        self.assertEqual(refused.stderr, b'vmm: --name "one": a guest of that name is running\n')
        self.assertEqual(self.stat("one")["pid"], first.pid)
        first.kill()
        first.wait()
        self.assertTrue(os.path.exists(self.socket_path("one")))
        result = self.run_guest(POWER_OFF, "--name", "one")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(os.listdir(self.sockets), [])

    def test_leftovers_are_removed_by_whoever_lists(self):
        for name in ("one", "two"):
            process = self.start([t.FOREVER], "--name", name)
            process.kill()
            process.wait()
        self.start([t.FOREVER], "--name", "three")
        with open(os.path.join(self.sockets, "file.sock"), "wb"):
            pass
        self.assertEqual([guest["name"] for guest in json.loads(self.vmm("list", "--json"))], ["three"])
        self.assertEqual(sorted(os.listdir(self.sockets)), ["file.sock", "three.sock"])

    def test_many_guests_of_one_name_leave_one(self):
        processes = [subprocess.Popen(self.command([t.FOREVER], "--name", "one"), stdin=subprocess.PIPE,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment)
                     for _ in range(6)]
        for process in processes:
            self.addCleanup(process.stderr.close)
            self.addCleanup(process.stdin.close)
            self.addCleanup(process.kill)
        self.until(lambda: sum(process.poll() is not None for process in processes) == 5)
        self.assertEqual(sorted(process.poll() for process in processes if process.poll() is not None), [HOST] * 5)
        self.vmm("stop", "one")
        self.assertEqual(sorted(process.wait(timeout=30) for process in processes), [0] + [HOST] * 5)

    def test_no_place_for_the_default_socket_is_a_warning(self):
        public = os.path.join(self.folder, "public")
        os.makedirs(os.path.join(public, "vmm"), mode=0o755)
        os.chmod(os.path.join(public, "vmm"), 0o755)
        linked = os.path.join(self.folder, "linked")
        os.mkdir(linked)
        os.symlink(self.folder, os.path.join(linked, "vmm"))
        for runtime in ("/nonexistent", "/proc", public, linked):
            with self.subTest(runtime=runtime):
                result = self.run_guest(POWER_OFF, environment={"XDG_RUNTIME_DIR": runtime})
                self.assertEqual(result.returncode, 0)
                self.assertRegex(result.stderr, rb"^vmm: warning: vmm: no control socket: .*\n$")
        result = self.run_guest(POWER_OFF, "--no-control", environment={"XDG_RUNTIME_DIR": "/nonexistent"})
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_without_xdg_runtime_dir(self):
        self.environment = {key: value for key, value in os.environ.items() if key not in ("XDG_RUNTIME_DIR", "HOME")}
        name = f"control-test-{os.getpid()}"
        self.start([t.FOREVER], "--name", name)
        path = f"/tmp/vmm-{os.geteuid()}/{name}.sock"
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
        self.assertEqual(self.stat(name)["name"], name)
        self.vmm("stop", name)
        self.assertFalse(os.path.exists(path))

    def test_explicit_socket(self):
        deep = os.path.join(self.folder, *["deep" * 10] * 3)
        os.makedirs(deep)
        for path in (os.path.join(self.folder, "my.sock"), os.path.join(deep, "my.sock")):
            with self.subTest(path=path):
                process = self.start([t.FOREVER], "--control", path)
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
                self.assertEqual(self.vmm("list").count("\n"), 1)
                refused = self.run_guest(POWER_OFF, "--control", path)
                self.assertEqual(refused.returncode, HOST)
                self.assertEqual(self.vmm("pause", "--control", path), f"Guest {path} paused\n")
                self.vmm("stop", "--control", path)
                self.assertEqual(process.wait(timeout=30), 0)
                self.assertFalse(os.path.exists(path))
        file = os.path.join(self.folder, "file")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write("precious")
        for path in (file, self.folder, "/nonexistent/x.sock", os.path.join(self.folder, "n" * 300)):
            result = self.run_guest(POWER_OFF, "--control", path)
            self.assertEqual(result.returncode, HOST)
            self.assertEqual(len(result.stderr.splitlines()), 1)
            self.assertIn(f'--control "{path}"'.encode(), result.stderr)
            self.vmm("stat", "--control", path, status=HOST)
        with open(file, encoding="utf-8") as stream:
            self.assertEqual(stream.read(), "precious")

    def test_a_reset_keeps_the_socket(self):
        self.start([*t.put_char("r"), *t.PSCI_SYSTEM_RESET, t.HVC, t.FOREVER], "--name", "one")
        for _ in range(5):
            self.assertEqual(self.stat("one")["state"], "running")
            self.vmm("pause", "one")
            self.vmm("resume", "one")


class Protocol(ControlTest):
    def setUp(self):
        super().setUp()
        self.process = self.start(ECHO, "--name", "one")

    def assert_alive(self):
        """Others are served, and the guest runs, at once."""
        start = time.monotonic()
        self.assertEqual(self.stat("one")["state"], "running")
        self.process.stdin.write(b"k")
        self.process.stdin.flush()
        self.assertEqual(self.process.stdout.read(1), b"k")
        self.assertLess(time.monotonic() - start, 5)

    def test_requests_in_one_connection(self):
        client = self.connect("one")
        client.sendall(b'{"command":"info"}\n{"command":"pause"}\n{"command":"nonsense"}\n{"command":"resume"}\n')
        replies = []
        for line in client.makefile("rb"):
            replies.append(json.loads(line))
            if len(replies) == 4:
                break
        self.assertEqual([reply["ok"] for reply in replies], [True, True, False, True])
        self.assertEqual((replies[0]["protocol"], replies[0]["pid"]), (1, self.process.pid))
        self.assertIn("spe-resume", replies[2]["error"])
        # Byte by byte, and with the client's half closed before the answer.
        for byte in b'{"command":"info"}\n':
            client.send(bytes([byte]))
        self.assertTrue(self.answer(client)["ok"])
        client.sendall(b'{"command":"debug"}\n')
        client.shutdown(socket.SHUT_WR)
        self.assertIn("vCPU 0", self.answer(client)["text"])
        self.assertEqual(client.recv(1), b"")
        self.assert_alive()

    def test_garbage(self):
        client = self.connect("one")
        for line in (b"", b"\0\xff\xfe", b"hello", b"[" * 4000, b'{"a":' * 800, b'{"command":7}', b'"stop"',
                     b'{"command":"stop","now":1}', b'{"command":"\xed\xa0\x80"}', b"1e999999", b"-" * 100):
            client.sendall(line + b"\n")
            reply = self.answer(client)
            self.assertIs(reply["ok"], False, line)
            self.assertTrue(reply["error"])
        self.assert_alive()
        # What is longer than a request may be ends the connection, with a word about it.
        for length in (MAX_REQUEST, 1 << 20):
            client = self.connect("one")
            try:
                client.sendall(b"x" * length)
            except BrokenPipeError:
                pass
            self.assertIn(str(MAX_REQUEST), self.answer(client)["error"])
            try:
                self.assertEqual(client.recv(1), b"")
            except ConnectionResetError:
                pass
        longest = b'{"command":"info"}'
        client = self.connect("one")
        client.sendall(longest.ljust(MAX_REQUEST - 1) + b"\n")
        self.assertTrue(self.answer(client)["ok"])
        for seed in range(20):
            client = self.connect("one")
            try:
                client.sendall(bytes((seed * 37 + i * i) & 0xFF for i in range(3000)))
            except (BrokenPipeError, ConnectionResetError):
                pass
            client.close()
        self.assert_alive()

    def test_clients_that_vanish(self):
        for request in (b"", b'{"comma', b'{"command":"stat"}\n', b'{"command":"debug"}\n', b'{"command":"pause"}\n',
                        b'{"command":"resume"}\n', b'{"command":"debug"}\n' * 100):
            for _ in range(20):
                client = self.connect("one")
                client.sendall(request)
                client.close()
        self.vmm("resume", "one")  # whichever of pause and resume was the last
        self.assert_alive()

    def test_killed_commands(self):
        for delay in (0, 0.002, 0.005, 0.01):
            for command in ("stat", "debug"):
                process = subprocess.Popen([VMM, command, "one"], stdout=subprocess.DEVNULL, env=self.environment)
                time.sleep(delay)
                process.kill()
                process.wait()
        self.assert_alive()

    def test_clients_that_stall(self):
        half = self.connect("one")
        half.sendall(b'{"command":"st')
        # Asks and asks, and takes no answer.
        deaf = self.connect("one")
        deaf.setblocking(False)
        try:
            while True:
                deaf.send(b'{"command":"debug"}\n' * 100)
        except BlockingIOError:
            pass
        for _ in range(5):
            self.assert_alive()
        half.sendall(b'at"}\n')
        self.assertTrue(self.answer(half)["ok"])

    def test_a_thousand_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 1000
        if soft < wanted + 100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 100 if hard == resource.RLIM_INFINITY
                                                        else min(hard, wanted + 100), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = []
        for n in range(wanted):
            client = self.connect("one")
            if n % 3:
                client.sendall(b'{"command":"info"')
            clients.append(client)
            if n % 250 == 0:
                self.assert_alive()
        self.assert_alive()
        for client in clients:
            client.close()
        self.assert_alive()
        status = f"/proc/{self.process.pid}/fd"
        self.until(lambda: len(os.listdir(status)) < 40)

    def test_a_host_without_descriptors(self):
        pid = self.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), limits[1]))
        waiting = [self.connect("one") for _ in range(5)]
        time.sleep(1)
        self.assertLess(self.processor_time("control"), 0.5)  # it does not spin
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        waiting[0].sendall(b'{"command":"info"}\n')
        self.assertTrue(self.answer(waiting[0])["ok"])
        self.assert_alive()

    def processor_time(self, thread):
        """Seconds that a thread of the guest's process has run."""
        total = 0
        folder = f"/proc/{self.process.pid}/task"
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/stat", encoding="ascii") as file:
                name, fields = re.fullmatch(r"\d+ \((.*)\) (.*)", file.read().strip()).groups()
            if name == thread:
                total += sum(map(int, fields.split()[11:13]))
        return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    unittest.main()
