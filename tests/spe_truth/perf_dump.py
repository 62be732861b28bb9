#!/usr/bin/env python3
"""Lets the host's perf decode raw SPE records: wraps them into a perf.data file and prints the packets that
`perf report -D` finds, one line each.

usage: perf_dump.py FILE

A line is "OFFSET: BYTES  DESCRIPTION". Exit status 1 if perf fails or finds bytes that are no packet.
"""
import re
import struct
import subprocess
import sys
import tempfile

PMU_TYPE = 42  # of the made-up PMU; only has to be the same in the event and in the trace's description
RECORD_AUXTRACE_INFO, RECORD_AUXTRACE, RECORD_FINISHED_ROUND = 70, 71, 68
AUXTRACE_ARM_SPE = 4


def event_attribute():
    """struct perf_event_attr, version 0 (64 bytes): type, size, config, period, sample_type, read_format, flags, ..."""
    sample_identifier_ip_tid_time = 1 << 16 | 1 << 0 | 1 << 1 | 1 << 2
    sample_id_all = 1 << 18
    return struct.pack("<IIQQQQQIIQ", PMU_TYPE, 64, 0, 1024, sample_identifier_ip_tid_time, 0, sample_id_all, 0, 0, 0)


def perf_data(aux):
    info = struct.pack("<IIQQ", AUXTRACE_ARM_SPE, 0, PMU_TYPE, 0)
    info = struct.pack("<IHH", RECORD_AUXTRACE_INFO, 0, 8 + len(info)) + info
    trace = struct.pack("<IHHQQQIIII", RECORD_AUXTRACE, 0, 48, len(aux), 0, 0, 0, 0xFFFFFFFF, 0, 0) + aux
    data = info + trace
    attribute = event_attribute() + struct.pack("<QQ", 0, 0)  # no ids
    header_size = 104
    attributes_at = header_size
    data_at = attributes_at + len(attribute)
    header = b"PERFILE2" + struct.pack("<QQ", header_size, len(attribute))
    header += struct.pack("<QQ", attributes_at, len(attribute)) + struct.pack("<QQ", data_at, len(data))
    header += struct.pack("<QQ", 0, 0) + bytes(32)
    assert len(header) == header_size
    return header + attribute + data


def main():
    with open(sys.argv[1], "rb") as file:
        aux = file.read()
    with tempfile.NamedTemporaryFile(suffix=".data") as data:
        data.write(perf_data(aux))
        data.flush()
        result = subprocess.run(["perf", "report", "-D", "-f", "-i", data.name], capture_output=True, text=True, check=False)
    packet = re.compile(r"^\.\s+([0-9a-f]{8}):  ((?:[0-9a-f]{2} )+)\s+(.*)$")
    bad = 0
    for line in result.stdout.splitlines():
        match = packet.match(line)
        if match:
            print(f"{match[1]}: {match[2].strip()}  {match[3].strip()}")
            bad += "Bad packet" in line
    if result.returncode != 0:
        print(result.stderr, file=sys.stderr)
    return 1 if bad or result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
