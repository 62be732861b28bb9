#!/usr/bin/env python3
"""Checks scripts/spe_decode.py against packets worked out by hand from the record specification."""

import json
import os
import subprocess
import sys
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../scripts/spe_decode.py")

# Layout of a record captured on Neoverse N1 silicon: fixed slots, absent packets are zero bytes inside the record.
N1_RECORD = (
    "b0 00 10 20 30 40 50 60 a0" " 00 00 00 00 00" " 65 80 5f 00 00" " 49 00" " 52 16 00" " 99 04 00" " 98 0c 00"
    " b2 08 00 00 00 00 00 ff ff" " 9a 01 00" " 00 00 00 00 00 00 00 00 00" " 43 00" " 00 00"
    " 71 01 00 00 00 00 00 00 00")


def run(text, *options):
    data = bytes.fromhex(text)
    done = subprocess.run([sys.executable, SCRIPT, *options, "-"], input=data, capture_output=True, check=False)
    return done


def decode(text):
    done = run(text, "--json")
    return done.returncode, json.loads(done.stdout)


def operation(text):
    status, out = decode(text + " 01")
    assert status == 0, out["problems"]
    return out["records"][0]["operation"]


class Records(unittest.TestCase):
    def test_load_with_everything(self):
        status, out = decode(
            "64 d2 04 00 00 98 bb 00 99 09 00 9a 23 00 b0 34 12 00 c0 aa aa 00 80 b2 58 4c 3b 8a ff ff 00 00"
            "b3 58 5c 34 12 08 00 00 80 43 0e 49 00 52 3e 03 71 9a 78 56 34 12 00 00 00 00 00 00 00 00 00 00")
        self.assertEqual(status, 0)
        record = out["records"][0]
        self.assertEqual(record["context_el1"], 1234)
        self.assertEqual(record["latency"], {"total": 187, "issue": 9, "translation": 35})
        self.assertEqual(record["pc"], {"address": 0xaaaac0001234, "ns": 1, "el": 0, "nse": 0})
        self.assertEqual(record["va"]["address"], 0xffff8a3b4c58)
        self.assertEqual(record["pa"]["address"], 0x812345c58)
        self.assertEqual(record["data_source"], 14)
        self.assertEqual(record["event_names"], ["retired", "l1d-access", "l1d-refill", "tlb-access", "tlb-walk",
                                                 "llc-access", "llc-miss"])
        self.assertEqual(record["timestamp"], 78187493530)
        self.assertEqual(out["summary"]["padding_bytes"], 7)

    def test_silicon_layout_with_padding_inside(self):
        status, out = decode(N1_RECORD + N1_RECORD)
        self.assertEqual(status, 0)
        self.assertEqual([record["offset"] for record in out["records"]], [0, 64])
        self.assertEqual(out["records"][1]["context_el2"], 0x5F80)
        self.assertEqual(out["records"][1]["pc"]["el"], 1)
        self.assertEqual(out["records"][1]["va"]["tag"], 0xFF)

    def test_event_widths(self):
        for text, events in (("42 02", 2), ("52 02 01", 0x102), ("62 1e 00 08 00", 0x8001e),
                             ("72 00 00 00 00 00 00 00 80", 1 << 63)):
            status, out = decode(text + " 01")
            self.assertEqual(status, 0)
            self.assertEqual(out["records"][0]["events"], events)

    def test_extended_and_implementation_defined_indexes(self):
        status, out = decode("22 b1 01 02 03 04 05 06 07 08 22 9e 05 00 9c 06 00 b4 00 00 00 00 00 00 00 c0 01")
        self.assertEqual(status, 0)
        record = out["records"][0]
        self.assertEqual(record["address17"], {"raw": 0x0807060504030201})
        self.assertEqual(record["latency"], {"counter22": 5, "issue_alternate_clock": 6})
        self.assertEqual(record["previous_target"]["el"], 2)


