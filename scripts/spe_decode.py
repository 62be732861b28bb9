#!/usr/bin/env python3
"""Decodes Arm Statistical Profiling Extension records (format 0) from raw bytes.

Written from the record specification alone (Arm ARM, "Statistical Profiling Extension Sample Record Specification"); it
shares no code or table with the emulated unit and serves to check it. Understands every packet the architecture defines,
whatever the version that produced it.

    spe_decode.py FILE            one block of text per record; "-" reads standard input
    spe_decode.py --json FILE     one JSON object
    spe_decode.py --summary FILE  counts only

Bytes that are no packet, and records cut off at the end of the input, are counted as undecodable. Exit status: 0 when
everything was decoded, 1 when something was not, 2 for a bad command line or an unreadable file.
"""

import argparse
import json
import sys

COUNTER_NAMES = {0: "total", 1: "issue", 2: "translation", 4: "issue_alternate_clock"}
ADDRESS_NAMES = {0: "pc", 1: "target", 2: "va", 3: "pa", 4: "previous_target"}

EVENT_NAMES = {
    0: "exception", 1: "retired", 2: "l1d-access", 3: "l1d-refill", 4: "tlb-access", 5: "tlb-walk",
    6: "not-taken", 7: "mispredicted", 8: "llc-access", 9: "llc-miss", 10: "remote-access", 11: "alignment",
    16: "transactional", 17: "predicate-partial", 18: "predicate-empty", 19: "l2d-access", 20: "l2d-miss",
    21: "hit-modified", 22: "recently-fetched", 23: "snooped", 24: "streaming", 25: "smcu",
}

# Implementation defined; what Neoverse and most Cortex cores use.
NEOVERSE_SOURCES = {
    0x0: "l1d", 0x8: "l2", 0x9: "peer-core", 0xA: "local-cluster", 0xB: "system-cache", 0xC: "peer-cluster",
    0xD: "remote", 0xE: "dram",
}


class BadPacket(Exception):
    """The byte at hand starts no packet."""

    def __init__(self, length, reason):
        super().__init__(reason)
        self.length = length


def payload_bytes(header):
    return 1 << ((header >> 4) & 3)


def vector_length(code):
    return 32 << code if code < 7 else "over-2048"


def decode_other(payload):
    if payload & 0x80 and payload & 0x08 and not payload & 0x01:
        size = (payload >> 4 & 7) << 1 | payload >> 2 & 1
        tile = "whole" if size == 0xF else 128 << size
        return {"class": "sme", "tile_bits": tile, "fp": bool(payload & 2)}
    if not payload & 0x80 and payload & 0x08 and not payload & 0x01:
        return {"class": "sve", "vector_bits": vector_length(payload >> 4 & 7), "predicated": bool(payload & 4),
                "fp": bool(payload & 2)}
    if payload & 0xF8 == 0:
        return {"class": "other", "simd": bool(payload & 4), "fp": bool(payload & 2),
                "conditional": bool(payload & 1)}
    return None


def decode_load_store(payload):
    out = {"class": "load_store", "store": bool(payload & 1)}
    base = payload & 0xFE
    plain = {0x00: "gp", 0x04: "simd_fp", 0x10: "unspecified", 0x14: "tag", 0x30: "system_register", 0x20: "memcpy"}
    if base in plain:
        out["registers"] = plain[base]
    elif payload == 0x25:
        out["registers"] = "memset"
    elif payload & 0xE2 == 0x02:
        out["registers"] = "gp"
        out["acquire_release"] = bool(payload & 0x10)
        out["exclusive"] = bool(payload & 0x08)
        out["atomic"] = bool(payload & 0x04)
    elif payload & 0xFA == 0x40:
        out["registers"] = "gcs"
        out["common"] = bool(payload & 4)
    elif payload & 0x0A == 0x08:
        out["registers"] = "sve_sme"
        out["gather_scatter"] = bool(payload & 0x80)
        out["vector_bits"] = vector_length(payload >> 4 & 7)
        out["predicated"] = bool(payload & 4)
    else:
        return None
    return out


def decode_branch(payload):
    if payload & 0xE0:
        return None
    kinds = {0: None, 1: "call", 2: "return", 3: "neither"}
    return {"class": "branch", "conditional": bool(payload & 1), "indirect": bool(payload & 2),
            "gcs": bool(payload & 4), "call_return": kinds[payload >> 3 & 3]}


