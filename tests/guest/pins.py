#!/usr/bin/env python3
"""A profiling buffer of 256 MiB that is enabled again and again: what is walked and pinned, what the kernel charges for it,
and what becomes of a guest whose user may not lock that much.

usage: pins.py VMM ELF
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

from pin_guest import BUFFER, BUFFER_OFFSET, MIB, PinGuest

VMM, ELF = (os.path.abspath(word) for word in sys.argv[1:3])
SKIPPED = 77
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24
COMPACT = pathlib.Path("/proc/sys/vm/compact_memory")
SMALL = 4 * MIB
TABLES = 132 * 4096  # at most: three levels of tables for 256 MiB, wherever they start
HUGE = 2 * MIB
NOBODY = ("prlimit", f"--memlock={8 * MIB}", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
PMBSR_OTHER_REASON = 0x1F << 26 | 1 << 17  # EC: IMPLEMENTATION DEFINED management event; S


def counters(stat: dict) -> dict:
    cache, pins = stat["totals"]["spe"]["pins"], stat["memory"]["pins"]
    return {**{name: cache[name] for name in ("enables", "walks", "hits", "failures")}, "pin_ops": pins["pin_ops"],
            "unpin_ops": pins["unpin_ops"]}


def may(capability: int) -> bool:
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"CapEff:\s*([0-9a-f]+)", status)[1], 16) >> capability & 1 == 1


class PinsTest(unittest.TestCase):
    def check_hundred(self, *options, huge):
        with PinGuest(VMM, ELF, *options, huge=huge) as guest:
            self.assertEqual(guest.vm_pin(), 0)
            guest.press("e")
            stat = guest.wait_pinned()
            once = guest.vm_pin()
            self.assertGreaterEqual(once, BUFFER)
            # A huge page is charged as a whole; tables lie in at most two.
            self.assertLessEqual(once, BUFFER + (2 * HUGE if huge else TABLES))
            self.assertEqual(once, stat["memory"]["pins"]["charged_bytes"])
            guest.press("h")
            self.assertEqual(counters(guest.stat()), {"enables": 100, "walks": 1, "hits": 99, "failures": 0, "pin_ops": 1,
                                                      "unpin_ops": 0})
            self.assertEqual(guest.stat()["memory"]["pins"]["buffers"]["requests"], 1)
            guest.press("k")
            self.assertEqual(guest.vm_pin(), once)
            self.assertEqual(counters(guest.stat()), {"enables": 1100, "walks": 1, "hits": 1099, "failures": 0, "pin_ops": 1,
                                                      "unpin_ops": 0})
            self.assertTrue(guest.quit())

    def test_hundred_enables_on_huge_pages(self):
        self.check_hundred(huge=True)

    def test_hundred_enables_on_small_pages(self):
        self.check_hundred(huge=False)

    def test_enables_that_do_not_wait_for_the_pins(self):
        with PinGuest(VMM, ELF) as guest:
            guest.press("h")
            guest.wait_pinned()
            guest.press("e")
            self.assertEqual(counters(guest.stat()), {"enables": 100, "walks": 1, "hits": 99, "failures": 0, "pin_ops": 1,
                                                      "unpin_ops": 0})

    def test_ageing(self):
        with PinGuest(VMM, ELF, "--spe-pin-age", "1") as guest:
            guest.press("e")
            guest.wait_pinned()
            guest.press("k")
            guest.press("d")
            self.assertGreaterEqual(guest.vm_pin(), BUFFER)
            stat = guest.wait(lambda stat: stat["memory"]["pins"]["pinned_bytes"] == 0, "the pins age")
            self.assertEqual(stat["memory"]["pins"]["buffers"]["unpins"]["aged"], 1)
            self.assertEqual(guest.vm_pin(), 0)
            guest.press("e")
            guest.wait_pinned()


    def test_memory_is_not_shared(self):
        with PinGuest(VMM, ELF) as guest:
            _, flags = guest.ram()
            self.assertNotIn("mg", flags)  # KSM may not merge it
            self.assertIn("dc", flags)     # nor do children get it

    @unittest.skipUnless(may(CAP_SYS_ADMIN) and os.access(COMPACT, os.W_OK), "page frames and compaction need CAP_SYS_ADMIN")
    def test_page_frames_stay(self):
        with PinGuest(VMM, ELF, huge=False) as guest:
            guest.press("e")
            guest.wait_pinned()
            before = guest.page_frames(BUFFER_OFFSET, BUFFER)
            self.assertNotIn(0, before)
            for _ in range(3):
                COMPACT.write_text("1", encoding="ascii")
            self.assertEqual(guest.page_frames(BUFFER_OFFSET, BUFFER), before)


class ShortageTest(unittest.TestCase):
    """An ordinary user who may lock 8 MiB."""

    def start(self, *options):
        guest = PinGuest(VMM, ELF, *options, prefix=NOBODY, huge=False)
        self.addCleanup(guest.__exit__)
        self.assertRegex(guest.errors(), r"may need 256\.5 MiB of pinned memory, but the locked-memory limit \(RLIMIT_MEMLOCK\) is "
                         r"8 MiB")
        return guest

    def wait_paused(self, guest):
        stat = guest.wait(lambda stat: stat["state"] == "paused", "the guest is paused")
        self.assertEqual(stat["reason"], "pin-shortage")
        missing = guest.wait_errors(r"cannot be pinned, (\d+) bytes are missing")
        return int(missing[1])

    def check_goes_on(self, guest, size):
        guest.wait(lambda stat: stat["state"] == "running", "the guest goes on")
        guest.wait_errors("vmm: resumed")
        guest.answer()
        guest.press("h")
        self.assertEqual(guest.press("b"), 0)
        self.assertGreaterEqual(guest.vm_pin(), size)
        self.assertTrue(guest.quit())

    def test_degrade(self):
        guest = self.start()
        guest.press("e")
        stat = guest.wait(lambda stat: stat["memory"]["pins"]["pinned_bytes"] >= BUFFER, "weaker pins")
        self.assertGreater(stat["memory"]["pins"]["degraded"], 0)
        self.assertLessEqual(guest.vm_pin(), 8 * MIB)
        guest.press("k")
        self.assertEqual(guest.press("b"), 0)
        self.assertTrue(guest.quit())

    def test_inject(self):
        guest = self.start("--spe-pin-shortage", "inject", "--loglevel", "debug")
        guest.press("e")
        guest.wait(lambda stat: stat["memory"]["pins"]["buffers"]["shortages"] == 1, "a shortage")
        guest.wait_errors("stays unpinned")
        guest.press("h")
        self.assertEqual(guest.press("b"), PMBSR_OTHER_REASON)
        self.assertEqual(guest.vm_pin(), 0)
        self.assertEqual(guest.stat()["totals"]["spe"]["shortages"], 1)
        self.assertTrue(guest.quit())

    @unittest.skipUnless(may(CAP_SYS_RESOURCE), "raising limits needs CAP_SYS_RESOURCE")
    def test_stop_until_the_limit_is_raised(self):
        guest = self.start("--spe-pin-shortage", "stop")
        guest.send("e")
        self.assertGreaterEqual(self.wait_paused(guest), BUFFER - 8 * MIB)
        subprocess.run(["prlimit", "--pid", str(guest.pid), f"--memlock={512 * MIB}"], check=True)
        guest.manage("resume")
        self.check_goes_on(guest, BUFFER)

    def test_stop_until_there_is_room(self):
        other = self.start()
        other.press("s")
        other.wait(lambda stat: stat["memory"]["pins"]["charged_bytes"] >= SMALL, "a small buffer is pinned")
        guest = self.start("--spe-pin-shortage", "stop")
        guest.send("s")
        self.assertGreater(self.wait_paused(guest), 0)
        guest.manage("resume")
        self.assertEqual(guest.stat()["state"], "paused")  # nothing has changed
        self.assertTrue(other.quit())
        guest.manage("resume")
        self.check_goes_on(guest, SMALL)


if __name__ == "__main__":
    del sys.argv[1:3]
    if os.geteuid() != 0:
        print("skipped: only root can become another user and raise limits")
        sys.exit(SKIPPED)
    unittest.main()
