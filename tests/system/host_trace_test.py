#!/usr/bin/env python3
"""Profiles bare-metal guests from outside, and lets the host's perf and an independent decoder judge the file.

usage: host_trace_test.py VMM SOURCE_DIR GUEST_DIR PERF
"""
import collections
import math
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

VMM, SOURCE, GUESTS, PERF = (os.path.abspath(argument) for argument in (sys.argv.pop(1) for _ in range(4)))
SHARES = {"spend_60": 0.6, "spend_30": 0.3, "spend_10": 0.1}  # tests/guest/profile.S
CONTEXT = 4242  # of its second half


class HostTrace(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = os.path.join(folder.name, "guest.data")

    def command(self, guest, *options, suffix=""):
        return [VMM, "run", "-k", os.path.join(GUESTS, guest + ".elf"), "-m", "64", "--nodefaults", "-c", "1",
                "--timeout", "60", "--spe-host-trace", self.data + suffix, *options]

    def run_guest(self, guest, *options, suffix="", **how):
        result = subprocess.run(self.command(guest, *options, suffix=suffix), stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=100, check=False, **how)
        self.assertIn("PASS", result.stdout, result.stderr)
        return result

    def perf(self, *arguments):
        result = subprocess.run([PERF, *arguments, "-i", self.data], capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def samples(self):
        """(pid, cpu, symbol) of every record, as perf sees them."""
        found = []
        for line in self.perf("script", "--itrace=i1i", "-F", "pid,cpu,ip,sym").splitlines():
            match = re.fullmatch(r"\s*(-?\d+)\s+\[(\d+)\]\s+[0-9a-f]+ (.*)", line)
            self.assertIsNotNone(match, line)
            found.append((int(match[1]), int(match[2]), match[3]))
        return found

    def decoded_records(self):
        """Both decoders understand everything and count the same."""
        dump = self.perf("report", "-D")
        packets = [line for line in dump.splitlines() if re.match(r"\.  [0-9a-f]{8}:  ", line)]
        self.assertEqual([line for line in packets if re.search(r"bad packet|unknown", line, re.I)], [])
        records = sum(" PC 0x" in line for line in packets)
        other = subprocess.run([sys.executable, os.path.join(SOURCE, "tests/system/aux_records.py"), self.data],
                               capture_output=True, text=True, check=False)
        self.assertEqual(other.stdout, f"{records} records, 0 undecodable bytes\n", other.stderr)
        return records, dump

    def test_shares_and_contexts_of_a_bare_metal_guest(self):
        run = self.run_guest("profile", "--loglevel", "info")
        records, dump = self.decoded_records()
        operations = int(re.search(r"(\d+) operations in", run.stderr)[1])
        self.assertAlmostEqual(records, operations / 4097, delta=3)
        self.assertNotIn("PERF_RECORD_LOST", dump)
        samples = self.samples()
        self.assertEqual(len(samples), records)
        for pid in (0, CONTEXT):
            symbols = collections.Counter(symbol for owner, _, symbol in samples if owner == pid)
            total = sum(symbols.values())
            self.assertAlmostEqual(total, records / 2, delta=10)
            for name, share in SHARES.items():
                limit = 5 * math.sqrt(share * (1 - share) / total)
                self.assertAlmostEqual(symbols[name] / total, share, delta=limit, msg=f"{name} of {symbols}")
        report = self.perf("report", "--itrace=i1i", "--stdio", "--sort", "comm,dso,symbol")
        for comm in ("profile.elf", f"pid {CONTEXT}"):
            for name in SHARES:
                self.assertRegex(report, rf"%\s+{comm}\s+profile.elf\s+\[k\] {name}\b")

    def test_data_addresses_and_sources(self):
        self.run_guest("profile", suffix=",period=1024,model=detailed")
        self.decoded_records()
        report = self.perf("mem", "report", "--stdio", "--sort", "mem,sym,symbol_daddr")
        # With the MMU off memory is of Device type: no cache holds it.
        self.assertRegex(report, r"RAM hit\s+\[k\] spend_30\s+\[k\] cell")

    def test_header_names_the_machine(self):
        self.run_guest("profile", "--name", "measured", suffix=",period=65536")
        header = self.perf("report", "--header-only")
        for line in ("hostname : measured", "arch : aarch64", "nrcpus online : 1", "cpuid : 0x00000000414fd0c1",
                     "pmu mappings: arm_spe_0 = 8", "total memory : 65536 kB"):
            self.assertIn(f"# {line}\n", header)
        self.assertIn("{ sample_period, sample_freq } = 65536,", header)

    def test_every_cpu_has_its_records(self):
        self.run_guest("smp", "-c", "4", suffix=",period=256")
        self.decoded_records()
        self.assertEqual({cpu for _, cpu, _ in self.samples()}, {0, 1, 2, 3})

    def test_the_guest_notices_nothing(self):
        # Both guests check every profiling register: there are none, or those of a unit that it owns alone.
        self.run_guest("spe_absent", suffix=",period=256")
        self.run_guest("spe", "--spe", "--pmu", "--spe-max-buffer-size", "4M", suffix=",period=256")
        self.assertGreater(self.decoded_records()[0], 0)

    def test_cpus_take_turns_as_they_would_without(self):
        operations = set()
        for suffix in (None, ",period=256", ",period=512"):
            command = self.command("smp", "-c", "4", "--clock", "insn", "--loglevel", "info", suffix=suffix or "")
            if suffix is None:
                command = [word for word in command if word not in ("--spe-host-trace", self.data)]
            run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=True)
            operations.add(re.search(r"(\d+) operations in", run.stderr)[1])
        self.assertEqual(len(operations), 1, operations)

    def test_time_is_the_guests(self):
        self.run_guest("profile", "--clock", "insn")
        first, *_, last = [float(word) for word in re.findall(r"(\d+\.\d+):", self.perf("script", "--itrace=i1i", "-F", "time"))]
        self.assertLess(first, 0.0001)
        self.assertAlmostEqual(last, 0.02, delta=0.0001)  # 20 million operations of a nanosecond

    def test_runs_that_are_ended_leave_a_valid_file(self):
        for ending, status in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(ending=ending):
                process = subprocess.Popen(self.endless(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                try:
                    deadline = time.monotonic() + 30
                    while not os.path.exists(self.data) or os.path.getsize(self.data) < 100_000:
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.05)
                finally:
                    process.send_signal(ending)
                    process.wait(timeout=30)
                self.assertEqual(process.returncode, status)
                self.assertGreater(self.decoded_records()[0], 1000)
                os.unlink(self.data)
        ended = subprocess.run([*self.endless(",period=65536"), "--timeout", "1"], stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=30, check=False)
        self.assertEqual(ended.returncode, 124)
        self.assertGreater(self.decoded_records()[0], 0)

    def endless(self, suffix=""):
        """A guest without an end: b ."""
        sys.path.insert(0, os.path.join(SOURCE, "tests/unit/vmm"))
        import tiny_elf
        path = pathlib.Path(self.data).with_name("endless.elf")
        path.write_bytes(tiny_elf.elf([0xD503201F, 0x17FFFFFF]))  # nop; b .-4
        return [VMM, "run", "-k", str(path), "-m", "64", "-c", "1", "--spe-host-trace", self.data + suffix]

    def test_a_full_disk_ends_the_trace_but_not_the_guest(self):
        limit = 200_000
        result = self.run_guest("profile", suffix=",period=256",
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(result.returncode, 3)
        self.assertRegex(result.stderr, r'\Avmm: --spe-host-trace ".*guest.data": cannot write: File too large.*\n\Z')
        self.assertLessEqual(os.path.getsize(self.data), limit)
        self.perf("report", "--header-only")


if __name__ == "__main__":
    unittest.main(verbosity=2)