def decode_operation(kind, payload):
    decoder = {0: decode_other, 1: decode_load_store, 2: decode_branch}.get(kind)
    decoded = decoder(payload) if decoder else None
    if decoded is None:
        raise BadPacket(2, f"reserved operation type {0x48 + kind:#x} {payload:#04x}")
    decoded["payload"] = payload
    return decoded


def decode_code_address(raw):
    return {"address": raw & (1 << 56) - 1, "ns": raw >> 63, "el": raw >> 61 & 3, "nse": raw >> 60 & 1}


def decode_address(index, raw):
    if index in (0, 1, 4):
        return decode_code_address(raw)
    if index == 2:
        return {"address": raw & (1 << 56) - 1, "tag": raw >> 56, "raw": raw}
    if index == 3:
        return {"address": raw & (1 << 56) - 1, "ns": raw >> 63, "tag_checked": raw >> 62 & 1, "nse": raw >> 60 & 1,
                "pat": raw >> 56 & 15}
    return {"raw": raw}


def event_names(events):
    return [EVENT_NAMES.get(bit, f"event{bit}") for bit in range(64) if events >> bit & 1]


class Record:
    def __init__(self, offset):
        self.fields = {"offset": offset}

    def address(self, index, raw):
        if 8 <= index < 16 or index == 5:
            raise BadPacket(9, f"reserved address packet {index}")
        name = ADDRESS_NAMES.get(index, f"address{index}")
        self.fields[name] = decode_address(index, raw)

    def counter(self, index, value):
        if index in (3, 5) or 8 <= index < 16:
            raise BadPacket(3, f"reserved counter packet {index}")
        self.fields.setdefault("latency", {})[COUNTER_NAMES.get(index, f"counter{index}")] = value


class Decoder:
    """Feeds on one buffer; collects records and what could not be understood."""

    def __init__(self, data):
        self.data = data
        self.at = 0
        self.records = []
        self.padding = 0
        self.undecodable = 0
        self.problems = []
        self.record = None

    def problem(self, offset, length, reason):
        self.undecodable += length
        self.problems.append({"offset": offset, "bytes": length, "reason": reason})

    def run(self):
        while self.at < len(self.data):
            header = self.data[self.at]
            if header == 0x00:
                self.padding += 1
                self.at += 1
                continue
            start = self.at
            opened = self.record is None
            if opened:
                self.record = Record(start)
            try:
                self.at += self.packet(header)
            except BadPacket as bad:
                length = min(bad.length, len(self.data) - start)
                self.problem(start, length, str(bad))
                self.at = start + length
                if opened:
                    self.record = None
        if self.record is not None:
            start = self.record.fields["offset"]
            counted = sum(problem["bytes"] for problem in self.problems if problem["offset"] >= start)
            self.problem(start, len(self.data) - start - counted, "the record has neither timestamp nor end")
        return self

    def payload(self, skip, size):
        begin = self.at + skip
        if begin + size > len(self.data):
            raise BadPacket(len(self.data) - self.at, "packet cut off at the end of the input")
        return int.from_bytes(self.data[begin:begin + size], "little")

    def finish(self):
        self.records.append(self.record.fields)
        self.record = None

    def packet(self, header):
        """Handles the packet at self.at and returns its length."""
        if header == 0x01:
            self.record.fields["end"] = True
            self.finish()
            return 1
        if header < 0x20:
            raise BadPacket(1, f"reserved header {header:#04x}")
        if header < 0x40:
            return self.extended(header)
        size = payload_bytes(header)
        value = self.payload(1, size)
        length = 1 + size
        if header == 0x71:
            self.record.fields["timestamp"] = value
            self.finish()
        elif header in (0x42, 0x52, 0x62, 0x72):
            self.record.fields["events"] = value
            self.record.fields["event_names"] = event_names(value)
        elif header in (0x43, 0x53):
            self.record.fields["data_source"] = value
        elif header in (0x64, 0x65):
            self.record.fields[f"context_el{header - 0x63}"] = value
        elif header in (0x48, 0x49, 0x4A):
            self.record.fields["operation"] = decode_operation(header & 3, value)
        elif 0xB0 <= header <= 0xB7:
            self.record.address(header & 7, value)
        elif 0x98 <= header <= 0x9F:
            self.record.counter(header & 7, value)
        else:
            raise BadPacket(length, f"reserved header {header:#04x}")
        return length

    def extended(self, prefix):
        if self.at + 1 >= len(self.data):
            raise BadPacket(1, "packet cut off at the end of the input")
        header = self.data[self.at + 1]
        if header < 0x40:
            raise BadPacket(2, f"reserved header {prefix:#04x} {header:#04x}")
        size = payload_bytes(header)
        value = self.payload(2, size)
        index = (prefix & 3) << 3 | header & 7
        if prefix & 0xFC == 0x20 and 0xB0 <= header <= 0xB7:
            self.record.address(index, value)
        elif prefix & 0xFC == 0x20 and 0x98 <= header <= 0x9F:
            self.record.counter(index, value)
        else:
            raise BadPacket(2 + size, f"reserved header {prefix:#04x} {header:#04x}")
        return 2 + size


