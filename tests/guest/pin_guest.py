"""Runs the guest of pins.S and talks to it; for pins.py and scripts/bench_pin."""
import ctypes
import json
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable

MIB = 1 << 20
RAM = 512 * MIB
BUFFER = 256 * MIB
BUFFER_OFFSET = 256 * MIB  # in RAM, as pins.S has it
PAGE = 4096
PR_SET_THP_DISABLE = 41


def small_pages() -> None:
    """No huge pages for this process and what it becomes."""
    if ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_THP_DISABLE) failed")


class PinGuest:
    """One guest with a buffer of 256 MiB, from its start to the end of the `with`."""

    def __init__(self, vmm: str, elf: str, *options: str, prefix: tuple[str, ...] = (), huge: bool = True) -> None:
        self._vmm = vmm
        self._folder = tempfile.TemporaryDirectory()
        self._control = os.path.join(self._folder.name, "socket")
        os.chmod(self._folder.name, 0o777)
        self._errors = open(os.path.join(self._folder.name, "errors"), "w+", encoding="utf-8")
        command = [*prefix, vmm, "run", "-k", elf, "-m", str(RAM >> 20), "-c", "1", "--nodefaults", "--spe", "--spe-max-buffer-size",
                   "256M", "--control", self._control, "--timeout", "120", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                         preexec_fn=None if huge else small_pages)
        self.pid = self._process.pid
        self.frequency = self.answer()

    def __enter__(self) -> "PinGuest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=30)
        self._errors.close()
        self._folder.cleanup()

    def answer(self, timeout: float = 60) -> int:
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], timeout)
            got = os.read(self._process.stdout.fileno(), 1) if ready else b""
            if not got:
                raise RuntimeError(f"the guest says nothing after {line!r}: {self.errors()}")
            line += got
        return int(line, 16)

    def send(self, key: str) -> None:
        self._process.stdin.write(key.encode())
        self._process.stdin.flush()

    def press(self, key: str) -> int:
        self.send(key)
        return self.answer()

    def nanoseconds(self, key: str) -> float:
        """What `key` takes by the guest's counter."""
        return self.press(key) * 1e9 / self.frequency

    def quit(self) -> bool:
        """True when the guest gets to its end."""
        self.send("q")
        output, _ = self._process.communicate(timeout=30)
        return output.replace(b"\r", b"") == b"PASS\n" and self._process.returncode == 0

    def manage(self, *words: str) -> str:
        command = [self._vmm, words[0], "--control", self._control, *words[1:]]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def stat(self) -> dict:
        return json.loads(self.manage("stat", "--json"))

    def wait(self, condition: Callable[[dict], bool], what: str, seconds: float = 20) -> dict:
        """The counters, as soon as `condition` holds for them."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition(stat := self.stat()):
                return stat
            time.sleep(0.02)
        raise RuntimeError(f"not within {seconds} s: {what}: {json.dumps(self.stat())}")

    def wait_pinned(self) -> dict:
        return self.wait(lambda stat: stat["memory"]["pins"]["pinned_bytes"] >= BUFFER, "the buffer is pinned")

    def vm_pin(self) -> int:
        """What the kernel charges this process for pins, in bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"^VmPin:\s*(\d+) kB$", status, re.MULTILINE)[1]) * 1024

    def ram(self) -> tuple[int, list[str]]:
        """Where the guest's RAM is mapped, and the kernel's flags of the mapping."""
        smaps = pathlib.Path(f"/proc/{self.pid}/smaps").read_text(encoding="ascii")
        mappings = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw.*?^VmFlags: ([a-z ]*)$", smaps, re.MULTILINE | re.DOTALL)
        sizes = [(int(end, 16) - int(start, 16), int(start, 16), flags) for start, end, flags in mappings]
        _, start, flags = min(mapping for mapping in sizes if mapping[0] >= RAM)  # those of sanitizers are larger
        return start, flags.split()

    def page_frames(self, offset: int, size: int) -> list[int]:
        """Page frame numbers behind a part of RAM; 0: not present, or nothing we may know."""
        start, _ = self.ram()
        with open(f"/proc/{self.pid}/pagemap", "rb") as pagemap:
            pagemap.seek((start + offset) // PAGE * 8)
            entries = struct.unpack(f"<{size // PAGE}Q", pagemap.read(size // PAGE * 8))
        return [entry & (1 << 55) - 1 if entry >> 63 else 0 for entry in entries]

    def wait_errors(self, pattern: str, seconds: float = 20) -> re.Match:
        """What the vmm says, as soon as it matches."""
        end = time.monotonic() + seconds
        while (match := re.search(pattern, self.errors())) is None:
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds} s: {pattern}: {self.errors()}")
            time.sleep(0.02)
        return match

    def errors(self) -> str:
        """What the vmm has said."""
        return pathlib.Path(self._errors.name).read_text(encoding="utf-8")