class Operations(unittest.TestCase):
    def check(self, text, **expected):
        decoded = operation(text)
        for key, value in expected.items():
            self.assertEqual(decoded[key], value, f"{text}: {key}")

    def test_branches(self):
        self.check("4a 00", **{"class": "branch"}, conditional=False, indirect=False, call_return=None)
        self.check("4a 01", conditional=True, indirect=False)
        self.check("4a 02", conditional=False, indirect=True)
        self.check("4a 08", call_return="call")
        self.check("4a 12", indirect=True, call_return="return")
        self.check("4a 19", conditional=True, call_return="neither")

    def test_loads_and_stores(self):
        self.check("49 12", registers="gp", store=False, acquire_release=True, atomic=False, exclusive=False)
        self.check("49 16", store=False, acquire_release=True, atomic=True)
        self.check("49 17", store=True, acquire_release=True, atomic=True)
        self.check("49 0a", store=False, exclusive=True, acquire_release=False)
        self.check("49 1b", store=True, exclusive=True, acquire_release=True)
        self.check("49 04", registers="simd_fp", store=False)
        self.check("49 05", registers="simd_fp", store=True)
        self.check("49 10", registers="unspecified", store=False)
        self.check("49 14", registers="tag", store=False)
        self.check("49 20", registers="memcpy", store=False)
        self.check("49 21", registers="memcpy", store=True)
        self.check("49 25", registers="memset", store=True)
        self.check("49 30", registers="system_register", store=False)
        self.check("49 40", registers="gcs", store=False, common=False)
        self.check("49 45", registers="gcs", store=True, common=True)
        self.check("49 2c", registers="sve_sme", store=False, vector_bits=128, predicated=True, gather_scatter=False)
        self.check("49 ad", registers="sve_sme", store=True, predicated=True, gather_scatter=True)

    def test_others(self):
        self.check("48 00", **{"class": "other"}, conditional=False)
        self.check("48 01", **{"class": "other"}, conditional=True)
        self.check("48 06", **{"class": "other"}, simd=True, fp=True)
        self.check("48 2e", **{"class": "sve"}, vector_bits=128, fp=True, predicated=True)
        self.check("48 8a", **{"class": "sme"}, tile_bits=128, fp=True)


class Damage(unittest.TestCase):
    def check(self, text, undecodable, records):
        status, out = decode(text)
        self.assertEqual(status, 1)
        self.assertEqual(out["summary"]["undecodable_bytes"], undecodable)
        self.assertEqual(out["summary"]["records"], records)

    def test_reserved_headers(self):
        self.check("02 01", 1, 1)                          # no payload
        self.check("48 00 66 01 02 03 04 01", 5, 1)        # four bytes of payload, skipped by size
        self.check("4b 00 01", 2, 1)                       # reserved operation class
        self.check("4a 20 01", 2, 1)                       # reserved bits of a branch
        self.check("b5 00 00 00 00 00 00 00 00 01", 9, 1)  # reserved address index
        self.check("9b 00 00 01", 3, 1)                    # reserved counter index

    def test_cut_off(self):
        self.check("48 00 01 00 b0 34 12", 3, 1)
        self.check("48 00", 2, 0)
        self.check("48 00 20", 3, 0)

    def test_nothing_but_padding_is_fine(self):
        status, out = decode("00 " * 128)
        self.assertEqual(status, 0)
        self.assertEqual(out["summary"], {"bytes": 128, "records": 0, "padding_bytes": 128, "undecodable_bytes": 0})

    def test_random_bytes_never_break_it(self):
        import random
        source = random.Random(1)
        for _ in range(5):
            data = bytes(source.randrange(256) for _ in range(4096)).hex()
            done = run(data, "--json")
            self.assertIn(done.returncode, (0, 1))
            summary = json.loads(done.stdout)["summary"]
            self.assertLessEqual(summary["undecodable_bytes"], 4096)
            self.assertGreater(summary["undecodable_bytes"], 0)
            self.assertIn(run(data).returncode, (0, 1))

    def test_missing_file(self):
        done = subprocess.run([sys.executable, SCRIPT, "/nonexistent"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"/nonexistent", done.stderr)


class Text(unittest.TestCase):
    def test_every_operation_prints(self):
        body = "".join(f"49 {payload:02x} 01 " for payload in (0, 0x17, 0x2c, 0x45))
        done = run("4a 19 01 48 2e 01 48 8a 01 " + body)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"store gp acquire_release atomic", done.stdout)
        self.assertIn(b"branch conditional neither", done.stdout)
        self.assertIn(b"records=7", done.stdout)


if __name__ == "__main__":
    unittest.main()