def flag_words(operation, names):
    return "".join(f" {name}" for name in names if operation.get(name))


def operation_text(operation):
    kind = operation["class"]
    if kind == "branch":
        return "branch" + flag_words(operation, ("conditional", "indirect", "gcs")) + \
            (f" {operation['call_return']}" if operation["call_return"] else "")
    if kind == "load_store":
        text = ("store" if operation["store"] else "load") + f" {operation['registers']}"
        text += flag_words(operation, ("acquire_release", "exclusive", "atomic", "gather_scatter", "predicated",
                                       "common"))
        return text + (f" vector={operation['vector_bits']}" if "vector_bits" in operation else "")
    text = kind + flag_words(operation, ("conditional", "simd", "fp", "predicated"))
    return text + "".join(f" {key}={operation[key]}" for key in ("vector_bits", "tile_bits") if key in operation)


def print_record(number, record):
    print(f"record {number} at {record['offset']:#x}")
    for name in ("context_el1", "context_el2"):
        if name in record:
            print(f"  {name:<16} {record[name]:#x}")
    for name, cycles in record.get("latency", {}).items():
        print(f"  {'latency':<16} {cycles} {name}")
    for name in list(ADDRESS_NAMES.values()) + sorted(key for key in record if key.startswith("address")):
        if name in record:
            parts = record[name]
            shown = " ".join(f"{key}={value:#x}" for key, value in parts.items() if key not in ("address", "raw"))
            print(f"  {name:<16} {parts.get('address', parts.get('raw')):#x} {shown}".rstrip())
    if "data_source" in record:
        source = record["data_source"]
        print(f"  {'data source':<16} {source:#x} {NEOVERSE_SOURCES.get(source, '')}".rstrip())
    if "operation" in record:
        print(f"  {'operation':<16} {operation_text(record['operation'])}")
    if "events" in record:
        print(f"  {'events':<16} {record['events']:#x} {' '.join(record['event_names'])}".rstrip())
    print(f"  {'timestamp':<16} {record['timestamp']}" if "timestamp" in record else "  end")


def main():
    parser = argparse.ArgumentParser(description="Decode Arm SPE records from raw AUX bytes.")
    parser.add_argument("file", help='raw bytes; "-" for standard input')
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--summary", action="store_true", help="print counts only")
    options = parser.parse_args()
    try:
        if options.file == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(options.file, "rb") as file:
                data = file.read()
    except OSError as error:
        print(f"spe_decode: {options.file}: {error.strerror}", file=sys.stderr)
        return 2

    decoder = Decoder(data).run()
    counts = {"bytes": len(data), "records": len(decoder.records), "padding_bytes": decoder.padding,
              "undecodable_bytes": decoder.undecodable}
    if options.json:
        json.dump({"records": decoder.records, "problems": decoder.problems, "summary": counts}, sys.stdout)
        print()
    else:
        if not options.summary:
            for number, record in enumerate(decoder.records):
                print_record(number, record)
        for problem in decoder.problems:
            print(f"undecodable: {problem['bytes']} bytes at {problem['offset']:#x}: {problem['reason']}",
                  file=sys.stderr)
        print(" ".join(f"{name}={value}" for name, value in counts.items()))
    return 1 if decoder.undecodable else 0


if __name__ == "__main__":
    sys.exit(main())
