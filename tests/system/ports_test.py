#!/usr/bin/env python3
"""Console ports with Debian's kernel (vmm run --console-port): files take what the guest writes, sockets talk to one client.

usage: ports_test.py VMM SOURCE_DIR
"""
import hashlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

from guest import Verdict, cache_dir

TIMEOUT = 240
SCRIPT = """#!/bin/busybox sh
set -e
cat /sys/class/virtio-ports/*/name | sort
seq 1 100000 >/dev/virtio-ports/numbers
exec 3<>/dev/virtio-ports/org.test.chat
read line <&3
echo "first: $line" >&3
head -c 300000 <&3 | sha256sum >&3
until read line <&3 && [ "$line" = again ]; do sleep 0.1; done
echo "second: $line" >&3
"""


class Client:
    """Two connections, one after the other, to a port's socket; collects what the guest says."""

    def __init__(self, path: pathlib.Path, blob: bytes) -> None:
        self.path, self.blob, self.lines = path, blob, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def connect(self) -> socket.socket:
        end = time.monotonic() + TIMEOUT
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.path))
                return connection
            except OSError:
                connection.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def run(self) -> None:
        with self.connect() as first, first.makefile("rwb") as stream:
            stream.write(b"hello\n" + self.blob)
            stream.flush()
            self.lines += [stream.readline(), stream.readline()]
        with self.connect() as second, second.makefile("rwb") as stream:
            stream.write(b"again\n")
            stream.flush()
            self.lines.append(stream.readline())


def main() -> int:
    verdict = Verdict()
    source = pathlib.Path(sys.argv[2])
    cache = cache_dir(source)
    version = (cache / "kernel-version").read_text().strip()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "script").write_text(SCRIPT)
        (folder / "numbers").write_text("old")
        blob = os.urandom(300_000)
        client = Client(folder / "chat", blob)
        command = [sys.argv[1], "run", "-k", str(cache / "vmlinuz"), "-i", str(cache / "initramfs.cpio"), "-c", "1", "-m", "512",
                   "--modules", str(cache / "root/lib/modules" / version), "--timeout", str(TIMEOUT),
                   "--console-port", f"numbers,{folder}/numbers", "--console-port", f"org.test.chat,unix:{folder}/chat",
                   "--script", str(folder / "script")]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT + 30, check=False)
        verdict.expect((run.returncode, run.stderr) == (0, ""), f"the run: status {run.returncode} {run.stderr[-2000:]}")
        verdict.expect(run.stdout == "numbers\norg.test.chat\n", f"the ports have their names: {run.stdout!r}")
        wanted = "".join(f"{n}\n" for n in range(1, 100001))
        verdict.expect((folder / "numbers").read_text() == wanted, "the file has what the guest wrote, and nothing else")
        client.thread.join(10)
        digest = hashlib.sha256(blob).hexdigest()
        said = [line.decode() for line in client.lines]
        verdict.expect(said == ["first: hello\n", f"{digest}  -\n", "second: again\n"], f"two clients in a row: {said}")
        verdict.expect(not (folder / "chat").exists(), "the socket goes with the guest")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
