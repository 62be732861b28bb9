#!/usr/bin/env python3
"""Takes the AUX data out of a perf.data file and decodes it with scripts/spe_decode.py.

usage: aux_records.py PERF_DATA      prints "N records, M undecodable bytes"; exit status 1 if M is not 0 or N is 0
"""
import json
import pathlib
import struct
import subprocess
import sys

DECODER = pathlib.Path(__file__).resolve().parent.parent.parent / "scripts/spe_decode.py"
PERF_RECORD_AUXTRACE = 71


def aux_chunks(data: bytes) -> list[bytes]:
    """The AUX chunks of a perf.data file in file mode, in order."""
    if data[:8] != b"PERFILE2":
        sys.exit("aux_records.py: not a perf.data file")
    offset, size = struct.unpack_from("<QQ", data, 40)  # the data section
    chunks = []
    end = offset + size
    while offset + 8 <= end:
        kind, _, length = struct.unpack_from("<IHH", data, offset)
        if length < 8:
            sys.exit(f"aux_records.py: record of {length} bytes at {offset:#x}")
        if kind == PERF_RECORD_AUXTRACE:
            (aux_size,) = struct.unpack_from("<Q", data, offset + 8)
            chunks.append(data[offset + length:offset + length + aux_size])
            offset += aux_size
        offset += length
    return chunks


def main() -> int:
    records = undecodable = 0
    for chunk in aux_chunks(pathlib.Path(sys.argv[1]).read_bytes()):
        result = subprocess.run([sys.executable, DECODER, "--json", "-"], input=chunk, capture_output=True, check=False)
        if result.returncode not in (0, 1):
            sys.exit(f"aux_records.py: spe_decode.py failed: {result.stderr.decode()}")
        decoded = json.loads(result.stdout)
        records += decoded["summary"]["records"]
        undecodable += decoded["summary"]["undecodable_bytes"]
    print(f"{records} records, {undecodable} undecodable bytes")
    return 1 if undecodable or not records else 0


if __name__ == "__main__":
    sys.exit(main())
